"""Slices onto an even line by linear interpolation: only on the user's explicit wish, and always recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from miliary_seg.domain.arrays import Float32Array, Float64Array
from miliary_seg.load.dicom.geometry import Placement


def fill_missing(voxels: Float32Array, placement: Placement) -> tuple[Float32Array, Placement]:
    """Interpolate the slices (slice, row, column) that are missing on the even line."""
    filled = _interpolated(
        voxels, np.array(placement.slice_index, dtype=np.float64), np.arange(placement.n_slices, dtype=np.float64)
    )
    return filled, replace(placement, slice_index=tuple(range(placement.n_slices)))


def on_even_grid(voxels: Float32Array, placement: Placement) -> tuple[Float32Array, Placement]:
    """Interpolate uneven slices onto an even line with the step of their smallest gap.

    The first slice keeps its place, so the affine needs only a new length of its slice column.
    """
    along = np.array(placement.uneven_positions_mm) - placement.uneven_positions_mm[0]
    step = float(np.diff(along).min())
    n_slices = int(float(along[-1]) / step + 1e-3) + 1
    targets = np.minimum(np.arange(n_slices) * step, along[-1])
    affine = placement.affine.copy()
    # The column of an uneven fit spans the mean gap.
    affine[:3, 2] *= step / float(np.diff(along).mean())
    even = replace(placement, affine=affine, slice_index=tuple(range(n_slices)), uneven_positions_mm=())
    return _interpolated(voxels, along, targets), even


def _interpolated(voxels: Float32Array, at: Float64Array, targets: Float64Array) -> Float32Array:
    right = np.clip(np.searchsorted(at, targets), 1, len(at) - 1)
    weight = ((targets - at[right - 1]) / (at[right] - at[right - 1])).astype(np.float32)
    result = np.empty((len(targets), *voxels.shape[1:]), dtype=np.float32)
    for index, (upper, share) in enumerate(zip(right, weight, strict=True)):
        result[index] = voxels[upper - 1] * (1 - share) + voxels[upper] * share
    return result
