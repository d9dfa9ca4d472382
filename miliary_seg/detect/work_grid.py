"""The grid that detection works on: slices first, axes nearest to RAS, cropped to the brain, pixels of 0.6 mm or more.

All arrays of this stage are (slice, row, column) on that grid. Because the voxel axes are first brought into one
canonical order and direction, a scan gives bit for bit the same detections in any of its 48 orientations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.grid import other_axes
from miliary_seg.domain.volume import Volume

Scalar = TypeVar("Scalar", bound=np.generic)

Spacing = tuple[float, float, float]

MARGIN_MM = 8.0
"""Kept around the mask, so that kernels of the fine scales see a neighbourhood (docs/detection.md, step 1)."""
PIXEL_MM = 0.6
"""In-plane pixels finer than this are averaged: the smallest target (1 mm) spans two of them (docs/detection.md)."""
THICK_MM = 2.25
"""With slices further apart than this, shape and surroundings are measured in the plane only (docs/detection.md)."""
COARSEST_AXIS_RATIO = 1.5
"""If the spacing along another axis is this many times larger (a reformatted scan), that axis is used as slice axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkGrid:
    """How the work arrays lie in the input array.

    Parameters
    ----------
    shape
        Input shape (i, j, k).
    axes
        Input axis of each work axis (slice, row, column).
    flips
        Whether the work axis runs against the input axis.
    start, stop
        Crop along the work axes, in input voxels of the flipped array.
    block
        Input voxels averaged into one work voxel along each work axis.
    input_spacing_mm
        Spacing of the input along the work axes.
    """

    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    block: tuple[int, int, int]
    input_spacing_mm: Spacing

    @property
    def spacing_mm(self) -> Spacing:
        """Spacing of the work arrays in mm (slice, row, column)."""
        s, r, c = (q * b for q, b in zip(self.input_spacing_mm, self.block, strict=True))
        return s, r, c

    def oriented(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """View of an input array with the work axes in order and direction (not cropped)."""
        view = array.transpose(self.axes)
        return view[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    def cropped(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """View of an input array, oriented and cropped, at the input's own pixels."""
        return self.oriented(array)[tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))]

    def to_cropped(self, work_index: Float64Array) -> Float64Array:
        """Fractional index on the cropped input of fractional work indices (n, 3)."""
        block = np.array(self.block)
        result: Float64Array = work_index * block + (block - 1) / 2
        return result

    def to_ijk(self, work_index: Float64Array) -> Float64Array:
        """Fractional input index (i, j, k) of fractional work indices (n, 3)."""
        oriented = self.to_cropped(work_index) + np.array(self.start)
        size = np.array([self.shape[a] for a in self.axes])
        oriented = np.where(np.array(self.flips), size - 1 - oriented, oriented)
        ijk: Float64Array = np.empty_like(oriented)
        ijk[:, list(self.axes)] = oriented
        return ijk


def is_thick(spacing_mm: Spacing, n_slices: int) -> bool:
    """Whether shape is measured in the plane of a slice only, because slices lie far apart or are too few."""
    return spacing_mm[0] > THICK_MM or n_slices < 3


def work_grid(volume: Volume, mask: BoolArray) -> WorkGrid:
    """The work grid over the bounding box of a mask that is not empty."""
    grid = volume.grid
    spacing = list(grid.spacing_mm)
    spacing[volume.slice_axis] = volume.slice_spacing_mm
    coarsest = int(np.argmax(spacing))
    first = coarsest if spacing[coarsest] > COARSEST_AXIS_RATIO * spacing[volume.slice_axis] else volume.slice_axis
    second, third = sorted(other_axes(first), key=lambda a: grid.world_axes[a])
    axes = (first, second, third)
    flips = [bool(grid.directions[grid.world_axes[a], a] < 0) for a in axes]
    step = [spacing[a] for a in axes]
    start, stop = [], []
    for a, flip, mm in zip(axes, flips, step, strict=True):
        hit = np.flatnonzero(mask.any(axis=other_axes(a)))
        low, high = int(hit[0]), int(hit[-1]) + 1
        if flip:
            low, high = mask.shape[a] - high, mask.shape[a] - low
        margin = int(np.ceil(MARGIN_MM / mm))
        start.append(max(0, low - margin))
        stop.append(min(mask.shape[a], high + margin))
    block = [1] + [_block(step[a], stop[a] - start[a]) for a in (1, 2)]
    return WorkGrid(
        shape=grid.shape,
        axes=axes,
        flips=(flips[0], flips[1], flips[2]),
        start=(start[0], start[1], start[2]),
        stop=(stop[0], stop[1], stop[2]),
        block=(block[0], block[1], block[2]),
        input_spacing_mm=(step[0], step[1], step[2]),
    )


def _block(spacing_mm: float, size: int) -> int:
    """Pixels to average: only where the pixel is clearly finer than the work pixel, and never more than there are."""
    return 1 if spacing_mm >= 0.8 * PIXEL_MM else max(1, min(size, round(PIXEL_MM / spacing_mm)))


def block_mean(array: NDArray[Any], block: tuple[int, int, int]) -> Float32Array:
    """Mean over blocks, float32; the remainder at the far end of an axis is left out.

    Parameters
    ----------
    array
        Any numeric or bool array (slice, row, column), at least one block along each axis.
    block
        Voxels per block along each axis.
    """
    total = array
    for axis, size in enumerate(block):
        if size == 1:
            continue
        count = total.shape[axis] // size * size
        parts = [_strided(total, axis, start, count, size) for start in range(size)]
        acc = np.array(parts[0], dtype=np.float32)
        for part in parts[1:]:
            acc += part
        total = acc
    result = np.array(total, dtype=np.float32, order="C") if total is array else np.ascontiguousarray(total, np.float32)
    result /= np.float32(np.prod(block))
    return result


def _strided(array: NDArray[Any], axis: int, start: int, stop: int, step: int) -> NDArray[Any]:
    index: list[slice] = [slice(None)] * 3
    index[axis] = slice(start, stop, step)
    return array[tuple(index)]
