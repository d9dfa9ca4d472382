"""Siemens mosaics: all slices of a volume as tiles of one image, placed by the CSA header.

Layout of the CSA header: nibabel's description (https://nipy.org/nibabel/dicom/siemens_csa.html), read here by an
own bounded parser. An image that says MOSAIC but has lost the CSA header cannot be unpacked without guessing.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from miliary_seg.errors import GeometryError
from miliary_seg.load.dicom.header import number, numbers, tokens
from miliary_seg.load.dicom.pixels import read_stored
from miliary_seg.load.dicom.planes import Plane
from miliary_seg.load.dicom.traits import private

_N_SLICES, _FRAMES = (0x0065, 0x1050), (0x0065, 0x1051)


def uih_planes(whole: Plane, dataset: Any) -> list[Plane]:
    """One plane a tile; empty where the image is not such a grid.

    Raises
    ------
    GeometryError
        If the image holds several slices but does not say where each lies, or they do not divide it.
    """
    count = _uih_count(dataset)
    if count <= 1:
        return []
    where = whole.layout.path
    frames = _frames(dataset)
    positions = [numbers(frame, "ImagePositionPatient", 3) for frame in frames]
    if len(frames) != count or not all(positions) or len(set(positions)) < count:
        raise GeometryError(
            f"{count} slices packed into one image (UIH grid) without a position of each",
            where=where,
            todo="export the series unpacked, or with its private attributes",
        )
    tiles = grid_layout(read_stored(whole.layout)[0][0], count, where)
    return [
        replace(
            whole,
            frame=tile,
            tiles=tiles,
            rows=whole.rows // tiles[0],
            columns=whole.columns // tiles[1],
            position=position,
            orientation=numbers(frame, "ImageOrientationPatient", 6) or whole.orientation,
        )
        for tile, (frame, position) in enumerate(zip(frames, positions, strict=True))
    ]


SURE_MATCH = 0.1
"""Neighbouring slices of a head correlate with 0.8 and more; cut at the wrong seams they fall below 0.5."""


def grid_layout(image: np.ndarray[Any, Any], count: int, where: object) -> tuple[int, int]:
    """How many tiles lie below and beside each other in an image, from the picture itself.

    Tiles beyond the last slice are blank, and none before; of the layouts left the one whose neighbouring tiles are
    most alike. Where the picture does not decide, the maker's own rule: as many columns as rows or one more.

    Raises
    ------
    GeometryError
        If no layout fits the picture, or several do.
    """
    fitting = [shape for shape in _layouts(image.shape, count) if _blanks_fit(image, shape, count)]
    if not fitting:
        raise GeometryError(f"no grid of {count} slices fits the image", where=where, todo="export unpacked")
    scores = {shape: _likeness(image, shape, count) for shape in fitting}
    best = max(scores, key=lambda shape: scores[shape])
    if all(scores[best] - score > SURE_MATCH for shape, score in scores.items() if shape != best):
        return best
    columns = int(np.ceil(np.sqrt(count)))
    usual = (int(np.ceil(count / columns)), columns)
    if usual in fitting and scores[best] - scores[usual] < SURE_MATCH:
        return usual
    listed = ", ".join(f"{down} x {across}" for down, across in fitting)
    raise GeometryError(f"several grids fit the image ({listed})", where=where, todo="export unpacked")


def _layouts(shape: tuple[int, ...], count: int) -> list[tuple[int, int]]:
    """Grids (down, across) that divide the image, hold every slice and have no empty column or row but the last."""
    return [
        (down, across)
        for across in range(1, count + 1)
        for down in range(-(-count // across), count + 1)
        if down * across - count < 2 * across and not (shape[0] % down or shape[1] % across)
    ]


def _tile(image: np.ndarray[Any, Any], shape: tuple[int, int], tile: int) -> np.ndarray[Any, Any]:
    rows, columns = image.shape[0] // shape[0], image.shape[1] // shape[1]
    down, right = divmod(tile, shape[1])
    return image[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns]


def _blanks_fit(image: np.ndarray[Any, Any], shape: tuple[int, int], count: int) -> bool:
    blank = [bool(np.ptp(_tile(image, shape, tile)) == 0) for tile in range(shape[0] * shape[1])]
    return all(blank[count:]) and not any(blank[1 : count - 1])


def _likeness(image: np.ndarray[Any, Any], shape: tuple[int, int], count: int) -> float:
    """Mean correlation of neighbouring tiles."""
    tiles = [_tile(image, shape, tile).astype(np.float64).ravel() for tile in range(count)]
    alike = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairwise(tiles) if np.ptp(a) and np.ptp(b)]
    return float(np.mean(alike)) if alike else 0.0


def _uih_count(dataset: Any) -> int:
    element = dataset.get(_N_SLICES)
    try:
        count = float(element.value) if element is not None else 0.0
    except (TypeError, ValueError):
        return 0
    return int(count) if 0 < count <= 4096 else 0


def _frames(dataset: Any) -> list[Any]:
    element = dataset.get(_FRAMES)
    value: Any = element.value if element is not None else None
    return list(value) if type(value).__name__ == "Sequence" else []


_CSA_TAGS = 256
_CSA_ITEMS = 1024
_MAX_ITEM_BYTES = 1 << 20


def is_mosaic(dataset: Any) -> bool:
    """Whether ImageType says so."""
    return "MOSAIC" in tokens(dataset, "ImageType")


def mosaic_planes(whole: Plane, dataset: Any) -> list[Plane]:
    """One plane a tile, from the plane of the whole mosaic.

    Raises
    ------
    GeometryError
        If the number of tiles or the direction of the slices is not stated, or contradicts the image.
    """
    where = whole.layout.path
    csa = csa_header(private(dataset, 0x0029, "SIEMENS CSA HEADER", 0x10))
    count = _count(csa, dataset)
    normal = _vector(csa.get("SliceNormalVector", ()))
    gap = number(dataset, "SpacingBetweenSlices") or number(dataset, "SliceThickness")
    if count is None or normal is None or not gap or gap <= 0:
        raise GeometryError(
            "MOSAIC without the CSA header that says how many slices it holds and where",
            where=where,
            todo="export the series again without stripping private attributes",
        )
    side = int(np.ceil(np.sqrt(count)))
    whole.check()
    if side < 1 or whole.rows % side or whole.columns % side:
        raise GeometryError(f"MOSAIC of {count} slices does not divide the image", where=where, todo="export again")
    return _tiles(whole, count, side, _checked_normal(whole, normal) * gap)


def _tiles(whole: Plane, count: int, side: int, step: np.ndarray[Any, Any]) -> list[Plane]:
    rows, columns = whole.rows // side, whole.columns // side
    row, column = np.array(whole.orientation[:3]), np.array(whole.orientation[3:])
    # ImagePositionPatient of a mosaic is the corner of an image of the mosaic's size about the centre of the slice.
    corner = (
        np.array(whole.position)
        + row * whole.spacing[1] * (whole.columns - columns) / 2
        + column * whole.spacing[0] * (whole.rows - rows) / 2
    )
    return [
        replace(
            whole,
            frame=tile,
            tiles=(side, side),
            rows=rows,
            columns=columns,
            position=tuple(float(x) for x in corner + step * tile),
        )
        for tile in range(count)
    ]


def _checked_normal(whole: Plane, normal: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The CSA normal gives the direction in which the tiles ascend; it must be normal to the image."""
    across = np.cross(whole.orientation[:3], whole.orientation[3:])
    along = float(across @ normal)
    if abs(abs(along) - 1) > 1e-3:
        raise GeometryError(
            "SliceNormalVector of the CSA header is not normal to the image",
            where=whole.layout.path,
            todo="export again",
        )
    signed: np.ndarray[Any, Any] = across * np.sign(along)
    return signed


def _count(csa: dict[str, tuple[str, ...]], dataset: Any) -> int | None:
    """NumberOfImagesInMosaic of the CSA header, else of the MR header (0019,xx0A)."""
    stated = csa.get("NumberOfImagesInMosaic", ())
    try:
        value = stated[0] if stated else private(dataset, 0x0019, "SIEMENS MR HEADER", 0x0A)
        count = int(value) if value not in (None, b"", "") else 0
    except (TypeError, ValueError):
        return None
    return count if 1 <= count <= 4096 else None


def _vector(words: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
    try:
        vector = np.array([float(word) for word in words[:3]])
    except ValueError:
        return None
    return vector if vector.shape == (3,) and np.all(np.isfinite(vector)) else None


def csa_header(data: Any) -> dict[str, tuple[str, ...]]:
    """Names and values of a CSA header (version 1 or 2); empty where it is absent or damaged."""
    if not isinstance(data, (bytes, bytearray)) or len(data) < 16:
        return {}
    second = data[:4] == b"SV10"
    at = 8 if second else 0
    found: dict[str, tuple[str, ...]] = {}
    try:
        (n_tags,) = struct.unpack_from("<I", data, at)
        if not 1 <= n_tags <= _CSA_TAGS:
            return {}
        at += 8
        # In version 1 the lengths are counted from the number of items of the first tag.
        base = 0 if second else int(struct.unpack_from("<i", data, at + 76)[0])
        for _ in range(n_tags):
            at, name, words = _csa_tag(bytes(data), at, length_field=1 if second else 0, base=base)
            found[name] = words
    except struct.error:
        return {}
    return found


def _csa_tag(data: bytes, at: int, *, length_field: int, base: int) -> tuple[int, str, tuple[str, ...]]:
    """Position after the tag, its name, and its non-empty values."""
    name = data[at : at + 64].split(b"\0")[0].decode("latin-1")
    (n_items,) = struct.unpack_from("<i", data, at + 76)
    at += 84
    words = []
    for _ in range(min(max(n_items, 0), _CSA_ITEMS)):
        length = struct.unpack_from("<4i", data, at)[length_field] - base
        if not 0 <= length <= _MAX_ITEM_BYTES or at + 16 + length > len(data):
            raise struct.error("item out of bounds")
        word = data[at + 16 : at + 16 + length].split(b"\0")[0].decode("latin-1").strip()
        if word:
            words.append(word)
        at += 16 + (length + 3) // 4 * 4
    return at, name, tuple(words)
