"""Two images that are not contiguous: the count that the second-best of them reaches.

The rule asks for the threshold on *two non-contiguous* images. Its count is therefore that of the second-best image
of the best admissible pair. The same code serves one scan and thousands of simulated ones at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from miliary_seg.decide.images import FloatVector, IntVector, Stack

AnyInt = TypeVar("AnyInt", bound=np.integer)
IntMatrix = NDArray[np.int64]
Counts = NDArray[np.int16]

ROUNDING_MM = 1e-6
"""Slice positions are rounded to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """What keeps two images apart."""

    kind: str
    """``pairwise``, ``separate-runs`` or ``separation-mm``; never neighbours in any of them."""
    separation_mm: float
    threshold: int
    """An image with fewer lesions ends a run."""


def second_best(counts: NDArray[np.integer], stack: Stack, apart: Apart) -> IntVector:
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
    IntVector
        Shape (samples,); 0 where there is no admissible pair.
    """
    best = np.zeros(counts.shape[1], dtype=np.int64)
    for phase in stack.phases:
        if phase.size > 2:
            one_phase = _counted(counts[phase], stack.usable[phase])
            partner = _best_before(one_phase, _reach(one_phase, stack.distance_mm[phase], apart))
            best = np.maximum(best, np.minimum(one_phase, partner).max(axis=0))
    return best


def deciding_pair(stack: Stack, apart: Apart) -> tuple[int, ...]:
    """Return the pair of images that gives ``second_best``; the best single image, or nothing, where there is none."""
    counts, best = stack.counts, 0
    pair: tuple[int, ...] = ()
    for phase in stack.phases:
        if phase.size <= 2:
            continue
        one_phase = _counted(counts[phase, None], stack.usable[phase])
        reach = _reach(one_phase, stack.distance_mm[phase], apart)
        lower = np.minimum(one_phase, _best_before(one_phase, reach))[:, 0]
        later = int(lower.argmax())
        if lower[later] > best:
            best = int(lower[later])
            earlier = int(one_phase[: reach[later, 0], 0].argmax())
            pair = (int(phase[earlier]), int(phase[later]))
    if pair or not counts.any():
        return pair
    return (int(counts.argmax()),)


def _counted(counts: NDArray[np.integer], usable: NDArray[np.bool_]) -> Counts:
    """Counts in a narrow type (faster), -1 on images that were never acquired."""
    narrow: Counts = np.where(usable[:, None], counts, -1).astype(np.int16)
    return narrow


def _reach(counts: Counts, distance_mm: FloatVector, apart: Apart) -> IntMatrix:
    """How many images from the start are far enough before each image to pair with it; (images, 1 or samples)."""
    order = np.arange(distance_mm.size)[:, None]
    pairwise: IntMatrix = np.maximum(order - 1, 0)
    if apart.kind == "separation-mm":
        limit = distance_mm - apart.separation_mm + ROUNDING_MM
        far: IntMatrix = np.minimum(pairwise, np.searchsorted(distance_mm, limit, side="right")[:, None])
        return far
    if apart.kind == "separate-runs":
        ends_run = np.where((counts >= 0) & (counts < apart.threshold), order, 0)
        return _largest_before(ends_run, 0)[:-1]
    return pairwise


def _best_before(counts: Counts, reach: IntMatrix) -> Counts:
    """Largest count among the first ``reach`` images; -1 where there is none."""
    so_far = _largest_before(counts, -1)
    found: Counts = so_far[reach[:, 0]] if reach.shape[1] == 1 else np.take_along_axis(so_far, reach, axis=0)
    return found


def _largest_before(rows: NDArray[AnyInt], nothing: int) -> NDArray[AnyInt]:
    """Row n holds the largest of the first n rows: (images + 1, samples)."""
    so_far = np.full((rows.shape[0] + 1, rows.shape[1]), nothing, dtype=rows.dtype)
    for n, row in enumerate(rows):  # a few hundred rows: ten times faster than ufunc.accumulate along this axis
        np.maximum(so_far[n], row, out=so_far[n + 1])
    return so_far
