"""Where each lesion lies: the brain, left and right, above and below the tentorium, on any scan of a head.

``locate`` fits the atlas of this package to a scan (``register``: ``pose`` from many starts, then ``affine_fit``, then
``deform``), carries midline and tentorium into it (``compartments``), finds the brain (``brain_mask``) and says how far
the fit may be trusted (``quality``). ``assign`` looks up each lesion, ``regions`` names its lobe or nucleus;
``sample_points`` draws points from the mask; ``register_rigid`` aligns two scans of one head, ``refine_rigid`` two of
one sitting. How it works, limits and figures: docs/compartments.md.
"""

from miliary_seg.locate.assign import assign, sample_points
from miliary_seg.locate.locate import locate
from miliary_seg.locate.rigid import RigidAlignment, refine_rigid, register_rigid

__all__ = ["RigidAlignment", "assign", "locate", "refine_rigid", "register_rigid", "sample_points"]
