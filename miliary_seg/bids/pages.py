"""Pages at the top of the output folder: ``sub-X.html`` for a participant, ``group.html`` for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from miliary_seg.bids.derivatives import report_name
from miliary_seg.cohort.collect import finished_cases
from miliary_seg.cohort.mark import Mark
from miliary_seg.report.plain_text import plain
from miliary_seg.report.statements import DISCLAIMER, PROPOSED_CRITERIA
from miliary_seg.report.volume_files import write_bytes

Finished = tuple[Path, Mark]
"""Folder and completion mark of a session."""

_STYLE = (
    "body{font:16px/1.45 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.3em .9em .3em 0;border-bottom:1px solid #8886}"
    ".note{opacity:.8;font-size:90%}:root{color-scheme:light dark}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_COLUMNS = ("session", "series", "answer", "lesions", "most on a slice", "asked for", "reasons")


def write_participant_pages(output: Path, participants: Iterable[str]) -> list[Path]:
    """Write ``sub-X.html`` of every participant that has a finished session: the report, or one line a session.

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
            content = overview(name, done, output).encode()
        pages.append(write_bytes(output / f"{name}.html", content, force=True))
    return pages


def overview(title: str, sessions: Sequence[Finished], output: Path, above: str = "") -> str:
    """A page with one line a series, and a link to the report of its session.

    Parameters
    ----------
    title
        Heading.
    sessions
        Finished sessions.
    output
        The derivative dataset; links are relative to it.
    above
        HTML put above the table; trusted.
    """
    lines = "".join(_line(row, _link(folder, mark, output)) for folder, mark in sessions for row in mark.rows)
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style></head><body>'
        f"<h1>{_text(title)}</h1>{above}<table><tr>{head}</tr>{lines}</table>"
        f'<p class="note">{_text(PROPOSED_CRITERIA)}</p><p class="note">{_text(DISCLAIMER)}</p></body></html>\n'
    )


def _line(row: dict[str, object], link: str) -> str:
    name = f'<a href="{escape(link, quote=True)}">{_text(row["case"])}</a>'
    keys = ("series", "verdict", "n_lesions", "most_lesions_on_a_slice", "threshold", "reasons")
    return f"<tr><td>{name}</td>" + "".join(f"<td>{_text(_spaced(row.get(key)))}</td>" for key in keys) + "</tr>"


def _link(folder: Path, mark: Mark, output: Path) -> str:
    return quote((folder / report_name(mark.case)).relative_to(output).as_posix())


def _spaced(value: object) -> object:
    return value.replace(";", "; ") if isinstance(value, str) else value


def _text(value: object) -> str:
    return escape(plain("" if value is None else value), quote=True)
