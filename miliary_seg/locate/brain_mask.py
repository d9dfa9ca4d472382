"""The brain mask: the fitted brain of the atlas, refined by the tissue of this scan; skull-stripped input as it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Box, Float32Array, Float64Array
from miliary_seg.locate.deform import Deformation, atlas_at_lattice, lattice
from miliary_seg.locate.pyramid import linear_weights, shading_gain, tensor_product, upsampled_above
from miliary_seg.locate.rim import NearScan, whole_blocks, with_rim
from miliary_seg.locate.transform import apply, inverse

FLUID_CLASSES, GREY_CLASSES, WHITE_CLASSES = (0, 3), (8, 9), (12, 13)
"""Steps of the template's T1 intensity (``deform.N_TISSUE_CLASSES``): ventricles, cortex and nuclei, white matter."""
FLUID_DEPTH_MM, TISSUE_DEPTH_MM = 10.0, 4.0
"""Medians are taken below these depths: in ventricles, not sulci; in cortex without the fluid around it."""
MIN_POINTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueValues:
    """Median intensities in the scan's own unit."""

    grey: float
    white: float
    fluid: float


def tissue_values(
    voxels: Float32Array, affine: Float64Array, matrix: Float64Array, deformation: Deformation
) -> TissueValues | None:
    """Medians over the template's points; None if too little of one tissue is in view."""
    grid = lattice()
    moved = grid.points.positions_mm + grid.field(deformation.coefficients)[:, grid.used]
    ijk = apply(inverse(affine) @ matrix, moved)
    upper = np.array(voxels.shape)[:, None] - 0.5
    inside = ((ijk > -0.5) & (ijk < upper)).all(axis=0)
    outside_mm, _ = atlas_at_lattice()
    classes = grid.points.classes
    medians = []
    kinds = ((GREY_CLASSES, TISSUE_DEPTH_MM), (WHITE_CLASSES, TISSUE_DEPTH_MM), (FLUID_CLASSES, FLUID_DEPTH_MM))
    for (first, last), depth_mm in kinds:
        which = inside & (classes >= first) & (classes <= last) & (outside_mm < -depth_mm)
        if which.sum() < MIN_POINTS:
            return None
        medians.append(float(np.median(ndi.map_coordinates(voxels, ijk[:, which], order=1, mode="nearest"))))
    grey, white, fluid = medians
    return TissueValues(grey=grey, white=white, fluid=fluid)


Offset = tuple[int, int, int]

STEP_MM = 2.6
"""Larger balls are made of repeated balls of at most this radius; slices further apart are treated one by one."""


def dilated(mask: BoolArray, radius_mm: float, spacing_mm: Float64Array) -> BoolArray:
    """All voxels within ``radius_mm`` of the mask.

    A ball is a bundle of lines: the mask drawn out along one axis is shifted once for each line, not for each voxel.
    """
    repeats = max(1, int(np.ceil(radius_mm / STEP_MM)))
    axis, lines = _lines_of_ball(radius_mm / repeats, spacing_mm)
    for _ in range(repeats):
        drawn = _drawn_out(mask, axis, max(lines.values()))
        grown = mask.copy()
        for offset, half_length in lines.items():
            to, source = _shifted(offset, mask.shape)
            grown[to] |= drawn[half_length][source]
        mask = grown
    return mask


def eroded(mask: BoolArray, radius_mm: float, spacing_mm: Float64Array) -> BoolArray:
    """All voxels of the mask further than ``radius_mm`` from its outside; beyond the array the mask is continued."""
    return ~dilated(~mask, radius_mm, spacing_mm)


def _lines_of_ball(radius_mm: float, spacing_mm: Float64Array) -> tuple[int, dict[Offset, int]]:
    """The axis along which lines run, and the half length in voxels of the line at each offset across it."""
    reach = [int(radius_mm / s) for s in spacing_mm]
    axis = int(np.argmax(reach))
    lines: dict[Offset, int] = {}
    for offset in product(*(range(-r, r + 1) if a != axis else (0,) for a, r in enumerate(reach))):
        left = radius_mm**2 - sum((step * s) ** 2 for step, s in zip(offset, spacing_mm, strict=True))
        if left >= 0:
            lines[(offset[0], offset[1], offset[2])] = int(np.sqrt(left) / spacing_mm[axis])
    return axis, lines


def _drawn_out(mask: BoolArray, axis: int, length: int) -> list[BoolArray]:
    """The mask drawn out by 0, 1, ... ``length`` voxels both ways along an axis."""
    drawn = [mask]
    for step in range(1, length + 1):
        longer = drawn[-1].copy()
        for sign in (-1, 1):
            to, source = _shifted(tuple(sign * step if a == axis else 0 for a in range(3)), mask.shape)
            longer[to] |= mask[source]
        drawn.append(longer)
    return drawn


def _shifted(offset: tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    to = tuple(slice(max(0, o), n + min(0, o)) for o, n in zip(offset, shape, strict=True))
    source = tuple(slice(max(0, -o), n + min(0, -o)) for o, n in zip(offset, shape, strict=True))
    return to, source


BAND_MM = 3.5
"""Within this distance of the fitted surface, intensity decides (docs/measurements/compartments.md, "Mask")."""
WORK_MM = 1.0
"""Resolution at which the mask is refined: at 1.8 mm, 4 % of the cortex was lost, not 2.5 %."""
CORE_MM = 8.0
"""Depth from which the brain's own intensities are taken."""
OPENING_MM = 2.5
"""Cuts bridges of dura and fat."""
CLOSING_MM = 5.0
"""Fills sulci."""
HOLE_MM2 = 100.0
"""Smaller holes in a slice are filled: bright fluid or vessels between folds of cortex
(docs/measurements/compartments.md)."""
SMOOTHING_MM, SMOOTHING_LEVEL = 1.2, 0.45
"""Gaussian and the level it is cut at: lower than one half, so that the outermost half voxel of cortex stays in."""
CROWN_MM = 2.0
"""Opening takes the crowns of thin gyri: what is this near to the opened mask and on tissue's side of half-way between
fluid and tissue comes back (docs/measurements/compartments.md, "The rim")."""
RIM_SMOOTHING_MM = 0.8
"""Gaussian, cut half-way, of the mask once its rim has been decided voxel by voxel."""
LEAST_FLUID_CONTRAST = 0.1
"""Of the brighter tissue. Where fluid is not darker than tissue by this, the rim stays as it is: on T2 the network lost
half of one rim (docs/measurements/compartments.md, "The rim")."""
CT_TISSUE_HU = (12.0, 120.0)
"""Between fluid and bone; cortex that shares a thick slice with bone is brighter than brain ever is."""
BONE_HU = 100.0
"""Denser voxels of the mask that touch the skull belong to it: 20 mL in a head of 1 mm voxels, all within 6.5 mm of the
surface. Clotted blood stays below 80 HU."""
TISSUE_RANGE = (0.55, 3.0)
"""Tissue on MR: from this share of the brain's median (over the zero level) to so many robust deviations above it."""
AIR_PERCENTILE = 1.0
"""If a scan goes below zero (standardised grey values), this percentile is taken as its zero level."""
FLUID_SHARE, MIN_FLUID_CONTRAST = 0.5, 1.5
"""Where fluid is brighter than the brain by so many robust standard deviations, tissue ends half-way to fluid."""
SHADING_MM, SHADING_STEP_MM = 15.0, 4.0
"""Width of the Gaussian that tells shading from tissue, and how finely it is applied
(docs/measurements/compartments.md)."""
SHADING_RANGE = (0.3, 3.0)
"""Of the brain's median: ventricles and vessels beyond count as this much."""
PRIOR_SHARE, MIN_SHADING_VOXELS = 0.01, 100
"""If the share of brain nearby is less than this, nothing is corrected."""
STRIPPED_RING_MM = (4.0, 12.0)
STRIPPED_SHARE = 0.9
"""Share of background around the brain above which the skull counts as removed (9 of 9 and 0 of 37 real scans)."""


Steps = tuple[int, int, int]
"""Sampling step along each axis, in voxels of the scan."""


def ring_steps(shape: tuple[int, ...]) -> Steps:
    """Sampling steps of the distance outside the brain that ``is_stripped`` needs."""
    i, j, k = (2 if n > 64 else 1 for n in shape)
    return i, j, k


def work_steps(affine: Float64Array) -> Steps:
    """Steps at which ``refined_mask`` works: about ``WORK_MM``."""
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    i, j, k = (max(1, int(WORK_MM / s + 0.01)) for s in spacing)
    return i, j, k


def is_stripped(voxels: Float32Array, outside_mm: Float32Array) -> bool:
    """Whether the skull was removed: background value nearly everywhere 4 to 12 mm outside the brain.

    ``outside_mm`` is given at every ``ring_steps``-th voxel.
    """
    thin = _every(ring_steps(voxels.shape))
    ring = (outside_mm > STRIPPED_RING_MM[0]) & (outside_mm < STRIPPED_RING_MM[1])
    background, tolerance = background_value(voxels)
    alike = np.abs(voxels[thin][ring] - background) <= tolerance
    return bool(ring.any()) and float(alike.mean()) > STRIPPED_SHARE


def stripped_mask(voxels: Float32Array, outside_mm: Float32Array, voxel_mm3: float) -> BoolArray:
    """Mask of a scan without a skull: everything but the background near the brain, without debris, holes filled."""
    background, tolerance = background_value(voxels)
    tissue = (np.abs(voxels - background) > tolerance) & (outside_mm < STRIPPED_RING_MM[1])
    brain = _largest(tissue)
    filled: BoolArray = ndi.binary_fill_holes(brain & ~_debris(brain, outside_mm, voxel_mm3))
    return filled


def _debris(brain: BoolArray, outside_mm: Float32Array, voxel_mm3: float) -> BoolArray:
    """Pieces outside the fitted brain that hang on it by a base too narrow for them: remains of dura, eyes or skull.

    A piece of brain that the fit missed is as wide where it starts, and so no higher than the ring it lies in.
    """
    beyond = brain & (outside_mm > BAND_MM)
    pieces, n = ndi.label(beyond)
    base = beyond & ndi.binary_dilation(brain & ~beyond)
    size, width = (np.bincount(pieces[part], minlength=n + 1) for part in (beyond, base))
    height_mm = size / np.maximum(width, 1) * float(np.cbrt(voxel_mm3))
    apart = height_mm > STRIPPED_RING_MM[1] - BAND_MM
    apart[0] = False
    debris: BoolArray = apart[pieces]
    return debris


def background_value(voxels: Float32Array) -> tuple[float, float]:
    """Value in the corners of the grid (0 as a rule, but standardised scans go below it) and its tolerance."""
    corners = voxels[tuple(slice(None, None, max(1, n - 1)) for n in voxels.shape)]
    return float(np.median(corners)), 1e-3 * (float(voxels.max()) - float(voxels.min()))


def refined_mask(
    voxels: Float32Array, affine: Float64Array, outside_mm: Float32Array, *, is_ct: bool, values: TissueValues | None
) -> BoolArray:
    """Mask on the scan's grid; ``outside_mm`` is given at every ``work_steps``-th voxel.

    Deeper than the band inside the fitted surface: brain. Further outside: not. Between: ``rough_mask``, whose rim a
    small network then decides voxel by voxel (``rim``) where fluid is darker than tissue on MR.
    """
    steps = work_steps(affine)
    spacing_mm = np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) * steps
    box = near_brain(outside_mm, spacing_mm)
    fine = np.zeros(voxels.shape, bool)
    if box is None:
        return fine
    near, near_mm = np.ascontiguousarray(voxels[_every(steps)][box]), outside_mm[box]
    if is_ct:
        work = rough_mask(near, near_mm, spacing_mm, TissueLevels(*CT_TISSUE_HU)).mask
    else:
        work = _mask_of_mr(near, near_mm, spacing_mm, values, zero_level(voxels))
    place, weights = [], []
    for part, step, n, thinned in zip(box, steps, voxels.shape, outside_mm.shape, strict=True):
        span = slice(part.start * step, n if part.stop == thinned else (part.stop - 1) * step + 1)
        place.append(span)
        weights.append(linear_weights(np.arange(span.start, span.stop) / step - part.start, part.stop - part.start))
    fine[tuple(place)] = upsampled_above(work.astype(np.float32), weights, 0.5)
    if is_ct:
        nearest = np.ix_(
            *(
                np.minimum(np.arange(s.stop - s.start) // step, n - 1)
                for s, step, n in zip(place, steps, work.shape, strict=True)
            )
        )
        _take_out_bone(fine[tuple(place)], voxels[tuple(place)], (near_mm < -CORE_MM)[nearest])
    return fine


def near_brain(outside_mm: Float32Array, spacing_mm: Float64Array) -> Box | None:
    """The part of the work grid in which the mask is sought, in whole blocks; None where the brain is out of view."""
    found = ndi.find_objects((outside_mm < BAND_MM + CORE_MM).astype(np.int8))
    return whole_blocks(found[0], spacing_mm, outside_mm.shape) if found else None


def _mask_of_mr(
    near: Float32Array, near_mm: Float32Array, spacing_mm: Float64Array, values: TissueValues | None, zero: float
) -> BoolArray:
    signal = near - np.float32(zero)
    signal *= evened(signal, near_mm, spacing_mm)
    near = signal + np.float32(zero)
    low, high = _tissue_range(near, near_mm, values, zero)
    rough = rough_mask(near, near_mm, spacing_mm, TissueLevels(low, high, _crown_level(values)))
    if values is None or rough.lesions is None:
        return rough.mask
    dark, bright = sorted((values.grey - zero, values.white - zero))
    if dark - (values.fluid - zero) < LEAST_FLUID_CONTRAST * bright:
        return rough.mask
    scan = NearScan(
        signal=signal,
        outside_mm=near_mm,
        spacing_mm=spacing_mm,
        white=values.white - zero,
    )
    # the network was fitted on few lesions, and none wider than 12 mm
    decided = with_rim(rough.mask, scan) | (rough.mask & rough.lesions)
    smooth = ndi.gaussian_filter(decided.astype(np.float32), RIM_SMOOTHING_MM / spacing_mm, truncate=2.5)
    mask = _largest(smooth > 0.5)
    return mask | _small_holes(mask, spacing_mm)


@dataclass(frozen=True, slots=True)
class TissueLevels:
    """Grey values between which a voxel is tissue, and above which it is surely not fluid (a crown of a gyrus)."""

    low: float
    high: float
    crown: float = np.inf


class RoughMask(NamedTuple):
    """A mask by grey values, and the voxels taken for bright lesions of the cortex; None where they are not sought."""

    mask: BoolArray
    lesions: BoolArray | None


def rough_mask(
    near: Float32Array, outside_mm: Float32Array, spacing_mm: Float64Array, levels: TissueLevels
) -> RoughMask:
    """Mask by grey values in the band, opened, the largest piece kept, closed, smoothed.

    Where fluid is darker than tissue (T1, FLAIR), bright lesions of the cortex are kept (``_bright_lesions``), and the
    crowns of thin gyri.
    """
    tissue, lesions = (near > levels.low) & (near < levels.high), None
    if levels.crown < np.inf:
        lesions = _bright_lesions(near >= levels.high, outside_mm)
        tissue |= lesions
    return RoughMask(_refined(tissue, outside_mm, spacing_mm, near > levels.crown), lesions)


def _take_out_bone(mask: BoolArray, voxels: Float32Array, deep: BoolArray) -> None:
    """Take bone that reaches in from outside out of a mask on CT; calcifications, which no bone touches, stay.

    What is ``deep`` in the brain is never skull: vessels full of contrast medium run on from its base.
    """
    dense = voxels > BONE_HU
    pieces, n = ndi.label(dense, structure=np.ones((3, 3, 3)))
    from_outside = np.zeros(n + 1, bool)
    from_outside[pieces[dense & ~mask]] = True
    from_outside[0] = False
    mask &= deep | ~from_outside[pieces]
    mask &= _largest(mask)  # what lay beyond the bone goes with it


def _every(steps: Steps) -> tuple[slice, ...]:
    return tuple(slice(None, None, step) for step in steps)


def _bright_lesions(bright: BoolArray, outside_mm: Float32Array) -> BoolArray:
    """Voxels brighter than tissue inside the fitted surface, in pieces that do not reach beyond the band outside of it.

    An enhancing lesion of the cortex does not; scalp, marrow and the large sinuses do.
    """
    pieces, n = ndi.label(bright & (outside_mm > -BAND_MM))
    beyond = np.zeros(n + 1, bool)
    beyond[pieces[outside_mm > BAND_MM]] = True
    beyond[0] = True
    inside: BoolArray = ~beyond[pieces] & (outside_mm < 0)
    return inside


def _crown_level(values: TissueValues | None) -> float:
    """Half-way between fluid and the darker tissue; infinite where fluid is not darker than both, or nothing known."""
    if values is None or values.fluid >= min(values.grey, values.white):
        return np.inf
    return values.fluid + FLUID_SHARE * (min(values.grey, values.white) - values.fluid)


def _refined(tissue: BoolArray, outside: Float32Array, spacing_mm: Float64Array, surely: BoolArray) -> BoolArray:
    found = np.pad((outside < -BAND_MM) | ((outside < BAND_MM) & tissue), 3, mode="edge")
    mask = dilated(_largest(eroded(found, OPENING_MM, spacing_mm)), OPENING_MM, spacing_mm)
    if surely.any():
        mask = _with_crowns(mask, found & np.pad(surely, 3, mode="edge"), spacing_mm)
    mask = eroded(dilated(mask, CLOSING_MM, spacing_mm), CLOSING_MM, spacing_mm)
    mask |= _small_holes(mask, spacing_mm)
    smooth = ndi.gaussian_filter(mask.astype(np.float32), SMOOTHING_MM / spacing_mm, truncate=2.5)
    rounded: BoolArray = (smooth > SMOOTHING_LEVEL)[3:-3, 3:-3, 3:-3] & (outside < BAND_MM)
    return rounded


def _with_crowns(mask: BoolArray, tissue: BoolArray, spacing_mm: Float64Array) -> BoolArray:
    """The mask and the tissue within ``CROWN_MM`` that hangs on it: dura beyond fluid does not."""
    near = ndi.generate_binary_structure(3, 1)
    for axis in np.flatnonzero(spacing_mm > CROWN_MM):
        near &= np.isin(np.indices(near.shape)[axis], 1)
    grown: BoolArray = ndi.binary_dilation(
        mask, near, iterations=max(1, round(CROWN_MM / float(spacing_mm.min()))), mask=tissue | mask
    )
    return grown


def _small_holes(mask: BoolArray, spacing_mm: Float64Array) -> BoolArray:
    """Gaps of less than ``HOLE_MM2`` that the mask surrounds within a slice of the plane with the finest voxels."""
    across = 2 - int(np.argmax(spacing_mm[::-1]))
    in_plane = ndi.generate_binary_structure(3, 1)
    in_plane[tuple(slice(None, None, 2) if axis == across else 1 for axis in range(3))] = False
    gaps, _ = ndi.label(~mask, structure=in_plane)
    size_mm2 = np.bincount(gaps.ravel()) * float(np.prod(np.delete(spacing_mm, across)))
    small = size_mm2 < HOLE_MM2
    small[0] = False
    for axis in {0, 1, 2} - {across}:
        small[gaps.take([0, -1], axis)] = False  # open to the outside of the scan
    holes: BoolArray = small[gaps]
    return holes


def zero_level(voxels: Float32Array) -> float:
    """Level of no signal: 0 for magnitudes; the darkest level if grey values were standardised and go below 0."""
    thin = voxels[tuple(slice(None, None, max(1, n // 64)) for n in voxels.shape)]
    return min(0.0, float(np.percentile(thin, AIR_PERCENTILE)))


def evened(signal: Float32Array, outside_mm: Float32Array, spacing_mm: Float64Array) -> Float32Array:
    """Factor that corrects the bias field: the brain's median over its mean around each voxel.

    A receive coil can make the rim several times as bright as the middle, and skull at the rim as bright as tissue.
    """
    steps = tuple(max(1, round(SHADING_STEP_MM / s)) for s in spacing_mm.tolist())
    thin = _every(steps)
    inside = outside_mm[thin] < -BAND_MM
    if inside.sum() < MIN_SHADING_VOXELS:
        return np.ones_like(signal)
    some = signal[thin]
    median = np.float32(np.median(some[inside]))
    sigma = SHADING_MM / (spacing_mm * steps)
    held = np.clip(some, SHADING_RANGE[0] * median, SHADING_RANGE[1] * median)
    factor = shading_gain(held, inside, median, sigma, PRIOR_SHARE)
    places = [np.arange(n) / step for n, step in zip(signal.shape, steps, strict=True)]
    return tensor_product(factor, [linear_weights(p, n) for p, n in zip(places, factor.shape, strict=True)])


def _tissue_range(
    voxels: Float32Array, outside_mm: Float32Array, values: TissueValues | None, zero: float
) -> tuple[float, float]:
    core = outside_mm < -CORE_MM
    inner = voxels[core if core.sum() > 100 else outside_mm < 0]
    if inner.size == 0:
        return -np.inf, np.inf
    median = float(np.median(inner))
    spread = 1.48 * float(np.median(np.abs(inner - median)))
    high = median + TISSUE_RANGE[1] * spread
    if values is not None:
        top = max(values.grey, values.white)
        if values.fluid - top > MIN_FLUID_CONTRAST * spread:
            high = min(high, top + FLUID_SHARE * (values.fluid - top))
    return zero + TISSUE_RANGE[0] * (median - zero), high


def _largest(mask: BoolArray) -> BoolArray:
    labels, n = ndi.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels[mask])[1:]) if n > 1 else mask
