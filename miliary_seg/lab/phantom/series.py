"""Phantoms of lesions that replace their tissue, and one head with the same lesions on slices of several thicknesses.

The lesions are mixed into the head on its own grid, before slices are averaged, so that partial volume comes about as
in a scanner. What each lesion shows is worked out for every scan from the same shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.domain.arrays import Int32Array
from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.sequence import Modality, Polarity
from miliary_seg.domain.sequence import Sequence as Contrast
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom.finish import Phantom, in_view, local_sd, volume_of, with_skull
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.implant import LookAlikes, Site, drawn_lesions
from miliary_seg.lab.phantom.mimics import Mimic, add_mimics, enhancement_unit, make_mimics
from miliary_seg.lab.phantom.place import whereabouts
from miliary_seg.lab.phantom.render import Patch
from miliary_seg.lab.phantom.scanner import acquire, degraded, noisy, optics_for, receive_field, resampled_labels
from miliary_seg.lab.phantom.spec import PhantomSpec, ScannerSpec
from miliary_seg.lab.phantom.template import template_head
from miliary_seg.lab.phantom.truth import LesionTruth, Truth
from miliary_seg.lab.phantom.view import Implant, Seen, View, mixed_in, patch_of, view_of

SURROUNDINGS_EVERY_MM = 2.0
"""Distance of the voxels whose spread is ``contrast_local``: some hundred are enough."""
OWN_SLICES = 0.05
"""A thickness within 5 % of the host's own is the host's own."""
Thickness = float | tuple[float, float] | None


def implanted_series(
    host: Head, spec: PhantomSpec, thicknesses_mm: Sequence[Thickness], seed: int = 0, *, count_on: int = 0
) -> tuple[Phantom, ...]:
    """One head with the same lesions, imaged with slices of several thicknesses.

    The host's voxels in plane stay as they are; its slices are averaged over the slice profile. A real host keeps its
    own noise (which averaging lowers, as a thicker slice has more signal) and shading: ``noise`` and ``bias`` of the
    scanner are for heads without noise (template, label maps).

    Parameters
    ----------
    host
        A head with slices as thin as the thinnest wanted ones.
    spec
        With ``lesions.enhancement``. ``lesions.second_best`` and ``lesions.slice_targets`` hold exactly on the scan
        ``count_on``.
    thicknesses_mm
        For each phantom: slice thickness in mm, a pair of thickness and gap in mm, or None = the host's own slices.
    seed
        Equal seeds give the same lesions; a larger ``second_best`` or ``count`` adds to those of a smaller one.
    count_on
        Position in ``thicknesses_mm`` of the scan on which the wanted counts hold.

    Returns
    -------
    tuple of Phantom
        In the order of ``thicknesses_mm``; lesion ids are the same in all.

    Raises
    ------
    UsageError
        If the host's slices are too thick, the lesions do not replace tissue, or they cannot be placed as wanted.
    """
    if not thicknesses_mm or not 0 <= count_on < len(thicknesses_mm):
        raise UsageError("count_on names no thickness", todo=f"a number from 0 to {len(thicknesses_mm) - 1}")
    scanners = [_on_host(host, spec.scanner, thickness) for thickness in thicknesses_mm]
    return tuple(imaged(spec, scanners, host, seed, count_on))


def _on_host(host: Head, scanner: ScannerSpec, thickness: Thickness) -> ScannerSpec:
    wanted, gap = thickness if isinstance(thickness, tuple) else (thickness, 0.0)
    kept = replace(scanner, on_host_grid=True, host_thickness_mm=None, gap_mm=0.0)
    if host.volume is not None:
        kept = replace(kept, noise=0.0, bias=0.0)
    own = optics_for(host, kept).thickness_mm
    if wanted is None or (gap == 0 and abs(wanted - own) <= OWN_SLICES * own):
        return kept
    return replace(kept, host_thickness_mm=wanted, gap_mm=gap)


def imaged(
    spec: PhantomSpec, scanners: Sequence[ScannerSpec], host: Head | None, seed: int, count_on: int = 0
) -> list[Phantom]:
    """Phantoms of one head and the same lesions through several scanners; lesions replace their tissue.

    Parameters
    ----------
    spec
        Its own ``scanner`` is not looked at, nor its ``sequence`` where a real host knows its own.
    scanners
        One for each phantom.
    host
        None = the template, bent by the seed.
    seed
        As in ``make``.
    count_on
        The scanner on whose slices wishes for counts hold.
    """
    if spec.lesions.enhancement is None:
        raise UsageError("these lesions are added, not put in place of tissue", todo="give lesions.enhancement")
    if host is not None and host.sequence is not Contrast.UNKNOWN:
        spec = replace(spec, sequence=host.sequence)  # which tissue is white matter depends on it
    with threadpool_limits(limits=1):  # as in make
        return _imaged(spec, scanners, host, seed, count_on)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scene:
    """One head with its lesions, ready to be imaged."""

    spec: PhantomSpec
    seed: int
    bare: Head
    filled: Head
    lesions: list[Implant]
    mimics: list[Mimic]
    streams: list[np.random.SeedSequence]
    """For receive field, motion and noise: every scan draws the same field."""


def _imaged(
    spec: PhantomSpec, scanners: Sequence[ScannerSpec], host: Head | None, seed: int, count_on: int
) -> list[Phantom]:
    streams = np.random.SeedSequence(seed).spawn(7)
    anatomy, mimics_rng, places, contrasts = map(np.random.default_rng, streams[:4])
    head = host or template_head(spec.sequence, anatomy, spec.anatomy, spec.skull)
    head = with_skull(head, replace(spec, scanner=scanners[count_on]))
    views = [view_of(head, scanner, spec.visible_contrast, spec.visible_enhancement) for scanner in scanners]
    mimics = make_mimics(head, spec.mimics, spec.sequence, mimics_rng)
    counting = views[count_on]
    drawn: list[tuple[Implant, Seen]] = []
    if spec.lesions.count and spec.lesions.second_best != 0:
        seen_part = None if scanners[count_on].on_host_grid else in_view(head, counting.optics)
        site = Site.of(head, spec, counting, seen_part, (places, contrasts), LookAlikes.of(mimics))
        drawn = drawn_lesions(site, counting)
    lesions = [lesion for lesion, _ in drawn]
    seen = [[one for _, one in drawn] if v is counting else [v.seen(lesion) for lesion in lesions] for v in views]
    filled = replace(head, voxels=mixed_in(head.voxels, lesions, _on_own_grid(head, spec, lesions, views, seen)))
    scene = _Scene(spec=spec, seed=seed, bare=head, filled=filled, lesions=lesions, mimics=mimics, streams=streams[4:])
    return [_phantom(scene, view, one) for view, one in zip(views, seen, strict=True)]


def _on_own_grid(
    head: Head, spec: PhantomSpec, lesions: list[Implant], views: list[View], seen: list[list[Seen]]
) -> list[Patch | None]:
    """Lesions on the grid of the head: as rendered for a view of its own slices, if there is one."""
    for view, found in zip(views, seen, strict=True):
        if view.optics.grid is head.grid:
            return [one.patch for one in found]
    own = optics_for(head, replace(spec.scanner, on_host_grid=True, host_thickness_mm=None))
    return [patch_of(lesion, own) for lesion in lesions]


def _phantom(scene: _Scene, view: View, seen: list[Seen]) -> Phantom:
    """One scan of the head, and its truth."""
    optics, scanner, head = view.optics, view.scanner, scene.filled
    spec = replace(scene.spec, scanner=scanner)
    field_rng, motion, noise = map(np.random.default_rng, scene.streams)
    image = head.voxels.copy() if optics.grid is scene.bare.grid else acquire(head, optics)
    add_mimics(image, scene.mimics, optics, enhancement_unit(head))
    is_ct = head.modality is Modality.CT
    image *= receive_field(optics.grid.shape, 0.0 if is_ct else scanner.bias, field_rng)
    image = degraded(image, optics, scanner, motion)
    image = noisy(image if is_ct else np.maximum(image, 0), scanner.noise * head.white_level, head.modality, noise)
    codes = None if head.compartments is None else resampled_labels(head.compartments, head, optics)
    return Phantom(
        volume=volume_of(image, head, optics, spec, scene.seed),
        truth=_truth(scene, spec, view, seen),
        labels=LabelMap(labels=_labels(view, seen), grid=optics.grid),
        brain_mask=view.brain,
        compartments=None
        if codes is None
        else LabelMap(labels=codes, grid=optics.grid, names={int(c): c.text for c in Compartment}),
    )


def _labels(view: View, seen: list[Seen]) -> Int32Array:
    """Lesion ids where a lesion's part of the voxel is at least half of its own largest."""
    labels = np.zeros(view.optics.grid.shape, dtype=np.int32)
    best = np.zeros(view.optics.grid.shape, dtype=np.float32)
    for number, one in enumerate(seen, start=1):
        if one.patch is None:
            continue
        window, own = best[one.patch.where], one.patch.coverage
        mine = (own >= 0.5 * own.max()) & (own > window)
        labels[one.patch.where][mine] = number
        np.maximum(window, own, out=window)
    return labels


def _truth(scene: _Scene, spec: PhantomSpec, view: View, seen: list[Seen]) -> Truth:
    numbered = enumerate(zip(scene.lesions, seen, strict=True), start=1)
    return Truth(
        name=spec.name,
        seed=scene.seed,
        spec=spec.as_dict() | {"slice_normal": [float(v) for v in view.slices.normal]},
        lesions=tuple(_lesion_truth(number, lesion, one, view, scene) for number, (lesion, one) in numbered),
        mimics=tuple(mimic.truth() for mimic in scene.mimics),
        noise_sigma=view.sigma,
        slice_axis=view.optics.slice_axis,
        slice_positions_mm=tuple(round(float(p), 6) for p in view.slices.positions_mm),
        thickness_mm=view.optics.thickness_mm,
        slab_mm=spec.slab_mm,
        visible_contrast=spec.visible_contrast,
        visible_enhancement=spec.visible_enhancement,
        host=scene.bare.name,
    )


def _lesion_truth(number: int, lesion: Implant, seen: Seen, view: View, scene: _Scene) -> LesionTruth:
    body, head, sigma = lesion.body, scene.bare, view.sigma or 1.0
    extra = 0.0 if view.scanner.on_host_grid else view.sigma
    local = local_sd(view.bare, view.brain, body, view.optics, (view.sigma, extra), SURROUNDINGS_EVERY_MM)
    where = whereabouts(head, body)
    unit = 1.0 if head.modality is Modality.CT else abs(lesion.white) or 1.0
    touched = np.flatnonzero(seen.share > 0)
    peak = float(seen.peaks.max()) if np.isfinite(seen.peaks).any() else 0.0
    return LesionTruth(
        id=number,
        centre_ras_mm=where.centre_ras_mm,
        diameter_mm=body.diameter_mm,
        semi_axes_mm=body.semi_axes_mm,
        extent_mm=body.extent_mm(view.slices.normal),
        kind=body.kind,
        polarity=str(Polarity.BRIGHT if lesion.lift > 0 else Polarity.DARK),
        amplitude=lesion.lift,
        contrast_noise=abs(lesion.lift) / sigma,
        contrast_local=abs(lesion.lift) / (local or 1.0),
        peak_contrast=peak / sigma,
        side=where.side,
        level=where.level,
        region=where.region,
        slices=seen.slices,
        slices_touched=tuple(touched.tolist()),
        place=lesion.place,
        enhancement=lesion.enhancement,
        white_level=lesion.white,
        peak_enhancement=peak / unit,
        slice_enhancement=tuple(round(float(max(p, -9.0 * unit)) / unit, 6) for p in seen.peaks[touched]),
        slabs=view.slabs(lesion, seen, scene.spec.slab_mm),
    )
