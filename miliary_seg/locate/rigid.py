"""Rigid registration of two scans of one head, brain to brain, in any pair of contrasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.domain.arrays import BoolArray, Box, Float64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Location
from miliary_seg.domain.volume import Volume
from miliary_seg.locate.affine_fit import descend
from miliary_seg.locate.mutual_information import mutual_information_slope
from miliary_seg.locate.pyramid import N_BINS, BlockMeans, WorkingScan
from miliary_seg.locate.register import Resolutions, resolutions
from miliary_seg.locate.reorient import CanonicalView
from miliary_seg.locate.transform import UNIT, apply, inverse, rotation

START_PITCH_DEG = (0.0, -20.0, 20.0)
"""Between visits heads differ in pitch far more than in roll or yaw."""
MIN_POINTS = 2000
"""Points of the earlier brain, 4 mm apart: an eighth of a brain; fewer do not determine a pose."""
MAX_POINTS = 60_000
AGREEMENT_MM = 1.0
"""Two fits to separate halves of the brain's voxels must agree this well (docs/timeline.md)."""
MIN_OVERLAP = 0.85
"""Share of the earlier brain, where the later scan sees it, that is brain there too (docs/timeline.md)."""
MIRRORED = 1.4
"""``mirror_ratio`` from which on one scan is the mirror image of the other: 1.5 to 3.7 where one header swaps left and
right (docs/measurements/pair.md, "Mirror images and other people")."""
TWO_PEOPLE = 0.75
"""``mirror_ratio`` from which on two scans are not taken for one person's: at most 0.60 in one person's, 0.86 and more
in most of two people's (the same page)."""
MIRROR_HOPELESS = 0.6
"""A mirror image that tells less than this share on blocks of 4 mm is not fitted on those of 2 mm."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RigidAlignment:
    """Where a point of the earlier scan lies in the later one, and how far that may be trusted."""

    matrix: Float64Array
    """Earlier RAS+ mm to later RAS+ mm, shape (4, 4), rigid."""
    agreement_mm: float
    """How far two fits to separate halves of the voxels differ, at the brain's surface."""
    overlap_fraction: float
    """Share of the earlier brain, where the later scan sees it, that is brain there too."""
    in_view_fraction: float
    """Share of the earlier brain that the later scan sees."""
    reasons: tuple[Reason, ...]
    """Reasons against using it; empty if it can be used."""
    mirror_ratio: float = 0.0
    """Mutual information of the later scan with the mirror image of the earlier brain, over that with the brain itself.

    No brain is symmetric: it is small for one person, about 1 for two people, well above 1 for a mirrored scan."""

    @property
    def trusted(self) -> bool:
        """Whether lesions may be matched across it."""
        return not self.reasons

    @property
    def mirrored(self) -> bool:
        """Whether one scan is the mirror image of the other: a header swaps left and right."""
        return self.mirror_ratio > MIRRORED

    @property
    def two_people(self) -> bool:
        """Whether the scans fit as two people's do, or as what hardly shows a brain."""
        return TWO_PEOPLE < self.mirror_ratio <= MIRRORED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    positions_mm: Float64Array
    """Shape (4, n), homogeneous, about the brain's centre."""
    classes: np.ndarray[tuple[int], np.dtype[np.intp]]

    def every(self, step: int, first: int = 0) -> _Points:
        return _Points(positions_mm=self.positions_mm[:, first::step], classes=self.classes[first::step])

    def mirrored(self) -> _Points:
        """Left and right swapped, about their mean."""
        positions = self.positions_mm.copy()
        positions[0] = 2 * positions[0].mean() - positions[0]
        return replace(self, positions_mm=positions)


def register_rigid(earlier: Volume, earlier_place: Location, later: Volume, later_place: Location) -> RigidAlignment:
    """Fit the earlier brain to the later one rigidly, by mutual information.

    Parameters
    ----------
    earlier, later
        Two scans of one head, of any sequence, grid and pose.
    earlier_place, later_place
        What ``locate`` returned for them; only the brain masks are used.

    Returns
    -------
    RigidAlignment
        ``trusted`` says whether lesions may be matched across it. Most scans of two people, and nearly all mirror
        images, are recognised, not all (docs/measurements/pair.md).
    """
    with threadpool_limits(limits=1):
        return _aligned(earlier, earlier_place.brain_mask, later, later_place.brain_mask)


def _aligned(earlier: Volume, earlier_mask: BoolArray, later: Volume, later_mask: BoolArray) -> RigidAlignment:
    fixed, moving = _resolutions(earlier), _resolutions(later)
    centre, there = _centre(earlier, earlier_mask), _centre(later, later_mask)
    coarse = _points(earlier, earlier_mask, fixed.medium, centre)
    fine = _points(earlier, earlier_mask, fixed.fine, centre)
    if coarse.classes.size < MIN_POINTS:
        return _untrusted("too little brain is shared to lay one scan on the other")
    starts = [np.array([*(there), np.radians(pitch) / UNIT, 0, 0]) for pitch in START_PITCH_DEG]
    starts.append(np.array([*centre, 0, 0, 0]))  # same frame of reference
    tried = [_fit(moving.medium, coarse, start) for start in starts]
    best = min(tried, key=lambda fit: fit[1])[0]
    thinned = fine.every(max(1, fine.classes.size // MAX_POINTS))
    scans = _Masked(earlier, earlier_mask), _Masked(later, later_mask)
    return _settled(moving, thinned, best, centre, scans)


NEAR_MM = 15.0
"""Left around the brain where only what is near the header's geometry is looked at."""


def refine_rigid(fixed: Volume, mask: BoolArray, moving: Volume) -> RigidAlignment:
    """Fit one scan to another of the same person and sitting, from where the headers place both.

    Parameters
    ----------
    fixed
        The scan whose brain is laid on the other one.
    mask
        Its brain, shape (i, j, k).
    moving
        The other scan; its brain need not be known, so that ``overlap_fraction`` is what of ``mask`` it shows.

    Returns
    -------
    RigidAlignment
        From RAS+ mm of ``fixed`` to RAS+ mm of ``moving``. Far movement is not looked for (``register_rigid`` does).
    """
    with threadpool_limits(limits=1):
        brain = _Masked(fixed, mask).about(fixed.grid, mask)
        other = _Masked(moving, np.ones(moving.grid.shape, bool)).about(fixed.grid, mask)
        if brain is None or other is None:
            return _untrusted("the two scans show no common part of the brain")
        return _refined(brain, other)


def _refined(brain: _Masked, other: _Masked) -> RigidAlignment:
    still, moving = _resolutions(brain.volume), _resolutions(other.volume)
    grid = brain.volume.grid
    centre = grid.to_ras_mm((np.array(grid.shape) - 1) / 2)
    fine = _points(*brain, still.fine, centre)
    if fine.classes.size < MIN_POINTS:
        return _untrusted("too little brain is shared to lay one scan on the other")
    thinned = fine.every(max(1, fine.classes.size // MAX_POINTS))
    rough = _fit(moving.medium, thinned.every(4), np.array([*centre, 0, 0, 0]))[0]
    return _settled(moving, thinned, rough, centre, (brain, other))


def _settled(
    moving: Resolutions, points: _Points, rough: Float64Array, centre: Float64Array, scans: tuple[_Masked, _Masked]
) -> RigidAlignment:
    """The last fit on fine blocks, and what speaks against it."""
    best, cost = _fit(moving.fine, points, rough)
    halves = [_fit(moving.fine, points.every(2, first), best)[0] for first in (0, 1)]
    ratio = _mirror_ratio(moving, points, best, cost)
    return _judged(_from_centre(best, centre), _apart_mm(*halves), ratio, *scans)


def _mirror_ratio(moving: Resolutions, points: _Points, best: Float64Array, cost: float) -> float:
    """See ``RigidAlignment.mirror_ratio``; the mirror image is sought near the place that was found.

    A head that lies askew by 10 degrees is too far from it; the ratio is too low then.
    """
    turned = points.mirrored()
    straight = _fit(moving.medium, points.every(4), best)[1]
    rough, coarse = _fit(moving.medium, turned.every(4), best)
    if coarse > MIRROR_HOPELESS * straight:
        return coarse / straight
    return _fit(moving.fine, turned, rough)[1] / cost


def _fit(scan: WorkingScan, points: _Points, start: Float64Array) -> tuple[Float64Array, float]:
    """Six parameters of the best rigid transform near a start, and minus its information in nats."""
    n_classes = N_BINS

    def cost(parameters: Float64Array) -> tuple[float, Float64Array]:
        matrix = _rigid(parameters)
        places = matrix[:3] @ points.positions_mm
        levels, gradient = scan.sample_with_gradient(places)
        inside = scan.contains(scan.to_ijk(places)).astype(np.float64)
        inside[0] += 1e-6  # never all outside
        information, slope = mutual_information_slope(levels, points.classes, n_classes, inside)
        by_matrix = (gradient * slope) @ points.positions_mm.T
        uphill = (_jacobian(parameters) * by_matrix).sum(axis=(1, 2))
        share = float(inside.mean())
        return -information * share, -uphill * share

    return descend(cost, start, iterations=60, line_steps=15)


def _rigid(parameters: Float64Array) -> Float64Array:
    """Matrix (4, 4) of translation in mm and pitch, roll, yaw in ``UNIT`` radians, about the earlier brain's centre."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*(parameters[3:6] * UNIT))
    matrix[:3, 3] = parameters[:3]
    return matrix


def _jacobian(parameters: Float64Array) -> Float64Array:
    steps = np.eye(6) * 1e-3
    return np.array([(_rigid(parameters + h) - _rigid(parameters - h))[:3] / 2e-3 for h in steps])


def _from_centre(parameters: Float64Array, centre: Float64Array) -> Float64Array:
    matrix = _rigid(parameters)
    matrix[:3, 3] -= matrix[:3, :3] @ centre
    return matrix


def _apart_mm(first: Float64Array, second: Float64Array) -> float:
    """Mean distance between two transforms 70 mm from the centre, along the three axes either way."""
    ends = np.vstack([70 * np.hstack([np.eye(3), -np.eye(3)]), np.ones(6)])
    apart: Float64Array = (_rigid(first) - _rigid(second))[:3] @ ends
    return float(np.linalg.norm(apart, axis=0).mean())


def _resolutions(volume: Volume) -> Resolutions:
    view = CanonicalView.of(volume.grid)
    voxels = view.view(volume.voxels)
    voxels = voxels if np.isfinite(voxels).all() else np.nan_to_num(voxels)
    return resolutions(BlockMeans(voxels=voxels, affine=view.affine), volume.in_hounsfield)


def _centre(volume: Volume, mask: BoolArray) -> Float64Array:
    inside = np.argwhere(mask)
    return volume.grid.to_ras_mm(inside.mean(axis=0)) if inside.size else np.zeros(3)


def _points(volume: Volume, mask: BoolArray, scan: WorkingScan, centre: Float64Array) -> _Points:
    """BlockMeans of the earlier scan whose centre is brain, with their grey level as class."""
    axes = [np.arange(n, dtype=np.float64) for n in scan.shape]
    positions = apply(scan.affine, np.array(np.meshgrid(*axes, indexing="ij")).reshape(3, -1))
    brain = _is_true(volume, mask, positions)
    levels = scan.inside_levels.reshape(-1)[brain]
    about = np.vstack([positions[:, brain] - centre[:, None], np.ones(int(brain.sum()))])
    return _Points(positions_mm=about, classes=np.clip(np.round(levels), 0, N_BINS - 1).astype(np.intp))


def _is_true(volume: Volume, mask: BoolArray, positions_mm: Float64Array) -> BoolArray:
    """The mask at world positions, shape (3, n); False outside of the scan."""
    ijk = np.round(apply(inverse(np.asarray(volume.grid.affine)), positions_mm)).astype(int)
    inside = ((ijk >= 0) & (ijk < np.array(mask.shape)[:, None])).all(axis=0)
    found = np.zeros(positions_mm.shape[1], bool)
    found[inside] = mask[tuple(ijk[:, inside])]
    return found


class _Masked(NamedTuple):
    """One scan and its brain."""

    volume: Volume
    brain: BoolArray

    def about(self, grid: Grid, mask: BoolArray) -> _Masked | None:
        """What lies within ``NEAR_MM`` of a brain on a grid of the same world; None where nothing does."""
        found = ndi.find_objects(mask.astype(np.int8))
        if not found:
            return None
        ends = np.array([[side.start - 0.5, side.stop - 0.5] for side in found[0]])
        corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
        ijk = self.volume.grid.to_ijk(grid.to_ras_mm(corners))
        margin = NEAR_MM / np.array(self.volume.grid.spacing_mm)
        low = np.clip(np.floor(ijk.min(axis=0) - margin), 0, self.brain.shape).astype(int)
        high = np.clip(np.ceil(ijk.max(axis=0) + margin) + 1, 0, self.brain.shape).astype(int)
        if (high - low).min() < 1:
            return None
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return _Masked(_cropped(self.volume, box), self.brain[box])


def _cropped(volume: Volume, box: Box) -> Volume:
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_ras_mm([side.start for side in box])
    voxels = volume.voxels[box]
    return replace(volume, voxels=voxels, grid=Grid(shape=voxels.shape, affine=affine))


def _judged(
    matrix: Float64Array,
    agreement_mm: float,
    mirror_ratio: float,
    earlier: _Masked,
    later: _Masked,
) -> RigidAlignment:
    sample = np.argwhere(earlier.brain)[::17]  # a regular sample: shares to a tenth of a percent
    there = apply(matrix, earlier.volume.grid.to_ras_mm(sample).T)
    seen = _is_true(later.volume, np.ones(later.brain.shape, bool), there)
    in_view = float(seen.mean()) if seen.size else 0.0
    overlap = float(_is_true(*later, there)[seen].mean()) if seen.any() else 0.0
    reasons = []
    if agreement_mm > AGREEMENT_MM:
        text = f"two halves of the brain's voxels are laid {agreement_mm:.1f} mm apart"
        reasons.append(Reason(code="alignment_unstable", text=text))
    if overlap < MIN_OVERLAP:
        text = f"only {100 * overlap:.0f} % of the earlier brain is brain in the later scan"
        reasons.append(Reason(code="alignment_overlap", text=text))
    judged = RigidAlignment(
        matrix=matrix,
        agreement_mm=agreement_mm,
        overlap_fraction=overlap,
        in_view_fraction=in_view,
        reasons=(),
        mirror_ratio=mirror_ratio,
    )
    if judged.mirrored:
        text = "one scan seems to be the mirror image of the other: a header swaps left and right"
        reasons = [Reason(code="alignment_mirrored", text=text)]
    elif judged.two_people:
        text = "the later scan fits the mirror image of the earlier brain about as well: they may be two people's"
        reasons.append(Reason(code="alignment_person", text=text))
    return replace(judged, reasons=tuple(reasons))


def _untrusted(text: str) -> RigidAlignment:
    reason = Reason(code="alignment_impossible", text=text)
    return RigidAlignment(
        matrix=np.eye(4), agreement_mm=float("inf"), overlap_fraction=0.0, in_view_fraction=0.0, reasons=(reason,)
    )
