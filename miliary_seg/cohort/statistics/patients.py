"""From cases to patients: several scans of one person count once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from miliary_seg.cohort.run.manifest import marked_folders
from miliary_seg.cohort.run.unanswered import unanswered
from miliary_seg.cohort.tables import survey_of
from miliary_seg.domain.decision import Verdict
from miliary_seg.errors import InputError, SettingsError
from miliary_seg.load.table import read_table

CASES = "cases.csv"
_SUBJECT = re.compile(r"^(sub-[A-Za-z0-9]+)(?:_.*)?$")
"""BIDS names: everything before the first underscore is the participant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One person and the answer over all of the person's cases."""

    id: str
    verdict: Verdict
    cases: tuple[str, ...]


def read_cases(folders: Sequence[Path]) -> list[dict[str, str]]:
    """Rows of ``cases.csv`` of one or several output folders of ``run``.

    Parameters
    ----------
    folders
        Output folders, or the tables themselves.

    Returns
    -------
    list
        One mapping a series, as in docs/results.md.

    Raises
    ------
    InputError
        If a table is missing or not one of ours, or a case is in two of them.
    SettingsError
        If the cases were not all run with the same settings and the same version (R20: mixing is refused).
    """
    rows: list[dict[str, str]] = []
    owner: dict[str, Path] = {}
    _require_each_scan_once([folder for folder in folders if folder.is_dir()])
    for folder in folders:
        path = folder / CASES if folder.is_dir() else folder
        for row in _rows(path):
            if owner.setdefault(row["case"], path) != path:
                what = f"case {row['case']} is in {owner[row['case']]} too"
                raise InputError(what, where=path, todo="give each case once")
            rows.append(row)
    if not rows:
        raise InputError("no finished case", where=", ".join(map(str, folders)), todo="run the cases first")
    for column, name in (("settings_digest", "settings"), ("software_version", "versions of the program")):
        found = sorted({row[column] for row in rows})
        if len(found) > 1:
            counts = ", ".join(f"{sum(r[column] == f for r in rows)} with {f[:12]}" for f in found)
            todo = "run all cases with the same settings and version"
            raise SettingsError(f"cases of different {name} cannot be pooled ({counts})", where=CASES, todo=todo)
    return rows


def read_failed(folders: Sequence[Path]) -> tuple[str, ...]:
    """Scans without an answer in the output folders of runs, sorted: failed, unreadable, or with files lost since.

    Parameters
    ----------
    folders
        Output folders, or the ``cases.csv`` within them; a table elsewhere has no ledger that would tell.
    """
    return tuple(sorted({case for output in _outputs(folders) for case in survey_of(output).without_answer}))


def read_unreadable(folders: Sequence[Path]) -> tuple[str, ...]:
    """Of the scans without an answer, those of which no case could be made: inputs that could not be read."""
    return tuple(sorted({case for output in _outputs(folders) for case in unanswered(output).unreadable}))


def read_twins(folders: Sequence[Path]) -> set[str]:
    """Finished cases that are in no table because another case is the same scan."""
    return {case for output in _outputs(folders) for alike in survey_of(output).same_scan for case in alike[1:]}


def _outputs(folders: Sequence[Path]) -> set[Path]:
    """Output folders, where a table in one may stand for it."""
    return {folder if folder.is_dir() else folder.parent for folder in folders}


def patients_of(
    rows: Iterable[Mapping[str, str]], owners: Mapping[str, str] | None = None, failed: Iterable[str] = ()
) -> tuple[Patient, ...]:
    """Pool the cases of each person: MET if any case is, else INDETERMINATE if any is or failed, else NOT_MET.

    Parameters
    ----------
    rows
        What ``read_cases`` gave.
    owners
        Participant of each case where the names of the cases do not say it; else ``participant_of``.
    failed
        Cases that should have been analysed and were not: nobody knows what they would have shown.

    Returns
    -------
    tuple of Patient
        Sorted by id.
    """
    verdicts: dict[str, dict[str, Verdict]] = {}
    answers = {row["case"]: Verdict(row["study_verdict"]) for row in rows}
    for case, verdict in (answers | dict.fromkeys(failed, Verdict.INDETERMINATE)).items():
        name = (owners or {}).get(case) or participant_of(case)
        verdicts.setdefault(name, {})[case] = verdict
    return tuple(
        Patient(id=name, verdict=Verdict.any_of(cases.values()), cases=tuple(sorted(cases)))
        for name, cases in sorted(verdicts.items())
    )


def participant_of(case: str) -> str:
    """Participant that a case's name tells: BIDS ``sub-<label>``, else the case itself.

    Examples
    --------
    >>> participant_of("sub-01_ses-2"), participant_of("scan7")
    ('sub-01', 'scan7')
    """
    match = _SUBJECT.match(case)
    return match.group(1) if match else case


def _require_each_scan_once(folders: Sequence[Path]) -> None:
    """One folder counts a scan once by itself; two folders of results must not hold the same scan."""
    owner: dict[str, tuple[Path, str]] = {}
    for folder in folders:
        for _, mark in marked_folders(folder):
            first, name = owner.setdefault(mark.origin.input_digest, (folder, mark.case))
            if first != folder and mark.origin.input_digest:
                what = f"the scan of case {mark.case} is {name} in {first} too"
                raise InputError(what, where=folder, todo="give each scan once")


def _rows(path: Path) -> list[dict[str, str]]:
    needed = {"case", "study_verdict", "settings_digest", "software_version"}
    header, *lines = read_table(path, ",")
    if not needed <= set(header):
        raise InputError("is not a table of cases", where=path, todo="give the output folder of a run")
    rows = [dict(zip(header, line, strict=False)) for line in lines if line]
    bad = [row["case"] for row in rows if row.get("study_verdict") not in set(Verdict)]
    if bad:
        raise InputError(f"case {bad[0]} has no verdict", where=path, todo="run it again")
    return rows
