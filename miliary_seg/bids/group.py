"""Group level: one table and one page over all finished sessions, and the incidence per participant."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from miliary_seg import __version__
from miliary_seg.bids.derivatives import dictionary, tsv
from miliary_seg.bids.pages import Finished, table_of_sessions
from miliary_seg.cohort import incidence, patients_of
from miliary_seg.cohort.tables import survey_of
from miliary_seg.errors import NoImageError, OutputError
from miliary_seg.report.tables import CASES, Column, Table, write_cases_table
from miliary_seg.report.volume_files import write_bytes

TABLE, SUMMARY, PAGE = "group_desc-miliary_cases.tsv", "group_desc-miliary_summary.json", "group.html"

_WHO = (
    Column(name="participant_id", unit="", text="Participant.", value=lambda row: row["participant_id"]),
    Column(name="session_id", unit="", text="Session.", value=lambda row: row["session_id"]),
)


def write_group(output: Path) -> Path:
    """Write table, dictionary, summary and page over every finished session of a derivative dataset.

    Parameters
    ----------
    output
        What the participant level wrote.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    NoImageError
        If no session is finished.
    OutputError
        If sessions were analysed with different settings (R20), or a file cannot be written.
    """
    survey = survey_of(output) if output.is_dir() else None
    sessions = [(folder, mark) for folder, mark in survey.finished if mark.case.startswith("sub-")] if survey else []
    if survey is None or not sessions:
        raise NoImageError("no session is finished here", where=output, todo="run the participant level first")
    _require_one_method(sessions, output)
    rows: list[dict[str, Any]] = [{**row, **_who(str(row["case"]))} for _, mark in sessions for row in mark.rows]
    table = Table(columns=(*_WHO, *CASES), rows=list(rows))
    failed = sorted(case for case in survey.without_answer if case.startswith("sub-"))
    patients = patients_of([{key: _cell(value) for key, value in row.items()} for row in rows], failed=failed)
    summary = {
        "software": {"name": "miliary-seg", "version": __version__},
        "settings_digest": sessions[0][1].origin.settings_digest,
        "n_participants": len(patients),
        "n_sessions": len(sessions),
        "sessions_by_verdict": dict(sorted(Counter(mark.verdict for _, mark in sessions).items())),
        "sessions_without_answer": failed,
        "incidence_of_participants": asdict(incidence(patients)),
    }
    write_bytes(output / TABLE, tsv(table).encode(), force=True)
    _write_json(output / TABLE.replace(".tsv", ".json"), dictionary(table.columns))
    _write_json(output / SUMMARY, summary)
    write_cases_table(rows, output)
    return write_bytes(output / PAGE, table_of_sessions(sessions, output).encode(), force=True)


def _require_one_method(sessions: Sequence[Finished], output: Path) -> None:
    digests = Counter(mark.origin.settings_digest for _, mark in sessions)
    if len(digests) > 1:
        odd = [mark.case for _, mark in sessions if mark.origin.settings_digest != digests.most_common(1)[0][0]]
        what = f"sessions were analysed with different settings ({', '.join(odd[:5])} differ)"
        raise OutputError(what, where=output, todo="run the participant level again with one set, and --force")


def _who(case: str) -> dict[str, str]:
    participant, _, session = case.partition("_")
    return {"participant_id": participant, "session_id": session}


def _cell(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode(), force=True)
