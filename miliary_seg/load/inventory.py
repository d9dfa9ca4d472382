"""What was found: a ledger of files, series with the reason why they are used or not, and cases. No voxels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from miliary_seg.domain.names import clean_name, digest_of_name, shortened
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
        **({"before_contrast": True} if series.before_contrast else {}),
        "why": series.why,
        "todo": series.error.todo if series.error else "",
        "shape": list(series.shape),
        "spacing_mm": [round(x, 4) for x in series.spacing_mm],
        "orientation": series.orientation,
        "plane": series.plane,
        "slice_axis": series.slice_axis,
        "slice_thickness_mm": series.slice_thickness_mm,
        "n_files": series.n_files,
        "path": _common_path(series.paths),
        "series_number": series.series_number,
        "warnings": [{"code": warning.code, "text": warning.text} for warning in series.warnings],
    }


def _common_path(paths: Sequence[Path]) -> str:
    """The file of a series, or the folder of its files."""
    return str(paths[0]) if len(paths) == 1 else os.path.commonpath(paths) if paths else ""


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
    case: str = ""
    """Name of the case that it keeps from being one; empty where it belongs to a case that is there."""
    below: Path = Path()
    """The file or folder that the user named."""


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
    before_contrast: bool = False
    """Not analysed, but loaded to be compared with the scan after contrast agent."""
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
    below: Path = Path()
    """The file or folder that the user named and below which it was found; for DICOM the same as ``path``."""
    owner: Path | None = None
    """For NIfTI: the file, or the folder and the name that a person's files begin with (``SCANS/P1``); else None."""
    longer_names: tuple[str, ...] = ()
    """Taken in this order where another scan has the first name already."""

    @property
    def known_by(self) -> Path:
        """The path by which a later run knows the case again, whichever files have arrived until then."""
        return (self.owner or self.path).absolute()

    @property
    def eligible(self) -> tuple[SeriesInfo, ...]:
        """The series that would be loaded, the preferred one first."""
        return tuple(series for series in self.series if series.eligible)

    @property
    def before_contrast(self) -> tuple[SeriesInfo, ...]:
        """The series that are only compared with one after contrast agent."""
        return tuple(series for series in self.series if series.before_contrast)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseInventory:
    """All cases below some paths, what could not be read, and what became of every file."""

    cases: tuple[CaseInfo, ...]
    problems: tuple[Problem, ...] = ()
    ledger: tuple[LedgerEntry, ...] = ()


def case_name(words: str, default: str = "case") -> str:
    """A safe name: letters and digits of any script, dot, dash and underscore; never empty, hidden, or long.

    Where nothing of the words can be kept, a digest of them follows the default.

    Examples
    --------
    >>> case_name("../Scan (2).nii"), case_name("頭部"), case_name("?!")
    ('Scan-2-.nii', '頭部', 'case-545f940d')
    """
    name = clean_name(words)
    return shortened(name) if name else f"{default}-{digest_of_name(words)}" if words else default


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


def distinct(cases: Sequence[CaseInfo]) -> tuple[CaseInfo, ...]:
    """The same cases under names of their own, whatever their order.

    Cases that share a name (also where only capitals differ) all get their next longer one, until none is shared.
    """
    names = [[case.id, *case.longer_names] for case in cases]
    while repeated := _repeated(names):
        for name in names:
            if len(name) > 1 and name[0].lower() in repeated:
                del name[0]
    firsts = unique_names([name[0] for name in names])
    return tuple(
        replace(case, id=first, longer_names=tuple(name[1:]))
        for case, first, name in zip(cases, firsts, names, strict=True)
    )


def _repeated(names: list[list[str]]) -> set[str]:
    """Names that several cases have, where at least one of them has a longer one."""
    counts = Counter(name[0].lower() for name in names)
    return {name[0].lower() for name in names if counts[name[0].lower()] > 1 and len(name) > 1}
