"""CaseResult -> the plain document that becomes ``result.json``: its keys are the fields of ``CaseRecord``.

``series_records`` and ``decision_records`` hold the keys below; ``miliary_seg.schema`` says how to add one.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.result import CaseResult
from miliary_seg.report.burden import lesion_sizes
from miliary_seg.report.decision_records import ReasonRecord, decision_document, reasons_document, statement
from miliary_seg.report.file_names import series_folders
from miliary_seg.report.lesion_records import lesion_rows, pattern_document, slice_counts, slice_rows
from miliary_seg.report.sanitise import sanitise, without_uids
from miliary_seg.report.series_records import (
    SeriesRecord,
    coverage_document,
    geometry_document,
    listed_from,
    series_document,
)
from miliary_seg.schema import Json, Record, check, fill, finite, json_schema, key

__all__ = [
    "case_document", "coverage_document", "decision_document", "geometry_document", "is_identified", "lesion_rows",
    "lesion_sizes", "pattern_document", "reasons_document", "schema", "series_document", "slice_counts", "slice_rows",
    "validate",
]  # fmt: skip

CITATION = (
    "Bashour SI, Ibrahim NK, Schomer DF, et al. Central nervous system miliary metastasis in breast cancer: a case "
    "series analysis and proposed identification criteria of a rare metastasis subtype. Br J Cancer "
    "2020;123:1417-1423. doi:10.1038/s41416-020-1008-2"
)

DISCLAIMER = "Research use only. Not a medical device and not for clinical decisions. A person must look at the images."

PROPOSED_CRITERIA = (
    "The criteria are proposed, drawn from one series of patients with breast cancer, and not externally validated; "
    "for any other primary tumour they are an extrapolation. They count lesions and say nothing of their nature: "
    "vessels, perivascular spaces, microbleeds, infection and inflammation can show the same pattern, and a scan "
    "without visible lesions does not exclude miliary disease."
)

RULE = (
    "At least 20 lesions per image on at least two non-contiguous MRI images, or at least 10 lesions per image on at "
    "least two non-contiguous CT images; and bilateral lesions located in both the supratentorial and the "
    "infratentorial compartment."
)

FACE_NOTE = "Pictures and label maps of a head can show the shape of a face: share them as you would share the scan."


SCHEMA_VERSION = "1.4.0"
"""Semantic version of the document: a key that goes or changes its meaning is a new major version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCase:
    """One case, and whether file names and UIDs may be written."""

    result: CaseResult
    identified: bool

    @property
    def series(self) -> list[Json]:
        """Every series with the folder of its files."""
        folders, least = series_folders(self.result), listed_from(self.result)
        return [
            series_document(s, folders[s.id], identified=self.identified, candidates_from=least)
            for s in self.result.series
        ]


class CaseRecord(Record):
    """What miliary-seg found in one study, and whether that meets the proposed criteria of miliary brain metastasis.

    Research use only. Coordinates are RAS+ mm; indices count from 0.
    """

    schema_version: Annotated[str, Meta(pattern=r"^1\.\d+\.\d+$")] = key(
        "Semantic version of this document.", source=lambda _: SCHEMA_VERSION
    )
    case: str = key("Name of the case.", source="result.case")
    verdict: Verdict = key(
        "Answer for the study: met if any eligible series is met; series are never pooled.",
        source="result.decision.verdict",
    )
    statement: str = key(
        "The verdict in the approved wording.", source=lambda row: statement(row.result.decision.verdict)
    )
    reasons: list[ReasonRecord] = key("Why the answer is what it is.", source="result.decision.reasons")
    deciding_series: list[str] = key(
        "Identifiers of the series that carry the verdict.", source="result.decision.deciding_series"
    )
    disclaimer: str = key("Research-use wording.", source=lambda _: DISCLAIMER)
    criteria_note: str = key("What the criteria can and cannot say.", source=lambda _: PROPOSED_CRITERIA)
    citation: str = key("The work that proposed the criteria.", source=lambda _: CITATION)
    software: dict[str, str] = key("Versions that the result depends on.", source="result.software")
    settings: dict[str, Any] = key(
        "The resolved settings; see docs/settings.md.",
        source=lambda row: row.result.settings if row.identified else without_uids(row.result.settings),
    )
    settings_digest: Annotated[str, Meta(pattern="^[0-9a-f]*$")] = key(
        "SHA-256 of the settings that say how an image is judged (all but load and report): only results with "
        "equal digests may be compared.",
        source="result.settings_digest",
    )
    caveats: list[ReasonRecord] = key("What to be careful about in this case.", source="result.caveats")
    identified: bool = key("Whether file names and UIDs of study and series were written (settings.report.identified).")
    series: list[SeriesRecord] = key("Every analysed series.")


def case_document(result: CaseResult) -> Json:
    """Everything that one case came to, as plain values for JSON.

    Deterministic: no clock, no run time, no host. Without ``report.identified`` it holds no file path, no study or
    series UID; SOPInstanceUIDs of the slices stay, since they are what the evidence refers to.

    Parameters
    ----------
    result
        One analysed case.

    Returns
    -------
    dict
        Keys as in docs/results.md; numbers are finite, unknown ones are ``None``.
    """
    document: Json = finite(fill(CaseRecord, WrittenCase(result=result, identified=is_identified(result))), sanitise)
    return document


def is_identified(result: CaseResult) -> bool:
    """Whether file names and UIDs may be written (``report.identified``)."""
    return bool(result.settings.get("report", {}).get("identified", False))


def schema() -> Json:
    """JSON Schema (2020-12) of ``result.json``, with a description and a unit for every key."""
    return json_schema("miliary-seg result", [CaseRecord])


def validate(document: dict[str, Any]) -> None:
    """Check a document.

    Raises
    ------
    OutputError
        If it does not follow the schema; the message names the key, never the value.
    """
    check(document, CaseRecord, "result.json")
