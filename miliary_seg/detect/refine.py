"""Position of a maximum to a fraction of a voxel, its width to a fraction of a scale step, and its shape."""

from __future__ import annotations

import math

import numpy as np

from miliary_seg.detect.blur import ScaleSpace, over_slices
from miliary_seg.domain.arrays import Float32Array, Float64Array, IndexArray

STEPS = np.eye(3, dtype=np.intp)
"""One voxel along each axis."""
CHUNK = 8192
"""Maxima refined together: their neighbours stay in the cache, and memory does not grow with their number."""


def response_at(space: ScaleSpace, scale: IndexArray, voxel: IndexArray) -> Float64Array:
    """-sigma^2 Laplacian at single voxels (n, 3) of single scales (n,); those beyond the border are moved onto it."""
    result = np.zeros(len(scale))
    for level in np.unique(scale):
        chosen = scale == level
        grey = _Neighbours(space.gaussians[level], voxel[chosen])
        centre = grey.at(0, 0, 0)
        total = np.zeros(len(centre))
        for weight, step in zip(space.weights(int(level)), STEPS, strict=True):
            total += weight * (2 * centre - grey.at(*step) - grey.at(*-step))
        result[chosen] = total
    return result


class _Neighbours:
    """Grey values beside n voxels (n, 3) of an array; the border is repeated outwards."""

    def __init__(self, array: Float32Array, voxel: IndexArray) -> None:
        self.values = array.reshape(-1)
        self.place = np.zeros(len(voxel), dtype=np.intp)
        self.moves: list[dict[int, IndexArray | int]] = []
        strides = (array.shape[1] * array.shape[2], array.shape[2], 1)
        for axis, (size, stride) in enumerate(zip(array.shape, strides, strict=True)):
            at = voxel[:, axis]
            self.place += at * stride
            self.moves.append({-1: np.where(at > 0, -stride, 0), 0: 0, 1: np.where(at < size - 1, stride, 0)})

    def at(self, z: int, y: int, x: int) -> Float64Array:
        """Values one or no step away along each axis."""
        place = self.place + self.moves[0][z] + self.moves[1][y] + self.moves[2][x]
        values: Float64Array = self.values[place].astype(np.float64)
        return values


def refine(
    space: ScaleSpace, scale: IndexArray, voxel: IndexArray, sign: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Sub-voxel index (n, 3), width in mm (n,) and response (n,) of maxima, by a parabola along each axis and scale."""
    index, sigma, peak = voxel.astype(np.float64), np.empty(len(scale)), np.empty(len(scale))

    def work(first: int, stop: int) -> None:
        part = slice(first, stop)
        shift, sigma[part], peak[part] = _parabolas(space, scale[part], voxel[part], sign)
        index[part] += shift

    over_slices(work, len(scale), CHUNK)
    return index, sigma, peak


def _parabolas(
    space: ScaleSpace, scale: IndexArray, voxel: IndexArray, sign: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Shift in voxels (n, 3), width in mm (n,) and response (n,)."""
    top = len(space.sigmas_mm) - 1
    limit = np.array(space.gaussians[0].shape) - 1
    peak = sign * response_at(space, scale, voxel)
    shift = np.empty(voxel.shape)
    for axis, step in enumerate(STEPS):
        low = sign * response_at(space, scale, np.maximum(voxel - step, 0))
        high = sign * response_at(space, scale, np.minimum(voxel + step, limit))
        shift[:, axis] = _vertex(low, peak, high)
    low = sign * response_at(space, np.maximum(scale - 1, 0), voxel)
    high = sign * response_at(space, np.minimum(scale + 1, top), voxel)
    change = np.where((scale == 0) | (scale == top), 0.0, _vertex(low, peak, high))
    log_sigma = np.interp(scale + change, np.arange(top + 1), np.log(space.sigmas_mm))
    return shift, np.exp(log_sigma), peak


def _vertex(low: Float64Array, peak: Float64Array, high: Float64Array) -> Float64Array:
    """Where the parabola through three values has its top, in steps from the middle, at most half a step."""
    curvature = low - 2 * peak + high
    safe = np.where(curvature < -1e-12, curvature, -1.0)
    return np.where(curvature < -1e-12, np.clip((low - high) / (2 * safe), -0.5, 0.5), 0.0)


def eigen_ratio(space: ScaleSpace, scale: IndexArray, voxel: IndexArray, sign: int) -> Float64Array:
    """Smallest over largest curvature at maxima, -1 to 1: 1 for a ball, 0 for a line; in the plane for thick slices."""
    ratio = np.empty(len(scale))

    def work(first: int, stop: int) -> None:
        values = np.linalg.eigvalsh(-sign * _hessian(space, scale[first:stop], voxel[first:stop]))
        ratio[first:stop] = np.clip(values[:, 0] / np.maximum(values[:, -1], 1e-12), -1, 1)

    over_slices(work, len(scale), CHUNK)
    return ratio


def _hessian(space: ScaleSpace, scale: IndexArray, voxel: IndexArray) -> Float64Array:
    """Second differences of the grey values per mm^2, (n, 3, 3); (n, 2, 2) for thick slices."""
    axes = (1, 2) if space.thick else (0, 1, 2)
    hessian = np.zeros((len(scale), len(axes), len(axes)))
    for level in np.unique(scale):
        chosen = np.flatnonzero(scale == level)
        grey = _Neighbours(space.gaussians[level], voxel[chosen])
        centre = grey.at(0, 0, 0)
        for row, a in enumerate(axes):
            for column, b in enumerate(axes[: row + 1]):
                if a == b:
                    second = grey.at(*STEPS[a]) + grey.at(*-STEPS[a]) - 2 * centre
                else:
                    plus, minus = STEPS[a] + STEPS[b], STEPS[a] - STEPS[b]
                    second = (grey.at(*plus) + grey.at(*-plus) - grey.at(*minus) - grey.at(*-minus)) / 4
                size = space.spacing_mm[a] * space.spacing_mm[b]
                hessian[chosen, row, column] = hessian[chosen, column, row] = second / size
    return hessian


def radius_mm(sigma_mm: Float64Array, thick: bool) -> Float64Array:
    """Radius of the ball that responds most at a width: sqrt(3) sigma in 3-D, sqrt(2) sigma in plane (Lindeberg)."""
    return sigma_mm * math.sqrt(2 if thick else 3)
