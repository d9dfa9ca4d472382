"""The story of one phantom: a head, slices through it, look-alikes and lesions, and what the scanner spoils."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.domain.arrays import BoolArray, Float32Array, Int32Array
from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.grid import other_axes
from miliary_seg.domain.sequence import Modality, Polarity
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom.finish import Phantom, in_view, local_sd, nearest_voxel, volume_of, with_skull
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.mimics import add_mimics, enhancement_unit, make_mimics
from miliary_seg.lab.phantom.place import Placed, Slices, place, whereabouts
from miliary_seg.lab.phantom.render import Optics, Patch, lesion_patch
from miliary_seg.lab.phantom.scanner import acquire, degraded, noisy, optics_for, receive_field, resampled_labels
from miliary_seg.lab.phantom.series import imaged
from miliary_seg.lab.phantom.spec import PhantomSpec
from miliary_seg.lab.phantom.template import template_head
from miliary_seg.lab.phantom.truth import HALF, LesionTruth, Truth
from miliary_seg.lab.phantom.view import sigma_of, slices_of


def make(spec: PhantomSpec, host: Head | None = None, seed: int = 0) -> Phantom:
    """Make one phantom.

    Parameters
    ----------
    spec
        What to make; ``preset(name)`` gives named ones.
    host
        From ``head_from_volume`` or ``head_from_labels``; None = the shipped template, bent by the seed.
    seed
        Equal seeds, specs and hosts give equal phantoms; anatomy, look-alikes, places, contrasts and noise draw from
        streams of their own, so that a change in one leaves the others as they were.

    Raises
    ------
    SettingsError
        If the spec contradicts itself.
    UsageError
        If the lesions cannot be placed as wanted.
    """
    if host is None and spec.scanner.on_host_grid:
        raise UsageError("on_host_grid needs a host", todo="give a scan, or set plane and spacing")
    if spec.lesions.enhancement is not None:
        return imaged(spec, [spec.scanner], host, seed)[0]
    with threadpool_limits(limits=1):  # the sums of matrix products must not vary with the number of threads
        return _made(spec, host, seed)


def _made(spec: PhantomSpec, host: Head | None, seed: int) -> Phantom:
    anatomy, mimics_rng, places, contrasts, field_rng, motion, noise = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(7)
    )
    head = with_skull(host or template_head(spec.sequence, anatomy, spec.anatomy, spec.skull), spec)
    optics = optics_for(head, spec.scanner)
    image = acquire(head, optics)
    brain = resampled_labels(head.brain, head, optics).astype(bool)
    sigma = sigma_of(image, brain, head, optics, spec.scanner)
    mimics = make_mimics(head, spec.mimics, spec.sequence, mimics_rng)
    add_mimics(image, mimics, optics, enhancement_unit(head))
    slices = slices_of(optics)
    placed = place(head, spec.lesions, slices, in_view(head, optics), places, [m.points_ras_mm for m in mimics])
    gain = receive_field(optics.grid.shape, 0.0 if head.modality is Modality.CT else spec.scanner.bias, field_rng)
    image, labels, lesions = _implant(image, brain, gain, placed, _Scene(head, optics, slices, spec, sigma), contrasts)
    image = degraded(image * gain, optics, spec.scanner, motion)
    extra = spec.scanner.noise * head.white_level
    image = noisy(image if head.modality is Modality.CT else np.maximum(image, 0), extra, head.modality, noise)
    volume = volume_of(image, head, optics, spec, seed)
    codes = None if head.compartments is None else resampled_labels(head.compartments, head, optics)
    truth = Truth(
        name=spec.name,
        seed=seed,
        spec=spec.as_dict() | {"slice_normal": [float(v) for v in slices.normal]},
        lesions=tuple(lesions),
        mimics=tuple(mimic.truth() for mimic in mimics),
        noise_sigma=sigma,
        slice_axis=optics.slice_axis,
        slice_positions_mm=tuple(round(float(p), 6) for p in slices.positions_mm),
        thickness_mm=optics.thickness_mm,
        slab_mm=spec.slab_mm,
        visible_contrast=spec.visible_contrast,
        host=head.name,
    )
    return Phantom(
        volume=volume,
        truth=truth,
        labels=LabelMap(labels=labels, grid=optics.grid),
        brain_mask=brain,
        compartments=None
        if codes is None
        else LabelMap(labels=codes, grid=optics.grid, names={int(c): c.text for c in Compartment}),
    )


@dataclass(frozen=True, slots=True)
class _Scene:
    """What implanting needs to know."""

    head: Head
    optics: Optics
    slices: Slices
    spec: PhantomSpec
    sigma: float


def _implant(
    image: Float32Array,
    brain: BoolArray,
    gain: Float32Array,
    placed: list[Placed],
    scene: _Scene,
    rng: np.random.Generator,
) -> tuple[Float32Array, Int32Array, list[LesionTruth]]:
    """Add the lesions; contrast is that of the finished scan, so the receive field is divided out here."""
    bare = image.copy()
    labels = np.zeros(image.shape, dtype=np.int32)
    best = np.zeros(image.shape, dtype=np.float32)
    truths: list[LesionTruth] = []
    for lesion in placed:
        contrast = _log_uniform(scene.spec.lesions.contrast, rng)
        bright = scene.spec.lesions.polarity is not Polarity.DARK
        if scene.spec.lesions.polarity is Polarity.BOTH:
            bright = bool(rng.random() < 0.5)
        patch = lesion_patch(scene.optics, lesion.centre_ras_mm, lesion.axes_mm, lesion.kind)
        if patch is None:
            continue
        extra = 0.0 if scene.spec.scanner.on_host_grid else scene.sigma
        local = local_sd(bare, brain, lesion, scene.optics, (scene.sigma, extra))
        unit = local if scene.spec.lesions.contrast_unit == "local" else scene.sigma
        amplitude = contrast * unit * (1 if bright else -1)
        here = float(gain[nearest_voxel(scene.optics, lesion.centre_ras_mm)])
        image[patch.where] += np.float32(amplitude / here) * patch.signal
        number = len(truths) + 1
        window, own = best[patch.where], patch.coverage
        mine = (own >= 0.5 * own.max()) & (own > window)
        labels[patch.where][mine] = number
        np.maximum(window, own, out=window)
        truths.append(_lesion_truth(number, lesion, patch, amplitude, local, scene))
    return image, labels, truths


def _lesion_truth(
    number: int, lesion: Placed, patch: Patch, amplitude: float, local: float, scene: _Scene
) -> LesionTruth:
    share = scene.slices.shares(lesion)
    axis = scene.optics.slice_axis
    peaks = np.zeros(len(share))
    others = other_axes(axis)
    peaks[patch.where[axis]] = patch.signal.max(axis=others) * abs(amplitude)
    floor = scene.spec.visible_contrast * scene.sigma
    where = whereabouts(scene.head, lesion)
    sigma = scene.sigma or 1.0
    return LesionTruth(
        id=number,
        centre_ras_mm=where.centre_ras_mm,
        diameter_mm=lesion.diameter_mm,
        semi_axes_mm=lesion.semi_axes_mm,
        extent_mm=lesion.extent_mm(scene.slices.normal),
        kind=lesion.kind,
        polarity=str(Polarity.BRIGHT if amplitude > 0 else Polarity.DARK),
        amplitude=amplitude,
        contrast_noise=abs(amplitude) / sigma,
        contrast_local=abs(amplitude) / (local or 1.0),
        peak_contrast=float(peaks.max()) / sigma,
        side=where.side,
        level=where.level,
        region=where.region,
        slices=tuple(np.flatnonzero((share >= HALF) & (peaks >= floor)).tolist()),
        slices_touched=tuple(np.flatnonzero(share > 0).tolist()),
    )


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(limits[0] * (limits[1] / limits[0]) ** rng.random())


__all__ = ["Phantom", "make"]
