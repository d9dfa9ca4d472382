"""Scans of a patient in the order of their dates: what changed between them, and when the pattern was first met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from miliary_seg.cohort.longitudinal.lesion_tracking import (
    TOLERANCE_MM,
    Change,
    LesionChange,
    same_sequence,
    track_lesions,
)
from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.errors import InputError, MiliaryError, PartialOutputError
from miliary_seg.load.table import read_table
from miliary_seg.locate import RigidAlignment, register_rigid
from miliary_seg.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedScan:
    """One line of the table of scans."""

    participant: str
    date: date
    path: Path

    @property
    def case(self) -> str:
        """Name of its case: participant and date."""
        return f"{self.participant}_{self.date:%Y%m%d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePlan:
    """What is the same for every patient."""

    output: Path
    settings: Settings
    tolerance_mm: float = TOLERANCE_MM
    earlier_metastases: Mapping[str, bool] | None = None
    """Whether each participant had brain metastases before the miliary pattern, where known."""
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    scan: DatedScan
    result: CaseResult | None
    error: MiliaryError | None = None


def read_scans(path: Path) -> tuple[DatedScan, ...]:
    """Read the table of scans: tab-separated, with the columns ``participant_id``, ``date`` and ``path``.

    Parameters
    ----------
    path
        The table. Dates are YYYY-MM-DD (shifted ones serve as well); paths are relative to the table.

    Returns
    -------
    tuple of DatedScan
        By participant, then date.

    Raises
    ------
    InputError
        If the table is unreadable, a date is none, a path is missing, or a participant has two scans on one date.
    """
    header, *body = read_table(path, "\t")
    missing = [name for name in ("participant_id", "date", "path") if name not in header]
    if missing:
        raise InputError(f"there is no column {missing[0]!r}", where=path, todo="tab-separated, with a header line")
    scans = [_dated(dict(zip(header, row, strict=False)), path, line) for line, row in enumerate(body, 2) if any(row)]
    scans.sort(key=lambda scan: (scan.participant, scan.date))
    twice = next((a for a, b in pairwise(scans) if a.case == b.case), None)
    if twice:
        what = f"{twice.participant} has two scans on {twice.date}"
        raise InputError(what, where=path, todo="put both into one folder, or tell their dates apart")
    if not scans:
        raise InputError("names no scan", where=path, todo="one line a scan")
    return tuple(scans)


def timelines(scans: Sequence[DatedScan], plan: TimelinePlan) -> Iterator[dict[str, Any]]:
    """Analyse, compare and describe patient after patient; each scan's case is written on the way.

    Parameters
    ----------
    scans
        What ``read_scans`` gave.
    plan
        Settings and output folder; cases go to ``output/cases``.

    Raises
    ------
    OutputError
        Before any work, if a case is there already (without ``force``).

    Yields
    ------
    dict
        One patient: ``visits``, ``intervals``, ``first_met``, ``course`` and ``origin`` (docs/timeline.md).
    """
    from miliary_seg.report import require_free

    for scan in scans:
        require_free(plan.output / "cases" / scan.case, "result.json", plan.force)
    for participant, own in groupby(scans, key=lambda scan: scan.participant):
        visits, intervals = [], []
        before: _Visit | None = None
        for scan in own:
            visit = _visited(scan, plan)
            visits.append(_described(visit))
            if visit.result is None:
                continue
            if before is not None:
                intervals.append(_interval(before, visit, plan.tolerance_mm))
            before = visit
        yield {
            "participant": participant,
            "visits": visits,
            "intervals": intervals,
            **_course(participant, visits, plan),
        }


def compare(earlier: CaseResult, later: CaseResult, tolerance_mm: float = TOLERANCE_MM) -> dict[str, Any]:
    """What became of the lesions between two results of one patient.

    Parameters
    ----------
    earlier, later
        Results that still hold their scans (not read back from files).
    tolerance_mm
        Largest distance of two centroids that are one lesion.

    Returns
    -------
    dict
        The series compared, the alignment's figures, ``n_<fate>`` for each fate, and every lesion's ``fates``.
    """
    first, second = _comparable(earlier, later)
    alignment = register_rigid(first.volume, first.location, second.volume, second.location)
    fates = track_lesions(first, second, alignment, tolerance_mm)
    counts = Counter(fate.fate for fate in fates)
    return {
        "earlier_series": first.id,
        "later_series": second.id,
        "same_sequence": same_sequence(first, second),
        "alignment": _alignment(alignment),
        "n_earlier": len(first.lesions),
        "n_later": len(second.lesions),
        "change": len(second.lesions) - len(first.lesions),
        **{f"n_{fate}": counts[fate] for fate in Change},
        "fates": [_fate(fate) for fate in fates],
    }


def _dated(row: Mapping[str, str], table: Path, line: int) -> DatedScan:
    try:
        day = date.fromisoformat(row["date"].strip())
    except (KeyError, ValueError) as error:
        what = f"{row.get('date', '')!r} in line {line} is no date"
        raise InputError(what, where=table, todo="write YYYY-MM-DD") from error
    name, scan = row["participant_id"].strip(), row.get("path", "").strip()
    if not name or not scan:
        raise InputError(f"line {line} lacks a participant or a path", where=table, todo="fill it in")
    path = table.parent / scan
    if not path.exists():
        raise InputError(f"the scan of line {line} is not there", where=path, todo="paths are relative to the table")
    return DatedScan(participant=name, date=day, path=path)


def _visited(scan: DatedScan, plan: TimelinePlan) -> _Visit:
    from dataclasses import replace

    from miliary_seg.load import load_study
    from miliary_seg.pipeline import analyze

    try:
        study = replace(load_study(scan.path, settings=plan.settings), case=scan.case)
        result = analyze(study, plan.settings)
    except MiliaryError as error:
        return _Visit(scan=scan, result=None, error=error)
    try:
        result.write(plan.output / "cases", force=plan.force)
    except PartialOutputError as error:  # one of its files could not be written: the answer stands
        return _Visit(scan=scan, result=result, error=error)
    return _Visit(scan=scan, result=result)


def _described(visit: _Visit) -> dict[str, Any]:
    known = {"case": visit.scan.case, "date": visit.scan.date.isoformat()}
    if visit.result is None:
        return {**known, "verdict": None, "n_lesions": None, "error": visit.error.code if visit.error else ""}
    decision = visit.result.decision
    series = visit.result.series_of()
    error = visit.error.code if visit.error else None
    return {**known, "verdict": str(decision.verdict), "n_lesions": len(series.lesions), "error": error}


def _interval(before: _Visit, after: _Visit, tolerance_mm: float) -> dict[str, Any]:
    if before.result is None or after.result is None:  # callers pass analysed visits only
        raise InputError("a scan of the interval was not analysed", where=after.scan.case)
    return {
        "earlier": before.scan.case,
        "later": after.scan.case,
        "days": (after.scan.date - before.scan.date).days,
        **compare(before.result, after.result, tolerance_mm),
    }


def _comparable(earlier: CaseResult, later: CaseResult) -> tuple[SeriesResult, SeriesResult]:
    """The two series to compare: of one sequence if there are any, those that decided before others."""

    def rank(pair: tuple[SeriesResult, SeriesResult]) -> tuple[bool, bool, bool]:
        first, second = pair
        return (
            same_sequence(first, second),
            second.id in later.decision.deciding_series,
            first.id in earlier.decision.deciding_series,
        )

    return max(((a, b) for a in earlier.series for b in later.series), key=rank)


def _course(participant: str, visits: Sequence[Mapping[str, Any]], plan: TimelinePlan) -> dict[str, Any]:
    """When the criteria were first met, how the patient came there, and from what (R21)."""
    answers = [visit["verdict"] for visit in visits]
    met = next((visit for visit in visits if visit["verdict"] == Verdict.MET), None)
    earlier = (plan.earlier_metastases or {}).get(participant)
    course = "undetermined"  # a scan that nobody could decide, or that failed, leaves it open
    if met is not None:
        before = answers[: answers.index(Verdict.MET)]
        if not before:
            course = "met_at_first_scan"
        elif before[-1] == Verdict.NOT_MET:
            course = "became_met"
    elif all(answer == Verdict.NOT_MET for answer in answers):
        course = "never_met"
    origin = "not_applicable" if met is None else {True: "conversion", False: "de_novo", None: "unknown"}[earlier]
    return {"first_met": met["date"] if met else None, "course": course, "origin": origin}


def _alignment(alignment: RigidAlignment) -> dict[str, Any]:
    finite = alignment.agreement_mm < float("inf")
    return {
        "trusted": alignment.trusted,
        "agreement_mm": round(alignment.agreement_mm, 3) if finite else None,
        "overlap_fraction": round(alignment.overlap_fraction, 4),
        "in_view_fraction": round(alignment.in_view_fraction, 4),
        "earlier_to_later_ras_mm": alignment.matrix.round(6).tolist(),
        "reasons": [asdict(reason) for reason in alignment.reasons],
    }


def _fate(fate: LesionChange) -> dict[str, Any]:
    values = asdict(fate)
    rounded = {
        name: None if values[name] is None else round(values[name], 3) for name in ("distance_mm", "signal_ratio")
    }
    place = [round(float(x), 2) for x in fate.centroid_ras_mm]
    return values | {"fate": str(fate.fate), "centroid_ras_mm": place} | rounded
