"""Keys of ``result.json`` for slices, lesions and their pattern (how to add one: ``miliary_seg.schema``)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from msgspec import UNSET, UnsetType

from miliary_seg.domain.compartment import Assignment, Compartment, Level, Region, Side, Tissue
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.pair import Enhances
from miliary_seg.domain.pattern import Distribution, Pattern
from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.volume import Volume
from miliary_seg.schema import Count, Json, Percentile, Point, Positive, Record, Share, Size, fill, key

RegionName = Literal[
    "frontal_lobe", "parietal_lobe", "temporal_lobe", "occipital_lobe", "insula", "basal_ganglia", "thalamus",
    "hypothalamus", "midbrain", "pons", "medulla", "cerebellum",
]  # fmt: skip
CompartmentName = Literal["left_supratentorial", "right_supratentorial", "left_infratentorial", "right_infratentorial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquiredSlice:
    """One slice of a series, with the count that a reader would come to."""

    series: SeriesResult
    index: int
    position_mm: float
    centre_ras_mm: tuple[float, ...]
    n_lesions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLesion:
    """One lesion and where it lies."""

    lesion: Lesion
    place: Assignment


class SliceRecord(Record):
    """One acquired slice."""

    index: Count = key("Along the slice axis, from 0.")
    position_mm: float = key("Position along the normal of the slices.", unit="mm")
    centre_ras_mm: Point = key("Centre of the slice in the patient: right, anterior, superior.", unit="mm")
    sop_instance_uid: str | None = key(
        "DICOM SOPInstanceUID of the image; null where there is none.",
        source=lambda s: _item(s.series.volume.source.sop_instance_uids, s.index),
    )
    image_number: int | None = key(
        "Number by which a PACS lists the image: InstanceNumber, of a multi-frame image the frame; null where the "
        "input is not DICOM or does not say.",
        source=lambda s: image_number(s.series.volume, s.index),
    )
    number_from_end: Positive = key(
        "Place counted from 1: axial slices from below, coronal ones from behind, sagittal ones from the left.",
        source=lambda s: number_from_end(s.series.volume, s.index),
    )
    n_lesions: Count = key("Lesions that a reader would count on this slice.", unit="lesions")
    n_lesions_slab: Count | None = key(
        "Lesions that a thick slab beginning at this slice would have shown (settings.decide.slab_mm); null where "
        "it was not computed.",
        unit="lesions",
        source=lambda s: _item(s.series.decision.slab_counts, s.index),
    )
    reaches_threshold: bool = key(
        "Whether n_lesions is at least the threshold.", source=lambda s: s.n_lesions >= s.series.decision.threshold
    )
    is_evidence: bool = key(
        "Whether the answer rests on this slice.",
        source=lambda s: any(s.index == e.index for e in s.series.decision.evidence_slices),
    )


class LesionSizesRecord(Record):
    """How large the lesions are and what they add up to: described, never used for the answer.

    Where there are no lesions, only ``n`` is there.
    """

    n: Count = key("Lesions.")
    n_sure: Count | UnsetType = key("Lesions probable enough to be evidence by themselves.")
    smallest_mm: float | UnsetType = key("Smallest equivalent diameter.", unit="mm")
    quartile_1_mm: float | UnsetType = key("First quartile.", unit="mm")
    median_mm: float | UnsetType = key("Median equivalent diameter.", unit="mm")
    quartile_3_mm: float | UnsetType = key("Third quartile.", unit="mm")
    largest_mm: float | UnsetType | None = key(
        "Largest equivalent diameter of a sure lesion; null where none is sure.", unit="mm"
    )
    largest_lesion: int | UnsetType | None = key("Id of that lesion.")
    largest_doubtful_mm: float | UnsetType | None = key(
        "Largest equivalent diameter of a doubtful lesion; null where there is none.", unit="mm"
    )
    largest_over_median: float | UnsetType | None = key(
        "Largest (sure) over median diameter: a dominant lesion has a high value."
    )
    n_below_3_mm: Count | UnsetType = key("Lesions below 3 mm, the size called miliary by Bot 2020.")
    n_below_5_mm: Count | UnsetType = key("Lesions below 5 mm, those below 3 mm included.")
    n_5_to_10_mm: Count | UnsetType = key("Lesions of 5 to 10 mm.")
    n_above_10_mm: Count | UnsetType = key("Lesions above 10 mm.")
    n_measurable: Count | UnsetType = key(
        "Sure lesions measurable by RANO-BM: longest diameter 10 mm, perpendicular 5 mm or more, on two slices."
    )
    sum_of_targets_mm: float | UnsetType | None = key(
        "Sum of the longest diameters of the five largest measurable lesions; null where there is none.", unit="mm"
    )
    total_volume_mm3: float | UnsetType = key("Sum of the volumes.", unit="mm³")
    sure_volume_mm3: float | UnsetType = key("Sum of the volumes of the sure lesions.", unit="mm³")


class SideCountsRecord(Record):
    """Lesions of one region by side."""

    left: Count = key("On the left.", unit="lesions")
    right: Count = key("On the right.", unit="lesions")
    unknown: Count = key("Of unknown side.", unit="lesions")


class RegionCountsRecord(Record):
    """Lesions by place, each counted where it most likely lies."""

    regions: dict[str, SideCountsRecord] = key("Lesions of each region by side.")
    groups: dict[str, Count] = key("Lesions in lobes, deep grey matter, brain stem, cerebellum.")
    tissues: dict[str, Count] = key("Lesions of the lobes by layer.")
    n_without_region: Count = key("Lesions of no known region.", unit="lesions")


class RandomnessRecord(Record):
    """One statistic of the lesions' places against the same statistic of random places in the brain mask."""

    observed: float = key("Of the lesions.")
    expected: float = key("Mean over the simulations.")
    ratio: float = key("Observed over expected.")
    ratio_low: float = key("Lower end of the band that holds 95 % of the simulations.")
    ratio_high: float = key("Upper end of that band.")
    p_value: Share = key("Two-sided Monte Carlo p-value.")


class NearestNeighbourRecord(RandomnessRecord):
    """The same in mm."""

    observed: float = key("Of the lesions.", unit="mm")
    expected: float = key("Mean over the simulations.", unit="mm")


class HomogeneityRecord(Record):
    """Lesion centres against complete spatial randomness inside the brain mask; null with fewer than 10 lesions."""

    distribution: Distribution = key("What the two statistics show together; random = no departure shown.")
    nearest_neighbour: NearestNeighbourRecord = key(
        "Mean distance to the nearest other lesion; the ratio is the Clark-Evans index, below 1 = clustered."
    )
    neighbours_within_radius: RandomnessRecord = key(
        "Mean number of other lesions within radius_mm; the ratio is Ripley's K over its expectation, above 1 = "
        "clustered.",
        source="neighbours_within",
    )
    radius_mm: float = key("Radius in which neighbours are counted.", unit="mm")
    n_simulations: Positive = key("Random lesion sets compared with.")


class PatternRecord(Record):
    """How miliary the lesion set looks: descriptors of docs/pattern.md, never used for the answer."""

    n_lesions: Count = key("Lesions.")
    below_3_mm_fraction: float | None = key("Part of the lesions below 3 mm, the size called miliary by Bot 2020.")
    diameter_cv: float | None = key("Uniformity: standard deviation over mean of the equivalent diameters.")
    diameter_iqr_over_median: float | None = key(
        "Uniformity: interquartile range over median of the equivalent diameters."
    )
    largest_over_median: float | None = key("Dominance: largest over median diameter.")
    homogeneity: HomogeneityRecord | None = key(
        "Lesion centres against complete spatial randomness inside the brain mask; null with fewer than 10 lesions."
    )


class LesionRecord(Record):
    """One accepted lesion."""

    id: Positive = key("1, 2, 3 ...: its label in lesions.nii.gz.", source="lesion.id")
    centroid_ras_mm: Point = key(
        "Centroid in the patient: right, anterior, superior.", unit="mm", source="lesion.centroid_ras_mm"
    )
    centroid_ijk: Point = key(
        "Centroid on the input's grid, from 0, fractional.", unit="voxel", source="lesion.centroid_ijk"
    )
    equivalent_diameter_mm: Size = key(
        "Diameter of the sphere of the same volume.", unit="mm", source="lesion.equivalent_diameter_mm"
    )
    volume_mm3: Size = key("Volume of the delineated voxels.", unit="mm³", source="lesion.volume_mm3")
    max_diameter_mm: Size | None = key("Longest extent within any slice.", unit="mm", source="lesion.max_diameter_mm")
    perpendicular_diameter_mm: Size | None = key(
        "Extent at right angles to the longest one, on the same slice.",
        unit="mm",
        source="lesion.perpendicular_diameter_mm",
    )
    measurable: bool = key(
        "RANO-BM: longest diameter at least 10 mm, perpendicular at least 5 mm, on two or more slices.",
        source="lesion.measurable",
    )
    contrast: float = key(
        "Local contrast over the standard deviation of the scan's noise.", unit="noise SD", source="lesion.contrast"
    )
    enhancement: float | None = key(
        "Signal above the local white matter, as a fraction of it (CT: in HU); null where it was not measured.",
        source="lesion.enhancement",
    )
    uptake: float | UnsetType = key(
        "Gain from the scan before contrast agent to this one (mean of after - matched before), as a fraction of the "
        "local white matter (CT: in HU). Only where such a pair was used.",
        source=lambda row: UNSET if row.lesion.uptake is None else row.lesion.uptake.value,
    )
    uptake_sd: float | UnsetType = key(
        "Standard deviation of the same measure where nothing takes up agent. Only where such a pair was used.",
        source=lambda row: UNSET if row.lesion.uptake is None else row.lesion.uptake.sd,
    )
    enhances: Enhances | UnsetType = key(
        "Whether it is bright because of contrast agent: yes, no, or cannot tell. Only where such a pair was used.",
        source=lambda row: UNSET if row.lesion.uptake is None else row.lesion.uptake.enhances,
    )
    flair_percentile: Percentile | UnsetType = key(
        "How bright it is on the FLAIR of the study: percentile of balls of its size all over the brain. Only where a "
        "FLAIR was used and shows the place.",
        source=lambda row: UNSET if row.lesion.flair_percentile is None else row.lesion.flair_percentile,
    )
    probability: Share = key("Estimated probability that a reader would call it a lesion.", source="lesion.probability")
    polarity: Polarity = key("Bright or dark against its surroundings.", source="lesion.polarity")
    side: Side | None = key("Side of the patient; null where unknown.", source="place.side")
    level: Level | None = key("Above or below the tentorium; null where unknown.", source="place.level")
    boundary_distance_mm: float | None = key(
        "Distance to the nearer of midline and tentorium; null where unknown.",
        unit="mm",
        source=lambda row: row.place.boundary_distance_mm if row.place.level else None,
    )
    side_confidence: Share | None = key(
        "How likely the side is right, 0.5 to 1; null where it is unknown.",
        source=lambda row: row.place.side_confidence if row.place.side else None,
    )
    level_confidence: Share | None = key(
        "How likely the level is right, 0.5 to 1; null where it is unknown.",
        source=lambda row: row.place.level_confidence if row.place.level else None,
    )
    slices: list[Count] = key("Indices of the slices on which it is counted, ascending.", source="lesion.slices")
    flags: list[str] = key("Codes of what to be careful about.", source="lesion.flags")
    compartment: CompartmentName | None = key(
        "Side and level together; null where either is unknown.", source=lambda row: _name(row.place.compartment)
    )
    region: RegionName | None = key(
        "Part of the brain in which it most likely lies; null where the atlas fit is not trusted.",
        source=lambda row: _name(row.place.region),
    )
    region_confidence: Share | None = key(
        "How likely that region is right; null with it.", source="place.region_confidence"
    )
    tissue: Tissue | None = key(
        "Layer of the lobe in which its centre most likely lies (junction: within 1 mm of the border of grey and white "
        "matter); null outside the lobes.",
        source="place.tissue",
    )
    tissue_confidence: Share | None = key(
        "How likely that layer is right; null with it.", source="place.tissue_confidence"
    )
    midline_distance_mm: float | None = key(
        "Signed distance to the midline: negative on the left; null where unknown.",
        unit="mm",
        source=lambda row: row.place.midline_distance_mm if row.place.side else None,
    )
    tentorium_distance_mm: float | None = key(
        "Signed distance to the tentorium: negative above; null where unknown.",
        unit="mm",
        source=lambda row: row.place.tentorium_distance_mm if row.place.level else None,
    )
    candidate_id: int | None = key("Its row in candidates.csv.", source="lesion.candidate_id")


def slice_rows(series: SeriesResult) -> list[Json]:
    """One mapping a slice: place, count, the count that a thick slab starting here would have shown."""
    centres = series.volume.slice_centres_ras_mm
    rows = zip((centres @ series.volume.slice_normal).tolist(), centres.tolist(), slice_counts(series), strict=True)
    return [
        fill(SliceRecord, AcquiredSlice(series=series, index=k, position_mm=at, centre_ras_mm=centre, n_lesions=n))
        for k, (at, centre, n) in enumerate(rows)
    ]


def slice_counts(series: SeriesResult) -> tuple[int, ...]:
    """Lesions per slice as the decision counted them; counted here where the decision does not say."""
    if len(series.decision.slice_counts) == series.volume.n_slices:
        return series.decision.slice_counts
    indices = np.array([k for lesion in series.lesions for k in lesion.slices], dtype=np.int64)
    return tuple(int(n) for n in np.bincount(indices, minlength=series.volume.n_slices))


def lesion_rows(series: SeriesResult) -> list[Json]:
    """One mapping a lesion: measurements and assignment together."""
    places = series.assignment_of
    return [fill(LesionRecord, PlacedLesion(lesion=one, place=places[one.id])) for one in series.lesions]


def pattern_document(pattern: Pattern) -> Json:
    """Uniformity, dominance and homogeneity of the lesion set: described, never used for the answer (R22)."""
    return fill(PatternRecord, pattern)


def image_number(volume: Volume, index: int) -> int | None:
    """Number by which a viewer lists a slice: InstanceNumber, of a multi-frame image its frame."""
    number: int | None = _item(volume.source.frame_numbers or volume.source.instance_numbers, index)
    return number


def number_from_end(volume: Volume, index: int) -> int:
    """Place of a slice from 1, counted from below, behind or the left of the patient."""
    grows = float(volume.grid.directions[volume.grid.world_axes[volume.slice_axis], volume.slice_axis]) > 0
    return index + 1 if grows else volume.n_slices - index


def _name(place: Compartment | Region | None) -> str | None:
    return None if place is None else place.name.lower()


def _item(values: tuple[Any, ...], index: int) -> Any:
    """One value a slice; None where there are none."""
    return values[index] if index < len(values) else None
