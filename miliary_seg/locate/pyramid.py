"""The scan at the resolutions that registration works on: block means, corrected bias field, grey-level bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, IndexArray
from miliary_seg.locate.transform import apply, inverse

N_BINS = 24
"""Grey levels of the scan (docs/measurements/compartments.md, "Constants and where they come from")."""
HEAD_WINDOW_HU = (-60.0, 110.0)
"""CT window for pose and affine fit: fat, brain and bone stay apart."""
BRAIN_WINDOW_HU = (-5.0, 70.0)
"""CT window for what is read within the brain: fluid, grey and white matter (1.8 to 1.4 % wrong voxels)."""
BONE_HU = 80.0
"""Clotted blood reaches 80 HU, bone starts above. Within the brain's window bone counts as air: bright bone ties the
brain's surface to the skull, and where fluid lies between (atrophy) the tentorium follows."""
FOREGROUND_SHARE = 0.12
"""Intensities above this share of the range count as foreground."""
SHADING_MM = 30.0
"""Width of the Gaussian that estimates the shading of MR coils."""


SLAB = 8
"""Slices that are interpolated at once: few enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockMeans:
    """Block means of a scan, shape (i, j, k), with their own affine."""

    voxels: Float32Array
    affine: Float64Array

    @property
    def spacing_mm(self) -> Float64Array:
        """Distance between block centres along each axis."""
        spacing: Float64Array = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return spacing

    def coarser(self, step_mm: float) -> BlockMeans:
        """Mean over blocks of about ``step_mm``; an incomplete block at the far end is left out."""
        factors = np.round(step_mm / self.spacing_mm).astype(int)
        factors = np.clip(factors, 1, np.array(self.voxels.shape))
        voxels = self.voxels
        for axis, factor in enumerate(factors):
            voxels = _thinned(voxels, axis, int(factor))
        affine = self.affine @ np.diag([*factors.astype(np.float64), 1.0])
        affine[:3, 3] = self.affine[:3, 3] + self.affine[:3, :3] @ ((factors - 1) / 2)
        return BlockMeans(voxels=voxels, affine=affine)

    def windowed(self, window: tuple[float, float]) -> BlockMeans:
        """Intensities clipped to a window."""
        return BlockMeans(voxels=np.clip(self.voxels, *window), affine=self.affine)

    def without_bone(self) -> BlockMeans:
        """CT with bone as dark as air."""
        return BlockMeans(voxels=np.where(self.voxels > BONE_HU, BRAIN_WINDOW_HU[0], self.voxels), affine=self.affine)


def _thinned(voxels: Float32Array, axis: int, factor: int) -> Float32Array:
    if factor == 1:
        return voxels
    along = np.moveaxis(voxels, axis, 0)
    n = along.shape[0] // factor * factor
    total = along[0:n:factor].astype(np.float32)
    for offset in range(1, factor):
        total += along[offset:n:factor]
    total *= np.float32(1 / factor)
    return np.moveaxis(total, 0, axis)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkingScan:
    """Grey levels 0 to ``N_BINS`` - 1, shape (i, j, k), every axis at least two long."""

    levels: Float32Array
    shape: tuple[int, ...]
    """Shape before an axis of one voxel was doubled: only this counts as inside the scan."""
    affine: Float64Array
    inverse: Float64Array
    spacing_mm: Float64Array

    @property
    def inside_levels(self) -> Float32Array:
        """The levels without the padding, of shape ``shape``: a view."""
        return self.levels[tuple(slice(0, n) for n in self.shape)]

    def to_ijk(self, positions_mm: Float64Array) -> Float64Array:
        """Fractional voxel indices, shape (3, n), of world positions in mm."""
        return apply(self.inverse, positions_mm)

    def contains(self, ijk: Float64Array) -> BoolArray:
        """Which of the indices, shape (3, n), lie within the voxels of the scan."""
        inside = np.ones(ijk.shape[1], bool)
        for places, n in zip(ijk, self.shape, strict=True):
            inside &= places > -0.5
            inside &= places < n - 0.5
        return inside

    def sample(self, positions_mm: Float64Array) -> Float32Array:
        """Linear interpolation of the levels at world positions, shape (3, n); the edge continues outside."""
        return self.levels_at(self.to_ijk(positions_mm))

    def levels_at(self, ijk: Float64Array) -> Float32Array:
        """Linear interpolation of the levels at fractional voxel indices, shape (3, n); the edge continues outside."""
        corner, weights = self._cell(ijk)
        return _interpolated(self.levels, corner, weights)

    def sample_with_gradient(self, positions_mm: Float64Array) -> tuple[Float32Array, Float64Array]:
        """Levels, shape (n,), and their gradient per mm of world, shape (3, n)."""
        corner, (wi, wj, wk) = self._cell(self.to_ijk(positions_mm))
        stride_i, stride_j = self.levels.shape[1] * self.levels.shape[2], self.levels.shape[2]
        flat = self.levels.ravel()
        offsets = [i * stride_i + j * stride_j + k for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        c = [flat[offset:].take(corner, mode="clip") for offset in offsets]  # "clip" is quicker: no place is outside
        along_k = [c[2 * m + 1] - c[2 * m] for m in range(4)]
        at_k = [c[2 * m] + wk * along_k[m] for m in range(4)]
        along_j = [at_k[1] - at_k[0], at_k[3] - at_k[2]]
        at_j = [at_k[0] + wj * along_j[0], at_k[2] + wj * along_j[1]]
        slope_i = at_j[1] - at_j[0]
        slope_j = along_j[0] + wi * (along_j[1] - along_j[0])
        near = along_k[0] + wj * (along_k[1] - along_k[0])
        slope_k = near + wi * (along_k[2] + wj * (along_k[3] - along_k[2]) - near)
        gradient: Float64Array = self.inverse[:3, :3].T @ np.stack([slope_i, slope_j, slope_k])
        return at_j[0] + wi * slope_i, gradient

    def _cell(self, ijk: Float64Array) -> tuple[IndexArray, Float32Array]:
        """Flat index of the lower corner, shape (n,), and weights, shape (3, n), of the cell around each place."""
        last = np.array(self.levels.shape, dtype=np.float64)[:, None] - 1
        ijk = np.minimum(np.maximum(ijk, 0), last)
        corner = np.minimum(ijk.astype(np.int32), (last - 1).astype(np.int32))
        weights = (ijk - corner).astype(np.float32)
        stride_i, stride_j = self.levels.shape[1] * self.levels.shape[2], self.levels.shape[2]
        flat = corner[0].astype(np.intp) * stride_i + corner[1] * stride_j + corner[2]
        return flat, weights


def _interpolated(levels: Float32Array, corner: IndexArray, weights: Float32Array) -> Float32Array:
    stride_i, stride_j = levels.shape[1] * levels.shape[2], levels.shape[2]
    flat = levels.ravel()
    wi, wj, wk = weights
    planes = []
    for i in (0, stride_i):
        rows = []
        for j in (0, stride_j):
            low = flat[i + j :].take(corner, mode="clip")  # "clip" is quicker: no place is outside
            rows.append(low + wk * (flat[i + j + 1 :].take(corner, mode="clip") - low))
        planes.append(rows[0] + wj * (rows[1] - rows[0]))
    value: Float32Array = planes[0] + wi * (planes[1] - planes[0])
    return value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GreyScale:
    """How intensities of one scan become levels: an affine map, and for MR a gain that corrects the bias field."""

    low: float
    high: float
    gain: BlockMeans | None

    def scan(self, blocks: BlockMeans) -> WorkingScan:
        """The levels of blocks of any resolution of the same scan.

        MR levels are spread so that the brightest foreground of this resolution comes last: larger blocks dim
        small bright structures, and some levels would never be used.
        """
        levels = (blocks.voxels - np.float32(self.low)) * np.float32((N_BINS - 1) / max(self.high - self.low, 1e-9))
        if self.gain is not None:
            levels *= resampled(self.gain, blocks)
            levels *= np.float32((N_BINS - 1) / max(_top(levels), 1e-6))
        np.clip(levels, 0, N_BINS - 1, out=levels)
        pad = [(0, 1 if n == 1 else 0) for n in levels.shape]
        return WorkingScan(
            levels=np.ascontiguousarray(np.pad(levels, pad, mode="edge")),
            shape=levels.shape,
            affine=blocks.affine,
            inverse=inverse(blocks.affine),
            spacing_mm=blocks.spacing_mm,
        )


def ct_grey_scale(window: tuple[float, float]) -> GreyScale:
    """Levels of CT: the window itself."""
    return GreyScale(low=window[0], high=window[1], gain=None)


def mr_grey_scale(coarse: BlockMeans) -> GreyScale:
    """Levels of MR, from block means of about 4 mm: robust range, and the shading of the foreground corrected."""
    low, high = (float(p) for p in np.percentile(coarse.voxels, [1, 99.5]))
    foreground = coarse.voxels[coarse.voxels > low + 0.1 * (high - low)]
    high = float(np.percentile(foreground, 99)) if foreground.size else high
    span = max(high - low, 1e-9)
    relative = np.clip((coarse.voxels - low) / span, 0, 1)
    mask = (relative > FOREGROUND_SHARE).astype(np.float32)
    if not mask.any():
        return GreyScale(low=low, high=high, gain=None)
    sigma = SHADING_MM / coarse.spacing_mm
    density = blurred(mask, sigma)
    local = blurred(relative * mask, sigma) / np.maximum(density, 1e-3)
    mean = float((relative * mask).sum() / mask.sum())
    weight = np.clip(density / 0.3, 0, 1)
    gain = weight * np.clip(mean / np.maximum(local, 0.3 * mean + 1e-6), 0.4, 2.5) + 1 - weight
    return GreyScale(low=low, high=high, gain=BlockMeans(voxels=gain.astype(np.float32), affine=coarse.affine))


def _top(levels: Float32Array) -> float:
    """Level below which nearly all of the foreground lies."""
    thin = tuple(slice(None, None, max(1, n // 64)) for n in levels.shape)
    foreground = levels[thin][levels[thin] > FOREGROUND_SHARE * (N_BINS - 1)]
    return float(np.percentile(foreground, 99.5)) if foreground.size else float(N_BINS - 1)


def resampled(field: BlockMeans, target: BlockMeans) -> Float32Array:
    """A smooth field at the blocks of the same scan at another resolution (axes run alike), shape of the target."""
    to_field = inverse(field.affine) @ target.affine
    weights = [
        linear_weights(to_field[a, a] * np.arange(n) + to_field[a, 3], field.voxels.shape[a])
        for a, n in enumerate(target.voxels.shape)
    ]
    return tensor_product(field.voxels, weights)


def blurred(samples: Float32Array, sigma: Float64Array) -> Float32Array:
    """Gaussian filter of a coarse grid, cut at three sigma: as matrix products a tenth of the time of convolutions."""
    return tensor_product(
        samples,
        [
            ndi.gaussian_filter1d(np.eye(n, dtype=np.float32), s, axis=0, truncate=3)
            for n, s in zip(samples.shape, sigma, strict=True)
        ],
    )


def shading_gain(
    values: Float32Array, inside: BoolArray, typical: float | np.float32, sigma: Float64Array, prior_share: float
) -> Float32Array:
    """Smooth factor that brings values to their typical level: one over their weighted mean around each point.

    ``sigma`` in voxels; only values ``inside`` count; where less than ``prior_share`` of them is near, it goes to 1.
    """
    density = blurred(inside.astype(np.float32), sigma) + prior_share
    gain: Float32Array = density * typical / (blurred(values * inside, sigma) + prior_share * typical)
    return gain


def linear_weights(places: Float64Array, n: int) -> Float32Array:
    """Matrix (m, n) that interpolates n samples linearly at m fractional indices; edges continue."""
    clipped = np.clip(places, 0, n - 1)
    low = np.minimum(clipped.astype(int), max(n - 2, 0))
    matrix = np.zeros((len(places), n), np.float32)
    rows = np.arange(len(places))
    matrix[rows, low] = 1 - (clipped - low)
    matrix[rows, np.minimum(low + 1, n - 1)] += clipped - low
    return matrix


def tensor_product(samples: Float32Array, weights: list[Float32Array]) -> Float32Array:
    """Apply a matrix (m_a, n_a) along each axis a of samples with shape (n_0, n_1, n_2); result (m_0, m_1, m_2).

    Matrix products beat index arithmetic by far here, and their result is laid out for the next step.
    """
    n0, n1, n2 = samples.shape
    first = (weights[0] @ samples.reshape(n0, n1 * n2)).reshape(-1, n1, n2)
    product: Float32Array = np.matmul(weights[1], first) @ weights[2].T
    return product


def upsampled(samples: Float32Array, weights: list[Float32Array]) -> Float32Array:
    """``tensor_product`` to a large grid with weights that each touch few samples next to each other."""
    shape = tuple(len(w) for w in weights)
    result = np.empty(shape, np.float32)
    for rows, values in _slabs(samples, weights):
        result[rows] = values
    return result


def upsampled_above(samples: Float32Array, weights: list[Float32Array], level: float) -> BoolArray:
    """Where ``upsampled`` exceeds a level, without holding it in memory."""
    result = np.empty(tuple(len(w) for w in weights), bool)
    for rows, values in _slabs(samples, weights):
        np.greater(values, level, out=result[rows])
    return result


def _slabs(samples: Float32Array, weights: list[Float32Array]) -> Iterator[tuple[slice, Float32Array]]:
    """Slices along the first axis and the values in them."""
    along = weights[0]
    inner = np.matmul(weights[1], samples @ weights[2].T)
    flat = inner.reshape(len(inner), -1)
    for start in range(0, len(along), SLAB):
        rows = along[start : start + SLAB]
        touched = np.flatnonzero(rows.any(axis=0))
        near = slice(touched[0], touched[-1] + 1)
        yield slice(start, start + SLAB), (rows[:, near] @ flat[near]).reshape(-1, *inner.shape[1:])
