"""From a head to voxels: where the slices lie, what they average over, and what the scanner adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, UInt8Array
from miliary_seg.domain.grid import Grid, other_axes
from miliary_seg.domain.sequence import Modality
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.render import FWHM_PER_SIGMA, TRAPEZOID_RAMP, Optics
from miliary_seg.lab.phantom.smooth_field import SmoothField
from miliary_seg.lab.phantom.spec import ScannerSpec

DISPLAY_ORIENTATION = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
"""How viewers show each plane: columns to the patient's left (sagittal: back), rows downwards."""
MOTION_GROUPS = 8
"""Groups of phase-encoding lines between which the head moves."""


def optics_for(head: Head, spec: ScannerSpec) -> Optics:
    """Place the slices over the head's brain."""
    if spec.on_host_grid:
        return _host_optics(head, spec)
    directions, slice_axis = _directions(spec)
    spacing = np.full(3, spec.pixel_mm)
    spacing[slice_axis] = spec.thickness_mm + spec.gap_mm
    low, high = _extent(head, directions)
    margin = np.full(3, spec.margin_mm)
    margin[slice_axis] = spec.margin_mm / 3
    low, high = low - margin, high + margin
    length = high[slice_axis] - low[slice_axis]
    ascending = directions[:, slice_axis].sum() > 0
    part = np.array(spec.coverage if ascending else (1 - spec.coverage[1], 1 - spec.coverage[0])) * length
    high[slice_axis], low[slice_axis] = low[slice_axis] + part[1], low[slice_axis] + part[0]
    count = np.maximum(1, np.ceil((high - low) / spacing)).astype(int)
    count += np.where(np.arange(3) == slice_axis, 0, count % 2)
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = directions @ ((low + high) / 2 - spacing * (count - 1) / 2)
    return Optics(
        grid=Grid(shape=(int(count[0]), int(count[1]), int(count[2])), affine=affine),
        slice_axis=slice_axis,
        thickness_mm=spec.thickness_mm,
        slice_spacing_mm=float(spacing[slice_axis]),
        psf_mm=spec.psf_pixels * spec.pixel_mm,
        profile=spec.profile,
    )


def _host_optics(head: Head, spec: ScannerSpec) -> Optics:
    axis = head.volume.slice_axis if head.volume else 2
    spacing = [head.grid.spacing_mm[a] for a in other_axes(axis)]
    own = Optics(
        grid=head.grid,
        slice_axis=axis,
        thickness_mm=head.volume.thickness_mm if head.volume else head.grid.spacing_mm[axis],
        slice_spacing_mm=head.volume.slice_spacing_mm if head.volume else head.grid.spacing_mm[axis],
        psf_mm=spec.psf_pixels * sum(spacing) / 2,
        profile=spec.profile,
    )
    return own if spec.host_thickness_mm is None else _thicker(own, spec.host_thickness_mm, spec.gap_mm)


def _thicker(own: Optics, thickness_mm: float, gap_mm: float) -> Optics:
    """Thicker slices through the same columns of voxels, as many as fit, from the edge of one of the host's slices."""
    if thickness_mm < own.thickness_mm:
        what = f"the host's slices are {own.thickness_mm:g} mm thick: {thickness_mm:g} mm cannot be made of them"
        raise UsageError(what, todo="thicker slices, or another host")
    axis, own_mm = own.slice_axis, own.slice_spacing_mm
    length, wide, step = own.grid.shape[axis], thickness_mm / own_mm, (thickness_mm + gap_mm) / own_mm
    count = max(1, int((length - wide) / step + 1e-6) + 1)
    left_out = max(0, int((length - wide - step * (count - 1)) / 2 + 1e-6))
    affine = own.grid.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (left_out - 0.5 + wide / 2)
    affine[:3, axis] *= step
    i, j, k = (count if a == axis else n for a, n in enumerate(own.grid.shape))
    grid = Grid(shape=(i, j, k), affine=affine)
    return replace(own, grid=grid, thickness_mm=thickness_mm, slice_spacing_mm=thickness_mm + gap_mm)


def _directions(spec: ScannerSpec) -> tuple[Float64Array, int]:
    """RAS unit vectors of the voxel axes (columns) and which of them runs across the slices."""
    letters = spec.orientation or DISPLAY_ORIENTATION[spec.plane]
    world = ["LRPAIS".index(letter) // 2 for letter in letters]
    unit = np.zeros((3, 3))
    for axis, letter in enumerate(letters):
        unit[world[axis], axis] = 1.0 if letter in "RAS" else -1.0
    normal = ("sagittal", "coronal", "axial").index(spec.plane)
    return rotation(spec.rotation_deg) @ unit, world.index(normal)


def rotation(degrees: tuple[float, float, float]) -> Float64Array:
    """Rotation matrix: about x, then y, then z (right-handed, RAS)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    turn: Float64Array = about_z @ about_y @ about_x
    return turn


def _extent(head: Head, directions: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Smallest and largest coordinate of the brain along each voxel axis."""
    inside = np.argwhere(head.brain)
    along = head.grid.to_ras_mm(inside[:: max(1, len(inside) // 20000)]) @ directions
    return along.min(axis=0), along.max(axis=0)


def acquire(head: Head, optics: Optics) -> Float32Array:
    """Image the head without noise: blurred in plane, averaged over each slice."""
    if optics.grid is head.grid:
        return head.voxels.copy()
    if _same_columns(head.grid, optics):
        return _averaged(head.voxels, head.grid, optics)
    own = min(head.grid.spacing_mm)
    blur = np.sqrt(max(0.0, optics.psf_mm**2 - own**2)) / FWHM_PER_SIGMA
    source = head.voxels
    if blur > 0.1 * own:
        source = ndi.gaussian_filter(source, [blur / s for s in head.grid.spacing_mm], mode="nearest")
    image = np.zeros(optics.grid.shape, dtype=np.float32)
    n_parts = max(1, int(np.ceil(optics.thickness_mm / (0.75 * own))))
    width = 1 + TRAPEZOID_RAMP if optics.profile == "trapezoid" else 1.0
    shares = ((np.arange(n_parts) + 0.5) / n_parts - 0.5) * width
    cells = (shares[:, None] + np.array([-0.5, 0.5]) * width / n_parts) * 2 * optics.half_slice
    weights = np.diff(optics.cumulative(cells), axis=1)[:, 0] if width > 1 else np.ones(n_parts)
    for share, weight in zip(shares, weights, strict=True):
        shift = np.zeros(3)
        shift[optics.slice_axis] = share * optics.thickness_mm / optics.slice_spacing_mm
        image += np.float32(weight) * _resampled(source, head, optics.grid, shift)
    return image / np.float32(weights.sum())


def _same_columns(grid: Grid, optics: Optics) -> bool:
    """Whether the scan's voxels are slices of the host's averaged along their columns."""
    between = np.linalg.inv(grid.affine) @ optics.grid.affine
    expected = np.eye(4)
    expected[optics.slice_axis] = between[optics.slice_axis]
    planes = other_axes(optics.slice_axis)
    same = all(grid.shape[a] == optics.grid.shape[a] for a in planes)
    return same and bool(np.allclose(between, expected, atol=1e-6))


def _averaged(voxels: Float32Array, grid: Grid, optics: Optics) -> Float32Array:
    """The host's own slices, weighted by the slice profile; what lies beyond its ends is left out."""
    axis = optics.slice_axis
    between = np.linalg.inv(grid.affine) @ optics.grid.affine
    step, first = float(between[axis, axis]), float(between[axis, 3])
    edges = np.arange(grid.shape[axis] + 1) - 0.5
    middles = first + step * np.arange(optics.grid.shape[axis])
    weights = np.diff(optics.cumulative((edges[None, :] - middles[:, None]) / step), axis=1)
    weights /= weights.sum(axis=1, keepdims=True)
    image = np.tensordot(weights.astype(np.float32), np.moveaxis(voxels, axis, 0), 1)
    return np.ascontiguousarray(np.moveaxis(image, 0, axis))


def resampled_labels(labels: UInt8Array | BoolArray, head: Head, optics: Optics) -> UInt8Array:
    """Labels of the head on the scan's grid (nearest neighbour at the slice's centre)."""
    codes: UInt8Array = labels.astype(np.uint8)
    if optics.grid is head.grid:
        return codes
    matrix = np.linalg.inv(head.grid.affine) @ optics.grid.affine
    out: UInt8Array = ndi.affine_transform(
        codes, matrix[:3, :3], matrix[:3, 3], output_shape=optics.grid.shape, order=0, output=np.uint8
    )
    return out


def _resampled(source: Float32Array, head: Head, grid: Grid, shift: Float64Array) -> Float32Array:
    matrix = np.linalg.inv(head.grid.affine) @ grid.affine
    out: Float32Array = ndi.affine_transform(
        source,
        matrix[:3, :3],
        matrix[:3, 3] + matrix[:3, :3] @ shift,
        output_shape=grid.shape,
        order=1,
        mode="constant",
        cval=head.background,
        output=np.float32,
    )
    return out


def receive_field(shape: tuple[int, int, int], bias: float, rng: np.random.Generator) -> Float32Array:
    """Smooth multiplicative field whose logarithm reaches ``bias`` at most."""
    if bias == 0:
        return np.ones(shape, dtype=np.float32)
    field = SmoothField.random(shape, (2, 2, 2), rng).on_lattice()
    field -= field.mean()
    gain: Float32Array = np.exp(np.float32(bias / max(float(np.abs(field).max()), 1e-6)) * field)
    return gain


def degraded(image: Float32Array, optics: Optics, spec: ScannerSpec, rng: np.random.Generator) -> Float32Array:
    """Truncate the spatial frequencies (ringing) and move the head between groups of them (ghosts)."""
    if spec.ringing == 0 and spec.motion_mm == 0:
        return image
    axes = other_axes(optics.slice_axis)
    spectrum = scipy.fft.fftn(image, axes=axes)
    for axis in axes:
        shape = [-1 if a == axis else 1 for a in range(3)]
        frequency = scipy.fft.fftfreq(image.shape[axis]).reshape(shape)
        spectrum *= np.abs(frequency) <= 0.5 * (1 - spec.ringing)
    if spec.motion_mm > 0:
        spectrum *= _motion_phases(image.shape, axes, optics, spec.motion_mm, rng)
    return np.asarray(scipy.fft.ifftn(spectrum, axes=axes).real, dtype=np.float32)


def _motion_phases(
    shape: tuple[int, ...], axes: tuple[int, ...], optics: Optics, motion_mm: float, rng: np.random.Generator
) -> Float32Array:
    """Phase ramps of a translation that changes along the phase-encoding (second in-plane) axis."""
    phase_axis = axes[1]
    lines = scipy.fft.fftfreq(shape[phase_axis])
    group = np.minimum((np.abs(lines) * 2 * MOTION_GROUPS).astype(int), MOTION_GROUPS - 1)
    total = np.zeros([1, 1, 1])
    for axis in axes:
        steps = rng.normal(0, motion_mm / optics.grid.spacing_mm[axis], MOTION_GROUPS)
        steps[0] = 0.0
        frequency = scipy.fft.fftfreq(shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
        shift = steps[group].reshape([-1 if a == phase_axis else 1 for a in range(3)])
        total = total + frequency * shift
    phases: Float32Array = np.exp(-2j * np.pi * total)
    return phases


def noisy(image: Float32Array, sigma: float, modality: Modality, rng: np.random.Generator) -> Float32Array:
    """Rician noise on MR (magnitude of two noisy channels), Gaussian on CT."""
    if sigma == 0:
        return image
    scale = np.float32(sigma)
    first = image + scale * rng.standard_normal(image.shape, dtype=np.float32)
    if modality is Modality.CT:
        return first
    second = scale * rng.standard_normal(image.shape, dtype=np.float32)
    magnitude: Float32Array = np.hypot(first, second)
    return magnitude


def noise_sigma(voxels: Float32Array, brain: BoolArray, slice_axis: int) -> float:
    """Standard deviation of the noise in the brain of a real scan.

    The mixed second difference within a slice cancels planes of signal and has twice the noise; its median absolute
    deviation over the calmer half of the brain (smallest local range) leaves out edges.
    """
    x = np.moveaxis(voxels, slice_axis, 0)
    inside = np.moveaxis(brain, slice_axis, 0)
    corners = [x[:, :-1, :-1], x[:, 1:, :-1], x[:, :-1, 1:], x[:, 1:, 1:]]
    whole = inside[:, :-1, :-1] & inside[:, 1:, 1:] & inside[:, 1:, :-1] & inside[:, :-1, 1:]
    if not whole.any():
        return 0.0
    smooth = ndi.uniform_filter(x, (0, 5, 5))[:, :-1, :-1]
    slope = np.hypot(np.gradient(smooth, axis=1), np.gradient(smooth, axis=2))[whole]
    mixed = (corners[0] - corners[1] - corners[2] + corners[3])[whole][slope <= np.median(slope)]
    return float(1.4826 * np.median(np.abs(mixed - np.median(mixed))) / 2)
