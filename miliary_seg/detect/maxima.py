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

from miliary_seg.detect.blur import Responses, ScaleSpace, as_image, over_slices
from miliary_seg.domain.arrays import BoolArray, Float32Array, IndexArray

SQUARE = np.ones((3, 3), dtype=np.uint8)
"""A pixel and its 8 neighbours."""
BATCH_PIXELS = 270_000
"""Pixels of a slice range searched together: long calls for their overhead, little memory beside the volume."""


def maxima(
    space: ScaleSpace,
    sign: int,
    floors: Sequence[float],
    own: range,
    mask: BoolArray | None = None,
    reach: tuple[int, int] = (1, 1),
) -> tuple[IndexArray, IndexArray]:
    """Points where the Laplacian is largest among its neighbours in space and scale.

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
    filled = np.arange(len(space.gaussians[0])) if mask is None else np.flatnonzero(mask.any(axis=(1, 2)))
    if len(filled) == 0:
        return np.zeros(0, dtype=np.intp), np.zeros((0, 3), dtype=np.intp)
    low, high = int(filled[0]), int(filled[-1]) + 1
    # Scales that are not compared with each other are searched one after the other: smaller buffers.
    groups = [range(len(floors))] if reach[1] else [range(scale, scale + 1) for scale in own]
    found: dict[tuple[int, int], IndexArray] = {}

    def work(first: int, stop: int) -> None:
        sweep = _Sweep(space, sign, floors, reach, mask)
        for scales in groups:
            found[first, scales[0]] = sweep.search((low + first, low + stop), scales, own)

    over_slices(work, high - low)
    voxel, scale = np.concatenate(list(found.values()), axis=1)
    n_slices, rows, columns = space.gaussians[0].shape
    z, row, column = np.unravel_index(voxel, (n_slices, rows + 2, columns))
    order = np.lexsort((voxel, scale, z))
    return scale[order], np.column_stack([z, row - 1, column])[order]


class _Sweep:
    """The 3 x 3 maxima of a few slices at some scales, moving through a range of slices.

    Slots 0 and 1 hold the last two slices of the batch before, so that no slice is filtered twice. The buffers are made
    once for each thread. Voxels are numbered with the rows that lie between the slices (``Responses``).
    """

    def __init__(
        self,
        space: ScaleSpace,
        sign: int,
        floors: Sequence[float],
        reach: tuple[int, int],
        mask: BoolArray | None,
    ) -> None:
        self.sign, self.floors, self.mask = sign, floors, mask
        self.reach, self.scale_reach = reach
        self.n_slices, rows, columns = space.gaussians[0].shape
        self.size = (rows + 2) * columns
        self.batch = max(1, min(BATCH_PIXELS // (rows * columns), self.n_slices))
        self.responses = Responses(space, self.batch)
        together = len(floors) if self.scale_reach else 1
        self.largest = np.zeros((together, self.batch + 2, rows + 2, columns), dtype=np.float32)
        self.hit, self.above = (np.empty((self.batch, rows + 2, columns), dtype=bool) for _ in range(2))

    def search(self, slices: tuple[int, int], scales: range, own: range) -> IndexArray:
        """Maxima of some scales in a range of slices as two rows: voxel and scale."""
        first, stop = slices
        low, high = max(first - self.reach, 0), min(stop + self.reach, self.n_slices)
        done, waiting = [], np.zeros((2, 0), dtype=np.intp)
        for a in range(low, high, self.batch):
            b = min(a + self.batch, high)
            if self.reach:
                self.largest[:, :2] = self.largest[:, self.batch :]
            hits = [self._hits(scale, self.largest[n], (a, b)) for n, scale in enumerate(scales)]
            hits = [hit if scale in own else hit[:0] for scale, hit in zip(scales, hits, strict=True)]
            table = np.stack([np.concatenate(hits), np.repeat(scales, [len(hit) for hit in hits])])
            table = table[:, (table[0] >= first * self.size) & (table[0] < stop * self.size)]
            table = np.concatenate([waiting, table], axis=1)
            # The last slice waits for its neighbour, which comes with the next batch.
            ready = table[0] < self.size * (b if b == high else b - self.reach)
            done.append(self._unsurpassed(table[:, ready], a, scales))
            waiting = table[:, ~ready]
        return np.concatenate(done, axis=1)

    def _hits(self, scale: int, slots: Float32Array, slices: tuple[int, int]) -> IndexArray:
        """Voxels that are largest in their slice and scale; the largest of each 3 x 3 go into the slots."""
        a, b = slices
        response, largest = self.responses.of(scale, slices, self.sign), slots[2 : 2 + b - a]
        hit, above = self.hit[: b - a], self.above[: b - a]
        cv2.dilate(as_image(response), SQUARE, dst=as_image(largest))
        np.greater_equal(response, largest, out=hit)
        np.greater(response, self.floors[scale], out=above)
        np.logical_and(hit, above, out=hit)
        if self.mask is not None:
            hit[:, 1:-1] &= self.mask[a:b]
        voxel: IndexArray = np.flatnonzero(hit) + a * self.size
        return voxel

    def _unsurpassed(self, hits: IndexArray, a: int, scales: range) -> IndexArray:
        """Those hits that are not surpassed in a neighbouring slice or scale; slice a lies in slot 2."""
        values, per_scale = self.largest.reshape(-1), (self.batch + 2) * self.size
        voxel, scale = hits
        z = voxel // self.size
        here = voxel + (2 - a) * self.size + (scale - scales[0]) * per_scale
        over_z = [0, self.size * (z < self.n_slices - 1), -self.size * (z > 0)]
        over_scales = [0, per_scale * (scale < scales[-1]), -per_scale * (scale > scales[0])]
        value, best = values[here], np.ones(len(here), dtype=bool)
        for z_step, scale_step in product(over_z[: 2 * self.reach + 1], over_scales[: 2 * self.scale_reach + 1]):
            best &= value >= values[here + z_step + scale_step]
        return hits[:, best]
