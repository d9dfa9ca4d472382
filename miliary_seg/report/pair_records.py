"""Keys of ``result.json`` for a second scan: before contrast agent, or FLAIR (how to add one: ``schema``)."""

from __future__ import annotations

from collections import Counter

from miliary_seg.domain.pair import Enhances
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.decision_records import ReasonRecord
from miliary_seg.schema import Count, Record, Share, Size, key


class PairRecord(Record):
    """The scan before contrast agent that this one was, or was to be, compared with."""

    before: str = key("Name of the series before contrast agent.", source="pair.before")
    used: bool = key("Whether lesions were measured with it; otherwise the reasons say why not.", source="pair.used")
    moved_mm: Size | None = key(
        "Farthest that registration moved a point of the brain from where the headers place it; null where it was not "
        "registered.",
        unit="mm",
        source="pair.moved_mm",
    )
    agreement_mm: Size | None = key(
        "How far two registrations by separate halves of the brain's voxels differ.",
        unit="mm",
        source="pair.agreement_mm",
    )
    in_view_fraction: Share | None = key(
        "Share of the brain that the scan before contrast agent shows.",
        unit="fraction",
        source="pair.in_view_fraction",
    )
    explained_fraction: float | None = key(
        "Share of the spread of the brain's grey values that the matched scan before contrast agent explains; null "
        "where it was not used.",
        unit="fraction",
        source="pair.explained_fraction",
    )
    n_enhancing: Count = key("Lesions that enhance.", source=lambda s: _tally(s)[Enhances.YES])
    n_not_enhancing: Count = key("Lesions that do not.", source=lambda s: _tally(s)[Enhances.NO])
    n_cannot_tell: Count = key("Lesions of which it cannot be told.", source=lambda s: _tally(s)[Enhances.CANNOT_TELL])
    reasons: list[ReasonRecord] = key("Why the pair was not used; empty where it was.", source="pair.reasons")


class FlairRecord(Record):
    """The FLAIR on which the lesions of this scan were, or were to be, looked up."""

    flair: str = key("Name of the FLAIR's series.")
    used: bool = key("Whether lesions were looked up on it; otherwise the reasons say why not.")
    moved_mm: Size | None = key(
        "Farthest that registration moved a point of the brain; null where it was not registered.", unit="mm"
    )
    agreement_mm: Size | None = key("How far two registrations by separate halves of the brain differ.", unit="mm")
    in_view_fraction: Share | None = key("Share of the brain that the FLAIR shows.", unit="fraction")
    reasons: list[ReasonRecord] = key("Why it was not used; empty where it was.")


def _tally(series: SeriesResult) -> Counter[Enhances]:
    return Counter(lesion.uptake.enhances for lesion in series.lesions if lesion.uptake is not None)
