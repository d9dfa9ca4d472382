"""Keys of ``result.json`` for who found the lesions, and for another detector beside (see ``miliary_seg.schema``)."""

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from miliary_seg.domain.comparison import Comparison
from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.lesion_source import LesionSource
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.lesion_records import slice_counts
from miliary_seg.schema import Count, Point, Record, Share, Size, key


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSource:
    """Who found the lesions, and whether a person's name and the path may be written."""

    source: LesionSource
    identified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenComparison:
    """Another detector beside the one of a series."""

    series: SeriesResult
    other: Comparison


def _identified(name: str, row: WrittenSource) -> str | UnsetType:
    return str(getattr(row.source, name)) if row.identified else UNSET


class LesionSourceRecord(Record):
    """Who found the lesions."""

    name: str = key("Detector, or algorithm that a file names; given where it names none.", source="source.name")
    format: str = key("Format of the file; empty where lesions were detected in this run.", source="source.format")
    algorithm_type: str = key(
        "AUTOMATIC, SEMIAUTOMATIC or MANUAL; empty where nobody says.", source="source.algorithm_type"
    )
    sha256: str = key("Digest of the file, or of a detector's model; else empty.", source="source.sha256")
    text: str = key("The same in words.", source="source.text")
    author: str | UnsetType = key(
        "Person or device that the file names; only with report.identified.",
        source=lambda row: _identified("author", row),
    )
    path: str | UnsetType = key("The file; only with report.identified.", source=lambda row: _identified("path", row))


class OtherLesionRecord(Record):
    """One lesion of the second detector."""

    id: Count = key("1, 2, 3 ...")
    centroid_ras_mm: Point = key("Centroid in the patient, RAS+.", unit="mm")
    equivalent_diameter_mm: Size = key("Diameter of the sphere of the same volume.", unit="mm")
    probability: Share = key("As this detector gives it.")
    slices: list[Count] = key("Slices on which it is counted.")


class ComparisonRecord(Record):
    """Another detector, or a reader, on the same scan beside the one whose lesions are listed."""

    first: LesionSourceRecord = key(source=lambda row: WrittenSource(source=row.other.first))
    second: LesionSourceRecord = key(source=lambda row: WrittenSource(source=row.other.second))
    verdict_first: Verdict = key("Answer by the lesions listed.", source="other.first_verdict")
    verdict_second: Verdict = key("Answer by those of the second.", source="other.decision.verdict")
    agree: bool = key("Whether both answers are equal.", source="other.agree")
    n_both: Count = key("Lesions of both: they share a voxel, one to one.", source=lambda row: len(row.other.both))
    n_only_first: Count = key("Lesions of the first alone.", source=lambda row: len(row.other.only_first))
    n_only_second: Count = key("Lesions of the second alone.", source=lambda row: len(row.other.only_second))
    both: list[tuple[int, int]] = key("Ids (first, second) of lesions of both.", source="other.both")
    only_first: list[int] = key("Ids in lesions.", source="other.only_first")
    only_second: list[int] = key("Ids in lesions_second.", source="other.only_second")
    slice_counts_first: list[Count] = key(
        "Lesions on every slice by the first.", source=lambda row: slice_counts(row.series)
    )
    slice_counts_second: list[Count] = key("... by the second.", source="other.decision.slice_counts")
    margin_second: int = key("Count of its deciding slice minus the threshold.", source="other.decision.margin")
    lesions_second: list[OtherLesionRecord] = key("Lesions of the second.", source="other.lesions")
