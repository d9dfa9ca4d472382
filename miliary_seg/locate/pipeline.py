"""From one scan to its brain mask, its compartments and how far they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.domain.arrays import BoolArray, Float32Array
from miliary_seg.domain.compartment import Compartment, Coverage, MaskTrust, Registration
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Location
from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, NoBrainError
from miliary_seg.locate.appearance import look
from miliary_seg.locate.brain_mask import (
    is_stripped,
    refined_mask,
    ring_steps,
    stripped_mask,
    tissue_values,
    work_steps,
)
from miliary_seg.locate.compartments import DistanceMaps, coverage, distance_maps
from miliary_seg.locate.mask_trust import MaskView, assess_mask, mask_figures, mask_view
from miliary_seg.locate.pyramid import BlockMeans
from miliary_seg.locate.quality import Trust, assess_trust
from miliary_seg.locate.register import Fit, Resolutions, register, resolutions
from miliary_seg.locate.reorient import CanonicalView, register_turned
from miliary_seg.settings import LocateSettings

MIN_SCORE_RATIO = 0.95
"""A fit with turned axes must match at least this many times as well as the one with the header's own."""
REORIENTED = Reason(
    code="reoriented",
    text="the head was found only after turning the scan's axes: the header is wrong or states no orientation;"
    " levels are used, sides are not",
)
NO_MASK = MaskTrust(trusted=False, trust=0.0)
"""Where no brain was found there is no mask to judge."""
AIR_HU = -300.0
"""CT is always this negative at its 2nd percentile, since air surrounds the head; MR only if it was shifted."""
MAY_BE_CT = {Sequence.UNKNOWN, Sequence.CT, Sequence.CTC}
"""Scans of a known MR sequence are never taken as HU, however negative their grey values."""


def locate(volume: Volume, settings: LocateSettings | None = None, *, mask: BoolArray | None = None) -> Location:
    """Find the brain, its compartments and their surfaces in a scan.

    Parameters
    ----------
    volume
        Any contrast, spacing and orientation; CT in HU.
    settings
        Whether to deform, and how much trust is enough; defaults to ``LocateSettings()``.
    mask
        The user's own brain mask on the grid of the volume; it replaces the one found.

    Returns
    -------
    Location
        Arrays on the grid of the volume. ``registration`` says whether compartments may be used at all.

    Raises
    ------
    NoBrainError
        If the scan is constant or empty.
    GeometryError
        If the mask does not have the volume's shape.
    """
    if mask is not None and mask.shape != volume.grid.shape:
        raise GeometryError(f"the mask is {mask.shape}, the scan is {volume.grid.shape}")
    settings = settings or LocateSettings()
    canonical = CanonicalView.of(volume.grid)
    voxels = _finite(canonical.view(volume.voxels))
    if float(voxels.min()) == float(voxels.max()):
        raise NoBrainError("the scan is empty: every voxel has the same value", todo="give a brain scan")
    with threadpool_limits(limits=1):  # threads slow small products down, and sums must not vary
        return _located(volume, canonical, voxels, settings, mask)


def _located(
    volume: Volume, canonical: CanonicalView, voxels: Float32Array, settings: LocateSettings, mask: BoolArray | None
) -> Location:
    is_ct = _is_ct(volume, voxels)
    found = _fitted(resolutions(BlockMeans(voxels=voxels, affine=canonical.affine), is_ct), settings)
    if found is None:
        return _nothing(volume, Reason(code="no_brain", text="nothing in the scan resembles a head"))
    fit = found.fit
    maps = distance_maps(canonical.shape, canonical.affine, fit.matrix, fit.deformation)
    stripped = is_stripped(voxels, maps.outside_mm(ring_steps(voxels.shape)))
    if mask is not None:
        brain = np.array(mask, dtype=bool)  # a copy: results are read-only, the caller's array is not
    elif stripped:
        brain = canonical.back(stripped_mask(voxels, maps.outside_mm(), volume.grid.voxel_volume_mm3))
    else:
        values = None if is_ct else tissue_values(voxels, canonical.affine, fit.matrix, fit.deformation)
        outside = maps.outside_mm(work_steps(canonical.affine))
        brain = canonical.back(refined_mask(voxels, canonical.affine, outside, is_ct=is_ct, values=values))
    shown = coverage(voxels, canonical.affine, fit.matrix, fit.deformation, canonical.view(brain))
    place = _assembled(volume, canonical, brain, maps, shown, _registration(volume, settings, found, stripped))
    view = _view_of_mask(canonical, voxels, place, is_ct=is_ct) if place.registration.brain_found else None
    trust = NO_MASK if view is None else assess_mask(mask_figures(view), settings.mask_trust_threshold)
    place = replace(place, mask_trust=trust)
    if not found.trusted(settings) or volume.source.format == "phantom":  # a drawn head shows what was drawn
        return place
    seen = look(voxels, canonical.affine, fit.matrix, fit.deformation, is_ct=is_ct, stripped=stripped)
    return replace(place, appearance=seen)


def view_of_mask(volume: Volume, location: Location) -> MaskView | None:
    """A located scan as the judge of its mask sees it; None where no brain was found."""
    canonical = CanonicalView.of(volume.grid)
    voxels = _finite(canonical.view(volume.voxels))
    with threadpool_limits(limits=1):
        return _view_of_mask(canonical, voxels, location, is_ct=_is_ct(volume, voxels))


def _view_of_mask(
    canonical: CanonicalView, voxels: Float32Array, location: Location, *, is_ct: bool
) -> MaskView | None:
    if location.template is None:
        return None
    return mask_view(
        voxels,
        canonical.affine,
        canonical.view(location.brain_mask),
        location.template,
        is_ct=is_ct,
        stripped=location.registration.skull_stripped,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """A fit, how far it may be trusted, and whether the scan's axes had to be turned for it."""

    fit: Fit
    trust: Trust
    reoriented: bool = False

    def trusted(self, settings: LocateSettings) -> bool:
        return self.trust.brain_found and self.trust.figure >= settings.trust_threshold


def _fitted(scan: Resolutions, settings: LocateSettings) -> _Found | None:
    """The fit under the header's axes, or else a trusted one under turned axes."""
    upright = register(scan, settings.deform)
    found = None if upright is None else _Found(upright, assess_trust(upright.figures))
    if found is not None and found.trusted(settings):
        return found
    turned = register_turned(scan, settings.deform)
    if turned is None:
        return found
    rescued = _Found(turned, assess_trust(turned.figures), reoriented=True)
    better = found is None or turned.score > MIN_SCORE_RATIO * found.fit.score
    return rescued if better and rescued.trusted(settings) else found


def _assembled(
    volume: Volume,
    canonical: CanonicalView,
    brain: BoolArray,
    maps: DistanceMaps,
    coverage: Coverage,
    registration: Registration,
) -> Location:
    midline, tentorium = canonical.back(maps.midline_mm()), canonical.back(maps.tentorium_mm())
    labels = np.zeros(brain.shape, np.uint8)
    for box in ndi.find_objects(brain.view(np.uint8)):
        inside = np.where(tentorium[box] > 0, np.uint8(3), np.uint8(1))
        inside += midline[box] >= 0
        np.multiply(inside, brain[box], out=labels[box])
    for array in (brain, midline, tentorium):
        array.setflags(write=False)
    return Location(
        brain_mask=brain,
        compartments=LabelMap(labels=labels, grid=volume.grid, names={int(c): c.text for c in Compartment}),
        midline_distance_mm=midline,
        tentorium_distance_mm=tentorium,
        coverage=coverage,
        registration=registration,
        template=maps.template,
    )


def _registration(volume: Volume, settings: LocateSettings, found: _Found, stripped: bool) -> Registration:
    trust = found.trust
    return Registration(
        trusted=found.trusted(settings),
        trust=trust.figure,
        brain_found=trust.brain_found,
        orientation_known=volume.orientation_known,
        reoriented=found.reoriented,
        skull_stripped=stripped,
        figures=found.fit.figures,
        reasons=((REORIENTED, *trust.reasons) if found.reoriented else trust.reasons),
    )


def _nothing(volume: Volume, reason: Reason) -> Location:
    shape = volume.grid.shape
    return Location(
        brain_mask=np.zeros(shape, bool),
        compartments=LabelMap(labels=np.zeros(shape, np.uint8), grid=volume.grid),
        midline_distance_mm=np.zeros(shape, np.float32),
        tentorium_distance_mm=np.zeros(shape, np.float32),
        coverage=Coverage(
            left_supratentorial=0.0, right_supratentorial=0.0, left_infratentorial=0.0, right_infratentorial=0.0
        ),
        registration=Registration(
            trusted=False,
            trust=0.0,
            brain_found=False,
            orientation_known=volume.orientation_known,
            reasons=(reason,),
        ),
        mask_trust=NO_MASK,
    )


def _finite(voxels: Float32Array) -> Float32Array:
    if np.isfinite(voxels.sum()):
        return voxels
    low = float(voxels[np.isfinite(voxels)].min(initial=0.0))
    return np.nan_to_num(voxels, nan=low, posinf=low, neginf=low)


def _is_ct(volume: Volume, voxels: Float32Array) -> bool:
    return volume.in_hounsfield or (volume.sequence.sequence in MAY_BE_CT and _looks_like_ct(voxels))


def _looks_like_ct(voxels: Float32Array) -> bool:
    thin = tuple(slice(None, None, max(1, n // 48)) for n in voxels.shape)
    return float(np.percentile(voxels[thin], 2)) < AIR_HU
