"""Masses of 10 to 60 mm, each found as one object with a rough outline.

The scale space of lesions ends at about 30 mm and sees the arcs of a ring as lesions. So masses are sought apart: on
blocks of 2 mm (``mass_map``), as regions (``mass_regions``) that a logistic score of their measures judges. A sure mass
becomes one lesion, flagged ``mass``, in place of the marks inside it; a possible one becomes a caveat. Where there is
no sure mass, lesions stay as they are. How it was fitted and what it finds: docs/measurements/masses.md.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage as ndi
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.detect.delineate import measure_labels
from miliary_seg.detect.given import Instances
from miliary_seg.detect.mass_map import MassMap, mass_map
from miliary_seg.detect.mass_regions import FEATURES, MassRegion, mass_regions, measured, outlined
from miliary_seg.detect.quality import artefact_doubts
from miliary_seg.detect.rejection import RULES
from miliary_seg.detect.white_matter import with_enhancement
from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.domain.compartment import Compartment, TemplateMap
from miliary_seg.domain.lesion import Lesion, Rejection
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Detection, Location, PossibleMass
from miliary_seg.domain.sequence import Polarity, Sequence
from miliary_seg.domain.volume import LabelMap, Volume

WEIGHTS: dict[str, tuple[float, ...]] = {
    "t1c": (20.254, 1.972, -1.863, 0.092, 0.247, 4.015, -2.595, 0.536, -6.512, -15.741, -2.276, -35.586, -0.414),
    "other": (8.271, 3.248, -0.464, 0.448, -0.547, 6.224, -3.847, -0.462, -2.929, -5.815, -0.395, -18.298, -0.646),
}
"""Constant and weight of each of ``mass_regions.FEATURES`` (``scripts/fit-masses``; docs/measurements/masses.md)."""
SURE, POSSIBLE = 0.7, 0.4
"""Probability from which on a region is listed as a mass, or told of (docs/measurements/masses.md)."""
SUPERFICIAL_SHARE, SUPERFICIAL_CM = 0.5, 1.2
"""Half of its surface lies near the brain's edge, and no part of it deeper than this: it may be a sinus or dura."""
SEQUENCES = frozenset({Sequence.T1C, Sequence.FLAIR, Sequence.T2, Sequence.CT, Sequence.CTC})
"""Where masses are sought; on others they were not measured."""
SMALLEST_MM = 10.0
"""Equivalent diameter: smaller ones are lesions like others."""
SAME_SHARE, SAME_PROBABILITY = 0.7, 0.6
"""A region that holds this share of a more probable one, and has this share of its probability, is the same mass."""
ABSORBED_SHARE = 0.3
"""A mark that lies in a mass with this share of its voxels is part of it."""
SHELL_BLOCKS = 2
"""Contrast is measured against so many blocks around a mass."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mass:
    """One mass on the scan's grid."""

    probability: float
    diameter_mm: float
    """Of the ball of the same volume."""
    region: BoolArray
    """Its voxels, cut to the brain but for holes."""
    contrast: float
    """Mean of its voxels less the median around it, in the scan's unit."""
    superficial: bool = False
    """It may be a sinus or thickened dura: never sure."""

    @property
    def sure(self) -> bool:
        """Whether it is listed as a lesion."""
        return self.probability >= SURE and not self.superficial


def family(sequence: Sequence) -> str:
    """Which of ``WEIGHTS`` hold for a sequence."""
    return "t1c" if sequence in (Sequence.T1, Sequence.T1C) else "other"


def find_masses(volume: Volume, mask: BoolArray, template: TemplateMap) -> list[Mass]:
    """Masses of a scan that are at least possible, the most probable first.

    Parameters
    ----------
    volume
        The scan.
    mask
        Brain on its grid, shape (i, j, k).
    template
        The atlas fitted to it: it says where each place has its mirror image.
    """
    with threadpool_limits(limits=1):
        scene = mass_map(volume, mask, template)
        regions = [] if scene is None else mass_regions(scene)
        if scene is None or not regions:
            return []
        table = np.array([measured(scene, region) for region in regions])
        chance = probability(table, volume.sequence.sequence)
        picks = chosen(scene, regions, chance, POSSIBLE)
        return [
            replace(_on_scan(volume, mask, scene, regions[n], likely), superficial=superficial(table[n]))
            for n, likely in picks
        ]


def probability(table: Float64Array, sequence: Sequence) -> Float64Array:
    """That each region is a mass: rows of ``measured``, shape (n, features) to (n,)."""
    weights = np.array(WEIGHTS[family(sequence)])
    result: Float64Array = 1 / (1 + np.exp(-np.clip(weights[0] + table @ weights[1:], -30, 30)))
    return result


def superficial(measures: Float64Array) -> bool:
    """Whether a region may be a sinus or dura, by what was measured of it."""
    edge_share, depth_cm = measures[[FEATURES.index("edge_share"), FEATURES.index("depth")]]
    return bool(edge_share >= SUPERFICIAL_SHARE and depth_cm < SUPERFICIAL_CM)


def chosen(scene: MassMap, regions: list[MassRegion], chance: Float64Array, least: float) -> list[tuple[int, float]]:
    """Regions that are masses and their probability, the most probable first, no two of one place.

    Regions of several levels describe one mass. The most probable one says how likely it is there; of those that hold
    most of it and are nearly as probable, the largest gives its outline.
    """
    free = np.ones(scene.brain.shape, dtype=bool)
    picks: list[tuple[int, float]] = []
    for n in np.argsort(-chance, kind="stable").tolist():
        found = regions[n]
        if chance[n] < least:
            break
        if found.diameter_mm(scene.spacing_mm) < SMALLEST_MM or not free[found.box][found.region].all():
            continue
        same = [k for k in _same_mass(scene, regions, chance, n) if free[regions[k].box][regions[k].region].all()]
        best = max(same, key=lambda k: int(regions[k].region.sum()))
        free[regions[best].box] &= ~regions[best].region
        picks.append((best, float(chance[n])))
    return picks


def _same_mass(scene: MassMap, regions: list[MassRegion], chance: Float64Array, n: int) -> list[int]:
    here = np.zeros(scene.brain.shape, dtype=bool)
    here[regions[n].box] = regions[n].region
    least = SAME_SHARE * here.sum()
    rivals = [k for k in range(len(regions)) if chance[k] >= SAME_PROBABILITY * chance[n]]
    return [k for k in rivals if np.count_nonzero(here[regions[k].box] & regions[k].region) >= least]


def _on_scan(volume: Volume, mask: BoolArray, scene: MassMap, found: MassRegion, chance: float) -> Mass:
    """A region of the map as voxels of the scan."""
    found = outlined(scene, found)
    shell = ndi.binary_dilation(np.pad(found.region, SHELL_BLOCKS), iterations=SHELL_BLOCKS)
    shell &= ~np.pad(found.region, SHELL_BLOCKS)
    start = [b.start + f for b, f in zip(found.box, scene.first, strict=True)]
    region = _voxels(volume, mask, scene, found.region, start)
    slices = np.moveaxis(region, volume.slice_axis, 0)
    for z in np.flatnonzero(slices.any(axis=(1, 2))):  # the brain mask may leave out a dark core
        slices[z] = ndi.binary_fill_holes(slices[z])
    around = _voxels(volume, mask, scene, shell, [s - SHELL_BLOCKS for s in start])
    inside = volume.voxels[region]
    beside = volume.voxels[around]
    both = inside[np.isfinite(inside)], beside[np.isfinite(beside)]
    contrast = float(both[0].mean() - np.median(both[1])) if both[0].size and both[1].size else 0.0
    return Mass(
        probability=chance,
        diameter_mm=found.diameter_mm(scene.spacing_mm),
        region=region,
        contrast=contrast,
    )


def _voxels(volume: Volume, mask: BoolArray, scene: MassMap, blocks: BoolArray, start: list[int]) -> BoolArray:
    """Voxels of some blocks of the map, ``start`` blocks from the scan's first, cut to the brain."""
    for axis, step in enumerate(scene.steps):
        blocks = blocks.repeat(step, axis=axis)
    first = [s * step for s, step in zip(start, scene.steps, strict=True)]
    order = np.argsort(scene.axes)
    blocks, first = blocks.transpose(order), [first[a] for a in order]
    result = np.zeros(volume.grid.shape, dtype=bool)
    here = tuple(slice(max(0, f), max(0, f + n)) for f, n in zip(first, blocks.shape, strict=True))
    cut = tuple(slice(max(0, -f), max(0, -f) + m) for f, m in zip(first, result[here].shape, strict=True))
    result[here] = blocks[cut] & mask[here]
    return result


def with_masses(detection: Detection, volume: Volume, location: Location) -> Detection:
    """A detection in which sure masses are lesions, and possible ones caveats.

    Parameters
    ----------
    detection
        What ``detect.find`` returned; it is returned unchanged where no mass is found or none is sought.
    volume
        The scan.
    location
        What ``locate`` returned for it.
    """
    sought = volume.sequence.sequence in SEQUENCES and detection.polarity is not Polarity.DARK
    if not sought or location.template is None or not detection.candidates:
        return detection
    found = find_masses(volume, location.brain_mask, location.template)
    sure = [mass for mass in found if mass.sure]
    for mass in sure:
        detection = _with_mass(detection, volume, location.brain_mask, mass)
    if sure:
        detection = with_enhancement(detection, volume, location.brain_mask)
        detection = replace(detection, artefact_doubts=artefact_doubts(detection.lesions))
    unsure = [mass for mass in found if not mass.sure]
    if not unsure:
        return detection
    places = tuple(_possible(mass, volume) for mass in unsure)
    told = tuple(_told(place, mass, location) for place, mass in zip(places, unsure, strict=True))
    return replace(detection, caveats=(*detection.caveats, *told), possible_masses=places)


def _with_mass(detection: Detection, volume: Volume, mask: BoolArray, mass: Mass) -> Detection:
    """One more lesion, in place of the marks that are part of it."""
    old = detection.lesion_labels.labels
    count = len(detection.lesions)
    sizes = np.bincount(old.ravel(), minlength=count + 1)
    inside = np.bincount(old[mass.region], minlength=count + 1)
    absorbed = inside >= ABSORBED_SHARE * np.maximum(sizes, 1)
    absorbed[0] = False
    kept = [lesion for lesion in detection.lesions if not absorbed[lesion.id]]
    parts = [lesion for lesion in detection.lesions if absorbed[lesion.id]]
    table = np.zeros(count + 1, dtype=np.int32)
    table[[lesion.id for lesion in kept]] = np.arange(1, len(kept) + 1)
    labels = table[old]
    labels[(mass.region & (labels == 0)) | absorbed[old]] = len(kept) + 1
    labels.setflags(write=False)
    leader = max(parts, key=lambda lesion: lesion.probability, default=None)
    lesion = _lesion(Instances(labels=labels, volume=volume, mask=mask), len(kept) + 1, mass, leader, detection)
    return replace(
        detection,
        lesions=(*(replace(one, id=n) for n, one in enumerate(kept, start=1)), lesion),
        lesion_labels=LabelMap(labels=labels, grid=volume.grid),
        rejections=_rejections(detection, mass.region, [one.candidate_id for one in parts if one is not leader]),
    )


def _lesion(scan: Instances, number: int, mass: Mass, leader: Lesion | None, detection: Detection) -> Lesion:
    """The mass, measured; it goes by the candidate of its most probable mark, if it has one."""
    only = np.where(scan.labels == number, np.int32(1), np.int32(0))
    size, box = measure_labels(only, scan.volume, 1)[0], ndi.find_objects(only)[0]
    assert size is not None  # noqa: S101 - the region is not empty
    chance = mass.probability if leader is None else max(mass.probability, leader.probability)
    contrast = mass.contrast / detection.noise_sigma if detection.noise_sigma > 0 else 0.0
    _, lesion = scan.lesion(number, box, size, contrast=contrast, polarity=Polarity.BRIGHT, probability=chance)
    flags = (*(flag for flag in lesion.flags if flag != "rim"), "mass")
    return replace(lesion, candidate_id=None if leader is None else leader.candidate_id, flags=flags)


def _rejections(detection: Detection, region: BoolArray, parts: Many[int | None]) -> tuple[Rejection, ...]:
    """Rejections, in which marks in the mass, and doubtful candidates there, are part of it."""
    within = {candidate.id for candidate in detection.candidates if _lies_in(candidate.centroid_ijk, region)}
    others = tuple(
        replace(one, rule="mass", reason=RULES["mass"])
        if one.rule == "probability" and one.candidate.id in within
        else one
        for one in detection.rejections
    )
    by_id = {candidate.id: candidate for candidate in detection.candidates}
    marks = tuple(
        Rejection(candidate=by_id[n], rule="mass", reason=RULES["mass"]) for n in parts if n is not None and n in by_id
    )
    return (*others, *marks)


def _lies_in(centroid_ijk: tuple[float, float, float], region: BoolArray) -> bool:
    place = np.rint(centroid_ijk).astype(int)
    return bool(((place >= 0) & (place < region.shape)).all() and region[tuple(place)])


def _possible(mass: Mass, volume: Volume) -> PossibleMass:
    place = np.argwhere(mass.region)
    i, j, k = place.mean(axis=0)
    x, y, z = volume.grid.to_ras_mm([i, j, k])
    slices = place[:, volume.slice_axis]
    return PossibleMass(
        centroid_ijk=(float(i), float(j), float(k)),
        centroid_ras_mm=(float(x), float(y), float(z)),
        diameter_mm=mass.diameter_mm,
        slices=(int(slices.min()), int(slices.max())),
        probability=mass.probability,
    )


def _told(place: PossibleMass, mass: Mass, location: Location) -> Reason:
    """Size and place of a mass that is not sure, in words."""
    where, fit = "", location.registration
    if fit.levels_usable and fit.sides_usable:
        codes = location.compartments.labels[mass.region]
        where = f" {Compartment(int(np.bincount(codes[codes > 0]).argmax())).text}," if codes.any() else ""
    (first, last), (x, y, z) = place.slices, place.centroid_ras_mm
    text = (
        f"A mass may be here:{where} about {place.diameter_mm:.0f} mm, slices {first} to {last}, "
        f"around ({x:.0f}, {y:.0f}, {z:.0f}) mm RAS (probability {place.probability:.2f}). It is not counted."
    )
    return Reason(code="possible_mass", text=text)
