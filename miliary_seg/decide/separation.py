"""Two images that are not contiguous: the count that the second-best of them reaches.

The rule asks for the threshold on *two non-contiguous* images. Its count is therefore that of the second-best image
of the best admissible pair. The same code serves one scan and thousands of simulated ones at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miliary_seg.decide.images import FloatVector, IntVector, Stack

IntMatrix = NDArray[np.int64]

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
    """Return the count of the second-best admissible image, for each row of counts.

    Parameters
    ----------
    counts
        Lesions per image, shape (samples, images).
    stack
        Where the images lie.
    apart
        When two images are not contiguous.

    Returns
    -------
    IntVector
        Shape (samples,); 0 where there is no admissible pair.
    """
    best = np.zeros(counts.shape[0], dtype=np.int64)
    for phase in stack.phases:
        if phase.size > 2:
            one_phase = np.where(stack.usable[phase], counts[:, phase], -1)
            partner = _best_before(one_phase, _reach(one_phase, stack.distance_mm[phase], apart))
            best = np.maximum(best, np.minimum(one_phase, partner).max(axis=1))
    return best


def deciding_pair(stack: Stack, apart: Apart) -> tuple[int, ...]:
    """Return the pair of images that gives ``second_best``; the best single image, or nothing, where there is none."""
    counts, best = stack.counts, 0
    pair: tuple[int, ...] = ()
    for phase in stack.phases:
        if phase.size <= 2:
            continue
        one_phase = np.where(stack.usable[phase], counts[phase], -1)[None]
        reach = np.broadcast_to(_reach(one_phase, stack.distance_mm[phase], apart), one_phase.shape)
        lower = np.minimum(one_phase, _best_before(one_phase, reach))[0]
        later = int(lower.argmax())
        if lower[later] > best:
            best = int(lower[later])
            pair = (int(phase[one_phase[0, : reach[0, later]].argmax()]), int(phase[later]))
    if pair or not counts.any():
        return pair
    return (int(counts.argmax()),)


def _reach(counts: IntMatrix, distance_mm: FloatVector, apart: Apart) -> IntMatrix:
    """How many images from the start are far enough before each image to pair with it; (1 or samples, images)."""
    order = np.arange(distance_mm.size)
    pairwise = np.maximum(order - 1, 0)
    if apart.kind == "separation-mm":
        limit = distance_mm - apart.separation_mm + ROUNDING_MM
        far: IntMatrix = np.minimum(pairwise, np.searchsorted(distance_mm, limit, side="right"))[None]
        return far
    if apart.kind == "separate-runs":
        ends_run = np.where((counts >= 0) & (counts < apart.threshold), order, 0)
        last: IntMatrix = np.maximum.accumulate(ends_run, axis=1)
        return np.concatenate([np.zeros_like(last[:, :1]), last[:, :-1]], axis=1)
    return pairwise[None]


def _best_before(counts: IntMatrix, reach: IntMatrix) -> IntMatrix:
    """Largest count among the first ``reach`` images; -1 where there is none."""
    so_far = np.maximum.accumulate(counts, axis=1)
    padded = np.concatenate([np.full_like(so_far[:, :1], -1), so_far], axis=1)
    if reach.shape[0] == 1:
        return padded[:, reach[0]]
    found: IntMatrix = np.take_along_axis(padded, reach, axis=1)
    return found
