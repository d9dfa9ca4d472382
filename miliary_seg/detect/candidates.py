"""Candidates: maxima of the Laplacian at every scale, located to a fraction of a voxel and of a scale step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from miliary_seg.detect.blur import Responses, ScaleSpace, over_slices, scale_space
from miliary_seg.detect.maxima import maxima
from miliary_seg.detect.normalise import WorkVolume
from miliary_seg.detect.refine import eigen_ratio, refine
from miliary_seg.detect.work_grid import block_mean
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, IndexArray

SIGMA_0_MM = 0.6
"""Finest width; a ball of 2 mm responds most strongly here (docs/detection.md, step 3)."""
FINE_SCALES = 5
"""0.6, 0.85, 1.2, 1.7 mm, and 2.4 mm only as the upper neighbour."""
COARSE_FIRST = 3
"""The coarse grid starts at 1.7 mm, only as the lower neighbour; its own are 2.4 to 9.6 mm (diameters 8 to 33 mm)."""
COARSE_SCALES = 7
COARSE_PITCH_MM = 1.7
"""Pitch of the coarse grid: its finest own width is at least 1.2 pixels."""
RING_CORE_MM2 = 700.0
"""Largest core of a ring-enhancing mass in a slice, that of a mass of about 40 mm."""
RESPONSE_FLOOR_MADS = 1.2
"""Weaker maxima are texture. Unit: robust standard deviation of that scale's response in the brain."""
EIGEN_RATIO_FLOOR = 0.1
"""Least ratio of smallest to largest curvature: flatter or more line-like maxima are no candidates."""
SAME_PLACE_SIGMAS = 0.5
"""Maxima at neighbouring scales closer than this times the finer width are one blob."""
SAMPLE_PLANES = 24
"""Slices from which the spread of a scale's response is taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridLevel:
    """One grid of the search: its scale space, mask, and the spread of the response at each scale."""

    space: ScaleSpace
    mask: BoolArray
    spread: tuple[float, ...]
    own: range
    """Scales at which maxima are taken; the others only serve as neighbours."""
    block: tuple[int, int, int]
    """Voxels of the work grid per voxel of this grid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blobs:
    """Maxima of one grid level and one polarity (n of them)."""

    scale: IndexArray
    voxel: IndexArray
    """Nearest voxel (n, 3) on the grid of the level."""
    index: Float64Array
    """Sub-voxel position (n, 3) on the grid of the level."""
    sigma_mm: Float64Array
    response: Float64Array
    eigen_ratio: Float64Array

    def __len__(self) -> int:
        return len(self.scale)

    def where(self, keep: BoolArray | IndexArray) -> Blobs:
        """Some of them."""
        return Blobs(**{name: getattr(self, name)[keep] for name in self.__slots__})


def fine_level(work: WorkVolume) -> GridLevel:
    """The work grid itself: lesions up to about 7 mm."""
    sigmas = [SIGMA_0_MM * 2 ** (i / 2) for i in range(FINE_SCALES)]
    done = [_block_variance(b) for b in work.grid.block]
    space = scale_space(work.release(), work.spacing_mm, sigmas, done)
    return _grid_level(space, work.mask, range(FINE_SCALES - 1), (1, 1, 1))


def coarse_level(work: WorkVolume, sign: int) -> GridLevel | None:
    """A grid about half as fine, for larger masses; None where the mask is too small for it.

    The core of a ring-enhancing mass is first raised to its ring (``close_rings``), so that it responds as a whole.
    """
    sizes = zip(work.spacing_mm, work.mask.shape, strict=True)
    z, y, x = (max(1, min(round(COARSE_PITCH_MM / q), n)) for q, n in sizes)
    block = (z, y, x)
    mask = block_mean(work.mask, block) > 0.5
    if not mask.any():
        return None
    sigmas = [SIGMA_0_MM * 2 ** ((COARSE_FIRST + i) / 2) for i in range(COARSE_SCALES)]
    spacing = [q * b for q, b in zip(work.spacing_mm, block, strict=True)]
    inner = [_block_variance(b) for b in work.grid.block]
    done = [v / b**2 + _block_variance(b) for v, b in zip(inner, block, strict=True)]
    grey = block_mean(work.voxels, block)
    close_rings(grey, sign, RING_CORE_MM2 / (spacing[1] * spacing[2]))
    space = scale_space(grey, spacing, sigmas, done)
    return _grid_level(space, mask, range(1, COARSE_SCALES - 1), block)


def close_rings(grey: Float32Array, sign: int, largest: float) -> None:
    """Raise the area inside a brighter (``sign`` -1: darker) ring of a slice to the lowest point of the ring, in place.

    Only areas of at most ``largest`` pixels: ventricles in white matter and the brain inside its cortex stay.
    """
    from skimage.morphology import reconstruction

    grey *= sign

    def work(first: int, stop: int) -> None:
        for plane in grey[first:stop]:
            flood = np.full_like(plane, plane.max())
            flood[0], flood[-1], flood[:, 0], flood[:, -1] = plane[0], plane[-1], plane[:, 0], plane[:, -1]
            filled = reconstruction(flood, plane, method="erosion")  # type: ignore[no-untyped-call]
            _, part, table, _ = cv2.connectedComponentsWithStats((filled > plane).astype(np.uint8), connectivity=4)
            small = table[:, cv2.CC_STAT_AREA] <= largest
            np.copyto(plane, filled, where=small[part], casting="same_kind")

    over_slices(work, len(grey))
    grey *= sign


def _block_variance(size: int) -> float:
    """Variance in px^2 (of the averaged pixel) of a mean over ``size`` pixels, beyond that of the pixel itself."""
    return (1 - 1 / size**2) / 12


def _grid_level(space: ScaleSpace, mask: BoolArray, own: range, block: tuple[int, int, int]) -> GridLevel:
    return GridLevel(space=space, mask=mask, spread=_spread(space, mask), own=own, block=block)


def _spread(space: ScaleSpace, mask: BoolArray) -> tuple[float, ...]:
    """Robust standard deviation of each scale's response in the brain (1.4826 MAD about 0), from some of its slices."""
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    planes = filled[:: max(1, len(filled) // SAMPLE_PLANES)]
    spread = np.empty(len(space.sigmas_mm))

    def work(first: int, stop: int) -> None:
        responses = Responses(space, 1)
        for scale in range(first, stop):
            planes_of = ((z, responses.of(scale, (int(z), int(z) + 1))[0, 1:-1]) for z in planes)
            sample = np.concatenate([np.abs(response[mask[z]]) for z, response in planes_of])
            # A sparse or flat image has a median of 0; its largest response then gives the scale.
            spread[scale] = max(1.4826 * float(np.median(sample)), 1e-3 * float(sample.max()), 1e-6)

    over_slices(work, len(spread))
    return tuple(spread.tolist())


def find_maxima(grid_level: GridLevel, sign: int, floor_mads: float = RESPONSE_FLOOR_MADS) -> Blobs:
    """Maxima over the 26 neighbours at each scale, inside the mask, with their sub-voxel position and width.

    Scales do not compete for a position: the fold on which a small lesion lies responds more strongly at a larger
    width, and would hide it. Only maxima that coincide are one blob
    (docs/measurements/rejector.md, "Candidates first").

    Parameters
    ----------
    grid_level
        Grid to search.
    sign
        1 for blobs brighter than their surroundings, -1 for darker ones.
    floor_mads
        Least response in units of the scale's spread.
    """
    space = grid_level.space
    floors = [floor_mads * spread for spread in grid_level.spread]
    scale, voxel = maxima(space, sign, floors, grid_level.own, grid_level.mask, reach=(1, 0))
    ratio = eigen_ratio(space, scale, voxel, sign)
    keep = ratio > EIGEN_RATIO_FLOOR
    scale, voxel, ratio = scale[keep], voxel[keep], ratio[keep]
    index, sigma, response = refine(space, scale, voxel, sign)
    blobs = Blobs(scale=scale, voxel=voxel, index=index, sigma_mm=sigma, response=response, eigen_ratio=ratio)
    return blobs.where(~_outshone(blobs, space))


def _outshone(blobs: Blobs, space: ScaleSpace) -> BoolArray:
    """Maxima that have a stronger one at the same position one scale up or down: the same blob, found twice."""
    from scipy.spatial import cKDTree

    place = blobs.index * np.array(space.spacing_mm)
    hidden = np.zeros(len(blobs), dtype=bool)
    levels = {int(level): np.flatnonzero(blobs.scale == level) for level in np.unique(blobs.scale)}
    for level, finer in levels.items():
        coarser = levels.get(level + 1)
        if coarser is None:
            continue
        reach = SAME_PLACE_SIGMAS * space.sigmas_mm[level]
        apart, nearest = cKDTree(place[coarser]).query(place[finer], distance_upper_bound=reach)
        met = np.isfinite(apart)
        one, other = finer[met], coarser[np.asarray(nearest)[met]]
        weaker = blobs.response[one] < blobs.response[other]
        hidden[np.where(weaker, one, other)] = True
    return hidden
