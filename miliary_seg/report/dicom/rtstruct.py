"""Lesions as a DICOM RT Structure Set: one region a lesion, closed outlines on every slice, in patient coordinates.

Built on pydicom: of the libraries for it, rt-utils has had no release since 2023, draws through the pixel centres,
knows single-frame series only and brings a second OpenCV (docs/dependencies.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import ImageColor

from miliary_seg.domain.arrays import BoolArray, Float64Array, Int64Array
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.dicom.encoding import file_bytes
from miliary_seg.report.dicom.images import RAS_TO_LPS
from miliary_seg.report.dicom.names import lesion_name
from miliary_seg.report.dicom.references import ObjectMetadata, Reference, SourceImages, finish, slice_header
from miliary_seg.report.dicom.seg import VoxelIndex, index_lesions
from miliary_seg.report.html.views import COMPARTMENT_COLOURS

Corner = tuple[int, int]
Outline = Float64Array
"""(n, 2) corners of a closed polygon: row, column, with pixel centres at whole numbers; the first is not repeated."""

_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Right, down, left, up: clockwise turns, rows growing downwards."""


def outlines(mask: BoolArray) -> list[Outline]:
    """Polygons around the parts of a mask; pixels that touch at a corner are parts of their own.

    A hole is joined to the polygon around it by a line of no width (keyhole), as structure sets are read everywhere.

    Parameters
    ----------
    mask
        Shape (rows, columns).

    Examples
    --------
    >>> outlines(np.array([[True, True]]))[0].tolist()
    [[-0.5, -0.5], [-0.5, 1.5], [0.5, 1.5], [0.5, -0.5]]
    """
    loops = _loops(mask)
    outer = [loop for loop in loops if _area(loop) > 0]
    for hole in (loop for loop in loops if _area(loop) < 0):
        around = min((k for k, loop in enumerate(outer) if _holds(loop, hole)), key=lambda k: abs(_area(outer[k])))
        outer[around] = _joined(outer[around], hole)
    return [np.array(loop, dtype=np.float64) - 0.5 for loop in outer]


def _loops(mask: BoolArray) -> list[list[Corner]]:
    """Closed walks along the edges with the mask on the right hand: outer ones clockwise, holes the other way."""
    edges = _edges(mask)
    loops = []
    while edges:
        here = min(edges)
        heading = min(edges[here])
        loop: list[Corner] = []
        while True:
            turns = [d for d in ((heading + 1) % 4, heading, (heading - 1) % 4) if d in edges.get(here, ())]
            if not turns:
                break
            edges[here].discard(turns[0])
            if not edges[here]:
                del edges[here]
            if not loop or turns[0] != heading:
                loop.append(here)
            heading = turns[0]
            here = (here[0] + _STEPS[heading][0], here[1] + _STEPS[heading][1])
        loops.append(loop)
    return loops


def _edges(mask: BoolArray) -> dict[Corner, set[int]]:
    """Directions in which edges leave every corner; pixel (r, c) has its upper left corner at (r, c)."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[Corner, set[int]] = defaultdict(set)
    sides = (
        (padded[:-2, 1:-1], (0, 0)),  # above: its upper edge, to the right
        (padded[1:-1, 2:], (0, 1)),  # on the right: downwards
        (padded[2:, 1:-1], (1, 1)),  # below: to the left
        (padded[1:-1, :-2], (1, 0)),  # on the left: upwards
    )
    for direction, (beyond, corner) in enumerate(sides):
        for r, c in np.argwhere(inside & ~beyond).tolist():
            edges[r + corner[0], c + corner[1]].add(direction)
    return dict(edges)


def _area(loop: list[Corner]) -> float:
    """Signed area: positive for clockwise loops (rows growing downwards)."""
    row, column = np.array(loop, dtype=np.float64).T
    return float(np.dot(column, np.roll(row, -1)) - np.dot(row, np.roll(column, -1))) / 2


def _holds(loop: list[Corner], hole: list[Corner]) -> bool:
    """Whether a loop runs around a hole: the middle of the pixel inside the hole's first edge is within."""
    row, column = min(hole)  # a hole's uppermost leftmost corner has its own pixel to the lower right
    return _winds(loop, row + 0.5, column + 0.5)


def _winds(loop: list[Corner], row: float, column: float) -> bool:
    crossings = 0
    for (r0, c0), (r1, c1) in zip(loop, [*loop[1:], loop[0]], strict=True):
        crossings += c0 == c1 and c0 > column and min(r0, r1) < row < max(r0, r1)
    return crossings % 2 == 1


def _joined(loop: list[Corner], hole: list[Corner]) -> list[Corner]:
    """A loop that goes to the hole and back along the shortest line between two of their corners."""
    apart = np.abs(np.array(loop)[:, None] - np.array(hole)[None]).sum(axis=2)
    i, j = np.unravel_index(int(apart.argmin()), apart.shape)
    return [*loop[: i + 1], *hole[j:], *hole[: j + 1], *loop[i:]]


STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
"""Class by which structure sets refer to a study (retired, and still what PS3.3 C.8.8.5 asks for)."""
SERIES_NUMBER = 9103


def structure_set(series: SeriesResult, source: SourceImages, metadata: ObjectMetadata) -> bytes:
    """The DICOM file.

    Parameters
    ----------
    series
        With at least one lesion.
    source
        The images it refers to.
    metadata
        Identifiers, date and patient.
    """
    dataset = _header(source, metadata)
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    regions, contours, observations = [], [], []
    places, cut = series.assignment_of, index_lesions(series)
    for number, lesion in enumerate(series.lesions, start=1):
        place = places.get(lesion.id)
        regions.append(
            _item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=source.frame_of_reference_uid,
                ROIName=lesion_name(lesion, place)[:64],
                ROIGenerationAlgorithm=series.detection.source.algorithm_type,
            )
        )
        colour = list(ImageColor.getrgb(COMPARTMENT_COLOURS[None if place is None else place.compartment])[:3])
        drawn = list(_contours(cut, number, source))
        contours.append(_item(ROIDisplayColor=colour, ContourSequence=drawn, ReferencedROINumber=number))
        observations.append(
            _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter="")
        )
    dataset.StructureSetROISequence = regions
    dataset.ROIContourSequence = contours
    dataset.RTROIObservationsSequence = observations
    return file_bytes(dataset, {})


def _header(source: SourceImages, metadata: ObjectMetadata) -> Any:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset = slice_header(source, metadata)
    for keyword in ("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    for keyword in ("SliceThickness", "SpacingBetweenSlices", "SliceLocation"):
        delattr(dataset, keyword)
    values = {
        "SOPClassUID": STORAGE,
        "SOPInstanceUID": metadata.uid("RTSTRUCT"),
        "SeriesInstanceUID": metadata.uid("RTSTRUCT series"),
        "SeriesNumber": SERIES_NUMBER,
        "InstanceNumber": 1,
        "Modality": "RTSTRUCT",
        "SeriesDescription": "miliary-seg outlines (research use only)",
        "Manufacturer": "miliary-seg",
        "ManufacturerModelName": "miliary-seg",
        "SoftwareVersions": metadata.version,
        "OperatorsName": "",
        "StructureSetLabel": "LESIONS",
        "StructureSetDate": metadata.moment.strftime("%Y%m%d"),
        "StructureSetTime": metadata.moment.strftime("%H%M%S"),
        "ApprovalStatus": "UNAPPROVED",
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(STORAGE), UID(dataset.SOPInstanceUID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    finish(dataset, metadata)
    del dataset.ContentDate, dataset.ContentTime
    return dataset


def _frame_of_reference(source: SourceImages) -> Any:
    slices = [image for image in source.slices if image] or list(source.instances)
    images = [_image(image) for image in slices]
    whole = _item(SeriesInstanceUID=source.series_uid, ContourImageSequence=images)
    study = _item(
        ReferencedSOPClassUID=STUDY_COMPONENT,
        ReferencedSOPInstanceUID=source.study_uid,
        RTReferencedSeriesSequence=[whole],
    )
    return _item(FrameOfReferenceUID=source.frame_of_reference_uid, RTReferencedStudySequence=[study])


def _contours(cut: VoxelIndex, number: int, source: SourceImages) -> Iterator[Any]:
    """Items of the outlines of one lesion, slice by slice."""
    mine = cut.segment == number
    for index in np.unique(cut.index[mine]).tolist():
        image = source.slices[index]
        for outline in _polygons(cut.pixel[mine & (cut.index == index)], source.plane_shape[1]):
            points = _points(outline, index, source)
            item = _item(
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[f"{value:.5f}" for value in points.ravel() + 0.0],
            )
            if image:
                item.ContourImageSequence = [_image(image)]
            yield item


def _polygons(pixel: Int64Array, n_columns: int) -> list[Outline]:
    """Outlines of pixels given by their place in the plane, traced in the box around them."""
    rows, columns = np.divmod(pixel, n_columns)
    top, left = int(rows.min()), int(columns.min())
    mask = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), dtype=bool)
    mask[rows - top, columns - left] = True
    return [outline + np.array([top, left], dtype=np.float64) for outline in outlines(mask)]


def _points(outline: Outline, index: int, source: SourceImages) -> Float64Array:
    """Corners in patient coordinates, LPS+ mm, shape (n, 3)."""
    volume = source.volume
    columns, rows = volume.in_plane_axes
    ijk = np.full((len(outline), 3), float(index))
    ijk[:, rows], ijk[:, columns] = outline[:, 0], outline[:, 1]
    points: Float64Array = volume.grid.to_ras_mm(ijk) * RAS_TO_LPS
    return points


def _image(image: Reference) -> Any:
    item = _item(ReferencedSOPClassUID=image.sop_class_uid, ReferencedSOPInstanceUID=image.sop_instance_uid)
    if image.frame is not None:
        item.ReferencedFrameNumber = image.frame
    return item


def _item(**values: object) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
