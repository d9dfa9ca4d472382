"""What a file of voxels says, whatever its format: values on its own grid, chances, names, and who made it."""

from __future__ import annotations

from dataclasses import dataclass

from miliary_seg.domain.arrays import Float32Array
from miliary_seg.domain.lesion_source import LesionSource
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionVoxels:
    """Label values of one file."""

    labels: LabelMap
    """With the names that the file gives them."""
    source: LesionSource
    chances: Float32Array | None = None
    """Probability of each voxel, 0 to 1, where the file holds probabilities."""
    notes: tuple[Reason, ...] = ()
