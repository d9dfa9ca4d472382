"""Tables of lesion centres: ours, a phantom's, or anybody's with three columns of millimetres."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.errors import InputError, UnreadableFileError
from miliary_seg.lab.bench.scoring import Findings
from miliary_seg.load.table import read_table

NAMED_RAS = (
    ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm"),
    ("centre_ras_mm_x", "centre_ras_mm_y", "centre_ras_mm_z"),
    ("r_mm", "a_mm", "s_mm"),
)
"""Columns whose names say that they grow to the right, to anterior and to superior."""
NAMED_XYZ = (("x_mm", "y_mm", "z_mm"), ("x", "y", "z"))
"""Columns whose frame the user states (RAS+ if not)."""
DIAMETERS = ("diameter_mm", "equivalent_diameter_mm")
SCORES = ("probability", "score")
CONTRASTS = ("contrast_noise", "contrast")

Row = Mapping[str, str]


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a CSV (or, by its ending, tab-separated) file.

    Raises
    ------
    UnreadableFileError
        If it is missing, too large, not UTF-8, or not a table.
    InputError
        If two columns share a name.
    """
    rows = read_table(path)
    header = rows[0]
    if len(set(header)) < len(header):
        raise InputError("two columns share a name", where=path, todo="name every column once")
    uneven = next((n for n, row in enumerate(rows[1:], start=2) if row and len(row) != len(header)), None)
    if uneven is not None:
        what = f"line {uneven} has {len(rows[uneven - 1])} cells, the header {len(header)}"
        raise UnreadableFileError(what, where=path, todo="one cell a column, comma between them")
    return header, [dict(zip(header, (cell.strip() for cell in row), strict=True)) for row in rows[1:] if row]


def read_centres(path: Path, frame: str = "ras", keep: Callable[[Row], bool] | None = None) -> dict[str, Findings]:
    """Read lesion centres; case -> lesions (the case is '' where the table has no column ``case``).

    Parameters
    ----------
    path
        Columns: three of ``NAMED_RAS`` or ``NAMED_XYZ``; optional ``diameter_mm``, ``probability`` or ``score``,
        ``contrast``, ``slices`` (indices joined by semicolons), ``case``.
    frame
        ``ras`` or ``lps``: which way x and y of ``NAMED_XYZ`` columns grow.
    keep
        Rows to read; None = all.

    Raises
    ------
    UnreadableFileError
        If it is missing or not a table in UTF-8.
    InputError
        If columns are missing, or a cell is not a number.
    """
    header, rows = read_rows(path)
    rows = [row for row in rows if keep is None or keep(row)]
    place = place_columns(header)
    if place is None:
        wanted = "; or ".join(", ".join(names) for names in (NAMED_RAS[2], *NAMED_XYZ))
        raise InputError("the table has no columns of lesion centres", where=path, todo=f"columns in mm: {wanted}")
    sign = np.array([-1.0, -1.0, 1.0] if frame == "lps" and place in NAMED_XYZ else [1.0, 1.0, 1.0])
    cases = sorted({row["case"] for row in rows}) if "case" in header else [""]
    return {
        case: _findings(path, header, [row for row in rows if row.get("case", "") == case], place, sign)
        for case in cases
    }


def place_columns(header: Sequence[str]) -> tuple[str, str, str] | None:
    """The three columns that hold centres; None where the table is of something else."""
    return next((names for names in (*NAMED_RAS, *NAMED_XYZ) if set(names) <= set(header)), None)


def _findings(
    path: Path, header: Sequence[str], rows: Sequence[Row], place: Sequence[str], sign: Float64Array
) -> Findings:
    centres = np.stack([_numbers(path, rows, name, needed=True) for name in place], axis=1) * sign
    columns = [next((n for n in names if n in header), None) for names in (DIAMETERS, SCORES, CONTRASTS)]
    sizes, scores, contrasts = (None if name is None else _numbers(path, rows, name) for name in columns)
    if sizes is not None and np.any(sizes <= 0):
        raise InputError("a diameter is not above 0", where=path, todo="leave unknown diameters empty")
    return Findings.of(
        centres,
        diameters_mm=sizes,
        scores=scores,
        contrasts=contrasts,
        slices=_slices(rows) if "slices" in header else None,
    )


def _numbers(path: Path, rows: Sequence[Row], name: str, *, needed: bool = False) -> Float64Array:
    """One column; empty cells are NaN, or an error where they are needed."""
    values = np.full(len(rows), np.nan)
    for n, row in enumerate(rows):
        if not row[name] and not needed:
            continue
        try:
            values[n] = float(row[name])
        except ValueError:
            values[n] = np.inf
        if not np.isfinite(values[n]):
            what = f"column {name}, lesion {n + 1}: not a number"
            raise InputError(what, where=path, todo="numbers with a decimal point")
    return values


def _slices(rows: Sequence[Row]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(found) for found in re.findall(r"\d+", row["slices"])) for row in rows)
