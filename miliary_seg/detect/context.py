"""Features of a blob within the brain: distance to the edge, and how far it stands out from the grey values around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.detect.blur import over_slices, threads
from miliary_seg.detect.features import Features, sample
from miliary_seg.detect.normalise import WorkVolume
from miliary_seg.detect.work_grid import Spacing, block_mean
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array

EDGE_LIMIT_MM = 20.0
"""Larger distances to the edge of the mask are cut to this."""
LOCAL_PITCH_MM = 3.0
LOCAL_SIGMA_MM = 8.0
"""Grid and width of the window in which a blob's grey value is compared with the brain around it."""
SLAB = 8
"""Slices of that grid made at a time."""


RANKS = 201
RANK_SAMPLE = 200_000
"""Steps of the brain's cumulative histogram, and voxels it is taken from."""


def add_outlierness(features: Features, work: WorkVolume, index: Float64Array, sign: NDArray[np.int_]) -> None:
    """Add how far centre and shell stand out from the brain around them, in place.

    Parameters
    ----------
    features
        Columns of length n with ``centre_value`` and ``surround_value``.
    work
        The scan.
    index
        Positions (n, 3) on the work grid.
    sign
        1 bright, -1 dark (n,).
    """
    z, y, x = (max(1, min(round(LOCAL_PITCH_MM / q), n)) for q, n in zip(work.spacing_mm, work.mask.shape, strict=True))
    block = (z, y, x)
    width = [LOCAL_SIGMA_MM / (q * b) for q, b in zip(work.spacing_mm, block, strict=True)]
    weight, total, square = (
        ndi.gaussian_filter(values, width, mode="constant", truncate=2.5) for values in _block_moments(work, block)
    )
    mean = total / np.maximum(weight, 1e-3)
    spread = np.sqrt(np.maximum(square / np.maximum(weight, 1e-3) - mean**2, work.noise**2))
    place = (index - (np.array(block) - 1) / 2) / np.array(block)
    here, around = (sample(values.astype(np.float32), place) for values in (mean, spread))
    for name, source in (("outlierness", "centre_value"), ("surround_outlierness", "surround_value")):
        features[name] = np.clip((features[source] - sign * here) / around, -10, 20)
    features["local_contrast"] = np.clip(features["contrast"] / around, 0, 30)


def add_ranks(features: Features, work: WorkVolume, sign: NDArray[np.int_]) -> None:
    """Add the rank of centre and shell among the brain's grey values, in place: which tissue each resembles."""
    steps = np.linspace(0, 1, RANKS)
    grey = np.quantile(work.voxels[work.brain][:: max(1, int(work.brain.sum()) // RANK_SAMPLE)], steps)
    for name, source in (("centre_rank", "centre_value"), ("surround_rank", "surround_value")):
        rank = np.interp(sign * features[source], grey, steps)
        features[name] = np.where(sign > 0, rank, 1 - rank)


def _block_moments(work: WorkVolume, block: tuple[int, int, int]) -> tuple[Float32Array, ...]:
    """Means over blocks of the mask, of the brain's grey values and of their squares."""
    z, y, x = (n // b for n, b in zip(work.mask.shape, block, strict=True))
    weight, total, square = (np.empty((z, y, x), dtype=np.float32) for _ in range(3))
    voxels = work.voxels

    def slab(first: int, stop: int) -> None:
        slices = slice(first * block[0], stop * block[0])
        brain = np.where(work.brain[slices], voxels[slices], np.float32(0))
        for result, values in ((weight, work.brain[slices]), (total, brain), (square, brain * brain)):
            result[first:stop] = block_mean(values, block)

    over_slices(slab, z, SLAB)
    return weight, total, square


def edge_distance_mm(mask: BoolArray, spacing_mm: Spacing, index: Float64Array) -> Float64Array:
    """Distance in mm from positions to the edge of the mask, negative beyond it; the end of the scan is no edge."""
    from scipy.spatial import cKDTree

    inner = mask.copy()
    for axis in range(3):
        ahead: list[slice] = [slice(None)] * 3
        behind: list[slice] = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        inner[tuple(behind)] &= mask[tuple(ahead)]
        inner[tuple(ahead)] &= mask[tuple(behind)]
    rim = np.argwhere(mask & ~inner)
    if len(rim) == 0 or len(index) == 0:
        return np.full(len(index), EDGE_LIMIT_MM)
    spacing = np.array(spacing_mm)
    # Same distances; on a shell of points a tree of plain cells is six to ten times as fast as a compact one.
    tree = cKDTree(rim * spacing, balanced_tree=False, compact_nodes=False)
    distance, _ = tree.query(index * spacing, distance_upper_bound=EDGE_LIMIT_MM, workers=threads())
    voxel = np.clip(np.rint(index).astype(int), 0, np.array(mask.shape) - 1)
    return np.where(mask[tuple(voxel.T)], 1, -1) * np.minimum(distance, EDGE_LIMIT_MM)
