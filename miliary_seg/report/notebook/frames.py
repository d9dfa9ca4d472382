"""The tables of one series as pandas data frames: the columns of the CSV files, in their order and units.

``frame.attrs["units"]`` maps every column to its unit ('' where it has none).
"""

from __future__ import annotations

from typing import Any

from miliary_seg.domain.result import SeriesResult
from miliary_seg.report import tables
from miliary_seg.report.lesion_records import lesion_rows
from miliary_seg.report.notebook import library
from miliary_seg.report.tables import Table

__all__ = ["candidates", "lesion_rows", "lesions", "slices"]


def lesions(series: SeriesResult) -> Any:
    """``lesions.csv`` as a data frame: one row a lesion."""
    return _frame(tables.lesions_table(series))


def slices(series: SeriesResult) -> Any:
    """``slices.csv`` as a data frame: one row a slice, with the SOPInstanceUIDs where there are any."""
    return _frame(tables.slices_table(series, identified=True))


def candidates(series: SeriesResult) -> Any:
    """``candidates.csv`` as a data frame: every candidate with its features and the rule that rejected it."""
    return _frame(tables.candidates_table(series))


def _frame(table: Table) -> Any:
    pandas = library("pandas")
    frame = pandas.DataFrame({c.name: [c.value(row) for row in table.rows] for c in table.columns})
    frame.attrs["units"] = {column.name: column.unit for column in table.columns}
    return frame
