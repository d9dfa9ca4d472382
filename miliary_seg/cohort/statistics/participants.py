"""``participants.tsv``: what the user knows of each patient, read strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from miliary_seg.errors import InputError
from miliary_seg.load.table import read_table

ID = "participant_id"
MISSING = frozenset({"", "n/a", "na", "n.a.", "nan", "#n/a", "<na>"})
"""What stands for no value, in any case: ``n/a`` of BIDS, ``NA`` of R, ``nan`` of Python, ``#N/A`` of spreadsheets."""
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
LONGEST_YEARS = 100.0
"""Longer follow-up is no follow-up: 44 000 "months" are a date as spreadsheets count it."""
UNITS_A_YEAR = {"days": 365.25, "weeks": 52.18, "months": 12.0, "years": 1.0}
T = TypeVar("T")


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

    def parsed(self, column: str, parse: Callable[[str], T]) -> dict[str, T]:
        """Values of a column as something else; participants without one are left out.

        Parameters
        ----------
        column
            Name of the column.
        parse
            Makes the value of a cell; raises ValueError with what is wrong and, as a second argument, what to do.

        Raises
        ------
        InputError
            If there is no such column, or a cell cannot be parsed (its line, column and participant are named).
        """
        found: dict[str, T] = {}
        for name, value in self.text(column).items():
            try:
                found[name] = parse(value)
            except ValueError as error:
                wrong, todo = (*error.args, "")[:2]
                what = f"column {column!r} holds {value!r} in line {self.lines[name]} ({name}), {wrong}"
                raise InputError(what, where=self.source, todo=todo) from error
        return found

    def numbers(self, column: str) -> dict[str, float]:
        """Values of a column as numbers; participants without one are left out.

        Raises
        ------
        InputError
            As ``parsed``, if a value is not a finite number.
        """
        return self.parsed(column, finite_number)

    def times(self, column: str, unit: str) -> dict[str, float]:
        """Follow-up times of a column; participants without one are left out.

        Raises
        ------
        InputError
            As ``parsed``, if a value is not a number above 0 and below 100 years (where the unit is a known one).
        """
        most = LONGEST_YEARS * UNITS_A_YEAR.get(unit.lower(), float("inf"))

        def time(value: str) -> float:
            number = finite_number(value)
            if number <= 0:
                raise ValueError("which is not above 0", "times run from the origin to event or last contact")
            if number > most:
                raise ValueError(f"more than {LONGEST_YEARS:g} years of {unit}", "a date? give a duration, --time-unit")
            return number

        return self.parsed(column, time)

    def _require(self, column: str) -> None:
        if column not in self.columns:
            near = get_close_matches(column, self.columns, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.columns)}"
            raise InputError(f"there is no column {column!r}", where=self.source, todo=hint)


def finite_number(value: str) -> float:
    """A number of a cell; ValueError with what is wrong and what to do where it is none."""
    todo = "use numbers and n/a only in this column"
    try:
        number = float(value)
    except ValueError as error:
        raise ValueError("which is not a number", todo) from error
    if not abs(number) < float("inf"):
        raise ValueError("which is not a finite number", todo)
    return number


def value_of(cell: str) -> str | None:
    """What a cell holds, without blanks around it; None where it stands for no value.

    Examples
    --------
    >>> value_of(" HER2 "), value_of("NA"), value_of("nan"), value_of("1.0")
    ('HER2', None, None, '1')
    """
    text = cell.strip()
    whole = _WHOLE.fullmatch(text)  # spreadsheets and pandas write 1 as 1.0 in a column with gaps
    return None if text.lower() in MISSING else whole[1] if whole else text


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
        row = {name: value_of(cell) for name, cell in zip(header, values, strict=True)}
        name = row[ID] = values[header.index(ID)].strip() if row[ID] is not None else None
        if name is None:
            raise InputError(f"line {line} has no {ID}", where=path, todo="name the participant or remove the line")
        if name in rows:
            what = f"participant in line {line} was already in line {lines[name]}"
            raise InputError(what, where=path, todo="one line a participant; time points belong in sessions.tsv")
        rows[name], lines[name] = row, line
    return Participants(source=str(path), columns=tuple(header), rows=rows, lines=lines)
