"""What a DICOM object made from a series has to say of it: references, place, patient, date and identifiers.

Headers for highdicom are made here from what the loader kept of the images, element by element. So nothing is copied
that was not asked for, and what ails real headers (orientations that differ in the last digit, measures per frame,
malformed dates, missing attributes) never reaches the writer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from miliary_seg.domain.lesion_source import OURS
from miliary_seg.domain.result import CaseResult
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import GeometryError, OutputError
from miliary_seg.report.dicom.codes import BASIC_PROFILE, RETAIN_UIDS
from miliary_seg.report.dicom.images import (
    CT_STORAGE,
    IMPLEMENTATION_UID,
    MR_STORAGE,
    derived_uid,
    plane_geometry,
)
from miliary_seg.report.file_names import case_folder
from miliary_seg.report.sanitise import sanitise

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from miliary_seg.report.dicom.codes import Code

RELEASED = datetime(2026, 11, 30, tzinfo=UTC)
"""Day on which the files of this version were fixed. Results know no clock, and a segmentation must state a date
(PS3.3 C.7.6.16.1): where none is known or none may be told, it is this one, before which no such object can be."""

_IDENTITY = {
    "PatientName": "PN",
    "PatientID": "LO",
    "PatientBirthDate": "DA",
    "PatientSex": "CS",
    "PatientAge": "AS",
    "PatientSize": "DS",
    "PatientWeight": "DS",
    "AccessionNumber": "SH",
    "ReferringPhysicianName": "PN",
    "StudyID": "SH",
    "StudyDate": "DA",
    "StudyTime": "TM",
    "StudyDescription": "LO",
}
"""All that ``report.identified`` brings back from the images: Patient, General Study and Patient Study modules."""
_EMPTIED = (
    "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "OtherPatientIDs", "PatientMotherBirthName",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "InstitutionName", "InstitutionAddress",
)  # fmt: skip
"""Of these the Basic Profile (PS3.15 Table E.1-1) leaves nothing: an image that still states one is not believed when
it says that its patient's identity was removed."""
_METHOD_OF_SOURCE = "As stated by the source images; nothing added"
_Patient = tuple[dict[str, str], str | None, "tuple[Code, ...]"]
"""Patient and study attributes; how the identity was removed in words ('' = it was not, None = unknown) and codes."""
_REQUIRED = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName",
             "StudyID", "StudyDate", "StudyTime")  # fmt: skip
_WELL_FORMED = {
    "DA": re.compile(r"\d{8}"),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[MFO]"),
    "DS": re.compile(r"[-+]?\d{1,10}(\.\d{1,10})?"),
    "LO": re.compile(r".{1,64}"),
    "SH": re.compile(r".{1,16}"),
    "PN": re.compile(r"[^=]{1,64}(=[^=]{0,64}){0,2}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One image, or one frame of a multi-frame image."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None = None
    """From 1; None where the instance has one frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImages:
    """The images that an object is made from."""

    volume: Volume
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    instances: tuple[Reference, ...]
    """Every image, each once."""
    slices: tuple[Reference | None, ...]
    """The image of each slice of the grid; None where the slice was interpolated."""

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        columns, rows = (self.volume.grid.shape[a] for a in self.volume.in_plane_axes)
        return rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMetadata:
    """Who and when: the same for all objects of one series."""

    seed: str
    """Digest over what went in: images, settings, versions."""
    moment: datetime
    version: str
    settings_digest: str
    identity: dict[str, str] = field(repr=False)
    """Patient and study attributes to write."""
    deidentification_codes: tuple[Code, ...] = ()
    """The same in codes."""
    deidentification: str | None = None
    """How the patient's identity was removed; '' = it was not (``report.identified``), None = nothing is known of a
    patient, so nothing can be said of it."""
    lesions_from: str = ""
    """Who found the lesions, where it was not our own detector."""

    def uid(self, role: str) -> str:
        """A UID that follows from what went in: equal input gives equal UIDs."""
        return derived_uid(self.seed, role)


def source_images(volume: Volume, *, new_frame_of_reference: bool = False) -> SourceImages:
    """The images behind a volume.

    Parameters
    ----------
    volume
        What the loader made of them.
    new_frame_of_reference
        Give images that state no FrameOfReferenceUID one that follows from their series.

    Raises
    ------
    OutputError
        If they lack an identifier without which no object may refer to them.
    """
    source = volume.source
    frame_of_reference = source.frame_of_reference_uid
    if new_frame_of_reference and source.series_instance_uid:
        frame_of_reference = frame_of_reference or derived_uid(source.series_instance_uid, "frame of reference")
    needed = {
        "StudyInstanceUID": source.study_instance_uid,
        "SeriesInstanceUID": source.series_instance_uid,
        "FrameOfReferenceUID": frame_of_reference,
        "SOPClassUID": source.sop_class_uid,
        "SOPInstanceUID": min(source.instances, default=""),
    }
    missing = [name for name, uid in needed.items() if not uid]
    if missing:
        what = f"no DICOM SEG or SR: the images state no {' and no '.join(missing)}"
        only_frame = list(missing) == ["FrameOfReferenceUID"]
        todo = "report.new_frame_of_reference=true makes one" if only_frame else "export the series again"
        raise OutputError(what, where=volume.id, todo=f"{todo}; report.dicom=never does without")
    kind = source.sop_class_uid
    known = len(source.sop_instance_uids) == volume.n_slices and not volume.resampled
    frames: tuple[int | None, ...] = source.frame_numbers or (None,) * volume.n_slices
    slices = tuple(
        Reference(sop_class_uid=kind, sop_instance_uid=uid, frame=frame)
        for uid, frame in (zip(source.sop_instance_uids, frames, strict=True) if known else ())
    )
    return SourceImages(
        volume=volume,
        study_uid=source.study_instance_uid,
        series_uid=source.series_instance_uid,
        frame_of_reference_uid=frame_of_reference,
        instances=tuple(Reference(sop_class_uid=kind, sop_instance_uid=uid) for uid in source.instances),
        slices=slices or (None,) * volume.n_slices,
    )


def stamp(
    result: CaseResult, volume: Volume, date: datetime | None, *, identified: bool, converted: bool = False
) -> ObjectMetadata:
    """Identifiers, date and patient for the objects of one series.

    Images that say that their patient's identity was removed, and state nothing to the contrary, keep their patient and
    study: whatever they name is no person, and an archive then files the objects beside them.

    Parameters
    ----------
    result, volume
        The case and its series' volume.
    date
        To write; None = the study's where the patient is kept, else ``RELEASED``.
    identified
        Whether the patient may be told.
    converted
        Whether the images were made here, from a file that is not DICOM: nothing is known of a patient.

    Raises
    ------
    OutputError
        If the patient is asked for and the first file is not there, or is another image now.
    """
    made_by = next((s.detection.source for s in result.series if s.volume.id == volume.id), OURS)
    identity, method, method_codes = _patient(result, volume, identified=identified, converted=converted)
    parts = (
        volume.source.series_instance_uid,
        *volume.source.instances,
        volume.source.sha256,
        result.settings_digest,
        repr(sorted(result.software.items())),
        repr((identified, date)),
        *(() if made_by.is_ours else (made_by.name, made_by.format, made_by.sha256)),
    )
    return ObjectMetadata(
        seed=hashlib.sha256("\n".join(parts).encode()).hexdigest(),
        moment=date or _study_moment(identity) or RELEASED,
        version=result.software.get("version", ""),
        settings_digest=result.settings_digest,
        identity=identity,
        deidentification=method,
        lesions_from="" if made_by.is_ours else sanitise(made_by.text)[:200],
        deidentification_codes=method_codes,
    )


def _patient(result: CaseResult, volume: Volume, *, identified: bool, converted: bool) -> _Patient:
    """Patient and study attributes, and how the identity was removed, in words and codes."""
    if converted:
        return _patient_of(volume)[0], None, ()
    if identified:
        return _patient_of(volume)
    with suppress(OutputError):  # it cannot be read again: nothing is taken from it
        found = _patient_of(volume)
        if found[1]:
            return found
    name = case_folder(result.case)
    codes = (BASIC_PROFILE, RETAIN_UIDS)
    return {"PatientName": f"{name[:63]}^", "PatientID": name}, "Nothing taken but geometry and UIDs", codes


def slice_header(source: SourceImages, metadata: ObjectMetadata, index: int = 0) -> Dataset:
    """Header of one slice as highdicom takes it: a single-frame image with nothing but what an object may copy.

    It is one for multi-frame images too: their own class would ask for all their frames.

    Raises
    ------
    GeometryError
        If rows and columns are not perpendicular, which DICOM cannot say.
    """
    from pydicom.dataset import Dataset

    volume = source.volume
    columns, rows = volume.in_plane_axes
    if abs(float(volume.grid.directions[:, columns] @ volume.grid.directions[:, rows])) > 1e-3:
        raise GeometryError("rows and columns are not perpendicular: DICOM cannot hold such a slice", where=volume.id)
    image = source.slices[index] or source.instances[0]
    header = Dataset()
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT_STORAGE if volume.modality is Modality.CT else MR_STORAGE,
        "SOPInstanceUID": image.sop_instance_uid,
        "StudyInstanceUID": source.study_uid,
        "SeriesInstanceUID": source.series_uid,
        "FrameOfReferenceUID": source.frame_of_reference_uid,
        "PositionReferenceIndicator": "",
        "Modality": str(volume.modality),
        **dict.fromkeys(_REQUIRED, ""),
        **metadata.identity,
        **plane_geometry(volume, index),
    }
    for keyword, value in values.items():
        setattr(header, keyword, value)
    header.Rows, header.Columns = source.plane_shape
    return header


def finish(dataset: Dataset, metadata: ObjectMetadata) -> None:
    """Replace clock and chance in an object that highdicom made, and say whether the patient was left out."""
    from pydicom.uid import UID

    day, time = metadata.moment.strftime("%Y%m%d"), metadata.moment.strftime("%H%M%S")
    dataset.InstanceCreationDate = dataset.ContentDate = day
    dataset.InstanceCreationTime = dataset.ContentTime = time
    for equipment in dataset.get("ContributingEquipmentSequence") or ():
        equipment.ContributionDateTime = day + time
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    dataset.file_meta.ImplementationVersionName = f"MILIARY_SEG {metadata.version}"[:16]
    if metadata.deidentification is None:
        return
    dataset.PatientIdentityRemoved = "YES" if metadata.deidentification else "NO"
    if metadata.deidentification:
        dataset.DeidentificationMethod = metadata.deidentification
    if metadata.deidentification_codes:
        dataset.DeidentificationMethodCodeSequence = [code_item(code) for code in metadata.deidentification_codes]


def code_item(code: Code) -> Dataset:
    """A code as an item of a sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def _patient_of(volume: Volume) -> _Patient:
    """Patient and study as the first image states them now, and how their identity was removed ('' = it was not).

    Values that are not well-formed are left out.
    """
    from pydicom import dcmread

    source = volume.source
    path = source.paths[0] if source.paths else ""
    method = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
    wanted = ["SOPInstanceUID", "PatientIdentityRemoved", *method, *_IDENTITY, *_EMPTIED]
    try:
        header = dcmread(path, force=True, stop_before_pixels=True, specific_tags=wanted)
        same = str(header.SOPInstanceUID) in source.instances
    except Exception as error:
        what = f"the patient cannot be read from the image again ({type(error).__name__})"
        raise OutputError(what, where=volume.id, todo="unpack the images, or leave --identified out") from error
    if not same:
        what = "the image is another one than was analysed"
        raise OutputError(what, where=volume.id, todo="leave the input where it is, or --identified out")
    stated = {keyword: sanitise(header.get(keyword) or "").strip() for keyword in _IDENTITY}
    kept = {k: text for k, text in stated.items() if _WELL_FORMED[_IDENTITY[k]].fullmatch(text)}
    removed = str(header.get("PatientIdentityRemoved") or "").strip().upper() == "YES"
    removed = removed and not any(str(header.get(keyword) or "").strip() for keyword in _EMPTIED)
    if not removed:
        return kept, "", ()
    said = sanitise(header.get("DeidentificationMethod") or "")[:64] or _METHOD_OF_SOURCE
    return kept, said, tuple(_codes(header.get("DeidentificationMethodCodeSequence") or ()))


def _codes(items: Iterable[Dataset]) -> Iterator[Code]:
    """Codes of a sequence, those that are incomplete left out."""
    from miliary_seg.report.dicom.codes import Code

    for item in items:
        parts = [sanitise(item.get(name) or "") for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")]
        if all(parts):
            yield Code(*parts)


def _study_moment(identity: dict[str, str]) -> datetime | None:
    """Date and time of the study, where the objects may hold them."""
    day, time = identity.get("StudyDate", ""), identity.get("StudyTime", "")
    try:
        return datetime.strptime(day + (time[:6] or "0").ljust(6, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
