"""Small pictures of candidates in units of their own contrast: the input of the network (docs/rejector.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miliary_seg.detect.work_grid import Spacing
from miliary_seg.domain.arrays import Float32Array, Float64Array, IndexArray

SIZE = 24
"""Pixels along a side."""
PIXEL_MM = 0.7
"""Finest pixel, as in fine clinical scans. The picture then shows 17 mm, enough to see a vessel beyond the lesion."""
PIXEL_RADIUS_MM = 2.4
"""Up to about this radius the finest pixel is used; for larger candidates the pixel grows with the radius."""
RUNGS = 2
"""Steps of the pixel per doubling of the radius."""
BLUR_PIXELS = 0.8
"""Standard deviation of the Gaussian whose weighted mean is a pixel."""
PROJECTED = 4
"""Pixels on either side of the centre that a projection covers: 6 mm in all at the finest pixel. Within that a vessel
shows its course and a lesion stays a ball."""
LIMIT = 3.0
"""Grey values are clipped at this many contrasts from the surroundings."""
LEAST_CONTRAST = 1e-3
"""Contrasts below this (in brain spans) count as this, so that noise is not stretched further."""
BATCH = 64
"""Candidates sampled at a time: the same whatever the number of threads, and memory does not grow with their number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchSites:
    """Position, size and contrast of n candidates on one grid."""

    index: Float64Array
    """Fractional index (n, 3)."""
    radius_mm: Float64Array
    sign: NDArray[np.int_]
    """1 bright, -1 dark."""
    level: Float64Array
    """Grey value of the surroundings, times the sign."""
    contrast: Float64Array
    """Height of the centre above ``level``; at least ``LEAST_CONTRAST``."""

    def where(self, rows: IndexArray) -> PatchSites:
        """Some of them."""
        return PatchSites(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def jobs(self) -> list[tuple[float, IndexArray]]:
        """Rows that are sampled together and the pixel of their picture in mm."""
        ratio = np.maximum(self.radius_mm, PIXEL_MM) / PIXEL_RADIUS_MM
        rung = np.maximum(0, np.rint(RUNGS * np.log2(ratio))).astype(int)
        every = [(PIXEL_MM * 2.0 ** (step / RUNGS), np.flatnonzero(rung == step)) for step in np.unique(rung)]
        return [(pixel, rows[n : n + BATCH]) for pixel, rows in every for n in range(0, len(rows), BATCH)]


def pictures(grey: Float32Array, spacing_mm: Spacing, places: PatchSites, pixel_mm: float, thick: bool) -> Float32Array:
    """Pictures of candidates of about one size.

    Parameters
    ----------
    grey
        Voxels (slice, row, column).
    spacing_mm
        Spacing along those.
    places
        The n candidates.
    pixel_mm
        Pixel of the pictures.
    thick
        Whether slices are thick; then only the plane of the slice is used.

    Returns
    -------
    array (n, planes, SIZE, SIZE, channels)
        In contrasts above the surroundings, at most ``LIMIT`` either way. Thin slices: three planes through the centre,
        each as a section and as a maximum projection. Thick ones: one plane; the slice itself, and the larger and the
        smaller value of both neighbours.
    """
    cube = _cubes(grey, spacing_mm, places.index, pixel_mm, thick)
    sign, level, contrast = (
        column.astype(np.float32)[:, None, None, None] for column in (places.sign, places.level, places.contrast)
    )
    cube = np.clip((sign * cube - level) / np.maximum(contrast, LEAST_CONTRAST), -LIMIT, LIMIT)
    return _in_plane(cube) if thick else _projections(cube)


def _in_plane(cube: Float32Array) -> Float32Array:
    below, own, above = cube[:, 0], cube[:, 1], cube[:, 2]
    return np.stack([own, np.maximum(below, above), np.minimum(below, above)], axis=-1)[:, None]


def _projections(cube: Float32Array) -> Float32Array:
    """Section and maximum projection along each axis of cubes (n, SIZE, SIZE, SIZE)."""
    middle = SIZE // 2
    views = []
    for axis in (1, 2, 3):
        slab = np.moveaxis(cube, axis, 1)[:, middle - PROJECTED : middle + PROJECTED]
        section = 0.5 * (slab[:, PROJECTED - 1] + slab[:, PROJECTED])
        views.append(np.stack([section, slab.max(axis=1)], axis=-1))
    return np.stack(views, axis=1)


def _cubes(grey: Float32Array, spacing_mm: Spacing, index: Float64Array, pixel_mm: float, thick: bool) -> Float32Array:
    """Grey values (n, SIZE or 3 slices, SIZE, SIZE) around each index; beyond the scan the last slice is repeated."""
    lines, windows = [], []
    for axis, mm in enumerate(spacing_mm):
        if thick and axis == 0:
            line = np.rint(index[:, :1]).astype(np.intp) + np.array([-1, 0, 1])
        else:
            line, window = _window(index[:, axis], mm, pixel_mm)
            windows.append(window)
        lines.append(line)
    cube = _boxes(grey, lines)
    n, depth, rows, columns = cube.shape
    cube = (cube.reshape(n, depth * rows, columns) @ windows[-1]).reshape(n, depth, rows, SIZE)
    cube = windows[-2].transpose(0, 2, 1)[:, None] @ cube
    if not thick:
        cube = (windows[0].transpose(0, 2, 1) @ cube.reshape(n, depth, -1)).reshape(n, SIZE, SIZE, SIZE)
    return cube


def _boxes(grey: Float32Array, lines: list[IndexArray]) -> Float32Array:
    """Voxels at evenly spaced slices, rows and columns (n, m) each, as boxes (n, m, m, m)."""
    box = np.empty((len(lines[0]), *(line.shape[1] for line in lines)), dtype=np.float32)
    within = np.ones(len(box), dtype=bool)
    for line, count in zip(lines, grey.shape, strict=True):
        within &= (line[:, 0] >= 0) & (line[:, -1] < count)
    for row in np.flatnonzero(within):  # copying a view takes a sixth of the time of indexing every voxel
        z, y, x = (slice(line[row, 0], line[row, -1] + 1, line[row, 1] - line[row, 0]) for line in lines)
        box[row] = grey[z, y, x]
    for row in np.flatnonzero(~within):
        box[row] = grey[np.ix_(*(np.clip(line[row], 0, n - 1) for line, n in zip(lines, grey.shape, strict=True)))]
    return box


def _window(centre: Float64Array, mm: float, pixel_mm: float) -> tuple[IndexArray, Float32Array]:
    """Voxels (n, m) around each centre along one axis, and the weights (n, m, SIZE) that make pixels of them."""
    blur, stride = BLUR_PIXELS * pixel_mm, max(1, int(pixel_mm / mm))
    half = int(np.ceil(((SIZE - 1) / 2 * pixel_mm + 2 * blur) / (mm * stride)))
    line = np.rint(centre).astype(np.intp)[:, None] + stride * np.arange(-half, half + 1)
    place = (line - centre[:, None]) * mm
    target = (np.arange(SIZE) - (SIZE - 1) / 2) * pixel_mm
    # A window narrower than a voxel could fall between two of them.
    weight = np.exp(-0.5 * ((place[:, :, None] - target) / max(blur, 0.5 * mm * stride)) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    return line, weight.astype(np.float32)
