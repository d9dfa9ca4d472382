"""How bright each lesion is on a FLAIR that was laid on the scan, among places of the brain.

A brightness is divided by the local level of white matter on the FLAIR, as coils shade, and stated as a percentile of
balls of the lesion's size all over the brain: no protocol needs a threshold of its own. docs/detection.md, "The FLAIR".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from miliary_seg.detect.uptake import RADII_MM, balls, sampled_across, voxels_of, white_level_across
from miliary_seg.detect.white_matter import WhiteLevel, tissue_blocks
from miliary_seg.domain.arrays import BoolArray, Float64Array, IndexArray
from miliary_seg.domain.result import Detection
from miliary_seg.domain.volume import Volume

PLACES = 4000
"""Balls that a lesion is ranked among: a percentile is known to 0.3 at 95 and to 0.8 in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlairRanks:
    """A FLAIR that lies on a scan, and how bright the brain is on it."""

    scan: Volume
    flair: Volume
    to_flair: Float64Array
    """RAS+ mm of ``scan`` to RAS+ mm of ``flair``, shape (4, 4)."""
    white: WhiteLevel
    """Of the FLAIR, on the lattice of ``scan``."""
    brightness: tuple[Float64Array, ...] = ()
    """Of ``PLACES`` balls in the brain, ascending, over white matter, for each of ``RADII_MM``."""

    def over_white(self, ijk: Float64Array) -> Float64Array:
        """FLAIR over its local white matter at voxel indices of ``scan``, shape (n, 3) to (n,)."""
        grey = sampled_across(self.flair, self.scan, self.to_flair, ijk)
        return np.asarray(grey / self.white.at(ijk), dtype=np.float64)

    def percentile(self, ijk: IndexArray) -> float | None:
        """Percentile (0-100) of a lesion, given by its voxel indices (n, 3), among balls of its size.

        None where it lies outside of the FLAIR, or has no voxels.
        """
        if not len(ijk) or not self._in_view(ijk):
            return None
        radius = np.cbrt(3 * len(ijk) * self.scan.grid.voxel_volume_mm3 / (4 * np.pi))
        places = self.brightness[int(np.argmin(np.abs(np.log(np.array(RADII_MM) / radius))))]
        mean = float(self.over_white(ijk.astype(np.float64)).mean())
        return 100 * float(np.searchsorted(places, mean)) / len(places)

    def _in_view(self, ijk: IndexArray) -> bool:
        middle = self.scan.grid.to_ras_mm(ijk.mean(axis=0, keepdims=True))
        there = self.flair.grid.to_ijk(middle @ self.to_flair[:3, :3].T + self.to_flair[:3, 3])[0]
        return bool(np.all(there > -0.5) and np.all(there < np.array(self.flair.grid.shape) - 0.5))


def flair_ranks(scan: Volume, mask: BoolArray, flair: Volume, to_flair: Float64Array) -> FlairRanks | None:
    """Measure how bright a scan's brain is on a FLAIR; None where there is too little brain.

    Parameters
    ----------
    scan, flair
        Two scans of one person.
    mask
        Brain on the grid of ``scan``, shape (i, j, k).
    to_flair
        RAS+ mm of ``scan`` to RAS+ mm of ``flair``, shape (4, 4).
    """
    blocks = tissue_blocks(scan, mask)
    if blocks is None:
        return None
    ranks = FlairRanks(
        scan=scan, flair=flair, to_flair=to_flair, white=white_level_across(flair, scan, to_flair, blocks)
    )
    found = np.flatnonzero(mask)
    ijk = np.stack(np.unravel_index(found[:: max(1, found.size // PLACES)], mask.shape), axis=1).astype(np.float64)

    def ascending(radius_mm: float) -> Float64Array:
        points = balls(ijk, radius_mm, scan)
        return np.sort(ranks.over_white(points.reshape(-1, 3)).reshape(len(ijk), -1).mean(axis=1))

    return replace(ranks, brightness=tuple(ascending(radius) for radius in RADII_MM))


def with_flair_percentile(detection: Detection, ranks: FlairRanks) -> Detection:
    """Add to every lesion how bright it is on the FLAIR."""
    lesions = tuple(
        replace(lesion, flair_percentile=ranks.percentile(ijk))
        for lesion, ijk in zip(detection.lesions, voxels_of(detection), strict=True)
    )
    return replace(detection, lesions=lesions)
