"""DICOM files into series: what each file is, and for every stack of a series why it is used or not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from miliary_seg.domain.sequence import Modality
from miliary_seg.errors import MiliaryError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load.archive import open_file
from miliary_seg.load.dicom.agent import agent_stated
from miliary_seg.load.dicom.codestream import LOSSY, MAY_LOSE, loses
from miliary_seg.load.dicom.enhanced import enhanced_planes
from miliary_seg.load.dicom.header import (
    Header,
    first_item,
    items,
    number,
    quiet_pydicom,
    read_header,
    text,
    tokens,
    whole,
)
from miliary_seg.load.dicom.planes import Plane, classic_plane, pixel_layout, sop_class
from miliary_seg.load.dicom.tiled import is_mosaic, mosaic_planes, uih_planes
from miliary_seg.load.dicom.traits import b_value
from miliary_seg.load.file_boundary import file_boundary
from miliary_seg.load.sequence import Clues

_MR = "1.2.840.10008.5.1.4.1.1.4"
_CT = "1.2.840.10008.5.1.4.1.1.2"
IMAGE_CLASSES = {
    _MR: Modality.MR,
    f"{_MR}.1": Modality.MR,
    f"{_MR}.4": Modality.MR,
    _CT: Modality.CT,
    f"{_CT}.1": Modality.CT,
    f"{_CT}.2": Modality.CT,
}
"""SOP classes of acquired MR and CT images: classic, enhanced, legacy converted (PS3.4 B.5)."""
_DICOMDIR = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomImage:
    """What the header of one MR or CT file says; UIDs and free text for grouping, never for messages."""

    path: Path
    patient: str
    """Digest of PatientID, to tell patients apart without holding on to who they are."""
    person: tuple[str, ...]
    """Digests of sex and birth date ('' where not stated): people who share one constant, anonymous PatientID."""
    examined: tuple[str, ...]
    """Digests of name, age and weight, which one examination states alike in all images of a series."""
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    sop_instance_uid: str
    series_number: int | None
    modality: Modality
    image_type: tuple[str, ...]
    clues: Clues
    identity: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """Words of the patient's name and number, only to keep them out of case names."""
    lossy: bool = False
    images_in_acquisition: int = 0
    """As stated; 0 = not stated."""
    planes: tuple[Plane, ...] = ()
    error: MiliaryError | None = field(default=None, compare=False)
    """Why its pixels may not be used; then it stands against its whole series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAnImage:
    """A DICOM file that holds no acquired MR or CT image."""

    path: Path
    reason: str


SeriesFacts = dict[tuple[str, ...], tuple[Clues, frozenset[str]]]
"""What all files of a series say alike, by series, image type and contrast agent: worked out for the first one."""


def read_image(path: Path, known: SeriesFacts | None = None) -> DicomImage | NotAnImage:
    """Read one DICOM header.

    ``known`` is filled and used for what the files of one series say alike.

    Raises
    ------
    MiliaryError
        If the file looks like DICOM but cannot be read, and does not even say to which series it belongs.
    """
    header = read_header(path)
    with file_boundary(path, "read the DICOM header"), quiet_pydicom():
        return _described(header, {} if known is None else known)


def _described(header: Header, known: SeriesFacts) -> DicomImage | NotAnImage:
    dataset, path = header.dataset, header.path
    kind_uid = sop_class(dataset)
    modality_said = text(dataset, "Modality").upper()
    if kind_uid == _DICOMDIR or items(dataset, "DirectoryRecordSequence"):
        return NotAnImage(path=path, reason="a DICOMDIR: a list of files, not an image")
    if kind_uid and kind_uid not in IMAGE_CLASSES:
        return NotAnImage(path=path, reason=f"{_class_name(kind_uid)}: not an acquired MR or CT image")
    modality = IMAGE_CLASSES.get(kind_uid) or {"MR": Modality.MR, "CT": Modality.CT}.get(modality_said)
    if modality is None or (kind_uid and modality_said not in ("", "MR", "CT")):
        if header.pixel_tag == 0 and not modality_said:
            raise UnreadableFileError(
                "a DICOM file without image or type: cut short?", where=path, todo="copy it again"
            )
        kind = re.sub(r"[^A-Z]", "", modality_said)[:8]
        return NotAnImage(path=path, reason=f"modality {kind or 'not stated'}: not MR or CT")
    return _image(header, modality, known)


def _class_name(uid: str) -> str:
    known = UID(uid)
    return known.name if known.name != uid else "an unknown or private SOP class"


def _image(header: Header, modality: Modality, known: SeriesFacts) -> DicomImage:
    dataset = header.dataset
    planes: tuple[Plane, ...] = ()
    error: MiliaryError | None = None
    try:
        _refuse_two_modalities(header, modality)
        planes = tuple(_planes(header))
        for plane in planes:
            plane.check()
    except MiliaryError as problem:
        planes, error = (), problem
    series_number = number(dataset, "SeriesNumber")
    clues, identity = _series_facts(dataset, modality, known)
    return DicomImage(
        path=header.path,
        patient=_digest(text(dataset, "PatientID")),
        person=_person(dataset),
        examined=_examined(dataset),
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        series_number=None if series_number is None else int(series_number),
        modality=modality,
        image_type=clues.image_type,
        clues=clues,
        identity=identity,
        lossy=_lossy(header),
        images_in_acquisition=whole(dataset, "ImagesInAcquisition"),
        planes=planes,
        error=error,
    )


def _refuse_two_modalities(header: Header, modality: Modality) -> None:
    """CT is judged by HU and by another diameter than MR: a file that says both is neither."""
    said = text(header.dataset, "Modality").upper()
    if said in ("MR", "CT") and said != modality:
        what = f"Modality says {said}, the SOP class {modality}"
        raise UnsuitableImageError(what, where=header.path, todo="export the series again")


_FIRST_BYTES = 4096
"""A code stream says how it was made in its first kilobyte."""


def _lossy(header: Header) -> bool:
    """By the attribute, the transfer syntax, or the code stream itself."""
    if text(header.dataset, "LossyImageCompression") == "01" or header.transfer_syntax in LOSSY:
        return True
    if header.transfer_syntax not in MAY_LOSE or header.packing:
        return False
    with open_file(header.path) as file:
        file.seek(header.pixel_offset)
        start = file.read(_FIRST_BYTES)
    found = [at for at in (start.find(b"\xff\x4f\xff\x51"), start.find(b"\xff\xd8\xff")) if at >= 0]
    return bool(found) and loses(start[min(found) :])


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:16]


def _person(dataset: Any) -> tuple[str, ...]:
    """Sex and birth date as digests; what no person has (``O``, an empty or malformed date) says nothing."""
    sex, born = text(dataset, "PatientSex").upper(), text(dataset, "PatientBirthDate")
    facts = (sex if sex in ("M", "F") else "", born if len(born) == 8 and born.isdigit() else "")
    return tuple(_digest(fact) if fact else "" for fact in facts)


def _examined(dataset: Any) -> tuple[str, ...]:
    """Name, age and weight as digests; however the name is written (``Roe^Jane``, ``ROE JANE``)."""
    name = "".join(sorted(c for c in text(dataset, "PatientName").casefold() if c.isalnum()))
    age, weight = text(dataset, "PatientAge").upper(), number(dataset, "PatientWeight")
    facts = (name, age.lstrip("0"), f"{weight:.0f}" if weight else "")
    return tuple(_digest(fact) if fact else "" for fact in facts)


def _series_facts(dataset: Any, modality: Modality, known: SeriesFacts) -> tuple[Clues, frozenset[str]]:
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "ImageType", "SeriesDescription", "ProtocolName",
                "SequenceName", "ScanningSequence", "PatientID")  # fmt: skip
    key = (*(text(dataset, keyword) for keyword in keywords), str(agent_stated(dataset)), str(modality))
    alike = key[1] and not items(dataset, "PerFrameFunctionalGroupsSequence")
    if not alike:
        return _clues(dataset, modality), _identity(dataset)
    if key not in known:
        known[key] = _clues(dataset, modality), _identity(dataset)
    return known[key]


def _identity(dataset: Any) -> frozenset[str]:
    words = [text(dataset, "PatientID"), *re.split(r"[\^=\s]+", text(dataset, "PatientName"))]
    plain = ("".join(c for c in word.lower() if c.isalnum()) for word in words)
    return frozenset(word for word in plain if len(word) >= 3)


def _planes(header: Header) -> Many[Plane]:
    layout = pixel_layout(header)
    if items(header.dataset, "PerFrameFunctionalGroupsSequence"):
        return enhanced_planes(header, layout)
    plane = classic_plane(header, layout)
    if layout.n_frames > 1:
        raise UnreadableFileError(
            f"{layout.n_frames} frames without functional groups that place them",
            where=header.path,
            todo="export again",
        )
    if is_mosaic(header.dataset):
        return mosaic_planes(plane, header.dataset)
    return uih_planes(plane, header.dataset) or [plane]


def _image_type(dataset: Any) -> tuple[str, ...]:
    """ImageType, with the frame type of the first frame of an enhanced object."""
    frames = [(items(dataset, f"{x}FunctionalGroupsSequence") or [None])[0] for x in ("PerFrame", "Shared")]
    for name in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence"):
        item = first_item(*frames, name)
        if item is not None:
            return (*tokens(dataset, "ImageType"), *tokens(item, "FrameType"))
    return tokens(dataset, "ImageType")


def _clues(dataset: Any, modality: Modality) -> Clues:
    frames = [(items(dataset, f"{x}FunctionalGroupsSequence") or [None])[0] for x in ("PerFrame", "Shared")]

    def timing(keyword: str, sequence: str, inner: str = "") -> float | None:
        value = number(dataset, keyword)
        if value is not None:
            return value
        item = first_item(*frames, sequence)
        return None if item is None else number(item, inner or keyword)

    timing_sequence = "MRTimingAndRelatedParametersSequence"
    return Clues(
        modality=modality,
        words=" | ".join(text(dataset, k) for k in ("SeriesDescription", "ProtocolName", "SequenceName")),
        contrast_agent=agent_stated(dataset),
        acquisition_contrast=_acquisition_contrast(dataset, frames),
        image_type=_image_type(dataset),
        scanning_sequence=_scanning_sequence(dataset),
        repetition_time_ms=timing("RepetitionTime", timing_sequence),
        echo_time_ms=timing("EchoTime", "MREchoSequence", "EffectiveEchoTime"),
        inversion_time_ms=timing("InversionTime", "MRModifierSequence", "InversionTimes"),
        flip_angle_deg=timing("FlipAngle", timing_sequence),
        b_value=timing("DiffusionBValue", "MRDiffusionSequence") if frames[0] is not None else b_value(dataset),
    )


def _acquisition_contrast(dataset: Any, frames: list[Any]) -> str:
    stated = text(dataset, "AcquisitionContrast").upper()
    if stated:
        return stated
    item = first_item(*frames, "MRImageFrameTypeSequence")
    return "" if item is None else text(item, "AcquisitionContrast").upper()


def _scanning_sequence(dataset: Any) -> tuple[str, ...]:
    """ScanningSequence, or its terms for an enhanced object (EchoPulseSequence, EchoPlanarPulseSequence)."""
    classic = tokens(dataset, "ScanningSequence")
    if classic:
        return classic
    terms = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(text(dataset, "EchoPulseSequence"), ())
    return (*terms, "EP") if text(dataset, "EchoPlanarPulseSequence") == "YES" else terms
