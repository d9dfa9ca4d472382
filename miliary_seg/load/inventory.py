"""What is there, as data: the tree that ``inspect`` shows. Nothing of the patient, nothing written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from miliary_seg.load.found import FoundCase, FoundCases, FoundSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Cases with their series, problems, and the count of files by what became of them."""

    found: FoundCases

    @property
    def cases(self) -> tuple[FoundCase, ...]:
        """Cases in the order in which they would be analysed."""
        return self.found.cases

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        ledger = self.found.ledger
        return {
            "cases": [_case(case) for case in self.found.cases],
            "problems": [
                {
                    "path": str(problem.path),
                    "code": problem.error.code,
                    "exit_code": problem.error.exit_code,
                    "what": problem.error.what,
                    "todo": problem.error.todo,
                }
                for problem in self.found.problems
            ],
            "files": dict(Counter(entry.status for entry in ledger)),
            "not_used": [
                {"path": str(entry.path), "status": entry.status, "reason": entry.reason}
                for entry in ledger
                if entry.status != "used"
            ],
        }


def _case(case: FoundCase) -> dict[str, Any]:
    return {
        "id": case.id,
        "path": str(case.path),
        "caveats": [{"code": caveat.code, "text": caveat.text} for caveat in case.caveats],
        "series": [_series(series) for series in case.series],
    }


def _series(series: FoundSeries) -> dict[str, Any]:
    return {
        "id": series.id,
        "format": series.format,
        "modality": str(series.modality) if series.modality else None,
        "sequence": str(series.sequence.sequence),
        "confidence": series.sequence.confidence,
        "evidence": list(series.sequence.evidence),
        "used": series.eligible,
        "why": series.why,
        "todo": series.error.todo if series.error else "",
        "shape": list(series.shape),
        "spacing_mm": [round(x, 4) for x in series.spacing_mm],
        "orientation": series.orientation,
        "plane": series.plane,
        "slice_axis": series.slice_axis,
        "slice_thickness_mm": series.slice_thickness_mm,
        "n_files": series.n_files,
        "series_number": series.series_number,
        "warnings": [{"code": warning.code, "text": warning.text} for warning in series.warnings],
    }
