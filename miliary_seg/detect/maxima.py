"""Maxima of the Laplacian over space and scale, a few slices at a time.

A pixel must first be the largest of its 3 x 3 neighbours in its own slice and scale, above the floor and in the mask:
three passes of OpenCV and numpy over a batch of slices that stays in the cache. Few pixels are left; only these are
compared with the neighbouring slices and scales, by looking up the 3 x 3 maxima there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from miliary_seg.detect.scale_space import ScaleSpace, over_slices
from miliary_seg.domain.volume import BoolArray

IntArray = NDArray[np.intp]

SQUARE = np.ones((3, 3), dtype=np.uint8)
"""A pixel and its 8 neighbours."""
LINE = SQUARE[:1]
"""A pixel and its 2 neighbours in the row."""
BATCH_PIXELS = 200_000
"""Pixels of a slice range searched together: long calls beside their overhead, little memory beside the volume."""
NEAREST = (0, -1, 1)
"""Steps to the neighbours along an axis, itself first."""


def maxima(
    space: ScaleSpace,
    sign: int,
    floors: Sequence[float],
    own: range,
    mask: BoolArray | None = None,
    reach: tuple[int, int] = (1, 1),
) -> tuple[IntArray, IntArray]:
    """Places where the Laplacian is largest among its neighbours in space and scale.

    Parameters
    ----------
    space
        Scale space.
    sign
        1 for blobs brighter than their surroundings, -1 for darker ones.
    floors
        Least response of each scale.
    own
        Scales at which maxima are taken; the others only serve as neighbours.
    mask
        Where to look; None for everywhere.
    reach
        How many slices, and how many scales, either way count as neighbours: 0 or 1.

    Returns
    -------
    scale : array (n,)
    voxel : array (n, 3)
        In order of slice, scale, row and column.
    """
    size = space.gaussians[0][0].size
    filled = np.arange(len(space.gaussians[0])) if mask is None else np.flatnonzero(mask.any(axis=(1, 2)))
    if len(filled) == 0:
        return np.zeros(0, dtype=np.intp), np.zeros((0, 3), dtype=np.intp)
    found: dict[int, IntArray] = {}
    low, high = int(filled[0]), int(filled[-1]) + 1

    def work(first: int, stop: int) -> None:
        sweep = _Sweep(space, sign, floors, reach)
        found[first] = sweep.search((low + first, low + stop), own, mask)

    over_slices(work, high - low)
    place, scale = np.concatenate([found[first] for first in sorted(found)]).T
    order = np.lexsort((place, scale, place // size))
    voxel = np.column_stack(np.unravel_index(place[order], space.gaussians[0].shape))
    return scale[order], voxel


class _Sweep:
    """The 3 x 3 maxima of a few slices at every scale, moving through a range of slices.

    Slots 0 and 1 hold the last two slices of the batch before, so that no slice is filtered twice.
    """

    def __init__(self, space: ScaleSpace, sign: int, floors: Sequence[float], reach: tuple[int, int]) -> None:
        self.space, self.sign, self.floors = space, sign, floors
        self.reach, self.scale_reach = reach
        self.n_slices, rows, columns = space.gaussians[0].shape
        self.size = rows * columns
        self.batch = max(1, min(BATCH_PIXELS // self.size, self.n_slices))
        self.largest = np.zeros((len(floors), self.batch + 2, rows, columns), dtype=np.float32)
        self.response = np.empty((self.batch, rows, columns), dtype=np.float32)
        self.hit, self.above = (np.empty((self.batch, rows, columns), dtype=bool) for _ in range(2))

    def search(self, slices: tuple[int, int], own: range, mask: BoolArray | None) -> IntArray:
        """Maxima in a range of slices as rows (voxel, scale); voxels are numbered through the whole array."""
        first, stop = slices
        low, high = max(first - self.reach, 0), min(stop + self.reach, self.n_slices)
        done, waiting = [], np.zeros((0, 2), dtype=np.intp)
        for a in range(low, high, self.batch):
            b = min(a + self.batch, high)
            if self.reach:
                self.largest[:, :2] = self.largest[:, self.batch :]
            hits = [waiting]
            for scale in range(len(self.floors)) if self.scale_reach else own:
                self._filter(scale, a, b)
                if scale in own:
                    hits.append(self._hits(scale, (a, b), mask))
            table = np.concatenate(hits)
            table = table[(table[:, 0] >= first * self.size) & (table[:, 0] < stop * self.size)]
            # The last slice waits for its neighbour, which comes with the next batch.
            ready = table[:, 0] < self.size * (b if b == high else b - self.reach)
            done.append(self._unsurpassed(table[ready], a))
            waiting = table[~ready]
        return np.concatenate(done)

    def _filter(self, scale: int, a: int, b: int) -> None:
        """Responses of slices a to b, and the largest of each pixel's 3 x 3 neighbours in its slice."""
        response, largest = self.response[: b - a], self.largest[scale, 2 : 2 + b - a]
        self.space.respond(scale, (a, b), response, self.sign)
        rows, columns = response.shape[1:]
        cv2.dilate(response.reshape(-1, columns), SQUARE if rows > 1 else LINE, dst=largest.reshape(-1, columns))
        # Slices are stacked to one tall image: at their first and last row the filter sees the slice next door.
        for edge, inner in ((0, 1), (-1, -2)) if rows > 1 else ():
            largest[:, edge] = cv2.dilate(np.maximum(response[:, edge], response[:, inner]), LINE)

    def _hits(self, scale: int, slices: tuple[int, int], mask: BoolArray | None) -> IntArray:
        """Pixels that are largest in their slice and scale, as rows (voxel, scale)."""
        a, b = slices
        response, hit, above = self.response[: b - a], self.hit[: b - a], self.above[: b - a]
        np.greater_equal(response, self.largest[scale, 2 : 2 + b - a], out=hit)
        np.greater(response, self.floors[scale], out=above)
        hit &= above
        if mask is not None:
            hit &= mask[a:b]
        voxel = np.flatnonzero(hit) + a * self.size
        return np.column_stack([voxel, np.full(len(voxel), scale)])

    def _unsurpassed(self, hits: IntArray, a: int) -> IntArray:
        """Those hits that are not surpassed in a neighbouring slice or scale; slice a lies in slot 2."""
        values, slots = self.largest.reshape(-1), self.batch + 2
        steps = product(NEAREST[: 2 * self.reach + 1], NEAREST[: 2 * self.scale_reach + 1])
        for z_step, scale_step in list(steps)[1:]:
            voxel, scale = hits.T
            z = voxel // self.size
            shift = np.clip(z + z_step, 0, self.n_slices - 1) - z
            other = np.clip(scale + scale_step, 0, len(self.floors) - 1)
            here = voxel + (scale * slots + 2 - a) * self.size
            there = voxel + (other * slots + 2 - a + shift) * self.size
            hits = hits[values[here] >= values[there]]
        return hits
