"""The story of one phantom: a head, slices through it, look-alikes and lesions, and what the scanner spoils."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.grid import other_axes
from miliary_seg.domain.sequence import Modality, Polarity, Sequence, SequenceEvidence
from miliary_seg.domain.volume import LabelMap, Source, Volume
from miliary_seg.errors import UsageError
from miliary_seg.lab.phantom.head import Head
from miliary_seg.lab.phantom.mimics import add_mimics, enhancement_unit, make_mimics
from miliary_seg.lab.phantom.place import Placed, Slices, place, value_at
from miliary_seg.lab.phantom.render import Optics, Patch, lesion_patch
from miliary_seg.lab.phantom.scanner import (
    acquire,
    degraded,
    noise_sigma,
    noisy,
    optics_for,
    receive_field,
    resampled_labels,
)
from miliary_seg.lab.phantom.shell import wrap_shell
from miliary_seg.lab.phantom.spec import REGIONS, PhantomSpec
from miliary_seg.lab.phantom.template import SIGNALS, template_head
from miliary_seg.lab.phantom.truth import HALF, LesionTruth, Truth, slice_positions

SURROUNDINGS_MM = 8.0
"""Radius of the ball in which the local standard deviation is taken: a reader's region of interest, lesion left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A scan whose every lesion is known."""

    volume: Volume
    truth: Truth
    labels: LabelMap
    """n = lesion id n, where the lesion's coverage of the voxel is at least half of its own largest."""
    brain_mask: BoolArray = field(compare=False)
    compartments: LabelMap | None = None
    """Values of ``Compartment`` on the scan's grid, where the host knows them."""


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
    with threadpool_limits(limits=1):  # the sums of matrix products must not vary with the number of threads
        return _made(spec, host, seed)


def _made(spec: PhantomSpec, host: Head | None, seed: int) -> Phantom:
    anatomy, mimics_rng, places, contrasts, field_rng, motion, noise = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(7)
    )
    head = _with_skull(host or template_head(spec.sequence, anatomy, spec.anatomy, spec.skull), spec)
    optics = optics_for(head, spec.scanner)
    image = acquire(head, optics)
    brain = resampled_labels(head.brain, head, optics).astype(bool)
    sigma = _sigma(image, brain, head, optics, spec)
    mimics = make_mimics(head, spec.mimics, spec.sequence, mimics_rng)
    add_mimics(image, mimics, optics, enhancement_unit(head))
    slices = _slices(optics)
    placed = place(head, spec.lesions, slices, _in_view(head, optics), places, [m.points_ras_mm for m in mimics])
    gain = receive_field(optics.grid.shape, 0.0 if head.modality is Modality.CT else spec.scanner.bias, field_rng)
    image, labels, lesions = _implant(image, brain, gain, placed, _Scene(head, optics, slices, spec, sigma), contrasts)
    image = degraded(image * gain, optics, spec.scanner, motion)
    extra = spec.scanner.noise * head.white_level
    image = noisy(image if head.modality is Modality.CT else np.maximum(image, 0), extra, head.modality, noise)
    volume = _volume(image, head, optics, spec, seed)
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
) -> tuple[Float32Array, np.ndarray[tuple[int, ...], np.dtype[np.int32]], list[LesionTruth]]:
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
        local = _local_sd(bare, brain, lesion, scene)
        unit = local if scene.spec.lesions.contrast_unit == "local" else scene.sigma
        amplitude = contrast * unit * (1 if bright else -1)
        here = float(gain[_nearest(scene.optics, lesion.centre_ras_mm)])
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
    code = 0
    if scene.head.compartments is not None:
        code = int(value_at(scene.head, scene.head.compartments, lesion.centre_ras_mm[None])[0])
    region = 0
    if scene.head.regions is not None:
        region = int(value_at(scene.head, scene.head.regions, lesion.centre_ras_mm[None])[0])
    x, y, z = (round(float(v), 6) for v in lesion.centre_ras_mm)
    a, b, c = sorted(round(float(v), 6) for v in np.sqrt((lesion.axes_mm**2).sum(axis=0)))
    sigma = scene.sigma or 1.0
    return LesionTruth(
        id=number,
        centre_ras_mm=(x, y, z),
        diameter_mm=lesion.diameter_mm,
        semi_axes_mm=(a, b, c),
        extent_mm=lesion.extent_mm(scene.slices.normal),
        kind=lesion.kind,
        polarity=str(Polarity.BRIGHT if amplitude > 0 else Polarity.DARK),
        amplitude=amplitude,
        contrast_noise=abs(amplitude) / sigma,
        contrast_local=abs(amplitude) / (local or 1.0),
        peak_contrast=float(peaks.max()) / sigma,
        side=str(Compartment(code).side) if code else None,
        level=str(Compartment(code).level) if code else None,
        region=REGIONS[region - 1] if region else None,
        slices=tuple(np.flatnonzero((share >= HALF) & (peaks >= floor)).tolist()),
        slices_touched=tuple(np.flatnonzero(share > 0).tolist()),
    )


def _local_sd(bare: Float32Array, brain: BoolArray, lesion: Placed, scene: _Scene) -> float:
    """Robust standard deviation of brain around the site, lesion left out, with the noise to come."""
    grid = scene.optics.grid
    centre = np.array(_nearest(scene.optics, lesion.centre_ras_mm))
    radius = SURROUNDINGS_MM + lesion.reach_mm
    reach = np.ceil(radius / np.array(grid.spacing_mm)).astype(int)
    where = tuple(slice(max(0, c - r), c + r + 1) for c, r in zip(centre, reach, strict=True))
    index = np.stack(np.meshgrid(*[np.arange(bare.shape[a])[where[a]] for a in range(3)], indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.to_ras_mm(index) - lesion.centre_ras_mm, axis=-1)
    values = bare[where][(distance < radius) & (distance > lesion.reach_mm + 1.0) & brain[where]]
    if values.size < 10:
        return scene.sigma
    extra = 0.0 if scene.spec.scanner.on_host_grid else scene.sigma
    return float(np.hypot(1.4826 * np.median(np.abs(values - np.median(values))), extra))


def _nearest(optics: Optics, point_ras_mm: Float64Array) -> tuple[int, int, int]:
    index = np.rint(optics.grid.to_ijk(point_ras_mm)).astype(int)
    i, j, k = np.clip(index, 0, np.array(optics.grid.shape) - 1)
    return int(i), int(j), int(k)


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(limits[0] * (limits[1] / limits[0]) ** rng.random())


def _slices(optics: Optics) -> Slices:
    probe = Volume(voxels=np.zeros(optics.grid.shape, np.float32), grid=optics.grid, slice_axis=optics.slice_axis)
    normal, positions = slice_positions(probe)
    return Slices(normal=normal, positions_mm=positions, thickness_mm=optics.thickness_mm)


def _in_view(head: Head, optics: Optics) -> BoolArray:
    """Head voxels whose centre lies within the outermost slice planes and columns of the scan."""
    matrix = np.linalg.inv(optics.grid.affine) @ head.grid.affine
    lines = [np.arange(n, dtype=np.float32) for n in head.grid.shape]
    inside = np.ones(head.grid.shape, dtype=bool)
    for axis in range(3):
        i, j, k = (np.float32(matrix[axis, b]) * lines[b] for b in range(3))
        index = i[:, None, None] + j[:, None] + k + np.float32(matrix[axis, 3])
        inside &= (index >= -0.01) & (index <= optics.grid.shape[axis] - 0.99)
    return inside


def _sigma(image: Float32Array, brain: BoolArray, head: Head, optics: Optics, spec: PhantomSpec) -> float:
    """Noise of the finished scan: the host's own where its voxels are kept, and what is added."""
    own = noise_sigma(image, brain, optics.slice_axis) if spec.scanner.on_host_grid else 0.0
    return float(np.hypot(own, spec.scanner.noise * head.white_level))


def _with_skull(head: Head, spec: PhantomSpec) -> Head:
    """Draw the vault around a brain-only real host that is imaged anew; other hosts stay as they are."""
    stripped = head.volume is not None and float(np.median(head.voxels[~head.brain])) == head.background
    if not (spec.skull and stripped and not spec.scanner.on_host_grid):
        return head
    signals = np.array(SIGNALS.get(spec.sequence, SIGNALS[Sequence.T1]), dtype=np.float64)
    if head.modality is Modality.MR:
        signals *= head.white_level / signals[0]
    drawn = wrap_shell(head.brain, head.grid, tuple(signals.tolist()), head.background)
    return replace(head, voxels=np.where(head.brain, head.voxels, drawn))


def _volume(image: Float32Array, head: Head, optics: Optics, spec: PhantomSpec, seed: int) -> Volume:
    image = np.ascontiguousarray(image, dtype=np.float32)
    digest = hashlib.sha256(image.tobytes())
    digest.update(json.dumps(spec.as_dict(), sort_keys=True).encode())
    digest.update(optics.grid.affine.tobytes())
    evidence = SequenceEvidence(sequence=spec.sequence, confidence="user", evidence=("stated for the phantom",))
    return Volume(
        voxels=image,
        grid=optics.grid,
        id=f"phantom-{spec.name}-{seed}",
        modality=head.modality,
        sequence=evidence,
        slice_axis=optics.slice_axis,
        slice_thickness_mm=optics.thickness_mm,
        source=Source(format="phantom", sha256=digest.hexdigest(), orientation_source="stated by the user"),
    )


__all__ = ["Phantom", "make"]
