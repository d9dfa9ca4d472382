"""Scale-normalised Laplacian of Gaussian in millimetres, on plain arrays.

One scale space for thick and thin slices: each axis is blurred to the same width in mm, as far as its spacing allows.
Where slices are 5 mm apart, scales finer than that leave the slice axis alone and the filter works in the plane.

Filters are OpenCV's, one cache-resident plane at a time; they release the interpreter lock, so threads over slices keep
the cores busy. The Laplacian is never stored; planes of it are made where they are needed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

Float32Array = NDArray[np.float32]
Spacing = tuple[float, float, float]

SECOND_DIFFERENCE_VARIANCE = 1 / 6
"""Variance in px^2 that the 3-point second difference itself adds to a Gaussian (its fourth-order term is h^2/12)."""
REPLICATE = cv2.BORDER_REPLICATE
BATCH_PIXELS = 400_000
"""Pixels that one call filters: a few slices, one under the other, so that threads seldom wait for the interpreter."""
COLUMN_BLOCK = 4096
"""Pixels per block of the blur across slices: some hundred slices of it fit a 2 MB cache."""
NEGLIGIBLE_WEIGHT = 1e-9
"""A second difference across slices this small (slices far apart against the scale) does not change a float32."""
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

    def respond(self, scale: int, slices: tuple[int, int], out: Float32Array, sign: int = 1) -> None:
        """Write -sigma^2 Laplacian of Gaussian of some slices: positive on blobs brighter than their surroundings.

        Parameters
        ----------
        scale
            Which scale.
        slices
            First slice, and the one after the last.
        out
            Contiguous array (slices, rows, columns).
        sign
            -1 turns the sign: positive on darker blobs.
        """
        first, stop = slices
        g = self.gaussians[scale]
        part, (rows, columns) = g[first:stop], g.shape[1:]
        wz, wy, wx = (np.float32(sign * weight) for weight in self.weights(scale))
        wy *= rows > 1
        cross = np.array([[0, -wy, 0], [-wx, 2 * (wz + wy + wx), -wx], [0, -wy, 0]], dtype=np.float32)
        cv2.filter2D(part.reshape(-1, columns), -1, cross, dst=out.reshape(-1, columns), borderType=REPLICATE)
        # Slices are stacked to one tall image: at their first and last row the filter sees the slice next door.
        line = np.array([[-wx, 2 * (wz + wx) + wy, -wx]], dtype=np.float32)
        for edge, inner in ((0, 1), (-1, -2)) if rows > 1 else ():
            out[:, edge] = cv2.filter2D(part[:, edge].copy(), -1, line, borderType=REPLICATE) - wy * part[:, inner]
        if abs(wz) > NEGLIGIBLE_WEIGHT:
            _add_neighbours(g, slices, -wz, out)

    def laplacian(self, scale: int) -> Float32Array:
        """The whole scale-normalised Laplacian of one scale (a full-size array; detection itself never makes it)."""
        result = np.empty_like(self.gaussians[scale])
        self.respond(scale, (0, len(result)), result)
        return result


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
    del array  # It may be freed once the first width is there.
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


def _add_neighbours(array: Float32Array, slices: tuple[int, int], weight: np.float32, out: Float32Array) -> None:
    """Add the slices before and after, times a weight; at the ends of the scan the end itself is its neighbour."""
    first, stop = slices
    columns = array.shape[2]
    for step in (-1, 1):
        a, b = max(first, -step), min(stop, len(array) - step)
        if a > first:
            out[0] += weight * array[0]
        if b < stop:
            out[-1] += weight * array[-1]
        if a < b:
            source, target = array[a + step : b + step], out[a - first : b - first].reshape(-1, columns)
            cv2.scaleAdd(source.reshape(-1, columns), float(weight), target, dst=target)


def threads() -> int:
    """Threads over slices: ``OMP_NUM_THREADS``, else the cores that this process may use; at most 4."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return min(4, int(asked))
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)))


def over_slices(work: Callable[[int, int], None], count: int, longest: int | None = None) -> None:
    """Run ``work(first, stop)`` over contiguous ranges of slices (or of whatever is counted), on every thread.

    Parameters
    ----------
    work
        What to do; threads run it at the same time.
    count
        Number of slices.
    longest
        Most of them in one range, where memory matters; None for one range per thread.
    """
    n = max(1, min(threads(), count), -(-count // longest) if longest else 0)
    edges = [count * i // n for i in range(n + 1)]
    with _one_thread_in_opencv(), ThreadPoolExecutor(min(n, threads())) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


@contextmanager
def _one_thread_in_opencv() -> Iterator[None]:
    """Keep OpenCV from threading inside a plane: it would fight with the threads over slices (twice as slow)."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _blur(source: Float32Array, kernels: Sequence[Float32Array], target: Float32Array) -> None:
    """Separable blur of ``source`` into ``target``; edges are continued by their last voxel."""
    along_z, along_y, along_x = (_whole(kernel) for kernel in kernels)
    planes = source
    if len(along_z) > 1:
        _blur_across_slices(source, along_z, target)
        planes = target

    reach = len(along_y) // 2
    n_slices, rows, columns = source.shape
    batch = max(1, BATCH_PIXELS // (rows * columns))

    def work(first: int, stop: int) -> None:
        tall = np.empty((batch, rows + 2 * reach, columns), dtype=np.float32)
        blurred = np.empty_like(tall)
        for z in range(first * batch, min(stop * batch, n_slices), batch):
            part = planes[z : z + batch]
            n = len(part)
            tall[:n, reach : reach + rows] = part
            tall[:n, :reach] = part[:, :1]
            tall[:n, reach + rows :] = part[:, -1:]
            out = blurred[:n].reshape(-1, columns)
            cv2.sepFilter2D(tall[:n].reshape(-1, columns), -1, along_x, along_y, dst=out, borderType=REPLICATE)
            target[z : z + n] = blurred[:n, reach : reach + rows]

    over_slices(work, -(-n_slices // batch))


def _blur_across_slices(source: Float32Array, along_z: Float32Array, target: Float32Array) -> None:
    """Blur along the first axis: the volume as a table of slices by pixels, in column blocks that stay in the cache."""
    n_slices = len(source)
    table, result = source.reshape(n_slices, -1), target.reshape(n_slices, -1)

    def work(first: int, stop: int) -> None:
        for block in range(first, stop):
            columns = slice(block * COLUMN_BLOCK, (block + 1) * COLUMN_BLOCK)
            cv2.filter2D(table[:, columns], -1, along_z[:, None], dst=result[:, columns], borderType=REPLICATE)

    over_slices(work, -(-table.shape[1] // COLUMN_BLOCK))


def _whole(half: Float32Array) -> Float32Array:
    """Symmetric kernel from its half, centre first."""
    return np.concatenate([half[:0:-1], half])
