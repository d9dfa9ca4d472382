"""The images that lesions are counted on: acquired slices, slabs of them, or an axial reformat.

An *image* of the rule is a slice. A ``SliceStack`` says which lesion shows on which image, which images lie side by
side and where they are; it holds no voxels. Images are in geometric order, never in file order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.arrays import BoolArray, Float64Array, Int64Array
from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.lesion import Lesion
from miliary_seg.errors import UsageError

AnyInt = TypeVar("AnyInt", bound=np.integer)

ROUNDING_MM = 1e-6
"""Slice positions are rounded to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContiguityRule:
    """When two images count as non-contiguous."""

    kind: str
    """``pairwise``, ``separate-runs`` or ``separation-mm``; never neighbours in any of them."""
    separation_mm: float
    threshold: int
    """An image with fewer lesions ends a run."""


def second_best(counts: NDArray[AnyInt], stack: SliceStack, apart: ContiguityRule) -> Int64Array:
    """Return the count of the second-best admissible image, for each column of counts.

    Parameters
    ----------
    counts
        Lesions per image, shape (images, samples); images come first so that whole rows are compared at once.
    stack
        Where the images lie.
    apart
        When two images are not contiguous.

    Returns
    -------
    Int64Array
        Shape (samples,); 0 where there is no admissible pair. Of slabs, which could have started at several places, the
        (lower) median over these places.
    """
    by_phase = np.sort(second_best_by_phase(counts, stack, apart), axis=0)
    middle: Int64Array = by_phase[(len(by_phase) - 1) // 2]
    return middle


def second_best_by_phase(counts: NDArray[AnyInt], stack: SliceStack, apart: ContiguityRule) -> Int64Array:
    """``second_best`` for every place where the first image could lie, shape (phases, samples); at least one row."""
    best = np.zeros((max(1, len(stack.phases)), counts.shape[1]), dtype=np.int64)
    for row, phase in enumerate(stack.phases):
        if phase.size > 2:
            one_phase = _counted(counts[phase], stack.usable[phase])
            partner = _best_before(one_phase, _reach(one_phase, stack.distance_mm[phase], apart))
            best[row] = np.maximum(0, np.minimum(one_phase, partner).max(axis=0))
    return best


def deciding_pair(stack: SliceStack, apart: ContiguityRule) -> tuple[int, ...]:
    """Return the pair of images that gives ``second_best``; the best single image, or nothing, where there is none."""
    counts = stack.counts
    by_phase = second_best_by_phase(counts[:, None], stack, apart)[:, 0]
    middle = int(np.argsort(by_phase, kind="stable")[(len(by_phase) - 1) // 2])
    if by_phase[middle] > 0:
        phase = stack.phases[middle]
        one_phase = _counted(counts[phase, None], stack.usable[phase])
        reach = _reach(one_phase, stack.distance_mm[phase], apart)
        lower = np.minimum(one_phase, _best_before(one_phase, reach))[:, 0]
        later = int(lower.argmax())
        earlier = int(one_phase[: reach[later, 0], 0].argmax())
        return (int(phase[earlier]), int(phase[later]))
    return (int(counts.argmax()),) if counts.any() else ()


def _counted(counts: NDArray[AnyInt], usable: BoolArray) -> NDArray[AnyInt]:
    """Counts, -1 on images that were never acquired."""
    counted: NDArray[AnyInt] = np.where(usable[:, None], counts, counts.dtype.type(-1))
    return counted


def _reach(counts: NDArray[AnyInt], distance_mm: Float64Array, apart: ContiguityRule) -> Int64Array:
    """How many images from the start are far enough before each image to pair with it; (images, 1 or samples)."""
    order = np.arange(distance_mm.size)[:, None]
    pairwise: Int64Array = np.maximum(order - 1, 0)
    if apart.kind == "separation-mm":
        limit = distance_mm - apart.separation_mm + ROUNDING_MM
        far: Int64Array = np.minimum(pairwise, np.searchsorted(distance_mm, limit, side="right")[:, None])
        return far
    if apart.kind == "separate-runs":
        ends_run = np.where((counts >= 0) & (counts < apart.threshold), order, 0)
        return _largest_before(ends_run, 0)[:-1]
    return pairwise


def _best_before(counts: NDArray[AnyInt], reach: Int64Array) -> NDArray[AnyInt]:
    """Largest count among the first ``reach`` images; -1 where there is none."""
    so_far = _largest_before(counts, -1)
    found: NDArray[AnyInt] = so_far[reach[:, 0]] if reach.shape[1] == 1 else np.take_along_axis(so_far, reach, axis=0)
    return found


def _largest_before(rows: NDArray[AnyInt], nothing: int) -> NDArray[AnyInt]:
    """Row n holds the largest of the first n rows: (images + 1, samples)."""
    so_far = np.full((rows.shape[0] + 1, rows.shape[1]), nothing, dtype=rows.dtype)
    for n, row in enumerate(rows):  # a few hundred rows: ten times faster than ufunc.accumulate along this axis
        np.maximum(so_far[n], row, out=so_far[n + 1])
    return so_far


KEPT_CONTRAST = 0.25
"""Part of a slab that a lesion must fill to show on it: what keeps less than a quarter of its contrast is not seen."""
VISIBLE_ENHANCEMENT = 0.1
"""A lesion that stands out by less than 10 % of the local white matter is not counted (grey and white matter differ by
20-40 % on T1)."""
SAME_PLACE_MM = 1e-3
"""Slices closer than this lie in one place and count as one image (positions are rounded to 1e-6 mm)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceStack:
    """Images in geometric order.

    ``shows`` is (images, lesions); ``distance_mm`` (images,) ascends along the normal; ``usable`` (images,) is False
    for images that were never acquired. ``phases`` are the sets of images that could exist side by side in one scan:
    one set for slices, one for every starting point for slabs. ``indices`` (images,) names the acquired slice that an
    image starts at, ``middles`` the acquired slice in its middle.
    """

    shows: BoolArray
    distance_mm: Float64Array
    usable: BoolArray
    phases: tuple[Int64Array, ...]
    indices: Int64Array
    middles: Int64Array

    @property
    def counts(self) -> Int64Array:
        """Lesions per image, shape (images,)."""
        total: Int64Array = self.shows.sum(axis=1, dtype=np.int64)
        return total


def acquired_stack(lesions: Sequence[Lesion], facts: ScanFacts) -> SliceStack:
    """Return the acquired slices in geometric order, in the direction of the slice index where that is monotone.

    Of slices at the same place (repeats) only the one with most lesions is kept: two repeats are not two images.

    Raises
    ------
    UsageError
        If a lesion lies on a slice that does not exist, or a position is not finite.
    """
    positions = np.array(facts.slice_positions_mm, dtype=np.float64)
    shows = _shows(lesions, positions)
    if positions.size and positions[-1] < positions[0]:
        positions = -positions
    order = _one_image_per_place(positions, shows)
    positions = positions[order]
    acquired = np.ones(len(facts.slice_positions_mm), dtype=np.bool_)
    if not has_holes(facts.slice_positions_mm):
        acquired[[s for s in facts.missing_slices if 0 <= s < acquired.size]] = False
    return SliceStack(
        shows=shows[order] & acquired[order, None],
        distance_mm=positions - positions[0] if positions.size else positions,
        usable=acquired[order],
        phases=(np.arange(order.size),),
        indices=order,
        middles=order,
    )


def has_holes(positions_mm: Sequence[float]) -> bool:
    """Whether neighbouring slices lie more than 1.5 times the median distance apart: a slice is missing between."""
    steps = np.abs(np.diff(np.sort(np.array(positions_mm, dtype=np.float64))))
    steps = steps[steps > SAME_PLACE_MM]
    return bool(steps.size and steps.max() > 1.5 * np.median(steps))


def spacing_mm(distance_mm: Float64Array) -> float:
    """Median distance between neighbouring images; 0 where there is but one."""
    return float(np.median(np.diff(distance_mm))) if distance_mm.size > 1 else 0.0


def slab_stack(stack: SliceStack, slab_mm: float, enhancement: Float64Array | None = None) -> SliceStack:
    """Return what slices of thickness ``slab_mm`` would have shown, for every place where they could have started.

    A slab joins the nearest whole number of neighbouring images. Partial volume fades what fills only part of it: a
    lesion shows on a slab if at least half of the smaller of the lesion and the slab lies in it, if it keeps
    ``KEPT_CONTRAST`` of its contrast there, and if what it keeps stands out by ``VISIBLE_ENHANCEMENT``. Only whole
    slabs are admissible; those cut off by the end of the stack appear in ``counts`` alone. Images more than two thirds
    of a slab apart stay as they are: they are slabs already.

    Parameters
    ----------
    stack
        Acquired slices or axial planes.
    slab_mm
        Thickness of the slabs.
    enhancement
        Of each lesion, as a fraction of the local white matter, shape (lesions,). A lesion of which it was not measured
        (NaN; None = of all) shows on every slab that joins one of its images.
    """
    n, spacing = stack.distance_mm.size, spacing_mm(stack.distance_mm)
    joined = min(n, int(np.floor(slab_mm / spacing + 0.5 + 1e-9))) if spacing else 1
    if joined <= 1:
        return stack
    filled, usable, last = stack.shows.astype(np.int32), stack.usable.copy(), np.arange(n)
    for step in range(1, joined):
        # An image beyond a hole in the stack belongs to no slab that began before the hole.
        near = stack.distance_mm[step:] - stack.distance_mm[:-step] <= (joined - 0.5) * spacing
        filled[:-step] += stack.shows[step:] & near[:, None]
        usable[:-step] |= stack.usable[step:] & near
        last[:-step] += near
    shows = filled > 0
    if enhancement is not None:
        kept = filled / joined
        seen = (2 * filled >= np.minimum(stack.shows.sum(axis=0), joined)) & (kept >= KEPT_CONTRAST)
        shows &= np.isnan(enhancement) | (seen & (kept * np.abs(enhancement) >= VISIBLE_ENHANCEMENT))
    starts = np.arange(n - joined + 1)
    return replace(
        stack,
        shows=shows,
        usable=usable,
        distance_mm=(stack.distance_mm + stack.distance_mm[last]) / 2,
        phases=tuple(starts[phase::joined] for phase in range(min(joined, starts.size))),
        middles=stack.middles[(np.arange(n) + last) // 2],
    )


def is_axial(facts: ScanFacts) -> bool | None:
    """Whether the acquired slices are nearest to the axial plane; None where that is unknown."""
    fit = facts.registration
    if len(facts.slice_centres_ras_mm) < 2 or fit.reoriented or not fit.orientation_known:
        return None
    extent_mm = np.ptp(np.array(facts.slice_centres_ras_mm), axis=0)
    return bool(np.argmax(extent_mm) == 2) if extent_mm.max() > SAME_PLACE_MM else None


def axial_stack(lesions: Sequence[Lesion], step_mm: float, beyond_mm: float = 0.0) -> SliceStack:
    """Return the axial planes, ``step_mm`` apart, of a scan that was not acquired in axial slices.

    A lesion shows on the planes that cut the sphere of its volume around its centre, and on the nearest plane where it
    falls between two: an approximation, since no voxels are available here. Planes reach ``beyond_mm`` further than the
    lesions, so that slabs around the outermost ones are whole.
    """
    height = np.array([lesion.centroid_ras_mm[2] for lesion in lesions]).reshape(-1, 1)
    radius = np.array([lesion.equivalent_diameter_mm / 2 for lesion in lesions]).reshape(-1, 1)
    nearest = np.rint(height / step_mm)
    first = np.minimum(np.ceil((height - radius) / step_mm), nearest)
    last = np.maximum(np.floor((height + radius) / step_mm), nearest)
    more = np.ceil(beyond_mm / step_mm)
    planes = np.arange(first.min() - more, last.max() + more + 1) if lesions else np.zeros(0)
    shows = ((planes >= first) & (planes <= last)).T.reshape(planes.size, len(lesions))
    middles = _slices_through(lesions, shows)
    return SliceStack(
        shows=shows,
        distance_mm=(planes - planes[:1]) * step_mm,
        usable=np.ones(planes.size, dtype=np.bool_),
        phases=(np.arange(planes.size),),
        indices=middles,
        middles=middles,
    )


def _slices_through(lesions: Sequence[Lesion], shows: BoolArray) -> Int64Array:
    """Acquired slice in the middle of the lesions that each plane shows (0 where it shows none)."""
    middle = np.array([lesion.slices[len(lesion.slices) // 2] if lesion.slices else 0 for lesion in lesions])
    return np.array([int(np.median(middle[row])) if row.any() else 0 for row in shows], dtype=np.int64)


def _shows(lesions: Sequence[Lesion], positions: Float64Array) -> BoolArray:
    if not np.all(np.isfinite(positions)):
        raise UsageError("a slice position is not a finite number")
    shows = np.zeros((positions.size, len(lesions)), dtype=np.bool_)
    for column, lesion in enumerate(lesions):
        if any(not 0 <= s < positions.size for s in lesion.slices):
            raise UsageError(f"lesion {lesion.id} lies on slices {lesion.slices}, the scan has {positions.size}")
        shows[list(lesion.slices), column] = True
    return shows


def _one_image_per_place(positions: Float64Array, shows: BoolArray) -> Int64Array:
    order = np.argsort(positions, kind="stable")
    starts = [0, *(k for k, (a, b) in enumerate(pairwise(positions[order]), 1) if b - a > SAME_PLACE_MM)]
    counts = shows.sum(axis=1)
    groups = np.split(order, starts[1:]) if order.size else []
    return np.array([group[np.argmax(counts[group])] for group in groups], dtype=np.int64)
