"""Lesions that somebody else found, measured as ours are: from instances on the scan's grid to a ``Detection``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.detect.delineate import Size, measure_labels, measured_lesion
from miliary_seg.detect.normalise import prepare
from miliary_seg.detect.quality import RIM_MM, artefact_doubts, detectable_diameter_mm, lesion_polarity, noise_doubts
from miliary_seg.detect.white_matter import with_enhancement
from miliary_seg.detect.work_grid import work_grid
from miliary_seg.domain.arrays import BoolArray, Box, Float64Array, Int32Array
from miliary_seg.domain.lesion import Candidate, Lesion, Point, Rejection
from miliary_seg.domain.lesion_source import GivenLesions
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Detection, OperatingPoint
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, InputError
from miliary_seg.settings import DetectSettings

OUTSIDE_MM = 5.0
"""Lesions further than this from the brain mask are no brain lesions; the mask is that exact (docs/compartments.md)."""
LARGEST_SHARE = 0.35
"""Of the brain: more is a mask of the brain or of a tissue. Large gliomas with oedema take up a quarter."""
SHELL_MM = (0.8, 3.0)
"""The surroundings of a lesion: between these distances from its voxels, without other lesions."""
CHECKED = 60
"""Lesions that are looked at for a mirrored mask."""
FEWEST_CHECKED = 5
STANDS_OUT, FLAT = 3.0, 1.0
"""In noise standard deviations: a mask is called mirrored where its lesions are flat and their mirror images not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedRates:
    """What the user says of whoever found the lesions; None = nothing."""

    sensitivity: float | None = None
    false_positives: float | None = None
    """Mean number of false lesions a scan."""


def given_detection(
    volume: Volume,
    mask: BoolArray,
    given: GivenLesions,
    rates: StatedRates | None = None,
    settings: DetectSettings | None = None,
) -> Detection:
    """Measure lesions that others found, exactly as those of our own detector are.

    Parameters
    ----------
    volume
        The scan.
    mask
        Brain, on the volume's grid (i, j, k).
    given
        Instances on the same grid.
    rates
        Stated sensitivity and false positives; without them counts are taken as exact.
    settings
        Polarity of lesions on this scan.

    Returns
    -------
    Detection
        Every given lesion is a candidate; those clear of the brain are rejected by the rule ``outside_brain``.
        ``contrast`` is the mean of a lesion's voxels less the median around them, over the scan's noise.

    Raises
    ------
    GeometryError
        If the lesions do not lie on the volume's grid, or most of them lie outside of the brain.
    InputError
        If they cover so much of the brain that they are a mask of it.
    """
    where = given.source.path or given.source.text
    if given.labels.grid.shape != volume.grid.shape or mask.shape != volume.grid.shape:
        raise GeometryError(f"the lesions are {given.labels.grid.shape}, the scan is {volume.grid.shape}", where=where)
    labels = np.asarray(given.labels.labels)
    _require_lesions(labels, mask, where)
    measured = _measured(volume, mask, labels, given)
    outside = _outside(labels, mask, volume, len(given))
    _require_inside(outside, where)
    lesions, rejections = _accepted(measured.candidates, measured.lesions, outside)
    noise = noise_doubts(measured.smallest_mm) if measured.usable else ()
    mirrored = _mirrored(volume, labels, measured)
    detection = Detection(
        candidates=measured.candidates,
        rejections=rejections,
        lesions=lesions,
        lesion_labels=LabelMap(labels=_renumbered(labels, outside), grid=volume.grid),
        polarity=lesion_polarity(volume, settings or DetectSettings()),
        noise_sigma=measured.noise,
        operating_point=stated_point(rates or StatedRates(), lesions, mask, volume),
        detectable_diameter_mm=measured.smallest_mm,
        doubts=(*measured.doubts, *noise, *mirrored),
        artefact_doubts=(*(() if given.source.algorithm_type == "MANUAL" else artefact_doubts(lesions)), *mirrored),
        source=given.source,
        caveats=(*given.caveats, *_remarks(lesions, outside, measured, rates)),
    )
    return with_enhancement(detection, volume, mask) if measured.usable else detection


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Measured:
    """What the scan says of the given lesions."""

    candidates: tuple[Candidate, ...]
    lesions: tuple[Lesion, ...]
    contrasts: Float64Array
    """Signed, in the scan's unit."""
    noise: float
    smallest_mm: float | None
    doubts: tuple[Reason, ...]
    usable: bool


def _require_lesions(labels: NDArray[Any], mask: BoolArray, where: str) -> None:
    share = int(np.count_nonzero(labels)) / max(1, int(np.count_nonzero(mask)))
    if share > LARGEST_SHARE:
        what = f"the lesions cover as much as {share:.0%} of the brain: a mask of the brain or of a tissue?"
        raise InputError(what, where=where, todo="choose the lesion labels with --lesion-labels")


def _require_inside(outside: BoolArray, where: str) -> None:
    n_outside = int(outside.sum())
    if n_outside > 0.5 * len(outside):
        what = f"{n_outside} of {len(outside)} lesions lie outside of the brain: another patient's, or another frame"
        raise GeometryError(what, where=where, todo="give lesions drawn on this scan, in its own coordinates")


def _measured(volume: Volume, mask: BoolArray, labels: Int32Array, given: GivenLesions) -> _Measured:
    work = prepare(volume.voxels, mask, work_grid(volume, mask)) if mask.any() else Reason(code="empty_mask", text="")
    usable = not isinstance(work, Reason)
    noise = work.noise * work.unit if not isinstance(work, Reason) else 0.0
    smallest = None
    if not isinstance(work, Reason):
        smallest = detectable_diameter_mm(work.noise, max(work.spacing_mm[1:]), volume.thickness_mm)
    boxes = ndi.find_objects(labels, max_label=len(given))
    contrasts = np.array([_contrast(volume, labels, n, box) for n, box in enumerate(boxes, start=1)])
    scan = Instances(labels=labels, volume=volume, mask=mask)
    pairs = []
    for n, (size, contrast) in enumerate(zip(measure_labels(labels, volume, len(given)), contrasts, strict=True), 1):
        if size is None:
            raise InputError(f"lesion {n} has no voxel", todo="number instances 1, 2, 3 ...")
        over_noise = float(abs(contrast) / noise) if noise > 0 else 0.0
        polarity = Polarity.DARK if contrast < 0 else Polarity.BRIGHT
        chance = given.probabilities[n - 1]
        pairs.append(scan.lesion(n, boxes[n - 1], size, contrast=over_noise, polarity=polarity, probability=chance))
    return _Measured(
        candidates=tuple(candidate for candidate, _ in pairs),
        lesions=tuple(lesion for _, lesion in pairs),
        contrasts=contrasts,
        noise=noise,
        smallest_mm=smallest,
        doubts=(work,) if isinstance(work, Reason) else work.doubts,
        usable=usable,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instances:
    """Labelled lesions on a scan, as candidates that were accepted."""

    labels: Int32Array
    volume: Volume
    mask: BoolArray

    def lesion(
        self, number: int, box: Box, size: Size, *, contrast: float, polarity: Polarity, probability: float
    ) -> tuple[Candidate, Lesion]:
        """Candidate and lesion of one instance.

        Parameters
        ----------
        number
            Its label, which becomes the id of both.
        box
            Of the label (``ndimage.find_objects``).
        size
            What ``measure_labels`` found for it.
        contrast
            Over the scan's noise.
        polarity, probability
            Of the lesion.
        """
        i, j, k = (np.argwhere(self.labels[box] == number).mean(axis=0) + [s.start for s in box]).tolist()
        x, y, z = self.volume.grid.to_ras_mm(np.array([i, j, k])).tolist()
        candidate = Candidate(
            id=number,
            centroid_ijk=(i, j, k),
            centroid_ras_mm=(x, y, z),
            diameter_mm=size.equivalent_diameter_mm,
            polarity=polarity,
            contrast=contrast,
            probability=probability,
        )
        in_rim = self._in_rim(candidate.centroid_ras_mm)
        return candidate, measured_lesion(candidate, size, number, self.volume.n_slices, in_rim=in_rim)

    def _in_rim(self, centre_ras_mm: Point) -> bool:
        """Whether the edge of the brain mask is nearer than ``RIM_MM``, in any of 26 directions."""
        directions = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)]) - 1.0
        steps = directions / np.linalg.norm(directions, axis=1)[:, None] * RIM_MM
        grid = self.volume.grid
        places = np.rint(grid.to_ijk(np.array(centre_ras_mm) + steps)).astype(int)
        inside = ((places >= 0) & (places < grid.shape)).all(axis=1)
        return not (inside.all() and self.mask[tuple(places.T)].all())


def _contrast(volume: Volume, labels: Int32Array, number: int, box: Box | None) -> float:
    """Mean of the lesion's voxels less the median of those around it, in the scan's unit; 0 where unknown."""
    if box is None:
        return 0.0
    spacing = volume.grid.spacing_mm
    pad = [int(np.ceil(SHELL_MM[1] / mm)) for mm in spacing]
    pad[volume.slice_axis] = min(pad[volume.slice_axis], 1)
    wide = tuple(slice(max(0, s.start - p), min(n, s.stop + p)) for s, p, n in zip(box, pad, labels.shape, strict=True))
    region, values = labels[wide] == number, volume.voxels[wide]
    apart = ndi.distance_transform_edt(~region, sampling=spacing)
    shell = (apart > SHELL_MM[0]) & (apart <= SHELL_MM[1]) & (labels[wide] == 0) & np.isfinite(values)
    region = region & np.isfinite(values)
    if not shell.any() or not region.any():
        return 0.0
    return float(values[region].mean() - np.median(values[shell]))


def _outside(labels: Int32Array, mask: BoolArray, volume: Volume, count: int) -> BoolArray:
    """Which lesions lie more than ``OUTSIDE_MM`` from the brain."""
    inside = np.zeros(count + 1, dtype=bool)
    inside[labels[mask]] = True
    outside = ~inside[1:]
    boxes = ndi.find_objects(labels, max_label=count)
    spacing = volume.grid.spacing_mm
    pad = [int(np.ceil(OUTSIDE_MM / mm)) + 1 for mm in spacing]
    for n in np.flatnonzero(outside):
        wide = tuple(
            slice(max(0, s.start - p), min(m, s.stop + p)) for s, p, m in zip(boxes[n], pad, labels.shape, strict=True)
        )
        if mask[wide].any():
            to_brain = ndi.distance_transform_edt(~mask[wide], sampling=spacing)
            outside[n] = bool(to_brain[labels[wide] == n + 1].min() > OUTSIDE_MM)
    return outside


def _accepted(
    candidates: Sequence[Candidate], lesions: Sequence[Lesion], outside: BoolArray
) -> tuple[tuple[Lesion, ...], tuple[Rejection, ...]]:
    from miliary_seg.detect.rejection import RULES

    rejected = tuple(
        Rejection(candidate=candidates[n], rule="outside_brain", reason=RULES["outside_brain"])
        for n in np.flatnonzero(outside).tolist()
    )
    kept = [lesion for lesion, out in zip(lesions, outside, strict=True) if not out]
    return tuple(replace(lesion, id=n) for n, lesion in enumerate(kept, start=1)), rejected


def _renumbered(labels: Int32Array, outside: BoolArray) -> Int32Array:
    if not outside.any():
        return labels
    table = np.concatenate([[0], np.where(outside, 0, np.cumsum(~outside))]).astype(np.int32)
    renumbered: Int32Array = table[labels]
    return renumbered


def stated_point(rates: StatedRates, lesions: Sequence[Lesion], mask: BoolArray, volume: Volume) -> OperatingPoint:
    """As stated. False lesions a scan become false cross-sections a slice by the height of these lesions."""
    across = tuple(axis for axis in range(3) if axis != volume.slice_axis)
    n_slices = max(1, int(mask.any(axis=across).sum()))
    shown = [len(lesion.slices) for lesion in lesions]
    height = sum(shown) / len(shown) if shown else 1.0
    false = None if rates.false_positives is None else rates.false_positives * height / n_slices
    stated = rates.sensitivity is not None or false is not None
    return OperatingPoint(
        name="stated" if stated else "given",
        probability_threshold=0.0,
        measured_recall=rates.sensitivity,
        measured_false_positives_per_slice=0.0 if false is None else false,
    )


def _mirrored(volume: Volume, labels: Int32Array, measured: _Measured) -> tuple[Reason, ...]:
    """A doubt where the lesions show nothing, but their mirror images along a voxel axis stand out."""
    contrasts, noise = measured.contrasts, measured.noise
    if len(contrasts) < FEWEST_CHECKED or noise == 0 or abs(np.median(contrasts)) > FLAT * noise:
        return ()
    chosen = np.linspace(0, len(contrasts) - 1, min(CHECKED, len(contrasts))).astype(int)
    for axis, name in enumerate(("first", "second", "third")):
        turned = np.flip(labels, axis=axis)
        boxes = ndi.find_objects(turned)
        there = np.array([_contrast(volume, turned, int(n) + 1, boxes[n]) for n in chosen])
        sign = np.sign(np.median(there))
        if sign * np.median(there) > STANDS_OUT * noise and np.mean(sign * there > sign * contrasts[chosen]) > 0.8:
            text = (
                f"The given lesions do not stand out from their surroundings, but their mirror images along the {name} "
                "voxel axis do: the lesion file seems to be mirrored."
            )
            return (Reason(code="given_mirrored", text=text),)
    return ()


def _remarks(
    lesions: Sequence[Lesion], outside: BoolArray, measured: _Measured, rates: StatedRates | None
) -> tuple[Reason, ...]:
    found = []
    if outside.any():
        text = f"{int(outside.sum())} of {len(outside)} given lesions lie outside of the brain and are not counted."
        found.append(Reason(code="given_outside_brain", text=text))
    flat = len(lesions) >= FEWEST_CHECKED and abs(np.median(measured.contrasts)) < FLAT * measured.noise
    if flat:
        text = (
            "The given lesions do not stand out from their surroundings: were they drawn on another sequence or scan?"
        )
        found.append(Reason(code="given_without_contrast", text=text))
    if rates is None or (rates.sensitivity is None and rates.false_positives is None):
        text = "The lesions were given: no operating point of theirs is known, and their count is taken as exact."
    else:
        text = "The lesions were given; their sensitivity and false positives are as the user states them."
    return (*found, Reason(code="given_lesions", text=text))
