"""Pages at the top of the output folder: ``sub-X.html`` for a participant, ``group.html`` for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from miliary_seg.bids.derivatives import report_name, thumbnail_name
from miliary_seg.cohort.pages.cases import MAX_PICTURES, PageCase, cases_page, deciding_row, in_order
from miliary_seg.cohort.run.manifest import Manifest
from miliary_seg.cohort.tables import finished_cases
from miliary_seg.report.volume_files import write_bytes

Finished = tuple[Path, Manifest]
"""Folder and completion mark of a session."""


def write_participant_pages(output: Path, participants: Iterable[str]) -> list[Path]:
    """Write ``sub-X.html`` of every participant that has a finished session: the report, or a table of sessions.

    Parameters
    ----------
    output
        The derivative dataset.
    participants
        Labels, without ``sub-``.

    Raises
    ------
    OutputError
        If a page cannot be written.
    """
    wanted = {f"sub-{label}" for label in participants}
    sessions: dict[str, list[Finished]] = {}
    for folder, mark in finished_cases(output):
        sessions.setdefault(mark.case.split("_")[0], []).append((folder, mark))
    pages = []
    for name in sorted(wanted & set(sessions)):
        done = sessions[name]
        if len(done) == 1:
            folder, mark = done[0]
            content = (folder / report_name(mark.case)).read_bytes()
        else:
            content = table_of_sessions(done, output).encode()
        pages.append(write_bytes(output / f"{name}.html", content, force=True))
    return pages


def table_of_sessions(sessions: Sequence[Finished], output: Path) -> str:
    """A page with one line and a picture for each session, linked to its report.

    Parameters
    ----------
    sessions
        Finished sessions.
    output
        The derivative dataset; links are relative to it.
    """
    cases = [_page_case(folder, mark, output) for folder, mark in sessions]
    pictures = {case.case: (output / case.thumbnail).read_bytes() for case in in_order(cases)[:MAX_PICTURES]}
    digests = sorted({mark.origin.settings_digest for _, mark in sessions})
    versions = sorted({mark.origin.software.split()[-1] for _, mark in sessions})
    return cases_page(cases, pictures, digest=", ".join(digests), versions=versions)


def _page_case(folder: Path, mark: Manifest, output: Path) -> PageCase:
    below = folder.relative_to(output).as_posix()
    return PageCase(
        case=mark.case,
        status=mark.verdict,
        row=deciding_row(mark.rows),
        n_series=len(mark.rows),
        report=f"{below}/{report_name(mark.case)}",
        thumbnail=f"{below}/{thumbnail_name(mark.case)}",
    )
