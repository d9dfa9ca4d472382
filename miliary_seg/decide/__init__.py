"""Lesions -> decision: does the pattern meet the proposed criteria?

``decide`` counts the lesions on every image and finds the second-best of two non-contiguous ones (``slice_counts``),
collects the evidence for sides and levels (``regions``) and whether the scan can prove a negative (``adequacy``),
answers each published criterion in three values (``criteria``) under every interpretation of the rule's open points
(``interpretations``), and says how near and how likely the answer is (``probability``; ``true_count`` estimates how
many lesions an image shows, ``evidence`` keeps every count so that none is made twice). ``decide_study`` combines the
series of a study. ``pattern`` describes a lesion set without judging it (docs/pattern.md). Every reason code is in
``reasons``. Nothing here sees a voxel. The page is docs/criteria.md.
"""

from miliary_seg.decide.decision import decide, decide_study
from miliary_seg.decide.interpretations import all_interpretations, default_interpretation
from miliary_seg.decide.pattern import describe_pattern, points_needed
from miliary_seg.decide.reasons import REASONS

__all__ = [
    "REASONS",
    "all_interpretations",
    "decide",
    "decide_study",
    "default_interpretation",
    "describe_pattern",
    "points_needed",
]
