"""``participants.tsv``: what the user knows of each patient, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from miliary_seg.errors import InputError
from miliary_seg.load.table import read_table

ID = "participant_id"
MISSING = frozenset({"", "n/a"})
"""What stands for no value (BIDS, "tabular files": ``n/a``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Participants:
    """The rows of one participants.tsv, by participant, in the order of the file."""

    source: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str | None]]
    lines: Mapping[str, int]
    """Line of each participant in the file, from 1, for messages."""

    def text(self, column: str) -> dict[str, str]:
        """Values of a column as text; participants without one are left out.

        Raises
        ------
        InputError
            If there is no such column.
        """
        self._require(column)
        return {name: value for name, row in self.rows.items() if (value := row[column]) is not None}

    def numbers(self, column: str) -> dict[str, float]:
        """Values of a column as numbers; participants without one are left out.

        Raises
        ------
        InputError
            If there is no such column, or a value is not a finite number (the line is named).
        """
        return {name: self._number(name, column, value) for name, value in self.text(column).items()}

    def _number(self, name: str, column: str, value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            raise InputError(
                f"column {column!r} holds {value!r} in line {self.lines[name]}, which is not a number",
                where=self.source,
                todo="use numbers and n/a only in this column",
            )
        return number

    def _require(self, column: str) -> None:
        if column not in self.columns:
            near = get_close_matches(column, self.columns, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.columns)}"
            raise InputError(f"there is no column {column!r}", where=self.source, todo=hint)


def read_participants(path: Path) -> Participants:
    """Read a participants.tsv (BIDS: tab-separated UTF-8, a header line, ``n/a`` for no value).

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Participants
        One row a participant.

    Raises
    ------
    InputError
        If the file is missing, not UTF-8, without ``participant_id``, ragged, or names a participant twice.
    """
    header, *body = read_table(path, "\t")
    if ID not in header:
        raise InputError(f"there is no column {ID!r}", where=path, todo="tab-separated, with a header line (BIDS)")
    if len(set(header)) < len(header):
        raise InputError("a column name appears twice", where=path, todo="give each column its own name")
    rows: dict[str, dict[str, str | None]] = {}
    lines: dict[str, int] = {}
    for line, values in enumerate(body, start=2):
        if not any(values):
            continue
        if len(values) != len(header):
            what = f"line {line} has {len(values)} values, the header {len(header)}"
            raise InputError(what, where=path, todo="separate by one tab; write n/a for no value")
        row = {name: _value(cell) for name, cell in zip(header, values, strict=True)}
        name = row[ID]
        if name is None:
            raise InputError(f"line {line} has no {ID}", where=path, todo="name the participant or remove the line")
        if name in rows:
            what = f"participant in line {line} was already in line {lines[name]}"
            raise InputError(what, where=path, todo="one line a participant; time points belong in sessions.tsv")
        rows[name], lines[name] = row, line
    return Participants(source=str(path), columns=tuple(header), rows=rows, lines=lines)


def _value(cell: str) -> str | None:
    return None if cell.strip() in MISSING else cell.strip()
