"""One cohort in figures: patients, incidence, findings, groups and survival, joined from a run and participants.tsv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from miliary_seg import __version__
from miliary_seg.cohort.statistics.groups import compare_several, compare_two
from miliary_seg.cohort.statistics.participants import Participants, read_participants, value_of
from miliary_seg.cohort.statistics.patients import (
    Patient,
    patients_of,
    read_cases,
    read_failed,
    read_twins,
    read_unreadable,
)
from miliary_seg.cohort.statistics.proportions import LEVEL, co_occurrence, incidence, truth
from miliary_seg.cohort.statistics.survival import Subject, Survival, cumulative_incidence, survival
from miliary_seg.domain.decision import Verdict
from miliary_seg.errors import InputError, UsageError
from miliary_seg.load.table import read_table
from miliary_seg.report import CITATION, PROPOSED_CRITERIA


def methods_text(document: Mapping[str, Any]) -> list[str]:
    """Paragraphs that say how each figure of the document was made.

    Parameters
    ----------
    document
        What ``summarise`` has put together.

    Returns
    -------
    list of str
        Plain sentences; the last ones are the citation and the limits.
    """
    found, software = document["incidence"], document["software"]
    text = [
        f"Scans were analysed with miliary-seg {software['cases_version']} (settings digest "
        f"{document['settings_digest'][:12]}), which tests the pattern of lesions of every series against the proposed "
        "criteria of miliary brain metastasis. A patient meets the criteria if any series of any scan does, is "
        "indeterminate if none does and any is indeterminate, and does not meet them otherwise.",
        f"{document['n_cases']} scans were analysed and {len(document['failed_cases'])} could not be, "
        f"{len(document['unreadable_inputs'])} of them because they could not be read (they count as indeterminate), "
        f"of {found['n_patients']} patients in all. Incidence is per patient, over "
        f"all patients, with Wilson's {100 * LEVEL:.0f} % interval; {found['n_indeterminate']} indeterminate "
        "patients bound it from above.",
    ]
    if document["groups"]:
        text.append(_groups(document["groups"]))
    if document["survival"]:
        text.append(_survival_sentence(document["survival"]))
    return [*text, f"Criteria: {CITATION}", PROPOSED_CRITERIA]


def _groups(groups: list[dict[str, Any]]) -> str:
    several = any(len(group["values"]) > 2 for group in groups)
    text = (
        "Two groups were compared by Fisher's exact test (two-sided), with Newcombe's interval for the difference and "
        "Katz's logarithmic one for the ratio of the proportions."
    )
    if several:
        text += (
            " More than two groups were compared by the Fisher-Freeman-Halton test (seeded Monte Carlo), and each "
            "against all others with Holm's correction."
        )
    if len(groups) > 1:
        text += f" {len(groups)} columns were tested; their p-values are not corrected against each other."
    return (
        text
        + " Comparisons leave indeterminate patients out; they were repeated with all of them as not met and as met."
    )


def _survival_sentence(found: Mapping[str, Any]) -> str:
    if found["kind"] == "survival":
        how = "Survival is Kaplan and Meier's estimate, with the median and groups compared by the log-rank test"
    else:
        how = "Cumulative incidence in the presence of a competing event is Aalen and Johansen's estimate"
    interval = f"intervals are pointwise {100 * LEVEL:.0f} %, complementary log-log"
    whose = "patients who meet the criteria" if found["among"] == "met" else "all patients"
    left_out = found["n_left_out"]
    return f"{how}, of {whose}; {interval}. {left_out} of them had no time, event or group and were left out."


BY_VERDICT = "verdict"
"""As a grouping: the answer itself instead of a column."""
ALTERNATIVES: dict[str, dict[Verdict, bool]] = {
    "decided": {Verdict.MET: True, Verdict.NOT_MET: False},
    "indeterminate_as_not_met": {Verdict.MET: True, Verdict.NOT_MET: False, Verdict.INDETERMINATE: False},
    "indeterminate_as_met": {Verdict.MET: True, Verdict.NOT_MET: False, Verdict.INDETERMINATE: True},
}
"""How indeterminate patients enter a comparison; a finding that needs one of them is not robust."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryPlan:
    """What to summarise, by names of columns of participants.tsv."""

    runs: tuple[Path, ...]
    """Output folders of ``run`` (or their cases.csv)."""
    participants: Path | None = None
    owners: Path | None = None
    """Table with the columns ``case`` and ``participant_id`` where names of cases do not tell the participant."""
    findings: tuple[str, ...] = ()
    """Yes/no columns: their share among the patients with MET."""
    groups: tuple[str, ...] = ()
    """Columns whose values are compared."""
    time: str = ""
    event: str = ""
    by: str = ""
    """Column (or ``verdict``) that makes the arms of the survival curves; empty = one curve."""
    among: str = "met"
    """``met`` or ``all``: whose survival."""
    competing: bool = False
    """Event 2 competes with event 1: cumulative incidence instead of survival."""
    time_unit: str = "months"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cohort:
    patients: tuple[Patient, ...]
    participants: Participants | None

    def known(self, column: str) -> dict[str, str]:
        return self.participants.text(column) if self.participants else {}


def summarise(plan: SummaryPlan) -> dict[str, Any]:
    """Everything that ``miliary-seg cohort summary`` writes, as plain values.

    Parameters
    ----------
    plan
        What to summarise.

    Returns
    -------
    dict
        The content of ``cohort.json`` (docs/cohort-statistics.md).

    Raises
    ------
    InputError
        If a table is unreadable, a column is missing or holds what it may not hold, or no participant matches.
    SettingsError
        If the cases were not all run with the same settings and version.
    UsageError
        If columns are asked for without a participants.tsv, or a time without an event.
    """
    _check(plan)
    rows = read_cases(plan.runs)
    failed = read_failed(plan.runs)
    owners = read_participants_of_cases(plan.owners) if plan.owners else {}
    cases = {row["case"] for row in rows} | set(failed)
    strangers = sorted(set(owners) - cases - read_twins(plan.runs))
    if strangers:
        what = f"{len(strangers)} cases of this table are not among those that were run (first: {strangers[0]})"
        raise InputError(what, where=plan.owners or "", todo="correct the names or give every run's folder")
    participants = read_participants(plan.participants) if plan.participants else None
    cohort = _Cohort(patients=patients_of(rows, owners, failed), participants=participants)
    document: dict[str, Any] = {
        "software": {"name": "miliary-seg", "version": __version__, "cases_version": rows[0]["software_version"]},
        "settings_digest": rows[0]["settings_digest"],
        "n_cases": len({row["case"] for row in rows}),
        "n_series": len(rows),
        "failed_cases": list(failed),
        "unreadable_inputs": sorted(set(failed) & set(read_unreadable(plan.runs))),
        "incidence": asdict(incidence(cohort.patients)),
        "unmatched": _unmatched(cohort) | {"cases_without_owner": sorted(cases - set(owners)) if owners else []},
        "co_occurrence": [_finding(cohort, column) for column in plan.findings],
        "groups": [_compared(cohort, column, plan.seed) for column in plan.groups],
        "survival": _survival(cohort, plan) if plan.time else None,
        "patients": [{"id": p.id, "verdict": str(p.verdict), "cases": list(p.cases)} for p in cohort.patients],
    }
    return document | {"methods": methods_text(document)}


def read_participants_of_cases(path: Path) -> dict[str, str]:
    """Participant of each case, from a tab-separated table with the columns ``case`` and ``participant_id``.

    Raises
    ------
    InputError
        If the table is unreadable or lacks a column.
    """
    header, *body = read_table(path, "\t")
    if not {"case", "participant_id"} <= set(header):
        todo = "tab-separated, with the columns case and participant_id"
        raise InputError("does not tell whose the cases are", where=path, todo=todo)
    owners: dict[str, str] = {}
    for line, values in enumerate(body, start=2):
        row = dict(
            zip(header, (value.strip() if value_of(value) is not None else "" for value in values), strict=False)
        )
        if not any(row.values()):
            continue
        if not row.get("case") or not row.get("participant_id"):
            raise InputError(f"line {line} lacks a case or a participant", where=path, todo="fill it in")
        if row["case"] in owners:
            raise InputError(f"line {line} names a case a second time", where=path, todo="one line a case")
        owners[row["case"]] = row["participant_id"]
    return owners


def _check(plan: SummaryPlan) -> None:
    asked = [*plan.findings, *plan.groups, plan.time, plan.event]
    if any(asked) and plan.participants is None:
        raise UsageError("findings, groups and survival need --participants", todo="give participants.tsv")
    if bool(plan.time) != bool(plan.event):
        raise UsageError("survival needs both --time and --event", todo="name both columns")
    if plan.among not in ("met", "all"):
        raise UsageError(f"--among {plan.among!r} is neither met nor all", todo="choose one")


def _unmatched(cohort: _Cohort) -> dict[str, list[str]]:
    """Who is in only one of the two sources: named, never dropped in silence."""
    if cohort.participants is None:
        return {"patients_not_in_participants": [], "participants_without_case": []}
    here, there = {p.id for p in cohort.patients}, set(cohort.participants.rows)
    if not here & there:
        example = f"{min(here)!r} against {min(there)!r}" if there else "the table is empty"
        todo = "use the same ids, or give --owners (a table of case and participant_id)"
        raise InputError(f"no participant has a case ({example})", where=cohort.participants.source, todo=todo)
    return {"patients_not_in_participants": sorted(here - there), "participants_without_case": sorted(there - here)}


def _finding(cohort: _Cohort, column: str) -> dict[str, Any]:
    values = cohort.known(column)
    if cohort.participants is not None:
        cohort.participants.parsed(column, truth)  # an error there names the line
    met = [p for p in cohort.patients if p.verdict is Verdict.MET]
    found = co_occurrence(cohort.patients, values, column)
    return {"column": column, "among_met": asdict(found), "n_unknown": sum(p.id not in values for p in met)}


def _compared(cohort: _Cohort, column: str, seed: int) -> dict[str, Any]:
    values = cohort.known(column)
    names = sorted({values[p.id] for p in cohort.patients if p.id in values})
    if len(names) < 2:
        what = f"column {column!r} has fewer than two values among the patients"
        raise InputError(what, todo="choose a column that makes groups")
    answers = {}
    for name, meaning in ALTERNATIVES.items():
        table = {group: _count(cohort.patients, values, group, meaning) for group in names}
        answers[name] = _tested(table, seed)
    unknown = sum(p.id not in values for p in cohort.patients)
    return {"column": column, "values": names, "n_unknown": unknown, "comparisons": answers}


def _count(
    patients: Iterable[Patient], values: Mapping[str, str], group: str, meaning: Mapping[Verdict, bool]
) -> tuple[int, int]:
    members = [meaning[p.verdict] for p in patients if values.get(p.id) == group and p.verdict in meaning]
    return sum(members), len(members)


def _tested(table: Mapping[str, tuple[int, int]], seed: int) -> dict[str, Any] | None:
    """The test that fits the number of groups; None where fewer than two groups have patients."""
    if sum(total > 0 for _, total in table.values()) < 2:
        return None
    if len(table) == 2:
        return {"kind": "two", **asdict(compare_two(*table.values()))}
    return {"kind": "several", **asdict(compare_several(table, seed))}


def _survival(cohort: _Cohort, plan: SummaryPlan) -> dict[str, Any]:
    if cohort.participants is None:  # _check has seen to it
        raise UsageError("survival needs --participants", todo="give participants.tsv")
    times = cohort.participants.times(plan.time, plan.time_unit)
    events = cohort.participants.parsed(plan.event, _event)
    arms = {p.id: str(p.verdict) for p in cohort.patients} if plan.by == BY_VERDICT else {}
    arms = arms or (cohort.known(plan.by) if plan.by else {p.id: "" for p in cohort.patients})
    asked = [p for p in cohort.patients if plan.among == "all" or p.verdict is Verdict.MET]
    followed = {
        p.id: Subject(time=times[p.id], event=events[p.id], group=arms[p.id])
        for p in asked
        if p.id in times and p.id in events and p.id in arms
    }
    _refuse_competing(cohort.participants, plan, followed)
    subjects = list(followed.values())
    found: Survival = cumulative_incidence(subjects) if plan.competing else survival(subjects)
    given = {name: getattr(plan, name) for name in ("time", "event", "by", "among", "time_unit")}
    return {**given, "n_left_out": len(asked) - len(subjects), **asdict(found)}


def _event(value: str) -> int:
    """0, 1 or 2; yes and no are taken too."""
    if value == "2":
        return 2
    try:
        return int(truth(value))
    except ValueError as error:
        raise ValueError("which is no event", "0 censored, 1 event (2 competing event, with --competing)") from error


def _refuse_competing(participants: Participants, plan: SummaryPlan, subjects: Mapping[str, Subject]) -> None:
    """Event 2 without ``--competing`` is named with its line and patient."""
    for name, subject in subjects.items():
        if subject.event == 2 and not plan.competing:
            what = f"column {plan.event!r} holds '2' in line {participants.lines[name]} ({name}), a competing event"
            raise InputError(what, where=participants.source, todo="add --competing, or use 0 and 1")
