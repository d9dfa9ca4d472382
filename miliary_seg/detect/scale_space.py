"""Scale-normalised Laplacian of Gaussian in millimetres, on plain arrays.

One scale space for thick and thin slices: each axis is blurred to the same width in mm, as far as its spacing allows.
Where slices are 5 mm apart, scales finer than that leave the slice axis alone and the filter works in the plane.

Everything moves one cache-resident plane at a time through numpy's own loops, which release the interpreter lock:
two threads over slices keep two cores busy. The Laplacian is never stored; planes of it are made where they are needed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

Float32Array = NDArray[np.float32]
Spacing = tuple[float, float, float]

SECOND_DIFFERENCE_VARIANCE = 1 / 6
"""Variance in px^2 that the 3-point second difference itself adds to a Gaussian (its fourth-order term is h^2/12)."""
KERNEL_TAIL = 5e-4
"""Mass that a truncated kernel may leave out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScaleSpace:
    """Gaussian-blurred copies of one array.

    Parameters
    ----------
    gaussians
        One array (slice, row, column) per scale, float32.
    sigmas_mm
        Width of each, ascending.
    spacing_mm
        Spacing of the arrays.
    """

    gaussians: tuple[Float32Array, ...]
    sigmas_mm: tuple[float, ...]
    spacing_mm: Spacing

    def weights(self, scale: int) -> Spacing:
        """Factors that make second differences along each axis scale-normalised (dimensionless)."""
        s, r, c = ((self.sigmas_mm[scale] / q) ** 2 for q in self.spacing_mm)
        return s, r, c

    def plane(self, scale: int, z: int, out: Float32Array, scratch: Float32Array) -> None:
        """Write one plane of -sigma^2 Laplacian of Gaussian: positive on blobs brighter than their surroundings."""
        g = self.gaussians[scale]
        wz, wy, wx = (np.float32(w) for w in self.weights(scale))
        centre = g[z]
        np.multiply(centre, 2 * (wz + wy + wx), out=out)
        np.add(g[max(z - 1, 0)], g[min(z + 1, len(g) - 1)], out=scratch)
        scratch *= wz
        out -= scratch
        _neighbour_sum(centre, scratch)
        scratch *= wy
        out -= scratch
        _neighbour_sum(centre.T, scratch.T)
        scratch *= wx
        out -= scratch

    def laplacian(self, scale: int) -> Float32Array:
        """The whole scale-normalised Laplacian of one scale (a full-size array; detection itself never makes it)."""
        g = self.gaussians[scale]
        result, scratch = np.empty_like(g), np.empty_like(g[0])
        for z in range(len(g)):
            self.plane(scale, z, result[z], scratch)
        return result


def _neighbour_sum(plane: Float32Array, out: Float32Array) -> None:
    """Sum of the two neighbours along the first axis; the border is its own neighbour."""
    if len(plane) == 1:
        np.multiply(plane, np.float32(2), out=out)
        return
    np.add(plane[2:], plane[:-2], out=out[1:-1])
    np.add(plane[0], plane[1], out=out[0])
    np.add(plane[-1], plane[-2], out=out[-1])


def scale_space(
    array: NDArray[np.generic],
    spacing_mm: Sequence[float],
    sigmas_mm: Sequence[float],
    blurred_px2: Sequence[float] = (0.0, 0.0, 0.0),
) -> ScaleSpace:
    """Blur an array to a ladder of widths, each from the one before.

    Parameters
    ----------
    array
        Volume (slice, row, column); one slice or 1 x N slices are answered too.
    spacing_mm
        Distance between voxels along each axis.
    sigmas_mm
        Widths, ascending.
    blurred_px2
        Variance in px^2 along each axis that the array has already (block averages), counted towards the first width.

    Returns
    -------
    ScaleSpace
        With float32 arrays; memory is one copy of the volume per scale.

    Raises
    ------
    ValueError
        If the array is not 3-D or is empty, or spacing or widths are not positive and ascending.

    Examples
    --------
    >>> ball = np.zeros((9, 9, 9)); ball[4, 4, 4] = 1
    >>> space = scale_space(ball, (1, 1, 1), (1.0, 1.4))
    >>> int(space.laplacian(0).argmax()) == 4 * 81 + 4 * 9 + 4
    True
    """
    source = np.ascontiguousarray(array, dtype=np.float32)
    spacing, sigmas = tuple(float(q) for q in spacing_mm), tuple(float(s) for s in sigmas_mm)
    if source.ndim != 3 or source.size == 0 or len(spacing) != 3:
        raise ValueError(f"need a non-empty 3-D array and 3 spacings, got shape {source.shape} and {len(spacing)}")
    if not all(math.isfinite(v) and v > 0 for v in (*spacing, *sigmas)) or list(sigmas) != sorted(set(sigmas)):
        raise ValueError(f"spacing and sigmas must be positive, sigmas ascending, got {spacing} and {sigmas}")
    done = [float(v) for v in blurred_px2]
    gaussians: list[Float32Array] = []
    for sigma in sigmas:
        kernels = []
        for axis, q in enumerate(spacing):
            variance = max((sigma / q) ** 2 - SECOND_DIFFERENCE_VARIANCE, done[axis])
            kernels.append(discrete_gaussian(variance - done[axis]))
            done[axis] = variance
        target = np.empty_like(source)
        _blur(source, kernels, target)
        gaussians.append(target)
        source = target
    return ScaleSpace(gaussians=tuple(gaussians), sigmas_mm=sigmas, spacing_mm=(spacing[0], spacing[1], spacing[2]))


def discrete_gaussian(variance_px2: float, tail: float = KERNEL_TAIL) -> Float32Array:
    """Half of Lindeberg's discrete Gaussian (T. Lindeberg, IEEE PAMI 12:234, 1990), centre first, whole sum 1.

    Unlike a sampled Gaussian it keeps its variance below one pixel, and kernels of two variances convolve to their sum.
    """
    if variance_px2 < 1e-4:
        return np.ones(1, dtype=np.float32)
    taps = ive(np.arange(int(5 * math.sqrt(variance_px2)) + 6), variance_px2)
    left_out = 1 - (2 * np.cumsum(taps) - taps[0])
    taps = taps[: max(1, int(np.argmax(left_out < tail))) + 1]
    half: Float32Array = (taps / (2 * taps.sum() - taps[0])).astype(np.float32)
    return half


def threads() -> int:
    """Threads over slices: the machine's cores as far as this process may use them, at most 4."""
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)))


def over_slices(work: Callable[[int, int], None], n_slices: int) -> None:
    """Run ``work(first, stop)`` over contiguous ranges of slices, one per thread."""
    n = min(threads(), n_slices)
    edges = [n_slices * i // n for i in range(n + 1)]
    if n == 1:
        work(0, n_slices)
        return
    with ThreadPoolExecutor(n) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


def _blur(source: Float32Array, kernels: Sequence[Float32Array], target: Float32Array) -> None:
    """Separable blur of every plane of ``source`` into ``target``; edges are continued by their last voxel."""
    along_z, along_y, along_x = kernels

    def work(first: int, stop: int) -> None:
        lane = _PlaneBlur(source.shape[1:], along_y, along_x)
        for z in range(first, stop):
            _blur_slices(source, z, along_z, lane.plane, lane.scratch)
            lane.blur(target[z])

    over_slices(work, len(source))


def _blur_slices(source: Float32Array, z: int, kernel: Float32Array, out: Float32Array, scratch: Float32Array) -> None:
    """One plane of the blur across slices."""
    last = len(source) - 1
    np.multiply(source[z], kernel[0], out=out)
    for tap in range(1, len(kernel)):
        np.add(source[max(z - tap, 0)], source[min(z + tap, last)], out=scratch)
        scratch *= kernel[tap]
        out += scratch


class _PlaneBlur:
    """Buffers to blur one plane along rows and columns with contiguous operands only.

    The pass along columns runs over the flat buffer of padded rows: a shift by one column is a shift by one element,
    and what it drags in from the next row lands in the padding.
    """

    def __init__(self, shape: tuple[int, ...], along_y: Float32Array, along_x: Float32Array) -> None:
        rows, columns = shape
        self.along_y, self.along_x = along_y, along_x
        ry, rx = len(along_y) - 1, len(along_x) - 1
        self.plane = np.empty((rows, columns), dtype=np.float32)
        self.scratch = np.empty((rows, columns), dtype=np.float32)
        self.tall = np.empty((rows + 2 * ry, columns), dtype=np.float32)
        self.wide = np.zeros((rows + 2, columns + 2 * rx), dtype=np.float32)
        self.flat_sum = np.empty((rows, columns + 2 * rx), dtype=np.float32)
        self.flat_scratch = np.empty(rows * (columns + 2 * rx), dtype=np.float32)

    def blur(self, out: Float32Array) -> None:
        """Blur ``plane`` into ``out``; ``plane`` is used up."""
        rows, columns = self.plane.shape
        ry, rx = len(self.along_y) - 1, len(self.along_x) - 1
        if ry:
            self.tall[ry : ry + rows] = self.plane
            self.tall[:ry] = self.plane[0]
            self.tall[ry + rows :] = self.plane[-1]
            _symmetric(self.tall.reshape(-1), columns, self.along_y, self.plane.reshape(-1), self.scratch.reshape(-1))
        if not rx:
            out[...] = self.plane
            return
        self.wide[1:-1, rx : rx + columns] = self.plane
        self.wide[1:-1, :rx] = self.plane[:, :1]
        self.wide[1:-1, rx + columns :] = self.plane[:, -1:]
        start = self.wide.shape[1] - rx
        shifted = self.wide.reshape(-1)[start : start + self.flat_sum.size + 2 * rx]
        _symmetric(shifted, 1, self.along_x, self.flat_sum.reshape(-1), self.flat_scratch)
        out[...] = self.flat_sum[:, rx : rx + columns]


def _symmetric(padded: Float32Array, stride: int, kernel: Float32Array, out: Float32Array, tmp: Float32Array) -> None:
    """Correlate a flat array with a symmetric kernel, taps ``stride`` apart; ``padded`` is longer by its reach."""
    reach, n = (len(kernel) - 1) * stride, out.size
    np.multiply(padded[reach : reach + n], kernel[0], out=out)
    for tap in range(1, len(kernel)):
        shift = tap * stride
        np.add(padded[reach - shift : reach - shift + n], padded[reach + shift : reach + shift + n], out=tmp)
        tmp *= kernel[tap]
        out += tmp
