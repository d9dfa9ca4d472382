"""Trust in the brain mask itself: whether it lies where the fit says, what it holds at its rim and what it leaves out.

A right fit does not make a right mask: fluid, dura or scalp as bright as brain can be let in, and what is dark in a
scan can be lost. Figures and calibration: docs/compartments.md and docs/measurements/compartments.md, "Trust of the
mask".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, Int16Array
from miliary_seg.domain.compartment import MaskTrust, TemplateMap
from miliary_seg.domain.reason import Reason
from miliary_seg.locate.atlas import load_atlas
from miliary_seg.locate.brain_mask import background_value, dilated, eroded, evened, zero_level
from miliary_seg.locate.pyramid import linear_weights, upsampled
from miliary_seg.locate.transform import apply, inverse

STEP_MM = 2.0
"""The mask is judged on every n-th voxel, about this far apart."""
REACH_MM = 14.0
"""Nothing further outside the fitted brain is looked at."""
CORE_MM = 8.0
"""Depth from which the brain's own grey values are taken."""
BAND_MM = 3.5
"""As far as this from the fitted surface the mask may follow the scan (``brain_mask.BAND_MM``)."""
SKIN_MM, RIM_MM, OUTER_MM = 2.0, 4.0, 4.0
"""Outermost layers of the mask, and the layer outside of it, whose content is judged."""
FLUID_T1, GREY_T1, WHITE_T1 = (0.0, 0.32), (0.50, 0.62), (0.80, 1.0)
"""The template's T1 intensity in ventricles, grey and white matter."""
FLUID_MM = 10.0
"""Fluid deeper than this is a ventricle."""
MIN_POINTS = 20
DARK_SHARE = 0.3
"""MR: darker than this share of the brain's median is air, bone or flow."""
PARTLY_BONE_SHARE = 0.8
"""Of the darker tissue: where fluid is bright, what is darker than this shares its voxel with bone."""
CT_DARK_HU, CT_BONE_HU, CT_TISSUE_HU = -20.0, 100.0, (12.0, 90.0)
MIN_FLUID_CONTRAST = 0.2
"""Of the brain's median: where fluid is nearer to brain than this, the fluid around the brain cannot be told from it,
and a tenth of the mask may be fluid (simulated PD and SWI: 12 to 40 %)."""
N_SECTORS = 24
"""Directions from the middle of the brain in each of which the mask is judged by itself."""
MIDDLE_MNI_MM = (0.0, -18.0, 10.0)
SECTOR_SHARE = 0.2
"""A direction with less than this share of the fullest one (out of view) is not judged."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskView:
    """A scan, its fit and its mask on a coarse grid around the brain; arrays of shape (i, j, k)."""

    mask: BoolArray
    grey_values: Float32Array
    """MR: share of the brain's median, bias field corrected; CT: HU."""
    outside_mm: Float32Array
    """Distance outside the fitted brain surface, negative inside."""
    midline_mm: Float32Array
    """Negative on the left."""
    tentorium_mm: Float32Array
    """Negative above."""
    sectors: Int16Array
    """Direction from the middle of the brain, 0 to ``N_SECTORS`` - 1."""
    empty: BoolArray
    """Voxels with the value of the background; only where the skull was removed."""
    spacing_mm: Float64Array
    box: tuple[slice, ...]
    """The view in the canonical scan."""
    fluid: float
    """Level of the ventricles, NaN where they are not in view."""
    tissue: tuple[float, float]
    """Darker and brighter of grey and white matter, NaN where not in view."""
    is_ct: bool
    stripped: bool

    def of_scan(self, array: BoolArray) -> BoolArray:
        """What the view shows of an array on the canonical grid."""
        return np.ascontiguousarray(array[self.box])

    def with_mask(self, mask: BoolArray) -> MaskView:
        """The same scan under another mask."""
        return replace(self, mask=mask)


def mask_view(
    voxels: Float32Array,
    affine: Float64Array,
    brain: BoolArray,
    template: TemplateMap,
    *,
    is_ct: bool,
    stripped: bool,
) -> MaskView | None:
    """What ``mask_figures`` looks at.

    Parameters
    ----------
    voxels, brain
        Canonical scan and mask, shape (i, j, k).
    affine
        Voxel index to RAS+ mm.
    template
        The fit.
    is_ct, stripped
        Whether grey values are HU, and whether the skull was removed.

    Returns
    -------
    MaskView or None
        None where the fitted brain lies outside the scan.
    """
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    steps = [max(1, int(STEP_MM / s + 0.01)) for s in spacing]
    every = tuple(slice(None, None, step) for step in steps)
    outside, tentorium, places = _carried(template, affine, voxels.shape, steps)
    found = ndi.find_objects((outside < REACH_MM).astype(np.int8))
    if not found or not (outside < 0).any():
        return None
    box = found[0]
    outside, tentorium, places = outside[box], tentorium[box], [axis[box] for axis in places]
    seen, spacing_mm = np.ascontiguousarray(voxels[every][box], np.float32), spacing * steps
    background, tolerance = background_value(voxels)
    levels = seen if is_ct else _shares(seen - zero_level(voxels), outside, spacing_mm)
    fluid, grey, white = _levels(levels, outside, places)
    return MaskView(
        mask=np.ascontiguousarray(brain[every][box]),
        grey_values=levels,
        outside_mm=outside,
        midline_mm=places[0],
        tentorium_mm=tentorium,
        sectors=sectors_of(places),
        empty=np.abs(seen - background) <= tolerance if stripped else np.zeros(seen.shape, bool),
        spacing_mm=spacing_mm,
        box=tuple(slice(s.start * step, s.stop * step, step) for s, step in zip(box, steps, strict=True)),
        fluid=fluid,
        tissue=(min(grey, white), max(grey, white)),
        is_ct=is_ct,
        stripped=stripped,
    )


def _carried(
    template: TemplateMap, affine: Float64Array, shape: tuple[int, ...], steps: list[int]
) -> tuple[Float32Array, Float32Array, list[Float32Array]]:
    """Distances outside the brain and below the tentorium (mm of the scan), and the place in the template."""
    atlas, place = load_atlas(), template.positions_mm.astype(np.float64)
    counts = place.shape[1:]
    ratio = np.rint(np.sqrt((template.affine[:3, :3] ** 2).sum(axis=0) / (affine[:3, :3] ** 2).sum(axis=0)))
    weights = [
        linear_weights(np.arange(n)[::step] / r, m) for n, step, r, m in zip(shape, steps, ratio, counts, strict=True)
    ]
    ijk = apply(inverse(atlas.affine), place.reshape(3, -1))
    scale = _scale(template)
    outside, tentorium = (
        upsampled(
            (ndi.map_coordinates(d, ijk, order=1, mode="nearest") * scale).astype(np.float32).reshape(counts), weights
        )
        for d in (atlas.outside_mm, atlas.tentorium_mm)
    )
    return outside, tentorium, [upsampled(axis.astype(np.float32), weights) for axis in place]


def _scale(template: TemplateMap) -> float:
    """Mean scale of the fit: mm of the scan for one of the template."""
    inner = tuple(slice(0, max(1, n - 1)) for n in template.positions_mm.shape[1:])
    steps = [np.diff(template.positions_mm, axis=a + 1) for a in range(3)]
    if any(step.size == 0 for step in steps):
        return 1.0
    mean = np.stack([step[(slice(None), *inner)].reshape(3, -1).mean(axis=1) for step in steps], axis=1)
    return float(np.cbrt(abs(np.linalg.det(template.affine[:3, :3])) / max(abs(np.linalg.det(mean)), 1e-9)))


def _shares(signal: Float32Array, outside_mm: Float32Array, spacing_mm: Float64Array) -> Float32Array:
    """MR signal over the brain's median, with the bias field corrected as for the mask."""
    signal = signal * evened(signal, outside_mm, spacing_mm)
    core = outside_mm < -CORE_MM
    median = float(np.median(signal[core if core.sum() > 100 else outside_mm < 0]))
    return signal / np.float32(max(median, 1e-6))


def _levels(levels: Float32Array, outside_mm: Float32Array, places: list[Float32Array]) -> tuple[float, float, float]:
    """Median of ventricles, grey and white matter, where the template has them; NaN where out of view."""
    atlas = load_atlas()
    inside = outside_mm < 0
    ijk = apply(inverse(atlas.affine), np.stack([axis[inside] for axis in places]).astype(np.float64))
    t1 = ndi.map_coordinates(atlas.t1, ijk, order=1, mode="nearest")
    values, depth = levels[inside], -outside_mm[inside]
    medians = []
    for (low, high), least in ((FLUID_T1, FLUID_MM), (GREY_T1, BAND_MM), (WHITE_T1, BAND_MM)):
        which = (t1 >= low) & (t1 < high) & (depth > least)
        medians.append(float(np.median(values[which])) if which.sum() >= MIN_POINTS else float("nan"))
    return medians[0], medians[1], medians[2]


@lru_cache(maxsize=1)
def directions() -> Float32Array:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), shape (N_SECTORS, 3)."""
    n = np.arange(N_SECTORS) + 0.5
    polar, turn = np.arccos(1 - 2 * n / N_SECTORS), np.pi * (1 + np.sqrt(5)) * n
    points = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1)
    return points.astype(np.float32)


def sectors_of(places: list[Float32Array]) -> Int16Array:
    """The direction from the middle of the brain that each place lies in, shape (i, j, k).

    Direction by direction: ``argmax`` over the first axis takes three times as long.
    """
    from_middle = np.stack([axis - middle for axis, middle in zip(places, MIDDLE_MNI_MM, strict=True)])
    along = np.tensordot(directions(), from_middle, axes=1)
    sectors, most = np.zeros(along.shape[1:], np.int16), along[0]
    for sector in range(1, N_SECTORS):
        np.copyto(sectors, sector, where=along[sector] > most)
        np.maximum(most, along[sector], out=most)
    return sectors


def mask_figures(view: MaskView) -> dict[str, float]:
    """Figures of a mask; names and units in docs/compartments.md."""
    if not view.mask.any():
        return {"volume_ratio": 0.0}
    layers = _Layers.of(view.mask, view.spacing_mm)
    return _geometry(view, layers) | _content(view, layers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layers:
    """Layers of a mask and around it."""

    skin: BoolArray
    rim: BoolArray
    outer: BoolArray
    next_outside: BoolArray
    around: BoolArray

    @classmethod
    def of(cls, mask: BoolArray, spacing_mm: Float64Array) -> _Layers:
        wide = np.pad(mask, 3, mode="edge")
        core = (slice(3, -3),) * 3
        under = eroded(wide, SKIN_MM, spacing_mm)
        deep = eroded(under, RIM_MM - SKIN_MM, spacing_mm)
        inmost = eroded(deep, CORE_MM - RIM_MM, spacing_mm)
        over = dilated(wide, SKIN_MM, spacing_mm)
        far = dilated(over, OUTER_MM - SKIN_MM, spacing_mm)
        layers = (wide & ~under, wide & ~deep, wide & ~inmost, over & ~wide, far & ~wide)
        skin, rim, outer, next_outside, around = (layer[core] for layer in layers)
        return cls(skin=skin, rim=rim, outer=outer, next_outside=next_outside, around=around)


def _geometry(view: MaskView, layers: _Layers) -> dict[str, float]:
    mask, outside = view.mask, view.outside_mm
    brain = outside < 0
    size = float(brain.sum())
    half = SKIN_MM / 4
    offset = np.concatenate([outside[layers.skin] + half, outside[layers.next_outside] - half])
    offset = offset if offset.size else np.array([REACH_MM])
    ratios = _by_sector(mask, brain, view.sectors)
    gaps, _ = ndi.label(~np.pad(mask, 1))
    holes = np.bincount(gaps.ravel())[1:]
    pieces, _ = ndi.label(mask)
    return {
        "volume_ratio": float(mask.sum()) / size,
        "surface_distance_mm": float(np.abs(offset).mean()),
        "surface_offset_mm": float(offset.mean()),
        "beyond_fraction": float((mask & (outside > BAND_MM)).sum()) / size,
        "missing_fraction": float((~mask & (outside < -BAND_MM)).sum()) / size,
        "sector_ratio_most": float(ratios.max(initial=0.0)),
        "sector_ratio_least": float(ratios.min(initial=1.0)),
        "left_right_log_ratio": _balance(mask, brain, view.midline_mm < 0),
        "above_below_log_ratio": _balance(mask, brain, view.tentorium_mm < 0),
        "hole_fraction": float(holes.sum() - holes.max(initial=0)) / size,
        "island_fraction": 1 - float(np.bincount(pieces.ravel())[1:].max(initial=0)) / float(mask.sum()),
    }


def _by_sector(part: BoolArray, whole: BoolArray, sectors: Int16Array) -> Float64Array:
    """Size of one mask over another in each direction that is in view."""
    some, every = (np.bincount(sectors[which], minlength=N_SECTORS) for which in (part, whole))
    seen = every > SECTOR_SHARE * every.max(initial=0)
    ratios: Float64Array = some[seen] / every[seen]
    return ratios


def _balance(mask: BoolArray, brain: BoolArray, first: BoolArray) -> float:
    """Absolute log of how full one part of the mask is over the other; 0 where one is not in view."""
    expected = [float((brain & part).sum()) for part in (first, ~first)]
    if min(expected) < 0.03 * sum(expected):
        return 0.0
    found = [max(float((mask & part).sum()), 1.0) for part in (first, ~first)]
    return float(abs(np.log(found[0] / expected[0] * expected[1] / found[1])))


def _content(view: MaskView, layers: _Layers) -> dict[str, float]:
    levels = view.grey_values
    core = levels[view.outside_mm < -CORE_MM]
    if core.size < 100:
        core = levels[view.outside_mm < 0]
    low, middle, high, top = np.percentile(core, [5, 50, 95, 99])
    if view.is_ct:
        dark = (levels < CT_DARK_HU) | (levels > CT_BONE_HU)
        tissue = (levels > CT_TISSUE_HU[0]) & (levels < CT_TISSUE_HU[1])
    else:
        dark, tissue = levels < DARK_SHARE, (levels > low) & (levels < high)
    bright = levels > 2 * top - middle
    around = layers.around & (view.outside_mm < REACH_MM - SKIN_MM)
    fluid = _like_fluid(view)
    tissue &= ~fluid
    if view.stripped:
        dark, bright, fluid, tissue = view.empty, np.zeros_like(dark), np.zeros_like(dark), ~view.empty
    strange = _by_sector((dark | bright) & layers.rim, layers.rim, view.sectors)
    left_out = _by_sector(tissue & around, around, view.sectors)
    return {
        "rim_air_or_bone_fraction": _share(dark, layers.skin),
        "rim_bright_fraction": _share(bright, layers.rim),
        "rim_fluid_fraction": _share(fluid, layers.skin),
        "rim_strange_fraction_worst": float(strange.max(initial=0.0)),
        "tissue_next_outside_fraction": _share(tissue, layers.next_outside),
        "tissue_next_outside_fraction_worst": float(left_out.max(initial=0.0)),
        "fluid_contrast": _fluid_contrast(view),
    } | _bone(view, layers)


def _bone(view: MaskView, layers: _Layers) -> dict[str, float]:
    """Bone in the mask where fluid is bright (T2), so that nothing else there is dark; 0 on other scans."""
    low, high = view.tissue
    inside = partly = 0.0
    if not (view.is_ct or view.stripped) and view.fluid > high:
        dark, darker = view.grey_values < DARK_SHARE, view.grey_values < PARTLY_BONE_SHARE * low
        inside = float(_by_sector(dark & layers.outer, layers.outer, view.sectors).max(initial=0.0))
        partly = float(_by_sector(darker & layers.rim, layers.rim, view.sectors).max(initial=0.0))
    return {"bone_inside_fraction_worst": inside, "rim_partly_bone_fraction_worst": partly}


def _fluid_contrast(view: MaskView) -> float:
    """How far fluid lies from brain, as a share of the brain's median; 1 where nothing is known."""
    low, high = view.tissue
    if view.is_ct or view.stripped or not np.isfinite((view.fluid, low, high)).all():
        return 1.0
    return float(max(low - view.fluid, view.fluid - high, 0.0))


def _like_fluid(view: MaskView) -> BoolArray:
    """Voxels nearer to fluid than to brain; none on CT and where fluid looks like brain."""
    low, high = view.tissue
    if view.is_ct or _fluid_contrast(view) < MIN_FLUID_CONTRAST or not np.isfinite(view.fluid):
        return np.zeros(view.mask.shape, bool)
    dark = view.fluid < low
    half = (view.fluid + (low if dark else high)) / 2
    alike: BoolArray = view.grey_values < half if dark else view.grey_values > half
    return alike


def _share(part: BoolArray, whole: BoolArray) -> float:
    size = int(whole.sum())
    return float((part & whole).sum()) / size if size >= MIN_POINTS else 0.0


INTERCEPT = 10.62
WEIGHTS = {
    "larger": 2.56,
    "beyond": 20.0,
    "missing": 23.8,
    "outward": 0.12,
    "bulge": 2.75,
    "dent": 1.25,
    "air_or_bone": 10.47,
    "bright": 1.81,
    "fluid": 7.66,
    "strange": 3.18,
    "tissue": 10.86,
    "tissue_worst": 2.14,
    "sides": 8.45,
    "levels": 3.32,
    "holes": 15.0,
    "islands": 30.0,
    "bone": 90.0,
    "partly_bone": 18.0,
}
"""What each departure takes from the log odds that a mask neither lets in nor loses more than a tenth of the brain
(fitted on spoiled masks, but for bone: docs/measurements/compartments.md, "Trust of the mask")."""
BONE_FROM, PARTLY_BONE_FROM = 0.03, 0.30
"""Shares up to which a mask may be right (T2 of 1 to 6.5 mm that lets in less than 8 %: at most 0.03 and 0.30)."""
FLUID_DOUBT = 0.1
"""Fluid that looks like brain multiplies the figure by this."""
ASKED_FOR = 0.25
"""Departures that take at least this share of the largest one's log odds are named."""
CODES = {
    "larger": "mask_too_large",
    "beyond": "mask_beyond_brain",
    "missing": "mask_incomplete",
    "outward": "mask_off_surface",
    "bulge": "mask_uneven",
    "dent": "mask_uneven",
    "air_or_bone": "mask_holds_air_or_bone",
    "bright": "mask_holds_bright_tissue",
    "fluid": "mask_holds_fluid",
    "strange": "mask_rim_not_brain",
    "tissue": "mask_leaves_tissue",
    "tissue_worst": "mask_leaves_tissue",
    "sides": "mask_unbalanced",
    "levels": "mask_unbalanced",
    "holes": "mask_holes",
    "islands": "mask_islands",
    "bone": "mask_holds_bone",
    "partly_bone": "mask_holds_bone",
}
TEXTS = {
    "mask_too_large": "the brain mask is {volume_ratio:.2f} times as large as the fitted brain",
    "mask_beyond_brain": "the brain mask reaches beyond the fitted brain by {beyond_fraction:.0%} of its size",
    "mask_incomplete": "the brain mask leaves out {missing_fraction:.0%} of the fitted brain",
    "mask_off_surface": "the brain mask's surface lies {surface_distance_mm:.1f} mm from that of the fitted brain",
    "mask_uneven": "the brain mask holds {sector_ratio_least:.2f} to {sector_ratio_most:.2f} of the fitted brain,"
    " depending on the direction",
    "mask_holds_air_or_bone": "{rim_air_or_bone_fraction:.0%} of the brain mask's rim is as dark as air or bone",
    "mask_holds_bone": "in one direction {bone_inside_fraction_worst:.0%} of the brain mask's outer 8 mm is as dark as"
    " bone, and {rim_partly_bone_fraction_worst:.0%} of its rim is partly bone",
    "mask_holds_bright_tissue": "{rim_bright_fraction:.0%} of the brain mask's rim is brighter than brain",
    "mask_holds_fluid": "{rim_fluid_fraction:.0%} of the brain mask's rim looks like fluid",
    "mask_rim_not_brain": "in one direction {rim_strange_fraction_worst:.0%} of the brain mask's rim is no brain",
    "mask_leaves_tissue": "{tissue_next_outside_fraction:.0%} of what lies next to the brain mask looks like brain",
    "mask_unbalanced": "the two sides, or what lies above and below the tentorium, are filled unevenly",
    "mask_holes": "the brain mask has holes of {hole_fraction:.1%} of the brain",
    "mask_islands": "{island_fraction:.1%} of the brain mask lies apart from the rest",
    "fluid_like_brain": "fluid looks like brain on this scan: how far the mask reaches into it cannot be told",
}
"""The reasons, with figures in them."""
SMALLEST = 0.05
"""Ratios below this count as this much."""


def assess_mask(figures: dict[str, float], threshold: float) -> MaskTrust:
    """Probability that a mask neither lets in nor loses more than a tenth of the brain; if it is too low, why."""
    if figures["volume_ratio"] == 0:
        reason = Reason(code="mask_empty", text="the brain mask is empty")
        return MaskTrust(trusted=False, trust=0.0, figures=figures, reasons=(reason,))
    taken = {name: WEIGHTS[name] * size for name, size in departures(figures).items() if name in WEIGHTS}
    trust = float(1 / (1 + np.exp(sum(taken.values()) - INTERCEPT)))
    codes = []
    if figures["fluid_contrast"] < MIN_FLUID_CONTRAST:
        trust *= FLUID_DOUBT
        codes.append("fluid_like_brain")
    if trust < threshold and sum(taken.values()) > INTERCEPT:
        most = max(taken.values())
        codes += [CODES[name] for name in sorted(taken, key=lambda n: -taken[n]) if taken[name] >= ASKED_FOR * most]
    reasons = tuple(Reason(code=code, text=TEXTS[code].format(**figures)) for code in dict.fromkeys(codes))
    return MaskTrust(trusted=trust >= threshold, trust=trust, figures=figures, reasons=reasons)


def departures(figures: dict[str, float]) -> dict[str, float]:
    """How far a mask departs from what masks are like, each 0 or more."""
    f = figures
    size, most, least = (
        float(np.log(max(f[name], SMALLEST))) for name in ("volume_ratio", "sector_ratio_most", "sector_ratio_least")
    )
    return {
        "larger": max(size, 0.0),
        "beyond": float(np.sqrt(f["beyond_fraction"])),
        "missing": float(np.sqrt(f["missing_fraction"])),
        "outward": max(f["surface_offset_mm"], 0.0),
        "bulge": max(most, 0.0),
        "dent": max(-least, 0.0),
        "air_or_bone": float(np.sqrt(f["rim_air_or_bone_fraction"])),
        "bright": float(np.sqrt(f["rim_bright_fraction"])),
        "fluid": f["rim_fluid_fraction"],
        "strange": f["rim_strange_fraction_worst"],
        "tissue": f["tissue_next_outside_fraction"],
        "tissue_worst": f["tissue_next_outside_fraction_worst"],
        "sides": min(f["left_right_log_ratio"], 1.0),
        "levels": min(f["above_below_log_ratio"], 1.0),
        "holes": float(np.sqrt(f["hole_fraction"])),
        "islands": float(np.sqrt(f["island_fraction"])),
        "bone": max(f["bone_inside_fraction_worst"] - BONE_FROM, 0.0),
        "partly_bone": max(f["rim_partly_bone_fraction_worst"] - PARTLY_BONE_FROM, 0.0),
    }
