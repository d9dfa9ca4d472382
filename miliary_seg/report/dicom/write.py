"""The DICOM objects of one series: which are wanted, and what becomes of the others where one cannot be made."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.domain.volume import Source
from miliary_seg.errors import GeometryError, MiliaryError, OutputError
from miliary_seg.report import file_names
from miliary_seg.report.dicom.references import NO_DATE, ObjectMetadata, SourceImages, source_images, stamp

if TYPE_CHECKING:
    from miliary_seg.report.dicom.images import SeriesText

T = TypeVar("T")


@dataclass(slots=True)
class DicomFiles:
    """What was written of one series, and what could not be."""

    files: dict[str, str] = field(default_factory=dict)
    """Key of ``files`` in result.json -> name within the series' folder."""
    errors: list[MiliaryError] = field(default_factory=list)


class _Ready(NamedTuple):
    """What every object of a series is made from."""

    series: SeriesResult
    images: SourceImages
    metadata: ObjectMetadata


def write_dicom(series: SeriesResult, folder: Path, result: CaseResult, date: datetime | None = None) -> DicomFiles:
    """Write the objects that the settings ask for; one that cannot be made leaves an error and no file.

    Parameters
    ----------
    series
        One series of the result.
    folder
        Its folder.
    result
        The whole case.
    date
        Date and time to write; None = ``SOURCE_DATE_EPOCH`` where that is set, else the study's own (identified) or
        none (1 January 1970).
    """
    chosen = result.settings.get("report", {})
    when, written = chosen.get("dicom", "auto"), DicomFiles()
    from_dicom = series.volume.source.format == "DICOM"
    objects = when == "always" or (when == "auto" and from_dicom)
    drawn = bool(chosen.get("rtstruct")) and bool(series.lesions)
    if not (objects or drawn):
        return written

    def prepared() -> _Ready:
        moment = date or epoch()
        placed = series if from_dicom else _with_images(series, folder, result, moment)
        identified = from_dicom and bool(chosen.get("identified"))
        fresh = bool(chosen.get("new_frame_of_reference"))
        images = source_images(placed.volume, new_frame_of_reference=fresh)
        return _Ready(placed, images, stamp(result, placed.volume, moment, identified=identified))

    ready = _tried(prepared, "DICOM objects", series.id, written)
    if ready is None:
        return written
    if not from_dicom:
        written.files["images"] = file_names.IMAGES
    if objects:
        _segmentation_and_report(ready, folder, chosen.get("seg", "binary"), written)
    if drawn:
        from miliary_seg.report.dicom.rtstruct import structure_set

        _write("structure_set", folder / file_names.STRUCTURE_SET, lambda: structure_set(*ready), written)
    return written


def epoch() -> datetime | None:
    """The date of ``SOURCE_DATE_EPOCH`` (seconds since 1970; reproducible-builds.org), where it is set.

    Raises
    ------
    OutputError
        If it is not a number of seconds.
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(int(seconds), tz=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise OutputError("SOURCE_DATE_EPOCH is not a number of seconds", todo="unset it, or: date +%s") from error


def _segmentation_and_report(ready: _Ready, folder: Path, kind: Any, written: DicomFiles) -> None:
    from miliary_seg.report.dicom.seg import segmentation
    from miliary_seg.report.dicom.sr import measurements

    if ready.series.lesions:
        _write("segmentation", folder / file_names.SEGMENTATION, lambda: segmentation(*ready, kind), written)
    there = kind if "segmentation" in written.files else None
    _write("measurements", folder / file_names.MEASUREMENTS, lambda: measurements(*ready, there), written)


def _write(key: str, path: Path, make: Callable[[], bytes], written: DicomFiles) -> None:
    content = _tried(make, path.name, path.parent.name, written)
    if content is not None:
        path.write_bytes(content)
        written.files[key] = path.name


def _tried(make: Callable[[], T], name: str, where: str, written: DicomFiles) -> T | None:
    """What a function makes, or None with its error noted; the error of a library is named, never quoted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the images say of the patient and in UIDs is not ours to mend
            return make()
    except MiliaryError as error:
        written.errors.append(error)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        what = f"{name} cannot be made: highdicom or pydicom refused ({type(error).__name__})"
        todo = "the other files are written; report it, or set report.dicom=never"
        written.errors.append(OutputError(what, where=where, todo=todo))
    return None


def _with_images(series: SeriesResult, folder: Path, result: CaseResult, moment: datetime | None) -> SeriesResult:
    """A series that came from another format, with DICOM images of its own written beside it.

    Raises
    ------
    GeometryError
        If the file states no orientation, or DICOM cannot hold its slices.
    """
    from pydicom import dcmread

    from miliary_seg.report.dicom.images import write_series

    volume = series.volume
    if not volume.orientation_known:
        what = "no DICOM objects: the file states no orientation, and DICOM cannot say that"
        raise GeometryError(what, where=series.id, todo="state it with load.assume_orientation")
    text = _text(file_names.case_folder(result.case), moment)
    images = sorted(write_series(volume, folder / file_names.IMAGES, text, compression="none").iterdir())
    headers = [dcmread(image, stop_before_pixels=True) for image in images]
    instances = tuple(str(header.SOPInstanceUID) for header in headers)
    source = Source(
        format="DICOM",
        sha256=volume.source.sha256,
        study_instance_uid=str(headers[0].StudyInstanceUID),
        series_instance_uid=str(headers[0].SeriesInstanceUID),
        frame_of_reference_uid=str(headers[0].FrameOfReferenceUID),
        sop_class_uid=str(headers[0].SOPClassUID),
        sop_instance_uids=instances,
        instances=instances,
        orientation_source=volume.source.orientation_source,
    )
    return replace(series, volume=replace(volume, source=source, resampled=False))


def _text(case: str, moment: datetime | None) -> SeriesText:
    """What the images of a scan say that came in another format."""
    from miliary_seg.report.dicom.images import SeriesText

    return SeriesText(
        date=(moment or NO_DATE).date(),
        description="converted, grid as it was",
        protocol="converted",
        patient_id=case,
        patient_name=f"{case[:63]}^",
        study="converted by miliary-seg (research use only)",
        model="miliary-seg",
        image_type="SECONDARY",
        deidentification="nothing of the patient was known",
        derivation="converted from a file that is not DICOM; whole numbers kept, others to 1/65535 of their range",
        synthetic=False,
    )
