"""Lesions as points: CSV or JSON of centres, 3D Slicer's markups. Each becomes a ball on the scan's grid."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miliary_seg.domain.arrays import Float64Array, Int32Array
from miliary_seg.domain.grid import Grid
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError

RAS_COLUMNS = (
    ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm"),
    ("centre_ras_mm_x", "centre_ras_mm_y", "centre_ras_mm_z"),
    ("r_mm", "a_mm", "s_mm"),
    ("r", "a", "s"),
)
LPS_COLUMNS = (("l_mm", "p_mm", "s_mm"), ("l", "p", "s"))
XYZ_COLUMNS = (("x_mm", "y_mm", "z_mm"), ("x", "y", "z"))
"""Columns whose frame the user states."""
DIAMETERS = ("diameter_mm", "equivalent_diameter_mm", "diameter")
PROBABILITIES = ("probability", "score")
KEYS = {"centre_ras_mm": "ras", "center_ras_mm": "ras", "centroid_ras_mm": "ras", "centre_lps_mm": "lps",
        "center_lps_mm": "lps", "centroid_lps_mm": "lps", "centre_mm": "", "center_mm": ""}  # fmt: skip
MAX_BYTES = 64 << 20
MAX_DIAMETER_MM = 150.0
"""No lesion is wider than a head."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Centres:
    """Points with what is known of them."""

    ras_mm: Float64Array
    """Shape (n, 3)."""
    diameters_mm: Float64Array
    """Shape (n,); NaN where not stated."""
    probabilities: Float64Array
    """Shape (n,); 1 where not stated."""
    format: str


def read_centres(path: Path, frame: str = "") -> Centres:
    """Read centres from ``.csv``, ``.tsv``, ``.json``, ``.mrk.json`` or ``.fcsv``.

    Parameters
    ----------
    path
        The file.
    frame
        ``ras`` or ``lps`` for columns or keys that do not say it; empty = not stated.

    Raises
    ------
    UnreadableFileError
        If it is missing, too large, or not what its name says.
    InputError
        If columns are missing, the frame is not stated or stated twice, or a value is no number.
    """
    name = path.name.lower()
    content = _text(path)
    if name.endswith(".json"):
        found = _from_json(content, path, frame)
    elif name.endswith(".fcsv"):
        found = _from_fcsv(content, path)
    else:
        found = _from_table(content, path, frame)
    _require_sensible(found, path)
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableFileError("a file of this size is no list of lesions", where=path)
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"it is not UTF-8 text (byte {error.start})"
        raise UnreadableFileError(what, where=path, todo="save it in UTF-8") from error
    except OSError as error:
        what = f"cannot be read ({error.strerror or type(error).__name__})"
        raise UnreadableFileError(what, where=path, todo="check the path and its permissions") from error


def _from_table(content: str, path: Path, frame: str) -> Centres:
    try:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        rows = [row for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise UnreadableFileError(f"not a table ({error})", where=path, todo="give a CSV file") from error
    if not rows:
        raise UnreadableFileError("the table is empty: it has no header", where=path, todo="give a CSV file")
    header = [cell.strip().lower() for cell in rows[0]]
    uneven = next((n for n, row in enumerate(rows[1:], start=2) if len(row) != len(header)), None)
    if uneven is not None:
        what = f"row {uneven} has {len(rows[uneven - 1])} cells, the header {len(header)}"
        raise UnreadableFileError(what, where=path, todo="one cell a column, comma between them")
    names, is_lps = _place_columns(header, path, frame)
    table = [dict(zip(header, (cell.strip() for cell in row), strict=True)) for row in rows[1:]]
    return _centres(
        [[_number(row[name], name, n, path) for name in names] for n, row in enumerate(table, start=1)],
        table,
        (is_lps, "CSV", path),
    )


def _place_columns(header: Sequence[str], path: Path, frame: str) -> tuple[Sequence[str], bool]:
    """The columns of the centres, and whether they are LPS."""
    named = [names for names in RAS_COLUMNS if set(names) <= set(header)]
    mirrored = [names for names in LPS_COLUMNS if set(names) <= set(header)]
    if named and mirrored:
        what = f"centres in both frames ({', '.join(named[0])} and {', '.join(mirrored[0])})"
        raise InputError(what, where=path, todo="keep the columns of one frame")
    if named or mirrored:
        return (named or mirrored)[0], bool(mirrored)
    plain = next((names for names in XYZ_COLUMNS if set(names) <= set(header)), None)
    if plain is None:
        wanted = "r_mm, a_mm, s_mm (RAS); l_mm, p_mm, s_mm (LPS); or x_mm, y_mm, z_mm with --lesion-frame"
        raise InputError("the table has no columns of lesion centres", where=path, todo=f"columns in mm: {wanted}")
    return plain, _stated_frame(frame, path) == "lps"


def _stated_frame(frame: str, path: Path) -> str:
    if frame not in ("ras", "lps"):
        what = "it does not say whether its coordinates are RAS or LPS: left and right could be exchanged"
        raise InputError(what, where=path, todo="say it with --lesion-frame ras or --lesion-frame lps")
    return frame


def _number(value: Any, name: str, row: int, path: Path) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise InputError(f"{name} of lesion {row} is not a number", where=path, todo="numbers with a decimal point")
    return number


def _centres(points: list[list[float]], rows: Sequence[Mapping[str, Any]], facts: tuple[bool, str, Path]) -> Centres:
    is_lps, format_name, path = facts
    places = np.array(points, dtype=np.float64).reshape(-1, 3)
    return Centres(
        ras_mm=places * (-1.0, -1.0, 1.0) if is_lps else places,
        diameters_mm=np.array([_optional(row, DIAMETERS, math.nan, (n, path)) for n, row in enumerate(rows, start=1)]),
        probabilities=np.array([_optional(row, PROBABILITIES, 1.0, (n, path)) for n, row in enumerate(rows, start=1)]),
        format=format_name,
    )


def _optional(row: Mapping[str, Any], names: Sequence[str], default: float, where: tuple[int, Path]) -> float:
    name = next((name for name in names if row.get(name) not in (None, "")), None)
    return default if name is None else _number(row[name], name, *where)


def _from_json(content: str, path: Path, frame: str) -> Centres:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise UnreadableFileError(f"not JSON ({error})", where=path, todo="give JSON or CSV") from error
    if isinstance(document, dict) and "markups" in document:
        return _from_markups(document, path)
    lesions = document.get("lesions") if isinstance(document, dict) else document
    if not isinstance(lesions, list) or not all(isinstance(item, dict) for item in lesions):
        what = "neither a list of lesions, nor an object with one called 'lesions'"
        raise InputError(what, where=path, todo='[{"centre_ras_mm": [x, y, z], "diameter_mm": 3.0}, ...]')
    said = str(document.get("frame", "")).lower() if isinstance(document, dict) else ""
    points, frames = [], set()
    for n, item in enumerate(lesions, start=1):
        key = next((key for key in KEYS if key in item), None)
        if key is None or not isinstance(item[key], list) or len(item[key]) != 3:
            what = f"lesion {n} has no centre of three numbers"
            raise InputError(what, where=path, todo="one of " + ", ".join(KEYS))
        frames.add(KEYS[key] or said)
        points.append([_number(value, key, n, path) for value in item[key]])
    if len(frames) > 1:
        raise InputError("centres in both frames", where=path, todo="keep one frame")
    stated = next(iter(frames), "ras") or frame
    return _centres(points, lesions, (_stated_frame(stated, path) == "lps", "JSON", path))


def _from_markups(document: Mapping[str, Any], path: Path) -> Centres:
    """3D Slicer: points are centres, lines are longest diameters."""
    points: list[list[float]] = []
    rows: list[dict[str, float]] = []
    is_lps: bool | None = None
    for markup in document["markups"] if isinstance(document["markups"], list) else []:
        kind, system = str(markup.get("type", "")), str(markup.get("coordinateSystem", "LPS")).upper()
        if kind not in ("Fiducial", "Line") or system not in ("LPS", "RAS"):
            what = f"markups of type {kind!r} in {system!r}"
            raise InputError(what, where=path, todo="points (Fiducial) or lines across a lesion, in LPS or RAS")
        if is_lps not in (None, system == "LPS"):
            raise InputError("markups in both frames", where=path, todo="save them in one")
        is_lps = system == "LPS"
        places = [
            [_number(value, "position", n, path) for value in point["position"]]
            for n, point in enumerate(markup.get("controlPoints", []), start=1)
            if point.get("positionStatus", "defined") == "defined"
        ]
        if kind == "Line":
            if len(places) != 2:
                raise InputError(f"a line of {len(places)} points", where=path, todo="two points a line")
            length = math.dist(*places)
            places = [[(a + b) / 2 for a, b in zip(*places, strict=True)]]
            rows.append({"diameter_mm": length})
        else:
            rows += [{} for _ in places]
        points += places
    return _centres(points, rows, (bool(is_lps), "Slicer markups", path))


def _from_fcsv(content: str, path: Path) -> Centres:
    """3D Slicer's older fiducial lists; ``0`` stands for RAS, ``1`` for LPS."""
    system, columns = "", ["id", "x", "y", "z"]
    points: list[list[float]] = []
    for line in content.splitlines():
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            if key.strip() == "CoordinateSystem":
                system = {"0": "RAS", "1": "LPS"}.get(value.strip(), value.strip().upper())
            elif key.strip() == "columns":
                columns = [name.strip() for name in value.split(",")]
        elif line.strip():
            row = dict(zip(columns, next(csv.reader([line])), strict=False))
            points.append([_number(row.get(axis, ""), axis, len(points) + 1, path) for axis in "xyz"])
    if system not in ("RAS", "LPS"):
        what = "it does not say its coordinate system (RAS or LPS)"
        raise InputError(what, where=path, todo="save it again with 3D Slicer")
    return _centres(points, [{} for _ in points], (system == "LPS", "Slicer markups", path))


def _require_sensible(found: Centres, path: Path) -> None:
    sizes = found.diameters_mm[np.isfinite(found.diameters_mm)]
    if sizes.size and (sizes.min() <= 0 or sizes.max() > MAX_DIAMETER_MM):
        what = f"diameters from {sizes.min():g} to {sizes.max():g} mm"
        raise InputError(what, where=path, todo="millimetres above 0; leave unknown ones empty")
    chances = found.probabilities
    if chances.size and (chances.min() < 0 or chances.max() > 1):
        what = f"probabilities from {chances.min():g} to {chances.max():g}"
        raise InputError(what, where=path, todo="0 to 1")


def balls(found: Centres, grid: Grid, default_mm: float, where: object = "") -> tuple[Int32Array, Float64Array, int]:
    """Draw centres as balls on a grid.

    A voxel belongs to the ball whose centre is nearest to it, if its own centre is within; every ball has at least the
    voxel at its centre.

    Parameters
    ----------
    found
        Centres.
    grid
        Of the scan.
    default_mm
        Diameter of those that state none.
    where
        The file, for messages.

    Returns
    -------
    tuple
        Labels 1 to n, the probability of each, and how many centres lie outside of the grid.

    Raises
    ------
    GeometryError
        If no centre lies within the scan.
    """
    labels = np.zeros(grid.shape, dtype=np.int32)
    nearest = np.full(grid.shape, np.inf, dtype=np.float32)
    ijk = grid.to_ijk(found.ras_mm)
    inside = ((ijk > -0.5) & (ijk < np.array(grid.shape) - 0.5)).all(axis=1)
    if len(ijk) and not inside.any():
        what = "every centre lies outside of the scan: another patient's, or RAS and LPS exchanged"
        raise GeometryError(what, where=where, todo="check the frame (--lesion-frame)")
    radii = np.where(np.isfinite(found.diameters_mm), found.diameters_mm, default_mm) / 2
    kept = np.flatnonzero(inside)
    for number, row in enumerate(kept, start=1):
        _draw(labels, nearest, number, (ijk[row], float(radii[row]), grid))
    for number, row in enumerate(kept, start=1):  # one that others have covered keeps its own voxel
        own = tuple(np.rint(ijk[row]).astype(int))
        if labels[own] != number and not (labels == number).any():
            labels[own] = number
    return labels, found.probabilities[kept], int(len(ijk) - len(kept))


def _draw(labels: Int32Array, nearest: Any, number: int, ball: tuple[Float64Array, float, Grid]) -> None:
    centre, radius, grid = ball
    reach = radius * np.abs(np.linalg.inv(grid.affine[:3, :3])).sum(axis=1)
    low = np.maximum(0, np.floor(centre - reach)).astype(int)
    high = np.minimum(grid.shape, np.ceil(centre + reach).astype(int) + 1)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    offsets = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    distance = np.linalg.norm((offsets - centre) @ grid.affine[:3, :3].T, axis=-1)
    own = tuple(np.rint(centre).astype(int) - low)
    within = distance <= radius
    within[own] = True
    taken = within & (distance < nearest[box])
    labels[box][taken] = number
    nearest[box][taken] = distance[taken]
