"""Lesions -> decision: does the pattern meet the proposed criteria?

``decide`` counts the lesions on every image (``images``), finds the second-best of two non-contiguous ones
(``separation``), collects the evidence for sides and levels (``regions``) and what the scan can prove (``gates``),
answers each published criterion in three values (``criteria``) under every reading of the rule's open points
(``readings``), and says how near (``margin``) and how likely (``probability``) the answer is. ``decide_study`` combines
the series of a study. ``pattern`` describes a lesion set without judging it (docs/pattern.md). Every reason code is in
``reasons``. Nothing here sees a voxel. docs/criteria.md is the page.
"""

from miliary_seg.decide.decision import decide
from miliary_seg.decide.pattern import describe_pattern, places_needed
from miliary_seg.decide.readings import all_readings, default_reading
from miliary_seg.decide.reasons import REASONS
from miliary_seg.decide.study import decide_study

__all__ = ["REASONS", "all_readings", "decide", "decide_study", "default_reading", "describe_pattern", "places_needed"]
