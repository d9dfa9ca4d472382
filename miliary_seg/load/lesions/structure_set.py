"""DICOM RT Structure Sets: closed contours become voxels of the scan whose centre lies within them.

The rule is the one of planning systems: the centre of the pixel decides, contours of one region on one slice are
combined by exclusive or (a contour within another is a hole), and a centre on the line itself is inside.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.domain.lesion_source import LesionSource
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load.dicom.header import items, quiet_pydicom, text, whole
from miliary_seg.load.file_boundary import file_boundary
from miliary_seg.load.lesions.dicom_objects import RAS, read_object, require_same_frame
from miliary_seg.load.lesions.instances import LabelChoice
from miliary_seg.load.lesions.label_files import file_digest
from miliary_seg.load.lesions.voxels import LesionVoxels

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
OFF_SLICE = 0.2
"""Contours may lie this part of a slice off the slice's middle: rounding; further off they belong to other images."""
SNAP = 1000.0
"""Corners are rounded to a thousandth of a pixel, so that centres on a line are seen to be on it."""
ORGANS = frozenset(
    ("EXTERNAL", "ORGAN", "AVOIDANCE", "SUPPORT", "FIXATION", "MARKER", "REGISTRATION", "ISOCENTER", "CONTRAST_AGENT",
     "CAVITY", "DOSE_REGION", "CONTROL", "DOSE_MEASUREMENT", "BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BOLUS")
)  # fmt: skip
"""Interpreted types (3006,00A4) that are no lesions."""
MARGINS = frozenset(("PTV", "CTV", "TREATED_VOLUME", "IRRAD_VOLUME"))
"""... and those that are lesions with a margin around them: left out where gross volumes (GTV) are there."""


def read_structure_set(path: Path, volume: Volume, choice: LabelChoice) -> LesionVoxels:
    """Rasterise a structure set onto the scan: values are ROI numbers.

    Raises
    ------
    UnreadableFileError
        If it cannot be read.
    GeometryError
        If it belongs to another frame of reference, or was drawn on other planes than the scan's.
    UnsuitableImageError
        If a chosen region has contours that are not closed.
    InputError
        If no region fits the choice.
    """
    dataset = read_object(path)
    regions = {whole(item, "ROINumber"): item for item in items(dataset, "StructureSetROISequence")}
    chosen, notes = _chosen(dataset, regions, choice, path)
    frames = {text(regions[n], "ReferencedFrameOfReferenceUID") for n in chosen if n in regions} - {""}
    for frame in sorted(frames):
        require_same_frame(frame, volume, path)
    notes = (*notes, *require_same_frame(next(iter(frames), ""), volume, path))
    labels = np.zeros(volume.grid.shape, dtype=np.int32)
    n_shared = 0
    with quiet_pydicom():
        for contour in items(dataset, "ROIContourSequence"):
            value = whole(contour, "ReferencedROINumber")
            if value in chosen:
                n_shared += _draw(labels, contour, value, volume, path)
    if n_shared:
        said = f"{n_shared} voxels belong to several regions; each was given to the last of them."
        notes = (*notes, Reason(code="given_overlap", text=said))
    labels.setflags(write=False)
    names = {value: text(item, "ROIName") for value, item in regions.items()}
    source = _source(dataset, [regions[n] for n in chosen if n in regions], path)
    return LesionVoxels(
        labels=LabelMap(labels=labels, grid=volume.grid, names=names), source=source, notes=tuple(notes)
    )


def _chosen(
    dataset: Any, regions: dict[int, Any], choice: LabelChoice, path: Path
) -> tuple[set[int], tuple[Reason, ...]]:
    """Numbers of the regions that are lesions."""
    if choice.wanted:
        found = {n for n, item in regions.items() if choice.takes(n, text(item, "ROIName"))}
        if not found:
            listed = ", ".join(f"{n} {text(item, 'ROIName')}" for n, item in list(regions.items())[:10])
            raise InputError(f"no region fits --lesion-labels; there are {listed}", where=path, todo="choose another")
        return found, ()
    kinds = {
        whole(item, "ReferencedROINumber"): text(item, "RTROIInterpretedType").upper()
        for item in items(dataset, "RTROIObservationsSequence")
    }
    left_out = {n for n in regions if kinds.get(n, "") in ORGANS}
    if any(kinds.get(n) == "GTV" for n in regions):
        left_out |= {n for n in regions if kinds.get(n) in MARGINS}
    found = set(regions) - left_out
    if not left_out:
        return found, ()
    said = (
        f"{len(found)} of {len(regions)} regions were taken as lesions; organs, supports and margins, by their type, "
        "were left out. Choose others with --lesion-labels."
    )
    return found, (Reason(code="given_regions_left_out", text=said),)


def _draw(labels: Any, contour: Any, value: int, volume: Volume, path: Path) -> int:
    """Draw one region; how many voxels another region held."""
    by_slice: dict[int, list[Float64Array]] = defaultdict(list)
    for item in items(contour, "ContourSequence"):
        index, corners = _on_slice(item, volume, path)
        by_slice[index].append(corners)
    rows_columns = [a for a in range(3) if a != volume.slice_axis]
    plane = tuple(volume.grid.shape[a] for a in rows_columns)
    n_shared = 0
    for index, polygons in by_slice.items():
        drawn, corner = rasterise(polygons, plane)
        place = np.nonzero(drawn)
        at: list[Any] = [index, index, index]
        at[rows_columns[0]], at[rows_columns[1]] = place[0] + corner[0], place[1] + corner[1]
        n_shared += int(np.count_nonzero(labels[tuple(at)]))
        labels[tuple(at)] = value
    return n_shared


def _on_slice(item: Any, volume: Volume, path: Path) -> tuple[int, Float64Array]:
    """Slice of a contour, and its corners in voxels of the two other axes, shape (n, 2)."""
    kind = text(item, "ContourGeometricType").upper()
    if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", ""):
        what = f"a contour of type {kind}: only closed ones have an inside"
        raise UnsuitableImageError(what, where=path, todo="close it, or leave its region out with --lesion-labels")
    with file_boundary(path, "read the points of a contour"):
        points = np.array(item.ContourData, dtype=np.float64).reshape(-1, 3) * RAS
    if not points.size or not np.isfinite(points).all():
        raise UnreadableFileError("a contour without usable points", where=path, todo="export it again")
    ijk = volume.grid.to_ijk(points)
    along = ijk[:, volume.slice_axis]
    index = int(np.rint(np.median(along)))
    if np.abs(along - index).max() > OFF_SLICE:
        what = "its contours do not lie on the slices of this scan: they were drawn on another series"
        raise GeometryError(what, where=path, todo="give that series (--series), or export them as SEG or label map")
    if not 0 <= index < volume.n_slices:
        what = "its contours lie beyond the slices of this scan: another series or patient"
        raise GeometryError(what, where=path, todo="give the series that it was drawn on")
    corners = np.delete(ijk, volume.slice_axis, axis=1)
    return index, np.round(corners * SNAP) / SNAP


def rasterise(polygons: list[Float64Array], shape: tuple[int, ...]) -> tuple[BoolArray, tuple[int, int]]:
    """Pixels whose centre lies in closed polygons, holes left out, lines counted in.

    Parameters
    ----------
    polygons
        Corners in pixels, centres at whole numbers, each of shape (n, 2); the first is not repeated.
    shape
        Of the plane: what lies beyond is cut off.

    Returns
    -------
    tuple
        A mask of the box around the polygons, and its first pixel.

    Examples
    --------
    >>> mask, corner = rasterise([np.array([[0.5, 0.5], [0.5, 2.5], [1.5, 2.5], [1.5, 0.5]])], (5, 5))
    >>> corner, int(mask.sum())
    ((0, 0), 2)
    """
    from skimage import measure

    grid_points: Any = measure.grid_points_in_poly

    every = np.concatenate(polygons)
    low = np.clip(np.floor(every.min(axis=0)).astype(int), 0, np.array(shape) - 1)
    high = np.clip(np.ceil(every.max(axis=0)).astype(int) + 1, low + 1, shape)
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    inside, on_line = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for polygon in polygons:
        where = grid_points(size, polygon - low, binarize=False)  # 1 within, 2 a corner, 3 on an edge
        inside ^= where == 1
        on_line |= where >= 2
        corners = np.rint(polygon - low).astype(int)
        whole_corner = (np.abs(polygon - low - corners).max(axis=1) == 0) & ((corners >= 0) & (corners < size)).all(1)
        on_line[tuple(corners[whole_corner].T)] = True
    return inside | on_line, (int(low[0]), int(low[1]))


def _source(dataset: Any, regions: list[Any], path: Path) -> LesionSource:
    kinds = {text(item, "ROIGenerationAlgorithm").upper() for item in regions}
    kind = kinds.pop() if len(kinds) == 1 else ""
    model = text(dataset, "ManufacturerModelName")
    return LesionSource(
        name=model if kind == "AUTOMATIC" and model else "given",
        format="RTSTRUCT",
        algorithm_type=kind if kind in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL") else "",
        author=text(dataset, "OperatorsName"),
        path=str(path),
        sha256=file_digest(path),
    )
