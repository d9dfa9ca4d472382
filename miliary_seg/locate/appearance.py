"""The witness that looks: which weighting a fitted scan has, and whether contrast agent is in it.

Weighting follows from the order of fluid, grey and white matter. Contrast agent is judged by what must shine after it
and lies where the atlas says: straight sinus, vein of Galen, choroid plexus, cavernous sinus, nasal mucosa, and the
superior sagittal sinus and falx against scalp and marrow at the same depth beside the midline. Each place is measured
against the white matter near it, so that shading of the coil does not matter.

Measured on 31 T1 scans of 17 people, leaving one out in turn (docs/loading.md, "The picture").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.appearance import SURE, Appearance
from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.sequence import Sequence
from miliary_seg.locate.atlas import grid_points, load_atlas
from miliary_seg.locate.deform import Deformation
from miliary_seg.locate.transform import apply, inverse

CELL_MM = 8.0
"""White matter is averaged over Gaussians of two such cells: wider than a sulcus, narrower than a coil's shading."""
TOP_SHARE = 0.1
"""Vessels fill a small part of the tube in which they run: the brightest tenth of it is measured."""
LEAST_IN_VIEW = 0.5
"""A place is judged where at least half of it is in view."""
NOTHING_THERE = 0.3
"""Below this share of white matter nothing was imaged: brain-only scans hold zeros there."""

PLACES = ("straight sinus", "vein of Galen or choroid plexus", "cavernous sinus", "nasal mucosa", "falx and sinus")
MIDDLES = (1.10, 1.15, 1.34, 1.07, -0.02)
SCALES = (0.21, 0.07, 0.64, 0.41, 0.11)
WEIGHTS = (1.12, 0.56, 1.05, 0.88, 0.50)
"""Ridge-logistic regression on the places, each person and each answer weighing the same: value half way between the
medians with and without contrast agent, half their distance, and weight."""
CLIP = 2.0
"""No place says more than two half distances: one bright tumour or marrow must not decide alone."""
OUTER = (2, 3)
"""Places outside the brain: without them a lack of contrast agent is not proven."""
LEAST_FLOOR = 0.15
"""Where something forbids to be sure, the probability stays this far from 0 and 1."""
SHINES = 0.5
"""A place that lies this far above the middle shines; a contrast agent is not proven by one alone."""
PLAINLY = 1.5
"""A place that shines so much forbids to speak of a lack of contrast agent."""
UNENHANCED_BELOW = (0.90, 0.75)
"""Cavernous sinus and mucosa, in white matter, that prove a lack: 0.60 to 0.74 and 0.49 to 0.68 where none was given;
faint enhancement (drawn heads) starts at 1.07 and 0.77."""
DEEP_GREY, DARK_CORTEX = 1.04, 0.22
"""Thalamus and putamen both brighter than white matter, and by so much than the cortex: a cortex darkened by partial
volume of dark fluid, as on thick FLAIR."""
UNSURE = 0.85

GREY_ORDER = (0.985, 0.03)
"""Grey over white matter that parts T1 from the rest, and what a margin is worth: T1 0.60 to 0.94, FLAIR 1.03 to 1.05,
T2 and PD 1.10 to 1.40 on the development scans."""
DARK_FLUID, BRIGHT_FLUID = (0.8, 0.1), (1.7, 0.2)
"""Fluid over white matter: T1 0.12 to 0.70, FLAIR 0.27 to 0.32, PD 1.1, T2 2.6 to 3.1."""
CT_WHITE_HU, CT_AIR_HU = (10.0, 60.0), -800.0
"""White matter is 20 to 45 HU, air -1000."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Places:
    """Points of the template, (3, n) in MNI mm, with the slice of each place among them."""

    positions_mm: Float64Array
    slices: dict[str, slice]


def look(
    voxels: Float32Array,
    affine: Float64Array,
    matrix: Float64Array,
    deformation: Deformation,
    *,
    is_ct: bool = False,
    stripped: bool = False,
) -> Appearance:
    """Look at a fitted scan.

    Parameters
    ----------
    voxels
        Canonical scan, shape (i, j, k).
    affine
        Voxel index to RAS+ mm.
    matrix, deformation
        The fit of the template to the scan.
    is_ct
        Whether the grey values are HU.
    stripped
        Whether everything outside the brain was removed: nothing there is judged then.

    Returns
    -------
    Appearance
        With ``enhanced`` None and a low probability where the picture cannot tell.
    """
    places = _places()
    values = _sampled(voxels, affine, matrix, deformation, places.positions_mm)
    thin = voxels[tuple(slice(None, None, max(1, n // 48)) for n in voxels.shape)]
    floor = float(np.nanpercentile(thin, 1.0))
    white = _median(values[places.slices["white"]])
    if not np.isfinite(white) or white <= floor:
        return Appearance(evidence=("white matter is not in view",))
    if is_ct:
        return _ct(white, floor)
    near = _white_nearby(values[places.slices["white"]], places)
    shares = (values - floor) / (near - floor)
    kind, probability, sentence = _weighting(shares, places)
    scalp = _top(_sampled(voxels, affine, matrix, deformation, _scalp()))
    bare = stripped or not (scalp - floor) >= NOTHING_THERE * (white - floor)
    if kind is not Sequence.T1 or probability < SURE:
        return Appearance(sequence=kind, probability=probability, bare=bare, evidence=(sentence,))
    enhanced, regions, said = _contrast(shares, places, stripped=stripped)
    return Appearance(
        sequence=kind,
        probability=probability,
        enhanced=enhanced,
        bare=bare,
        evidence=(sentence, said),
        regions=regions,
    )


def _ct(white: float, floor: float) -> Appearance:
    """CT by its grey values; its contrast agent was not measured, so nothing is said of it."""
    sure = CT_WHITE_HU[0] <= white <= CT_WHITE_HU[1] and floor < CT_AIR_HU
    agent = "whether contrast agent was given, it cannot tell"
    sentence = f"white matter of {white:.0f} and surroundings of {floor:.0f}, as in HU; {agent}"
    return Appearance(sequence=Sequence.CT, probability=0.99 if sure else 0.5, evidence=(sentence,))


def _sampled(
    voxels: Float32Array, affine: Float64Array, matrix: Float64Array, deformation: Deformation, points: Float64Array
) -> Float64Array:
    """Grey values at points of the template, NaN out of view."""
    field, field_affine = deformation.displacement()
    at = apply(inverse(field_affine), points)
    moved = points + np.stack([ndi.map_coordinates(part, at, order=1, mode="nearest") for part in field])
    ijk = apply(inverse(affine) @ matrix, moved)
    values: Float64Array = ndi.map_coordinates(voxels, ijk, output=np.float64, order=1, mode="constant", cval=np.nan)
    return values


def _white_nearby(white: Float64Array, places: _Places) -> Float64Array:
    """Mean of the white matter around every point, shape (n,)."""
    cells, shape = _cells()
    own = cells[places.slices["white"]]
    seen = np.isfinite(white) & (white != 0)
    n = int(np.prod(shape))
    total, count = (
        ndi.gaussian_filter(np.bincount(own[seen], weights=w, minlength=n).reshape(shape), 2.0, mode="constant")
        for w in (white[seen], np.ones(int(seen.sum())))
    )
    mean = np.where(count > count.max() * 1e-4, total / np.maximum(count, 1e-12), float(np.median(white[seen])))
    nearby: Float64Array = mean.ravel()[cells]
    return nearby


def _weighting(shares: Float64Array, places: _Places) -> tuple[Sequence, float, str]:
    """Weighting, its probability and a sentence, from grey and fluid in units of white matter."""
    grey, fluid = (_median(shares[places.slices[name]]) for name in ("grey", "fluid"))
    sentence = f"grey matter {grey:.2f} and fluid {fluid:.2f} of white matter"
    if not (np.isfinite(grey) and np.isfinite(fluid)):
        return Sequence.UNKNOWN, 0.0, "ventricles or cortex are not in view"
    order = (grey - GREY_ORDER[0]) / GREY_ORDER[1]
    dark, bright = (DARK_FLUID[0] - fluid) / DARK_FLUID[1], (fluid - BRIGHT_FLUID[0]) / BRIGHT_FLUID[1]
    margins = {
        Sequence.T1: min(-order, dark),
        Sequence.FLAIR: min(order, dark),
        Sequence.T2: min(order, bright),
        Sequence.PD: min(order, -dark, -bright),
    }
    kind = max(margins, key=lambda sequence: margins[sequence])
    chance = float(1 / (1 + np.exp(-2.2 * margins[kind])))
    deep = min(_median(shares[places.slices[name]]) for name in ("thalamus", "putamen"))
    if kind is Sequence.T1 and deep > DEEP_GREY and deep - grey > DARK_CORTEX:
        return kind, min(chance, UNSURE), f"{sentence}, deep grey {deep:.2f}"
    return kind, chance, sentence


def _contrast(
    shares: Float64Array, places: _Places, *, stripped: bool
) -> tuple[float | None, tuple[tuple[str, float], ...], str]:
    """Probability of a contrast agent, what each place shows, and a sentence."""
    top = {name: _top(shares[part]) for name, part in places.slices.items()}
    outer = [np.nan if stripped or v < NOTHING_THERE else v for v in (top["cavernous"], top["mucosa"])]
    deep = [value for value in (top["galen"], top["choroid"]) if np.isfinite(value)]
    shown = np.array([top["straight"], max(deep, default=np.nan), *outer, top["falx"] - top["shell"]])
    seen = np.isfinite(shown)
    regions = tuple((name, round(float(v), 2)) for name, v, ok in zip(PLACES, shown, seen, strict=True) if ok)
    if seen.sum() < 2:
        return None, regions, "too little in view to see a contrast agent"
    z = np.clip(np.nan_to_num((shown - np.array(MIDDLES)) / np.array(SCALES)), -CLIP, CLIP)
    chance = float(1 / (1 + np.exp(-z @ np.array(WEIGHTS))))
    shining = int((z > SHINES).sum())
    if not (shown[list(OUTER)] < UNENHANCED_BELOW).all() or (z > PLAINLY).any():
        chance = max(chance, LEAST_FLOOR)
    if shining < 2:
        chance = min(chance, 1 - LEAST_FLOOR)
    listed = ", ".join(f"{name} {value:.2f}" for name, value in regions)
    return round(chance, 3), regions, f"contrast agent {chance:.2f} by {listed} of white matter"


def _median(values: Float64Array) -> float:
    """Median of what is in view; NaN where too little is."""
    seen = values[np.isfinite(values)]
    return float(np.median(seen)) if len(seen) >= LEAST_IN_VIEW * len(values) else float("nan")


def _top(shares: Float64Array) -> float:
    """Mean of the brightest tenth; NaN where too little is in view."""
    seen = shares[np.isfinite(shares)]
    if len(seen) < max(3, LEAST_IN_VIEW * len(shares)):
        return float("nan")
    n = max(3, round(TOP_SHARE * len(seen)))
    return float(np.mean(np.partition(seen, len(seen) - n)[-n:]))


SCALP_MM = (6.0, 20.0)
"""Distance of skull and scalp from the brain above its middle: skin and fat are a layer of it."""


@lru_cache(maxsize=1)
def _scalp() -> Float64Array:
    """Points of skull and scalp, (3, n) in MNI mm."""
    atlas = load_atlas()
    points = grid_points(atlas.labels.shape, atlas.affine).reshape(3, *atlas.labels.shape)
    near = (atlas.outside_mm > SCALP_MM[0]) & (atlas.outside_mm < SCALP_MM[1]) & (points[2] > 10)
    found: Float64Array = np.stack([axis[near][::8] for axis in points])
    return found


@lru_cache(maxsize=1)
def _places() -> _Places:
    """Places of the template, once a process."""
    atlas = load_atlas()
    x, y, z = grid_points(atlas.labels.shape, atlas.affine).reshape(3, *atlas.labels.shape)
    outside, t1 = atlas.outside_mm, atlas.t1
    every = np.zeros(outside.shape, bool)
    every[::2, ::2, ::2] = True
    surface = (outside > -4) & (outside < 5) & (z > 0) & (y < 35) & ((z > 20) | (y < -70))
    tube = _tubes(x, y, z)
    masks = {
        "white": every & (t1 > 0.80) & (outside < -6) & (np.abs(z - 10) < 60),
        "grey": every & (t1 > 0.50) & (t1 < 0.62) & (outside < -2),
        "fluid": (t1 < 0.32) & (outside < -14),
        "thalamus": tube((-11, -22, 8), (-11, -14, 8), 6) | tube((11, -22, 8), (11, -14, 8), 6),
        "putamen": tube((-26, -4, 2), (-26, 12, 2), 4) | tube((26, -4, 2), (26, 12, 2), 4),
        "straight": tube((0, -44, 4), (0, -80, -6), 5),
        "galen": tube((0, -32, 12), (0, -46, 2), 5),
        "choroid": tube((-22, -40, 12), (-26, -38, 4), 7) | tube((22, -40, 12), (26, -38, 4), 7),
        "cavernous": tube((-12, 2, -32), (-10, -4, -30), 5) | tube((12, 2, -32), (10, -4, -30), 5),
        "mucosa": tube((0, 35, -42), (0, 55, -40), 14),
        "falx": (np.abs(x) <= 3) & (outside > -3) & (outside < 3) & (z > 20),
        "shell": every & surface & (np.abs(x) > 14) & (np.abs(x) < 40),
    }
    parts, slices, start = [], {}, 0
    for name, mask in masks.items():
        found = np.stack([x[mask], y[mask], z[mask]])
        parts.append(found)
        slices[name] = slice(start, start + found.shape[1])
        start += found.shape[1]
    return _Places(positions_mm=np.concatenate(parts, axis=1), slices=slices)


Point = tuple[float, float, float]


def _tubes(x: Float64Array, y: Float64Array, z: Float64Array) -> Callable[[Point, Point, float], BoolArray]:
    def tube(start: Point, end: Point, radius: float) -> BoolArray:
        """Voxels within a radius (mm) of the line between two points (MNI mm)."""
        inside = np.ones(x.shape, bool)
        for axis, a, b in zip((x, y, z), start, end, strict=True):
            inside &= (axis >= min(a, b) - radius) & (axis <= max(a, b) + radius)
        along = np.subtract(end, start)
        from_start = np.stack([axis[inside] - a for axis, a in zip((x, y, z), start, strict=True)])
        share = np.clip(along @ from_start / float(along @ along), 0, 1)
        off = from_start - along[:, None] * share
        inside[inside] = (off**2).sum(axis=0) <= radius**2
        return inside

    return tube


@lru_cache(maxsize=1)
def _cells() -> tuple[np.ndarray, tuple[int, int, int]]:
    """Number of the cell of every point, shape (n,), and the shape of the lattice of cells."""
    points = _places().positions_mm
    index = ((points - points.min(axis=1, keepdims=True)) // CELL_MM).astype(np.intp)
    shape = tuple(int(n) + 1 for n in index.max(axis=1))
    return np.ravel_multi_index(tuple(index), shape), (shape[0], shape[1], shape[2])
