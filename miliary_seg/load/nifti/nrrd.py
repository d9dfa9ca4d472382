"""The header of an NRRD file (.nrrd, .nhdr), translated so that the NIfTI reader's rules hold for it.

Format: https://teem.sourceforge.net/nrrd/format.html. Orientation is known where ``space`` names one of the patient's
three axes systems and every axis has its ``space directions``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.errors import GeometryError, MiliaryError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load.nifti.header import NiftiHeader, centred, check_sizes, usable_affine

NRRD_HEADER_BYTES = 1 << 16
"""The blank line after the header is looked for this far; Slicer's longest (many segments) have about 10 kB."""
_TO_RAS = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip
_TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
_PACKING = {"raw": "raw", "gzip": "packed", "gz": "packed", "bzip2": "packed", "bz2": "packed"}
_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}
_GREY_KINDS = {"domain", "space", "???", "none"}
_VOLUME_KINDS = {"list", "time", "domain", "???", "none"}


def parse_nrrd(start: bytes, path: Path, max_voxels: int) -> NiftiHeader:
    """Check and translate the first bytes of an NRRD file.

    Raises
    ------
    UnreadableFileError
        If the header has no end, lacks a field, or names a data file elsewhere.
    UnsuitableImageError
        Colour, vectors, 2-D, an encoding that is not read.
    GeometryError
        If directions or spacings are unusable.
    """
    fields, length = _fields(start, path)
    sizes = _sizes(fields, path)
    check_sizes(sizes[:3], path, max_voxels)
    data_path = _data_path(fields, path)
    notes: list[tuple[str, str]] = []
    affine, source = _orientation(fields, sizes, path, notes)
    return NiftiHeader(
        path=path,
        data_path=data_path,
        dtype=_dtype(fields, path),
        shape=(sizes[0], sizes[1], sizes[2]),
        n_volumes=sizes[3] if len(sizes) == 4 else 1,
        vox_offset=0,
        data_start=length if data_path == path else 0,
        packing=_packing(fields, path),
        slope=1.0,
        intercept=0.0,
        affine=affine,
        orientation_source=source,
        notes=tuple(notes),
        format="NRRD",
    )


def _fields(start: bytes, path: Path) -> tuple[dict[str, str], int]:
    """Fields by lower-case name, and the length of the header with the blank line."""
    end = re.search(rb"\r?\n\r?\n", start)
    detached = path.suffix.lower() == ".nhdr"
    if not start.startswith(b"NRRD000") or (end is None and (not detached or len(start) >= NRRD_HEADER_BYTES)):
        raise UnreadableFileError("not an NRRD file, or its header has no end", where=path, todo="copy it again")
    text = start[: end.start() if end else len(start)].decode("ascii", "replace")
    fields: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        name, colon, value = line.partition(":")
        if not colon or line.startswith("#") or value.startswith("="):
            continue
        if name.strip().lower() in fields:
            raise UnreadableFileError(f"the field {name.strip()!r} occurs twice", where=path, todo="re-save it")
        fields[name.strip().lower()] = value.strip()
    return fields, end.end() if end else len(start)


def _unsuitable(what: str, path: Path) -> UnsuitableImageError:
    return UnsuitableImageError(what, where=path, todo="re-save it as a grey-value volume, raw or gzip")


def _sizes(fields: dict[str, str], path: Path) -> tuple[int, ...]:
    """Three sizes, or four where the last axis counts volumes."""
    words = fields.get("sizes", "").split()
    if not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words) or fields.get("dimension") != str(len(words)):
        raise UnreadableFileError("dimension and sizes do not fit", where=path, todo="the header is damaged")
    sizes = tuple(map(int, words))
    kinds = [kind.lower() for kind in fields.get("kinds", "").split()] or ["???"] * len(sizes)
    if not 3 <= len(sizes) <= 4 or min(sizes) < 1 or len(kinds) != len(sizes):
        raise _unsuitable(f"an image of sizes {sizes}", path)
    if not set(kinds[:3]) <= _GREY_KINDS or not set(kinds[3:]) <= _VOLUME_KINDS:
        raise _unsuitable(f"colour or vectors (kinds: {' '.join(kinds)[:60]})", path)
    return sizes


def _dtype(fields: dict[str, str], path: Path) -> str:
    said = " ".join(fields.get("type", "").lower().split())
    code = next((code for code, names in _TYPES.items() if said in names.split("|")), None)
    if code is None:
        raise _unsuitable("voxels of an unknown type", path)
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None and code[1] != "1":
        raise UnreadableFileError("the field 'endian' is absent", where=path, todo="re-save it")
    return (order or "<") + code


def _packing(fields: dict[str, str], path: Path) -> str:
    packing = _PACKING.get(fields.get("encoding", "").lower())
    skips = {fields.get(f"{unit}{gap}skip", "0") for unit in ("line", "byte") for gap in (" ", "")}
    if packing is None or skips != {"0"}:
        raise _unsuitable("an encoding that is not read (raw and gzip are), or skipped bytes", path)
    return packing


def _data_path(fields: dict[str, str], path: Path) -> Path:
    """The file itself, or the one beside it that a detached header names; never one elsewhere."""
    name = fields.get("data file", fields.get("datafile", ""))
    error: MiliaryError | None = None
    if not name:
        if path.suffix.lower() == ".nhdr":
            error = UnreadableFileError("a detached header that names no data file", where=path, todo="re-save it")
    elif name.startswith("LIST") or "%" in name:
        error = _unsuitable("voxels spread over several files", path)
    elif Path(name).name != name or "\\" in name or (path.parent / name).is_symlink():
        error = UnreadableFileError("its data file lies in another folder", where=path, todo="put both together")
    elif not (path.parent / name).is_file():
        error = UnreadableFileError("a header without its data file beside it", where=path, todo="add the data file")
    if error:
        raise error
    return path.parent / name if name else path


def _orientation(
    fields: dict[str, str], sizes: tuple[int, ...], path: Path, notes: list[tuple[str, str]]
) -> tuple[Float64Array, str]:
    """Voxel to RAS+ mm; scaling only, and source ``none``, where the file names no patient axes."""
    scale = _unit(fields, path, notes)
    signs = _TO_RAS.get(fields.get("space", "").lower())
    directions = _vectors(fields.get("space directions", ""), path)
    if len(sizes) == 4 and directions and directions[3:] != [None]:
        raise GeometryError("space directions of a fourth axis", where=path, todo="re-save it")
    columns = [vector for vector in directions[:3] if vector is not None]
    if len(columns) < 3:
        if directions:
            raise GeometryError("an axis of space has no direction", where=path, todo="re-save it")
        return usable_affine(centred(_spacings(fields, path) * scale, sizes[:3]), "spacings", path), "none"
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T * scale
    if signs is None:
        spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        return usable_affine(centred(spacing, sizes[:3]), "space directions", path), "none"
    origin = _vectors(fields.get("space origin", ""), path)[:1]
    if origin and origin[0] is not None:
        affine[:3, 3] = np.array(origin[0]) * scale
    else:
        notes.append(("origin_unknown", "The file states no origin; the first voxel is put at 0."))
    placed: Float64Array = np.diag([*signs, 1.0]) @ affine
    return usable_affine(placed, "space directions", path), "space directions"


def _vectors(words: str, path: Path) -> list[list[float] | None]:
    """Vectors of three numbers; None where the axis has none."""
    found: list[list[float] | None] = []
    for word in re.findall(r"\([^)]*\)|[^\s()]+", words):
        if word.lower() == "none":
            found.append(None)
            continue
        parts = word.strip("()").split(",")
        try:
            vector = [float(part) for part in parts]
        except ValueError:
            vector = []
        if len(vector) != 3 or not np.all(np.isfinite(vector)):
            raise GeometryError(f"{word[:40]!r} is not a vector in space", where=path, todo="the header is damaged")
        found.append(vector)
    return found


def _spacings(fields: dict[str, str], path: Path) -> Float64Array:
    try:
        spacing: Float64Array = np.array([abs(float(word)) for word in fields.get("spacings", "").split()[:3]])
    except ValueError:
        spacing = np.empty(0)
    if spacing.shape != (3,) or not np.all(np.isfinite(spacing)):
        raise GeometryError("neither space directions nor spacings", where=path, todo="re-save it")
    return spacing


def _unit(fields: dict[str, str], path: Path, notes: list[tuple[str, str]]) -> float:
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))[:3])
    if len(units) > 1 or not units <= {*_MM, ""}:
        raise GeometryError(f"lengths in {', '.join(sorted(units))[:40]}", where=path, todo="re-save it in mm")
    if not units - {""} and not fields.get("space", ""):
        notes.append(("units_unknown", "The file states no unit of length; millimetres are taken."))
    return _MM.get(next(iter(units), "mm"), 1.0)
