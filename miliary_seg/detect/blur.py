"""Scale-normalised Laplacian of Gaussian in millimetres, on plain arrays.

One scale space for thick and thin slices: each axis is blurred to the same width in mm, as far as its spacing allows.
Where slices are 5 mm apart, scales finer than that leave the slice axis alone and the filter works in the plane.

Filters are OpenCV's, one cache-resident plane at a time; they release the interpreter lock, so threads over slices keep
the cores busy. The Laplacian is never stored; planes of it are made where they are needed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from miliary_seg.detect.work_grid import Spacing, is_thick
from miliary_seg.domain.arrays import Float32Array

Job = TypeVar("Job")

SECOND_DIFFERENCE_VARIANCE = 1 / 6
"""Variance in px^2 that the 3-point second difference itself adds to a Gaussian (its fourth-order term is h^2/12)."""
REPLICATE = cv2.BORDER_REPLICATE
COLUMN_BLOCK = 4096
"""Pixels per block of the blur across slices: some hundred slices of it fit a 2 MB cache."""
NEGLIGIBLE_WEIGHT = 1e-9
"""A second difference across slices of less weight (slices far apart for the scale) does not change a float32."""
KERNEL_TAIL = 5e-4
"""Part of its sum that a truncated kernel may lack."""


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

    @property
    def thick(self) -> bool:
        """Whether shape is measured in the plane of a slice only."""
        return is_thick(self.spacing_mm, len(self.gaussians[0]))

    def weights(self, scale: int) -> Spacing:
        """Factors that make second differences along each axis scale-normalised (dimensionless)."""
        s, r, c = ((self.sigmas_mm[scale] / q) ** 2 for q in self.spacing_mm)
        return s, r, c

    def laplacian(self, scale: int) -> Float32Array:
        """The whole scale-normalised Laplacian of one scale (a full-size array; detection itself never makes it)."""
        responses, result = Responses(self, 1), np.empty_like(self.gaussians[scale])
        for z in range(len(result)):
            result[z] = responses.of(scale, (z, z + 1))[0, 1:-1]
        return result


class Responses:
    """-sigma^2 Laplacian of Gaussian of a few slices at a time, in buffers that are made once per thread.

    Slices are stacked in one tall image, so that one call filters them all. A row above and below each slice separates
    them: a copy of the slice's own edge for the filter, then -infinity for the search of maxima.
    """

    def __init__(self, space: ScaleSpace, most: int) -> None:
        rows, columns = space.gaussians[0].shape[1:]
        self.space, self.rows = space, rows
        self.tall = np.zeros((most + 2, rows + 2, columns), dtype=np.float32)
        self.response = np.empty((most, rows + 2, columns), dtype=np.float32)
        self.weights = [(wz, wy * (rows > 1), wx) for wz, wy, wx in map(space.weights, range(len(space.gaussians)))]
        self.crosses = [
            np.array([[0, -wy, 0], [-wx, 2 * (wz + wy + wx), -wx], [0, -wy, 0]], dtype=np.float32)
            for wz, wy, wx in self.weights
        ]

    def of(self, scale: int, slices: tuple[int, int], sign: int = 1) -> Float32Array:
        """Responses: positive on blobs brighter than their surroundings.

        Parameters
        ----------
        scale
            Which scale.
        slices
            First slice, and the one after the last.
        sign
            -1 turns the sign: positive on darker blobs.

        Returns
        -------
        array (slices, rows + 2, columns)
            The first and last row of each slice hold -infinity; valid until the next call.
        """
        n = slices[1] - slices[0]
        out, tall = self.response[:n], self.tall[: n + 2]
        wz = self.weights[scale][0]
        across = wz > NEGLIGIBLE_WEIGHT
        self._stack(self.space.gaussians[scale], slices, across)
        target = as_image(out)
        cv2.filter2D(as_image(tall[1:-1]), -1, sign * self.crosses[scale], dst=target, borderType=REPLICATE)
        for near in (tall[:-2], tall[2:]) if across else ():
            cv2.scaleAdd(as_image(near), -sign * wz, target, dst=target)
        out[:, :: self.rows + 1] = -np.inf
        return out

    def _stack(self, array: Float32Array, slices: tuple[int, int], across: bool) -> None:
        """Copy slices, the first and last row of each twice, and for ``across`` the slices before and after them.

        At the ends of the scan, the last slice is its own neighbour.
        """
        first, stop = slices
        a, b = max(first - across, 0), min(stop + across, len(array))
        part, tall = array[a:b], self.tall[: stop - first + 2]
        target = tall[a - first + 1 : b - first + 1]
        target[:, 1:-1] = part
        target[:, :: self.rows + 1] = part[:, :: max(1, self.rows - 1)]
        if first == 0:
            tall[0] = tall[1]
        if stop == len(array):
            tall[-1] = tall[-2]


def as_image(stack: Float32Array) -> Float32Array:
    """The stacked slices as one image, without copying."""
    return stack.reshape(-1, stack.shape[2])


def scale_space(
    array: NDArray[np.generic],
    spacing_mm: Sequence[float],
    sigmas_mm: Sequence[float],
    blurred_px2: Sequence[float] = (0.0, 0.0, 0.0),
) -> ScaleSpace:
    """Blur an array with a series of widths, each from the one before.

    Parameters
    ----------
    array
        Volume (slice, row, column); one slice, or slices of 1 x N, are allowed too.
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
    gaussians: list[Float32Array] = []
    for run in _runs(spacing, sigmas, blurred_px2):
        # One block for several widths: where the system has large pages, this causes the fewest page faults.
        targets = list(np.empty((len(run), *source.shape), dtype=np.float32))
        _blur(source, run, targets)
        gaussians += targets
        source = targets[-1]
    return ScaleSpace(gaussians=tuple(gaussians), sigmas_mm=sigmas, spacing_mm=(spacing[0], spacing[1], spacing[2]))


def _runs(spacing: Spacing, sigmas: Sequence[float], blurred_px2: Sequence[float]) -> list[list[list[Float32Array]]]:
    """Kernels (slice, row, column) from each width to the next, in runs that do not need other slices.

    The first width is a run of its own, so that the source may be freed after it.
    """
    done = [float(v) for v in blurred_px2]
    runs: list[list[list[Float32Array]]] = []
    for n, sigma in enumerate(sigmas):
        variances = [max((sigma / q) ** 2 - SECOND_DIFFERENCE_VARIANCE, v) for q, v in zip(spacing, done, strict=True)]
        kernels = [_whole(discrete_gaussian(v - before)) for v, before in zip(variances, done, strict=True)]
        if n < 2 or len(kernels[0]) > 1:
            runs.append([])
        runs[-1].append(kernels)
        done = variances
    return runs


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
    """Threads over slices: ``OMP_NUM_THREADS``, else the cores that this process may use; at most 4."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return min(4, int(asked))
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)))


def over_slices(work: Callable[[int, int], None], count: int, longest: int | None = None) -> None:
    """Run ``work(first, stop)`` over contiguous ranges of slices (or other items), on every thread.

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
    # The calling thread does a share too: one thread less to start and to wait for.
    mine = n // min(n, threads())
    with _one_thread_in_opencv(), ThreadPoolExecutor(max(1, min(n, threads()) - 1)) as pool:
        rest = [pool.submit(work, a, b) for a, b in pairwise(edges[mine:])]
        for a, b in pairwise(edges[: mine + 1]):
            work(a, b)
        for part in rest:
            part.result()


def over_jobs(work: Callable[[Job], object], jobs: Iterable[Job]) -> None:
    """Run ``work`` on every job, on every thread; the first error is raised."""
    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(work, jobs))


@contextmanager
def _one_thread_in_opencv() -> Iterator[None]:
    """Keep OpenCV from threading inside a plane: it would fight with the threads over slices (twice as slow)."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _blur(source: Float32Array, run: Sequence[Sequence[Float32Array]], targets: Sequence[Float32Array]) -> None:
    """Separable blur of ``source`` to one width after the other; edges are continued by their last voxel."""
    planes = source
    if len(run[0][0]) > 1:
        _blur_across_slices(source, run[0][0], targets[0])
        planes = targets[0]

    def work(first: int, stop: int) -> None:
        # Slice by slice through all widths: each is still in the cache when the next is made from it.
        for z in range(first, stop):
            plane = planes[z]
            for (_, along_y, along_x), target in zip(run, targets, strict=True):
                # Works in place too: the filter keeps the rows that it still needs (tests compare with scipy).
                cv2.sepFilter2D(plane, -1, along_x, along_y, dst=target[z], borderType=REPLICATE)
                plane = target[z]

    over_slices(work, len(source))


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
