"""Where each lesion lies: the brain, left and right, above and below the tentorium, on any scan of a head.

``locate`` fits the atlas of this package to a scan (``pose`` from many starts, then ``affine_fit``, then ``deform``),
carries midline and tentorium into it (``distances``), finds the brain (``brain_mask``) and says how far the fit may be
trusted (``trust``). ``assign`` looks up each lesion; ``random_places`` draws places from the mask; ``align``
lays two scans of one head on each other. What was measured,
and what falls short: ``docs/compartments.md``.
"""

from miliary_seg.locate.align import Alignment, align
from miliary_seg.locate.assign import assign
from miliary_seg.locate.locate import locate
from miliary_seg.locate.random_places import random_places

__all__ = ["Alignment", "align", "assign", "locate", "random_places"]
