"""Keys of ``result.json`` for one series, its slices and its lesions (how to add one: ``miliary_seg.schema``)."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from miliary_seg.domain.compartment import Coverage
from miliary_seg.domain.pattern import Pattern
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.domain.sequence import Modality, Polarity, Sequence
from miliary_seg.domain.volume import Volume
from miliary_seg.report.burden import lesion_sizes, region_counts
from miliary_seg.report.comparison_records import (
    ComparisonRecord,
    LesionSourceRecord,
    WrittenComparison,
    WrittenSource,
)
from miliary_seg.report.decision_records import DecisionRecord, ReasonRecord
from miliary_seg.report.file_names import series_files
from miliary_seg.report.lesion_records import (
    LesionRecord,
    LesionSizesRecord,
    PatternRecord,
    RegionCountsRecord,
    SliceRecord,
    lesion_rows,
    slice_rows,
)
from miliary_seg.report.pair_records import FlairRecord, PairRecord
from miliary_seg.schema import Count, Json, Point, Positive, Record, Share, Size, fill, key

IDENTIFYING = frozenset(("study_instance_uid", "series_instance_uid", "frame_of_reference_uid", "paths"))
"""Keys of a source that are written only with ``report.identified``."""

Length = Annotated[float, Meta(gt=0)]
Row = tuple[float, float, float, float]
Affine = tuple[Row, Row, Row, Row]


LISTED_FROM = 0.01
"""Rejected candidates less probable than this are left out of candidates.csv unless ``report.all_candidates``: the
detector's network is not asked about them either, and in a head with 250 lesions they are 15 100 of 17 700 rows."""


def listed_from(result: CaseResult) -> float | None:
    """Least probability of a rejected candidate in candidates.csv; None where all are asked for."""
    return None if result.settings.get("report", {}).get("all_candidates", False) else LISTED_FROM


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSeries:
    """One series, the folder of its files, and whether file names and UIDs may be written."""

    series: SeriesResult
    folder: str
    identified: bool
    candidates_from: float | None = LISTED_FROM


class SourceRecord(Record):
    """Where the volume came from."""

    format: str = key("DICOM, NIfTI, MGH, NRRD, phantom or array.")
    n_files: Count = key("Files used.", source=lambda s: len(s.paths))
    sha256: str = key("Digest over the bytes of the files used; empty for arrays.")
    orientation_source: str = key("ImageOrientationPatient, sform, qform, stated by the user, none, or empty.")
    study_instance_uid: str | UnsetType = key("Only with report.identified.")
    series_instance_uid: str | UnsetType = key("Only with report.identified.")
    frame_of_reference_uid: str | UnsetType = key("Only with report.identified.")
    paths: list[str] | UnsetType = key("Files used; only with report.identified.")


def _gaps(volume: Volume) -> list[Json]:
    gaps: list[Json] = [{"kind": "missing_slice", "slice": int(k)} for k in volume.missing_slices]
    if volume.gap_mm > 0.01:  # mm; below it is rounding of the stated thickness
        gaps.insert(0, {"kind": "between_slices", "width_mm": volume.gap_mm})
    return gaps


class GapRecord(Record):
    """Something that was not imaged."""

    kind: Literal["between_slices", "missing_slice"] = key(
        "between_slices: every slice is thinner than the slice spacing; missing_slice: one slice is absent."
    )
    width_mm: Size | UnsetType = key("Unimaged distance between neighbouring slices.", unit="mm")
    slice: Count | UnsetType = key("Index at which a slice is missing.")


class GeometryRecord(Record):
    """Where the voxels lie in the patient."""

    shape: tuple[Positive, Positive, Positive] = key("Voxels along i, j, k.", unit="voxel", source="grid.shape")
    spacing_mm: Point = key(
        "Distance between neighbouring voxel centres along i, j, k.", unit="mm", source="grid.spacing_mm"
    )
    affine_ras_mm: Affine = key(
        "4 x 4: voxel index (centre of the voxel) to right, anterior, superior.", unit="mm", source="grid.affine"
    )
    orientation: Annotated[str, Meta(pattern="^[LRAPIS]{3}$")] = key(
        "Directions in which i, j, k grow (nearest axes).", source="grid.orientation"
    )
    orientation_known: bool = key("Whether the file states the orientation: otherwise left and right are unknown.")
    oblique_deg: Size = key(
        "Largest angle between a voxel axis and its nearest patient axis.", unit="degree", source="grid.oblique_deg"
    )
    sheared: bool = key("Whether the voxel axes are not perpendicular (gantry tilt).", source="grid.is_sheared")
    slice_axis: Annotated[int, Meta(ge=0, le=2)] = key("Voxel axis across the acquired slices.")
    plane: Literal["axial", "coronal", "sagittal"] = key("Plane nearest to the acquired slices.")
    slice_thickness_mm: Length = key(
        "Slice thickness; the slice spacing where the file states none.", unit="mm", source="thickness_mm"
    )
    slice_thickness_stated: bool = key(
        "Whether the file states the thickness.", source=lambda v: v.slice_thickness_mm is not None
    )
    slice_spacing_mm: Length = key("Distance between neighbouring slice planes along their normal.", unit="mm")
    n_slices: Positive = key("Acquired slices.")
    gaps: list[GapRecord] = key(
        "What was not imaged between the first and the last slice; empty where nothing is missing.",
        source=_gaps,
    )
    resampled: bool = key("Whether uneven slices were resampled onto an even grid (settings.load.resample).")


class CoverageRecord(Record):
    """Fraction of each compartment of the fitted atlas that lies within the slices."""

    left_supratentorial: Share = key("The left supratentorial compartment.", unit="fraction")
    right_supratentorial: Share = key("The right supratentorial compartment.", unit="fraction")
    left_infratentorial: Share = key("The left infratentorial compartment.", unit="fraction")
    right_infratentorial: Share = key("The right infratentorial compartment.", unit="fraction")


class RegistrationRecord(Record):
    """How the atlas was fitted and whether the fit may be used."""

    trusted: bool = key("Whether sides and levels may rest on the fit.")
    trust: Share = key("Figure of trust of the fit; its measured meaning is in docs/compartments.md.")
    brain_found: bool = key("Whether anything in the scan resembles a brain.")
    orientation_known: bool = key("Whether the file states the orientation.")
    reoriented: bool = key(
        "Whether the head was found only after the scan's axes were turned: then there are levels, but no sides."
    )
    skull_stripped: bool = key("Whether the scan shows a brain without skull.")
    figures: dict[str, float | None] = key(
        "Named quality figures with their unit in the name; see docs/compartments.md.",
        source=lambda r: dict(sorted(r.figures.items())),
    )
    reasons: list[ReasonRecord] = key("Why the fit is not trusted, or what to look at.")


class MaskRecord(Record):
    """How far the brain mask can be trusted, apart from the fit."""

    trusted: bool = key("Whether a negative answer may rest on the mask.")
    trust: Share = key("Figure of trust of the mask; its measured meaning is in docs/compartments.md.")
    figures: dict[str, float | None] = key(
        "Named figures with their unit in the name; see docs/compartments.md.",
        source=lambda m: dict(sorted(m.figures.items())),
    )
    reasons: list[ReasonRecord] = key("What speaks against the mask.")


class OperatingPointRecord(Record):
    """How sensitive the detector was set, with what was measured there (docs/detection.md)."""

    name: str = key("high, balanced or specific; given or stated where others found the lesions.")
    probability_threshold: Share = key("Candidates at or above it become lesions.")
    measured_recall: Share | None = key("Measured share of visible lesions found.", unit="fraction")
    measured_false_positives_per_slice: Size | None = key(
        "Measured number of false cross-sections a slice, on lesion-free scans.", unit="lesions per slice"
    )
    measured_on: str = key("On what both were measured; empty where a user stated them.")
    evidence_probability: Share = key("Less probable lesions count on slices, but are no evidence for a side or level.")
    evidence_false_positives_per_slice: Size | None = key(
        "The measured rate of false cross-sections of lesions at least that probable.", unit="lesions per slice"
    )
    prior_odds_ratio: Annotated[float, Meta(ge=1)] = key(
        "Odds of lesions among this scan's candidates over those of the training scenes: above 1 only where the "
        "scan surely holds many lesions. Probabilities hold after it."
    )


class PossibleMassRecord(Record):
    """A place that may be a mass; it is in no count and no table."""

    centroid_ras_mm: Point = key("Centroid in the patient: right, anterior, superior.", unit="mm")
    centroid_ijk: Point = key("Centroid on the input's grid, from 0, fractional.", unit="voxel")
    diameter_mm: Size = key("Diameter of the ball of the same volume.", unit="mm")
    slices: tuple[Count, Count] = key("First and last slice.")
    probability: Share = key("Probability that it is a mass.", unit="probability")


class DetectionRecord(Record):
    """Who found the lesions, how the detector was set and what it met."""

    source: LesionSourceRecord = key(source=lambda d: WrittenSource(source=d.source))
    polarity: Polarity = key("Which way lesions were looked for.")
    noise_sigma: float | None = key(
        "Robust standard deviation of the noise inside the brain.", unit="intensity of the scan"
    )
    operating_point: OperatingPointRecord = key(
        "How sensitive the detector was set, with what was measured there (docs/detection.md)."
    )
    diameters_measured_on: str = key("On what the next two figures were measured; empty where there are none.")
    half_found_diameter_mm: Size | None = key(
        "Diameter from which on half of the lesions at 50 % above local white matter are found on slices as thick as "
        "these; null where that was not measured.",
        unit="mm",
    )
    detectable_diameter_mm: Size | None = key(
        "The same for nine in ten, or what the noise of this scan allows where that is larger; null where unknown.",
        unit="mm",
    )
    n_candidates: Count = key(
        "Candidates before rejection; not every one is in candidates.csv.", source=lambda d: len(d.candidates)
    )
    n_rejected: Count = key("Rejected candidates.", source=lambda d: len(d.rejections))
    rejected_by_rule: dict[str, Count] = key(
        "Rule and how many candidates it rejected.",
        source=lambda d: dict(sorted(Counter(r.rule for r in d.rejections).items())),
    )
    doubts: list[ReasonRecord] = key(
        "Doubts about the image, and artefact patterns.", source=lambda d: (*d.doubts, *d.artefact_doubts)
    )
    possible_masses: list[PossibleMassRecord] = key("Places that may be a mass, shown on the page and not counted.")


class FilesRecord(Record):
    """Files of this series, below the case's folder."""

    lesion_map: str = key("Lesion label map on the input's grid: 0 background, n = lesion id n.")
    compartment_map: str | UnsetType = key(
        "Compartment label map on the input's grid: 1 left supratentorial, 2 right supratentorial, 3 left "
        "infratentorial, 4 right infratentorial. Only where both sides and levels may be used."
    )
    brain_mask: str | UnsetType = key("Brain mask on the input's grid, where one was written (miliary-seg bids).")
    lesions: str = key("Table of lesions.")
    slices: str = key("Table of slices.")
    candidates: str = key("Table of candidates.")
    location: str | UnsetType = key(
        "Brain mask and distances to midline and tentorium, for miliary-seg decide (numpy archive)."
    )
    label_colours: str | UnsetType = key("Label descriptions for ITK-SNAP, where files for editors were asked for.")
    slicer_segmentation: str | UnsetType = key(
        "Lesions as segments of 3D Slicer, where files for editors were asked for."
    )
    segmentation: str | UnsetType = key("DICOM SEG of the lesions, where one was made.")
    measurements: str | UnsetType = key("DICOM SR of the measurements, where one was made.")
    structure_set: str | UnsetType = key("DICOM RT Structure Set of the lesions, where one was asked for.")
    images: str | UnsetType = key(
        "Folder of DICOM images made from input that was not DICOM, where DICOM objects were asked for."
    )


class SeriesRecord(Record):
    """One analysed series."""

    id: str = key("Name of the series within the case.", source="series.id")
    sequence: Sequence = key("What the scan shows.", source="series.volume.sequence.sequence")
    sequence_confidence: str = key(
        "user, high (standard attributes), medium (free text or parameters), low or none.",
        source="series.volume.sequence.confidence",
    )
    sequence_evidence: list[str] = key(
        "What the sequence was told from, including contrast medium.", source="series.volume.sequence.evidence"
    )
    sequence_conflict: str = key(
        "Both sides in one sentence where header, names and picture contradict each other; else empty.",
        source="series.volume.sequence.conflict",
    )
    contrast_unproven: bool = key(
        "Whether nothing speaks for or against a contrast agent, so that the scan is taken as unenhanced.",
        source="series.volume.sequence.contrast_unproven",
    )
    modality: Modality = key("MR or CT: each has its own threshold.", source="series.volume.modality")
    source: SourceRecord = key(source=lambda row: _source(row.series.volume, identified=row.identified))
    geometry: GeometryRecord = key(source="series.volume")
    coverage: CoverageRecord = key(
        "Fraction of each compartment of the fitted atlas that lies within the slices.",
        source="series.location.coverage",
    )
    registration: RegistrationRecord = key(source="series.location.registration")
    brain_mask: MaskRecord = key(source="series.location.mask_trust")
    pair: PairRecord | UnsetType = key(source=lambda row: UNSET if row.series.pair is None else row.series)
    flair: FlairRecord | UnsetType = key(source=lambda row: UNSET if row.series.flair is None else row.series.flair)
    detection: DetectionRecord = key(source="series.detection")
    decision: DecisionRecord = key(source="series.decision")
    slices: list[SliceRecord] = key(
        "Every acquired slice, in the order of the slice axis.", source=lambda row: slice_rows(row.series)
    )
    lesion_sizes: LesionSizesRecord = key(source=lambda row: lesion_sizes(row.series))
    region_counts: RegionCountsRecord | None = key(
        "Lesions by region, by coarse part and by layer; null where the atlas fit is not trusted.",
        source=lambda row: region_counts(row.series),
    )
    pattern: PatternRecord = key(source=lambda row: row.series.pattern or Pattern(n_lesions=len(row.series.lesions)))
    lesions: list[LesionRecord] = key("Every accepted lesion.", source=lambda row: lesion_rows(row.series))
    caveats: list[ReasonRecord] = key("What to be careful about in this series.", source="series.caveats")
    comparisons: list[ComparisonRecord] = key(
        "Other detectors, or a reader, on the same scan.",
        source=lambda row: [WrittenComparison(series=row.series, other=other) for other in row.series.comparisons],
    )
    candidates_from_probability: Share | None = key(
        "Rejected candidates less probable than this are left out of candidates.csv and the page; null where all are "
        "listed (settings.report.all_candidates).",
        source="candidates_from",
    )
    files: FilesRecord = key(
        source=lambda row: series_files(row.folder, compartments=row.series.location.registration.sides_usable)
    )


def series_document(
    series: SeriesResult, folder: str, *, identified: bool, candidates_from: float | None = LISTED_FROM
) -> Json:
    """One series of the document (numbers not yet rounded)."""
    written = WrittenSeries(series=series, folder=folder, identified=identified, candidates_from=candidates_from)
    document = fill(SeriesRecord, written)
    if identified:
        source = WrittenSource(source=series.detection.source, identified=True)
        document["detection"]["source"] = fill(LesionSourceRecord, source)
    return document


def geometry_document(volume: Volume) -> Json:
    """Where the voxels lie, and what is missing between the slices."""
    return fill(GeometryRecord, volume)


def coverage_document(coverage: Coverage) -> Json:
    """Fraction of each compartment in view."""
    return fill(CoverageRecord, coverage)


def _source(volume: Volume, *, identified: bool) -> Json:
    """What may be said of where a volume came from: file names and UIDs only where they may be written."""
    row = fill(SourceRecord, volume.source)
    return row if identified else {name: row[name] for name in row if name not in IDENTIFYING}
