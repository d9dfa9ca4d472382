"""Where each lesion lies: the brain, left and right, above and below the tentorium, on any scan of a head.

``locate`` fits the atlas of this package to a scan (``register``: ``pose`` from many starts, then ``affine_fit``, then
``deform``), carries midline and tentorium into it (``compartments``), finds the brain (``brain_mask``) and says how far
the fit may be trusted (``quality``). ``assign`` looks up each lesion, ``regions`` names its lobe or nucleus;
``sample_points`` draws points from the mask; ``register_rigid`` aligns two scans of one head, ``refine_rigid`` two of
one sitting. How it works, limits and figures: docs/compartments.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from miliary_seg.lazy_names import lazy_names
from miliary_seg.locate.assign import assign, sample_points

if TYPE_CHECKING:
    from miliary_seg.locate.pipeline import locate
    from miliary_seg.locate.rigid import RigidAlignment, refine_rigid, register_rigid

_HOME = {
    "pipeline": ("locate",),
    "rigid": ("RigidAlignment", "refine_rigid", "register_rigid"),
}
"""Public names that are imported when first used: to place lesions anew, the atlas need not be fitted."""

__all__ = ["RigidAlignment", "assign", "locate", "refine_rigid", "register_rigid", "sample_points"]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
