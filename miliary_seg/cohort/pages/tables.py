"""Rows of a cohort's tables as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from miliary_seg.report.sanitise import csv_cell, csv_text


def csv_of(rows: Iterable[Mapping[str, Any]], header: Sequence[str] = ()) -> str:
    r"""Rows as a CSV file; without a header its columns are those of the first row.

    Examples
    --------
    >>> csv_of([{"a": 1, "b": None}, {"a": 2.5}])
    'a,b\r\n1,\r\n2.5,\r\n'
    """
    table = list(rows)
    names = list(header or (table[0] if table else ()))
    return csv_text(names, ([csv_cell(row.get(name)) for name in names] for row in table))
