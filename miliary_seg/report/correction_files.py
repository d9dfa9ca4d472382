"""Lesions for editors: label colours for ITK-SNAP, a ``.seg.nrrd`` for 3D Slicer. Corrected, they go to ``decide``."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import ImageColor

from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.report.html.views import COMPARTMENT_COLOURS
from miliary_seg.report.volume_files import write_bytes

ITKSNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
"""


def is_editable(result: CaseResult) -> bool:
    """Whether files for editors are to be written (``report.editable``)."""
    return bool(result.settings.get("report", {}).get("editable", False))


def itksnap_labels(series: SeriesResult) -> str:
    """Number, colour and name of every lesion, as ITK-SNAP reads it (Segmentation > Import Label Descriptions)."""
    rows = [
        f'{number:5d} {r:5d} {g:4d} {b:4d}        1  1  1    "{name}"\n' for number, (r, g, b), name in _named(series)
    ]
    return ITKSNAP_HEAD + "".join(rows)


def write_slicer_segmentation(series: SeriesResult, path: Path, *, force: bool = False) -> Path:
    """Write the lesions as segments of 3D Slicer, with names, compartments and colours.

    Raises
    ------
    OutputError
        If the file exists (without ``force``) or cannot be written.
    """
    labels, grid = series.detection.lesion_labels.labels, series.volume.grid
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine  # LPS, as Slicer writes them
    vectors = [",".join(repr(float(x)) for x in affine[:3, column]) for column in range(4)]
    header = [
        "NRRD0004",
        "type: uint16",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, grid.shape))}",
        f"space directions: {' '.join(f'({vector})' for vector in vectors[:3])}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: ({vectors[3]})",
        "Segmentation_MasterRepresentation:=Binary labelmap",
    ]
    for n, (number, colour, name) in enumerate(_named(series)):
        shown = " ".join(f"{c / 255:.4f}" for c in colour)
        header += [f"Segment{n}_ID:=lesion_{number}", f"Segment{n}_Name:={name}", f"Segment{n}_Color:={shown}"]
        header += [
            f"Segment{n}_LabelValue:={number}",
            f"Segment{n}_Layer:=0",
            f"Segment{n}_Extent:={_extent(grid.shape)}",
        ]
    voxels = gzip.compress(labels.astype("<u2").tobytes(order="F"), mtime=0)
    return write_bytes(path, "\n".join(header).encode("ascii") + b"\n\n" + voxels, force=force)


def _extent(shape: tuple[int, int, int]) -> str:
    return " ".join(f"0 {n - 1}" for n in shape)


def _named(series: SeriesResult) -> list[tuple[int, tuple[int, int, int], str]]:
    """Number, colour and name of every lesion."""
    places = {place.lesion_id: place.compartment for place in series.assignments}
    found = []
    for lesion in series.lesions:
        place = places.get(lesion.id)
        r, g, b = ImageColor.getrgb(COMPARTMENT_COLOURS[place])[:3]
        where = "unassigned" if place is None else place.text
        found.append((lesion.id, (r, g, b), f"lesion {lesion.id}, {where}"))
    return found
