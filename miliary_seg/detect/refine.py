"""At single maxima: their place to a fraction of a voxel, their width to a fraction of a scale step, their shape."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from miliary_seg.detect.scale_space import Float32Array, ScaleSpace, Spacing

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

THICK_MM = 2.0
"""Slices further apart: shape and surroundings are judged in the plane only (docs/detection.md, thick slices)."""


def is_thick(spacing_mm: Spacing, n_slices: int) -> bool:
    """Whether shape is judged in the plane only."""
    return spacing_mm[0] > THICK_MM or n_slices < 3


def response_at(space: ScaleSpace, scale: IntArray, voxel: IntArray) -> Float64Array:
    """-sigma^2 Laplacian at single voxels (n, 3) of single scales (n,); places beyond the border are moved onto it."""
    shape = space.gaussians[0].shape
    result = np.zeros(len(scale))
    for level in np.unique(scale):
        chosen = scale == level
        g, weights, place = space.gaussians[level], space.weights(int(level)), voxel[chosen]
        total = np.zeros(len(place))
        centre = _gather(g, place, shape)
        for axis, weight in enumerate(weights):
            step = np.eye(3, dtype=np.intp)[axis]
            total += weight * (2 * centre - _gather(g, place + step, shape) - _gather(g, place - step, shape))
        result[chosen] = total
    return result


def _gather(array: Float32Array, voxel: IntArray, shape: tuple[int, ...]) -> Float64Array:
    z, y, x = (np.clip(voxel[:, a], 0, shape[a] - 1) for a in range(3))
    return array[z, y, x].astype(np.float64)


def refine(
    space: ScaleSpace, scale: IntArray, voxel: IntArray, sign: int
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Sub-voxel index (n, 3), width in mm (n,) and response (n,) of maxima, by a parabola along each axis and scale."""
    top = len(space.sigmas_mm) - 1
    limit = np.array(space.gaussians[0].shape) - 1
    peak = sign * response_at(space, scale, voxel)
    index = voxel.astype(np.float64)
    for axis in range(3):
        step = np.eye(3, dtype=np.intp)[axis]
        low = sign * response_at(space, scale, np.maximum(voxel - step, 0))
        high = sign * response_at(space, scale, np.minimum(voxel + step, limit))
        index[:, axis] += _vertex(low, peak, high)
    low = sign * response_at(space, np.maximum(scale - 1, 0), voxel)
    high = sign * response_at(space, np.minimum(scale + 1, top), voxel)
    shift = np.where((scale == 0) | (scale == top), 0.0, _vertex(low, peak, high))
    log_sigma = np.interp(scale + shift, np.arange(top + 1), np.log(space.sigmas_mm))
    return index, np.exp(log_sigma), peak


def _vertex(low: Float64Array, peak: Float64Array, high: Float64Array) -> Float64Array:
    """Where the parabola through three values has its top, in steps from the middle, at most half a step."""
    curvature = low - 2 * peak + high
    safe = np.where(curvature < -1e-12, curvature, -1.0)
    return np.where(curvature < -1e-12, np.clip((low - high) / (2 * safe), -0.5, 0.5), 0.0)


def eigen_ratio(space: ScaleSpace, scale: IntArray, voxel: IntArray, sign: int) -> Float64Array:
    """Smallest over largest curvature at maxima, -1 to 1: 1 for a ball, 0 for a line; in the plane for thick slices."""
    shape = space.gaussians[0].shape
    axes = (1, 2) if is_thick(space.spacing_mm, shape[0]) else (0, 1, 2)
    hessian = np.zeros((len(scale), len(axes), len(axes)))
    eye = np.eye(3, dtype=np.intp)
    for level in np.unique(scale):
        chosen = np.flatnonzero(scale == level)
        g, place = space.gaussians[level], voxel[chosen]
        centre = _gather(g, place, shape)
        for row, a in enumerate(axes):
            for column, b in enumerate(axes[: row + 1]):
                size = space.spacing_mm[a] * space.spacing_mm[b]
                if a == b:
                    second = _gather(g, place + eye[a], shape) + _gather(g, place - eye[a], shape) - 2 * centre
                else:
                    plus, minus = eye[a] + eye[b], eye[a] - eye[b]
                    second = _gather(g, place + plus, shape) + _gather(g, place - plus, shape)
                    second = (second - _gather(g, place + minus, shape) - _gather(g, place - minus, shape)) / 4
                hessian[chosen, row, column] = hessian[chosen, column, row] = -sign * second / size
    values = np.linalg.eigvalsh(hessian)
    ratio: Float64Array = np.clip(values[:, 0] / np.maximum(values[:, -1], 1e-12), -1, 1)
    return ratio


def radius_mm(sigma_mm: Float64Array, thick: bool) -> Float64Array:
    """Radius of the ball that answers most at a width: sqrt(3) sigma in 3-D, sqrt(2) sigma in the plane (Lindeberg)."""
    return sigma_mm * math.sqrt(2 if thick else 3)
