"""Lesions as a DICOM RT Structure Set: one region a lesion, closed outlines on every slice, in patient coordinates.

Built on pydicom: of the libraries for it, rt-utils has had no release since 2023, draws through the pixel centres,
knows single-frame series only and brings a second OpenCV (docs/dependencies.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.dicom_bytes import file_bytes
from miliary_seg.report.dicom_seg import Cut, cut_lesions
from miliary_seg.report.dicom_series import RAS_TO_LPS
from miliary_seg.report.dicom_source import Reference, SourceImages, Stamp, finish, slice_header
from miliary_seg.report.outlines import Outline, outlines
from miliary_seg.report.palette import COMPARTMENT_COLOURS

STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
"""Class by which structure sets refer to a study (retired, and still what PS3.3 C.8.8.5 asks for)."""
SERIES_NUMBER = 9103


def structure_set(series: SeriesResult, source: SourceImages, marks: Stamp) -> bytes:
    """The DICOM file.

    Parameters
    ----------
    series
        With at least one lesion.
    source
        The images it refers to.
    marks
        Identifiers, date and patient.
    """
    dataset = _header(source, marks)
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source)]
    regions, contours, observations = [], [], []
    places = {place.lesion_id: place.compartment for place in series.assignments}
    cut = cut_lesions(series)
    for number, lesion in enumerate(series.lesions, start=1):
        name = f"Lesion {lesion.id}"
        regions.append(
            _item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=source.frame_of_reference_uid,
                ROIName=name,
                ROIGenerationAlgorithm="AUTOMATIC",
            )
        )
        colour = list(ImageColor.getrgb(COMPARTMENT_COLOURS[places.get(lesion.id)])[:3])
        drawn = list(_contours(cut, number, source))
        contours.append(_item(ROIDisplayColor=colour, ContourSequence=drawn, ReferencedROINumber=number))
        observations.append(
            _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter="")
        )
    dataset.StructureSetROISequence = regions
    dataset.ROIContourSequence = contours
    dataset.RTROIObservationsSequence = observations
    return file_bytes(dataset, {})


def _header(source: SourceImages, marks: Stamp) -> Any:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    dataset = slice_header(source, marks)
    for keyword in ("Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    for keyword in ("SliceThickness", "SpacingBetweenSlices", "SliceLocation"):
        delattr(dataset, keyword)
    values = {
        "SOPClassUID": STORAGE,
        "SOPInstanceUID": marks.uid("RTSTRUCT"),
        "SeriesInstanceUID": marks.uid("RTSTRUCT series"),
        "SeriesNumber": SERIES_NUMBER,
        "InstanceNumber": 1,
        "Modality": "RTSTRUCT",
        "SeriesDescription": "miliary-seg outlines (research use only)",
        "Manufacturer": "miliary-seg",
        "ManufacturerModelName": "miliary-seg",
        "SoftwareVersions": marks.version,
        "OperatorsName": "",
        "StructureSetLabel": "LESIONS",
        "StructureSetDate": marks.moment.strftime("%Y%m%d"),
        "StructureSetTime": marks.moment.strftime("%H%M%S"),
        "ApprovalStatus": "UNAPPROVED",
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(STORAGE), UID(dataset.SOPInstanceUID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    finish(dataset, marks)
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


def _contours(cut: Cut, number: int, source: SourceImages) -> Iterator[Any]:
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


def _polygons(pixel: NDArray[np.int64], n_columns: int) -> list[Outline]:
    """Outlines of pixels given by their place in the plane, traced in the box around them."""
    rows, columns = np.divmod(pixel, n_columns)
    top, left = int(rows.min()), int(columns.min())
    mask = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), dtype=bool)
    mask[rows - top, columns - left] = True
    return [outline + np.array([top, left], dtype=np.float64) for outline in outlines(mask)]


def _points(outline: Outline, index: int, source: SourceImages) -> NDArray[np.float64]:
    """Corners in patient coordinates, LPS+ mm, shape (n, 3)."""
    volume = source.volume
    columns, rows = (a for a in range(3) if a != volume.slice_axis)
    ijk = np.full((len(outline), 3), float(index))
    ijk[:, rows], ijk[:, columns] = outline[:, 0], outline[:, 1]
    points: NDArray[np.float64] = volume.grid.to_ras_mm(ijk) * RAS_TO_LPS
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
