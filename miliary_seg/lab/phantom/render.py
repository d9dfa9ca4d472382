"""Lesions and look-alikes as a scanner sees them: shapes convolved in plane and across slices, on any voxel grid.

All convolutions are done in index space, so that oblique, anisotropic and sheared grids need no special case: in plane
a Gaussian point-spread function, across slices the slice profile. Both are integrated exactly over the cells of a fine
sub-lattice (differences of their cumulative functions), so that the total signal of a lesion is its volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from miliary_seg.domain.arrays import Float32Array, Float64Array, Int64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.lab.phantom.outline import Outline

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
SUBCELLS = 24
"""Cells of the sub-lattice across a lesion: volume error below 0.1 % after antialiasing (tests/unit/phantom)."""
OUTLINE_CELLS, OUTLINE_CELL_MM = 12, 0.7
"""The same for irregular bodies, whose outline is costly: at least so many, and none larger than this."""
RING_CORE = 0.6
"""Radius of the dark core of a ring lesion over the lesion's radius."""
RING_CORE_SIGNAL = 0.15
"""Signal of that core as a fraction of the rim."""
TRAPEZOID_RAMP = 0.2
"""Width of each flank of a trapezoid slice profile over the slice thickness (full width at half maximum): flat over
0.8 of the thickness, nothing beyond 1.2 of it. Pauly 1991, IEEE TMI 10:53-65: the flank of a selective pulse is D over
its time-bandwidth product, about 0.2 at D = 1.8 (1 % ripple) and the usual product of 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """How a grid samples the world."""

    grid: Grid
    slice_axis: int
    thickness_mm: float
    slice_spacing_mm: float
    """Distance of slice planes along their normal."""
    psf_mm: float
    """Full width at half maximum of the in-plane blur."""
    profile: str = "box"

    @property
    def half_slice(self) -> float:
        """Half of the slice thickness in units of the slice spacing."""
        return self.thickness_mm / (2.0 * self.slice_spacing_mm)

    def sigma_index(self, axis: int, extra_mm: float = 0.0) -> float:
        """Standard deviation of the blur along a voxel axis in voxels (0 across a box-shaped slice)."""
        if axis == self.slice_axis:
            across = self.thickness_mm / FWHM_PER_SIGMA if self.profile == "gaussian" else 0.0
            return float(np.hypot(across, extra_mm) / self.slice_spacing_mm)
        return float(np.hypot(self.psf_mm / FWHM_PER_SIGMA, extra_mm) / self.grid.spacing_mm[axis])

    def is_box(self, axis: int) -> bool:
        """Whether a voxel axis averages over the thickness of a slice (a box, or a trapezoid of the same width)."""
        return axis == self.slice_axis and self.profile != "gaussian"

    def cumulative(self, distance: Float64Array) -> Float64Array:
        """Part of a slice's sensitivity below a distance from its middle, in slice spacings (box and trapezoid)."""
        if self.profile == "trapezoid":
            return trapezoid_cumulative(distance, self.half_slice)
        half = self.half_slice
        out: Float64Array = (np.clip(distance, -half, half) + half) / (2 * half)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A rendered lesion: where it goes, and its signal as a fraction of full amplitude."""

    where: tuple[slice, slice, slice]
    signal: Float32Array
    """With the dark core of a ring."""
    coverage: Float32Array
    """Without it: how much of each voxel's response is lesion."""


def trapezoid_cumulative(distance: Float64Array, half: float) -> Float64Array:
    """Cumulative function of a trapezoid of unit area whose half maximum lies at ``half`` on either side."""
    ramp = 2 * half * TRAPEZOID_RAMP
    flat = half - ramp / 2
    away = np.abs(distance)
    flank = np.clip(away - flat, 0, ramp)
    area = (np.minimum(away, flat) + flank - flank**2 / (2 * ramp)) / (2 * half)
    out: Float64Array = 0.5 + np.sign(distance) * area
    return out


def lesion_patch(
    optics: Optics, centre_ras_mm: Float64Array, axes_mm: Float64Array, kind: str, outline: Outline | None = None
) -> Patch | None:
    """Render one ellipsoid, or an irregular body.

    Parameters
    ----------
    optics
        The scanner.
    centre_ras_mm
        Shape (3,).
    axes_mm
        Shape (3, 3): columns are the semi-axes in RAS mm.
    kind
        ``solid``, ``ring`` or ``soft`` (Gaussian whose half-maximum is the ellipsoid).
    outline
        Bumps on it; None = smooth.

    Returns
    -------
    Patch or None
        None where nothing of it lies in the field of view.
    """
    centre = optics.grid.to_ijk(centre_ras_mm)
    to_index = np.linalg.inv(optics.grid.affine[:3, :3])
    reach = _reach(to_index @ axes_mm, outline) * (2.2 if kind == "soft" else 1.05)
    cells = SUBCELLS if outline is None else _outline_cells(axes_mm)
    edges = [np.linspace(-r, r, cells + 1) for r in reach]
    solid, ring = _inside(optics.grid, edges, axes_mm, kind, outline)
    kernels, spans = [], []
    for axis in range(3):
        pad = reach[axis] + 4 * optics.sigma_index(axis) + (1.2 * optics.half_slice if optics.is_box(axis) else 0.0)
        low = max(0, int(np.ceil(centre[axis] - pad)))
        high = min(optics.grid.shape[axis], int(np.floor(centre[axis] + pad)) + 1)
        if low >= high:
            return None
        spans.append(slice(low, high))
        kernels.append(_kernel(optics, axis, np.arange(low, high) - centre[axis], edges[axis]))
    coverage = _apply(kernels, solid)
    signal = coverage if ring is None else _apply(kernels, ring)
    return Patch(where=(spans[0], spans[1], spans[2]), signal=signal, coverage=coverage)


def _outline_cells(axes_mm: Float64Array) -> int:
    longest = 2 * float(np.sqrt((axes_mm**2).sum(axis=0)).max())
    return min(max(OUTLINE_CELLS, int(np.ceil(longest / OUTLINE_CELL_MM))), 4 * OUTLINE_CELLS)


def _reach(axes_index: Float64Array, outline: Outline | None) -> Float64Array:
    """Half of the box around a body along each voxel axis."""
    if outline is None:
        ball: Float64Array = np.sqrt((axes_index**2).sum(axis=1))
        return ball
    bumpy: Float64Array = np.abs(outline.points @ axes_index.T).max(axis=0)
    return bumpy


def _apply(kernels: list[Float64Array], inside: Float64Array) -> Float32Array:
    image = np.einsum("abc,ia,jb,kc->ijk", inside, *kernels, optimize=True)
    return np.asarray(image, dtype=np.float32)


def _inside(
    grid: Grid, edges: list[Float64Array], axes_mm: Float64Array, kind: str, outline: Outline | None
) -> tuple[Float64Array, Float64Array | None]:
    """Occupied fraction of every sub-cell (antialiased), and the same with the core of a ring lowered."""
    middles = [(e[1:] + e[:-1]) / 2 for e in edges]
    index = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    unit = index @ (np.linalg.inv(axes_mm) @ grid.affine[:3, :3]).T
    q = np.sqrt((unit**2).sum(axis=-1)) if outline is None else outline.level(unit)
    if kind == "soft":
        return np.exp2(-(q**2)), None
    cell = [e[1] - e[0] for e in edges]
    cell_volume = abs(np.linalg.det(grid.affine[:3, :3])) * cell[0] * cell[1] * cell[2]
    ball = 4 / 3 * np.pi * abs(np.linalg.det(axes_mm))
    softness = (cell_volume / abs(np.linalg.det(axes_mm))) ** (1 / 3)
    solid = np.clip(0.5 - (q - 1) / softness, 0, 1)
    solid *= ball / (solid.sum() * cell_volume)
    if kind != "ring":
        return solid, None
    core = np.clip(0.5 - (q - RING_CORE) / softness, 0, 1)
    return solid, solid - (1 - RING_CORE_SIGNAL) * core


def _kernel(optics: Optics, axis: int, voxels: Float64Array, edges: Float64Array) -> Float64Array:
    """Response of each voxel to each sub-cell along one axis, shape (n voxels, n cells)."""
    distance = edges[None, :] - voxels[:, None]
    if optics.is_box(axis):
        cumulative = optics.cumulative(distance)
    else:
        cumulative = ndtr(distance / max(optics.sigma_index(axis), 1e-3))
    return np.diff(cumulative, axis=1)


def splat(optics: Optics, points_ras_mm: Float64Array, mass_mm3: Float64Array, spread_mm: float) -> Float32Array:
    """Coverage image of many small pieces of tissue (tubes, sheets, clumps), each a Gaussian of ``spread_mm``.

    Returns
    -------
    array
        On the grid, 0 to 1: overlapping pieces saturate.
    """
    image = np.zeros(int(np.prod(optics.grid.shape)), dtype=np.float64)
    index = optics.grid.to_ijk(points_ras_mm)
    windows, weights = [], []
    for axis in range(3):
        sigma = max(optics.sigma_index(axis, spread_mm), 0.2)
        half = optics.half_slice if optics.is_box(axis) else 0.0
        reach = int(np.ceil(3 * sigma + half))
        voxels = np.rint(index[:, axis]).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
        distance = voxels - index[:, axis][:, None]
        if half:
            weight = (ndtr((distance + half) / sigma) - ndtr((distance - half) / sigma)) / (2 * half)
        else:
            weight = np.exp(-0.5 * (distance / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        weight[(voxels < 0) | (voxels >= optics.grid.shape[axis])] = 0.0
        windows.append(np.clip(voxels, 0, optics.grid.shape[axis] - 1))
        weights.append(weight)
    strides = np.array([optics.grid.shape[1] * optics.grid.shape[2], optics.grid.shape[2], 1])
    for part in np.array_split(np.arange(len(index)), max(1, len(index) // 4000)):
        flat, value = _scatter(part, windows, weights, strides, mass_mm3 / optics.grid.voxel_volume_mm3)
        image += np.bincount(flat, weights=value, minlength=image.size)
    return np.minimum(image, 1.0).astype(np.float32).reshape(optics.grid.shape)


def _scatter(
    part: Int64Array,
    windows: list[Int64Array],
    weights: list[Float64Array],
    strides: Int64Array,
    amount: Float64Array,
) -> tuple[Int64Array, Float64Array]:
    i, j, k = (windows[a][part] * strides[a] for a in range(3))
    a, b, c = (weights[a][part] for a in range(3))
    flat = i[:, :, None, None] + j[:, None, :, None] + k[:, None, None, :]
    value = a[:, :, None, None] * b[:, None, :, None] * c[:, None, None, :] * amount[part][:, None, None, None]
    return flat.ravel(), value.ravel()
