"""UIH grids (VFRAME): the slices of a volume as tiles of one image, each with its own position.

UIH's account of its format: https://github.com/rordenlab/dcm2niix/issues/225. (0065,1050) is the number of slices,
(0065,1051) a sequence with one item a slice, which holds its ImagePositionPatient. The tiles lie row by row on the
smallest square, as in a Siemens mosaic; unlike there nothing about their places has to be computed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from miliary_seg.errors import GeometryError
from miliary_seg.load.attributes import numbers
from miliary_seg.load.planes import Plane

_N_SLICES, _FRAMES = (0x0065, 0x1050), (0x0065, 0x1051)


def uih_planes(whole: Plane, dataset: Any) -> list[Plane]:
    """One plane a tile; empty where the image is not such a grid.

    Raises
    ------
    GeometryError
        If the image holds several slices but does not say where each lies, or they do not divide it.
    """
    count = _count(dataset)
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
    side = int(np.ceil(np.sqrt(count)))
    if whole.rows % side or whole.columns % side:
        raise GeometryError(f"a UIH grid of {count} slices does not divide the image", where=where, todo="export again")
    return [
        replace(
            whole,
            frame=tile,
            tiles_per_side=side,
            rows=whole.rows // side,
            columns=whole.columns // side,
            position=position,
            orientation=numbers(frame, "ImageOrientationPatient", 6) or whole.orientation,
        )
        for tile, (frame, position) in enumerate(zip(frames, positions, strict=True))
    ]


def _count(dataset: Any) -> int:
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
