"""What was found: a ledger of files, series with the reason why they are used or not, and cases. No voxels."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, SequenceEvidence
from miliary_seg.errors import MiliaryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Cases with their series, problems, and the count of files by what became of them."""

    found: CaseInventory

    @property
    def cases(self) -> tuple[CaseInfo, ...]:
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


def _case(case: CaseInfo) -> dict[str, Any]:
    return {
        "id": case.id,
        "path": str(case.path),
        "caveats": [{"code": caveat.code, "text": caveat.text} for caveat in case.caveats],
        "series": [_series(series) for series in case.series],
    }


def _series(series: SeriesInfo) -> dict[str, Any]:
    return {
        "id": series.id,
        "format": series.format,
        "modality": str(series.modality) if series.modality else None,
        "sequence": str(series.sequence.sequence),
        "confidence": series.sequence.confidence,
        "evidence": list(series.sequence.evidence),
        "conflict": series.sequence.conflict,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What became of one file."""

    path: Path
    status: str
    """``used``, ``skipped`` or ``failed``."""
    reason: str = ""
    """Why it was skipped or failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that could not be read, kept beside the cases so that it neither hides nor stops them."""

    path: Path
    error: MiliaryError


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesInfo:
    """One image that could be analysed, from its header alone."""

    id: str
    """Safe name, unique within its case."""
    format: str
    """``DICOM`` or ``NIfTI``."""
    modality: Modality | None
    sequence: SequenceEvidence
    eligible: bool
    why: str
    """Why it is used or not, in one sentence."""
    shape: tuple[int, ...] = ()
    """Voxels along i, j, k; a fourth number is the number of volumes."""
    spacing_mm: tuple[float, ...] = ()
    orientation: str = ""
    plane: str = ""
    slice_axis: int = 2
    slice_thickness_mm: float | None = None
    n_files: int = 0
    warnings: tuple[Reason, ...] = ()
    error: MiliaryError | None = None
    """What stands against loading it, where that is an error and not a choice."""
    derived: bool = False
    series_instance_uid: str = ""
    series_number: int | None = None
    paths: tuple[Path, ...] = ()
    source: Any = field(default=None, repr=False, compare=False)
    """For the module that loads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseInfo:
    """One study (DICOM), file, or BIDS session (NIfTI): one case of the analysis."""

    id: str
    path: Path
    """The file or folder that the user named."""
    series: tuple[SeriesInfo, ...]
    """Eligible ones first, in the order of preference."""
    study_instance_uid: str = ""
    caveats: tuple[Reason, ...] = ()

    @property
    def eligible(self) -> tuple[SeriesInfo, ...]:
        """The series that would be loaded, the preferred one first."""
        return tuple(series for series in self.series if series.eligible)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseInventory:
    """All cases below some paths, what could not be read, and what became of every file."""

    cases: tuple[CaseInfo, ...]
    problems: tuple[Problem, ...] = ()
    ledger: tuple[LedgerEntry, ...] = ()


def case_name(words: str, default: str = "case") -> str:
    """Letters, digits, dot, dash and underscore only; never empty, never hidden, at most 64 long.

    Examples
    --------
    >>> case_name("../Scan (2).nii"), case_name("頭")
    ('Scan-2-.nii', 'case')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip(".-")
    name = re.sub(r"^[-.]+", "", name)[:64]
    return name or default


def unique_names(names: list[str]) -> list[str]:
    """The same names, numbered from 2 where they repeat (also where they differ only in case)."""
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.lower())
        result.append(candidate)
    return result
