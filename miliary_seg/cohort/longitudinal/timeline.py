"""Scans of a patient in the order of their dates: what changed between them, and when the pattern was first met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from miliary_seg.cohort.longitudinal.course import course_at, course_of
from miliary_seg.cohort.longitudinal.lesion_tracking import (
    TOLERANCE_MM,
    Change,
    LesionChange,
    SizeChange,
    same_sequence,
    track_lesions,
)
from miliary_seg.cohort.pages.crops import pairs
from miliary_seg.decide.reasons import REASONS, Effect
from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.errors import InputError, MiliaryError, PartialOutputError
from miliary_seg.load.table import read_table
from miliary_seg.locate import RigidAlignment, register_rigid
from miliary_seg.report.burden import lesion_sizes
from miliary_seg.settings import Settings

MEASURED = (
    "verdict",
    "n_lesions",
    "volume_mm3",
    "median_diameter_mm",
    "largest_diameter_mm",
    "n_measurable",
    "sum_of_targets_mm",
)
"""What is None of a scan that could not be analysed."""


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

    def had_metastases(self, participant: str) -> bool | None:
        """Whether a participant had brain metastases before; None where it is not known."""
        return (self.earlier_metastases or {}).get(participant)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    scan: DatedScan
    result: CaseResult | None
    interval: dict[str, Any] | None = None
    """From the last analysed scan before it; None for the first one."""
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
        visits: list[dict[str, Any]] = []
        intervals: list[dict[str, Any]] = []
        before: _Visit | None = None
        for scan in own:
            visit = _visited(scan, plan, before, visits)
            visits.append(_described(visit))
            if visit.interval is not None:
                intervals.append(visit.interval)
            before = before if visit.result is None else visit
        yield {
            "participant": participant,
            "visits": visits,
            "intervals": intervals,
            **course_of(visits, plan.had_metastases(participant)),
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
        The series compared, the alignment's figures, ``n_<fate>`` for each fate, how many of the persisting ones
        grew, are stable or shrank, every lesion's ``fates``, and ``pairs`` of pictures of all that changed or are
        uncertain (not written to timeline.json).
    """
    first, second = _comparable(earlier, later)
    alignment = register_rigid(first.volume, first.location, second.volume, second.location)
    fates = track_lesions(first, second, alignment, tolerance_mm)
    counts = Counter(fate.fate for fate in fates)
    described = [_fate(fate, first, second) for fate in fates]
    return {
        "earlier_series": first.id,
        "later_series": second.id,
        "same_sequence": same_sequence(first, second),
        "alignment": _alignment(alignment),
        "n_earlier": len(first.lesions),
        "n_later": len(second.lesions),
        "change": len(second.lesions) - len(first.lesions),
        **{f"n_{fate}": counts[fate] for fate in Change},
        **{f"n_{size}": sum(fate.size_change is size for fate in fates) for size in SizeChange},
        "fates": described,
        "pairs": pairs(first, second, described, alignment.matrix) if alignment.trusted else [],
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


def _visited(
    scan: DatedScan, plan: TimelinePlan, before: _Visit | None = None, visits: Sequence[Mapping[str, Any]] = ()
) -> _Visit:
    """Analyse a scan, compare it with the one before, and write its case with the course up to it."""
    from miliary_seg.load import load_study
    from miliary_seg.pipeline import analyze

    try:
        study = replace(load_study(scan.path, settings=plan.settings), case=scan.case)
        result = analyze(study, plan.settings)
    except MiliaryError as error:
        return _Visit(scan=scan, result=None, error=error)
    visit = _Visit(scan=scan, result=result)
    if before is not None:
        visit = replace(visit, interval=_interval(before, visit, plan.tolerance_mm))
    try:
        _with_course(result, visit, plan, visits).write(plan.output / "cases", force=plan.force)
    except PartialOutputError as error:  # one of its files could not be written: the answer stands
        return replace(visit, error=error)
    return visit


def _with_course(
    result: CaseResult, visit: _Visit, plan: TimelinePlan, visits: Sequence[Mapping[str, Any]]
) -> CaseResult:
    if visit.interval is None:
        return result
    name = visit.scan.participant
    return replace(
        result, course=course_at(visit.interval, [*visits, _described(visit)], plan.had_metastases(name), name)
    )


def _described(visit: _Visit) -> dict[str, Any]:
    known = {"case": visit.scan.case, "date": visit.scan.date.isoformat()}
    if visit.result is None:
        unknown = dict.fromkeys(MEASURED)
        return {**known, **unknown, "error": visit.error.code if visit.error else "", "why": _no_answer(visit)}
    decision = visit.result.decision
    series = visit.result.series_of()
    error = visit.error.code if visit.error else None
    sizes = lesion_sizes(series)
    median_mm, largest_mm = sizes.get("median_mm"), sizes.get("largest_mm")
    return {
        **known,
        "verdict": str(decision.verdict),
        "why": _no_answer(visit),
        "n_lesions": len(series.lesions),
        "volume_mm3": round(sum(lesion.volume_mm3 for lesion in series.lesions), 1),
        "median_diameter_mm": None if median_mm is None else round(median_mm, 2),
        "largest_diameter_mm": None if largest_mm is None else round(largest_mm, 2),
        "n_measurable": sizes.get("n_measurable", 0),
        "sum_of_targets_mm": sizes.get("sum_of_targets_mm"),
        "error": error,
    }


def _no_answer(visit: _Visit) -> str:
    """Why a scan is neither MET nor NOT_MET, in words; empty where it is one of them."""
    if visit.result is None:
        return f"not analysed ({visit.error.code.replace('_', ' ')})" if visit.error else "not analysed"
    decision = visit.result.decision
    if decision.verdict != Verdict.INDETERMINATE:
        return ""
    found = [*visit.result.series_of().decision.reasons, *decision.reasons]
    causes = dict.fromkeys(_sentence(reason).rstrip(".") for reason in found if _leaves_open(reason))
    return "; ".join(causes) or "indeterminate"


def _sentence(reason: Reason) -> str:
    """Without its figures: those stand in the case."""
    kind = REASONS.get(reason.code)
    return reason.text if kind is None else kind.sentence


def _leaves_open(reason: Reason) -> bool:
    """Doubts about the image and what blocks an answer; not remarks, nor what proves a criterion false."""
    kind = REASONS.get(reason.code)
    return kind is None or kind.effect not in (Effect.REMARK, Effect.REFUTES)


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


def _alignment(alignment: RigidAlignment) -> dict[str, Any]:
    finite = alignment.agreement_mm < float("inf")
    return {
        "trusted": alignment.trusted,
        "agreement_mm": round(alignment.agreement_mm, 3) if finite else None,
        "overlap_fraction": round(alignment.overlap_fraction, 4),
        "in_view_fraction": round(alignment.in_view_fraction, 4),
        "mirror_ratio": round(alignment.mirror_ratio, 3),
        "earlier_to_later_ras_mm": alignment.matrix.round(6).tolist(),
        "reasons": [asdict(reason) for reason in alignment.reasons],
    }


def _fate(fate: LesionChange, earlier: SeriesResult, later: SeriesResult) -> dict[str, Any]:
    values = asdict(fate) | {"size_change": None if fate.size_change is None else str(fate.size_change)}
    rounded = {
        name: None if values[name] is None else round(values[name], 3) for name in ("distance_mm", "signal_ratio")
    }
    place = [round(float(x), 2) for x in fate.centroid_ras_mm]
    sizes = {**_sizes("earlier", earlier, fate.earlier_id), **_sizes("later", later, fate.later_id)}
    return values | {"fate": str(fate.fate), "centroid_ras_mm": place} | rounded | sizes


def _sizes(when: str, series: SeriesResult, number: int | None) -> dict[str, float | None]:
    """Diameter and volume of a lesion in one of the scans; None where it was not detected there."""
    found = next((lesion for lesion in series.lesions if lesion.id == number), None)
    return {
        f"{when}_diameter_mm": None if found is None else round(found.equivalent_diameter_mm, 2),
        f"{when}_volume_mm3": None if found is None else round(found.volume_mm3, 1),
    }
