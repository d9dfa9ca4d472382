"""A volume as a classic DICOM series: one MR or CT file a slice.

For phantoms and samples (``synthetic``), which look as a scanner's files do, so that the whole way from DICOM to a
decision can be walked with a scan that is nobody's; and for conversions, which state nothing of the acquisition.
UIDs follow from the voxels and the text, dates are arguments: equal input gives equal files, byte for byte.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import GeometryError, OutputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

CT_INTERCEPT_HU = -1024.0
"""Stored 0 is -1024 HU, as scanners write it."""
MAX_STORED = 65535
DIRECT_RANGE = (200.0, 32767.0)
"""MR volumes whose largest value lies here are stored as rounded values without a rescale."""
PARAMETERS: dict[Sequence, tuple[list[str], list[str], str, float, float, float | None]] = {
    Sequence.T1: (["SE"], ["SK"], "2D", 500.0, 10.0, None),
    Sequence.T1C: (["SE"], ["SK"], "2D", 500.0, 10.0, None),
    Sequence.T2: (["SE"], ["SK"], "2D", 4500.0, 100.0, None),
    Sequence.FLAIR: (["SE", "IR"], ["SK"], "2D", 9000.0, 120.0, 2500.0),
    Sequence.DWI: (["EP", "SE"], ["NONE"], "2D", 5000.0, 85.0, None),
    Sequence.ADC: (["EP", "SE"], ["NONE"], "2D", 5000.0, 85.0, None),
    Sequence.SWI: (["GR"], ["SP"], "3D", 28.0, 20.0, None),
    Sequence.T2STAR: (["GR"], ["SP"], "2D", 600.0, 20.0, None),
    Sequence.PD: (["SE"], ["SK"], "2D", 3000.0, 15.0, None),
}
"""ScanningSequence, SequenceVariant, MRAcquisitionType, RepetitionTime, EchoTime, InversionTime (ms), as usual."""


_UNKNOWN_CT: dict[str, Any] = {"KVP": None, "RescaleType": "HU"}
_UNKNOWN_MR: dict[str, Any] = {
    "ScanningSequence": "RM",
    "SequenceVariant": "NONE",
    **dict.fromkeys(("ScanOptions", "MRAcquisitionType"), ""),
    **dict.fromkeys(("RepetitionTime", "EchoTime", "EchoTrainLength"), None),
}
"""Of an unknown acquisition: type 2 attributes empty; those that must have a value (PS3.3 C.8.3.1) say as
little as they can (``RM``, research mode)."""


def acquisition(volume: Volume, contrast_agent: str, *, synthetic: bool) -> dict[str, Any]:
    """Attributes of the acquisition: as usual for a phantom's sequence, none made up for a scan."""
    sequence = volume.sequence.sequence
    if not synthetic:
        contrast = {"ContrastBolusAgent": ""} if sequence in {Sequence.T1C, Sequence.CTC} else {}
        return contrast | (_UNKNOWN_CT if volume.modality is Modality.CT else _UNKNOWN_MR)
    agent = contrast_agent or {Sequence.T1C: "GADOLINIUM", Sequence.CTC: "IODINE"}.get(sequence, "")
    values: dict[str, Any] = {"ContrastBolusAgent": agent} if agent else {}
    if volume.modality is Modality.CT:
        return values | {"KVP": "120", "RescaleType": "HU", "ConvolutionKernel": "PHANTOM"}
    scanning, variant, kind, repetition, echo, inversion = PARAMETERS.get(sequence, PARAMETERS[Sequence.T1])
    values |= {
        "ScanningSequence": scanning,
        "SequenceVariant": variant,
        "ScanOptions": "",
        "MRAcquisitionType": kind,
        "RepetitionTime": f"{repetition:g}",
        "EchoTime": f"{echo:g}",
        "EchoTrainLength": 1,
        "MagneticFieldStrength": "3",
    }
    return values | ({} if inversion is None else {"InversionTime": f"{inversion:g}"})


def stored_values(volume: Volume, *, synthetic: bool) -> tuple[np.ndarray[Any, np.dtype[np.uint16]], float, float]:
    """Unsigned 16-bit values with the slope and intercept that lead back."""
    voxels = volume.voxels.astype(np.float64)
    low, high = float(voxels.min()), float(voxels.max())
    is_ct = volume.modality is Modality.CT
    if not synthetic:
        slope, intercept = _kept_values(voxels, CT_INTERCEPT_HU if is_ct else 0.0)
    elif is_ct:
        slope, intercept = 1.0, CT_INTERCEPT_HU
    elif low >= 0 and DIRECT_RANGE[0] <= high <= DIRECT_RANGE[1]:
        slope, intercept = 1.0, 0.0
    else:
        slope, intercept = max((high - low) / DIRECT_RANGE[1], 1e-12), low
    whole = np.clip(np.rint((voxels - intercept) / slope), 0, MAX_STORED)
    return whole.astype(np.uint16), slope, intercept


def _kept_values(voxels: Float64Array, usual: float) -> tuple[float, float]:
    """Slope and intercept that keep whole numbers as they are, and others to 1/65535 of their range."""
    low, high = float(voxels.min()), float(voxels.max())
    intercept = usual if low >= usual and high - usual <= MAX_STORED else low
    if high - intercept <= MAX_STORED and np.array_equal(voxels, np.rint(voxels)):
        return 1.0, intercept
    return (high - low) / MAX_STORED or 1.0, low


RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
MR_STORAGE, CT_STORAGE = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"
IMPLEMENTATION_UID = "2.25.279061837285341917243905523419263120371"
_IDENTIFYING = ("date", "description", "protocol", "patient_id", "series_number", "contrast_agent")
"""Texts that tell one series from another: its UIDs follow from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesText:
    """What the files say besides voxels and geometry."""

    date: dt.date = dt.date(2000, 1, 1)
    """Study, series and content date."""
    description: str = "PHANTOM"
    """SeriesDescription."""
    protocol: str = "PHANTOM"
    patient_id: str = "PHANTOM"
    series_number: int = 1
    contrast_agent: str = ""
    """ContrastBolusAgent; empty = for phantoms by sequence (see ``dicom_values``), else absent."""
    patient_name: str = "PHANTOM"
    study: str = "PHANTOM, synthetic, no patient"
    """StudyDescription."""
    model: str = "phantom"
    """ManufacturerModelName."""
    image_type: str = "PRIMARY"
    """Second value of ImageType."""
    deidentification: str = "synthetic"
    """DeidentificationMethod."""
    derivation: str = "computed from an average brain; shows no person"
    """DerivationDescription."""
    synthetic: bool = True
    """Whether nothing was measured: then acquisition values as usual are made up, and MR and CT values are rounded as
    a scanner stores them. Else what is not known stays empty, and values are kept (see ``dicom_values``)."""


def write_series(
    volume: Volume,
    folder: str | Path,
    text: SeriesText | None = None,
    *,
    compression: Literal["rle", "none"] = "rle",
    force: bool = False,
) -> Path:
    """Write one file a slice into a folder.

    Parameters
    ----------
    volume
        MR, or CT in HU. Slices go along ``volume.slice_axis``; rows and columns keep their directions, so that reading
        the series back gives the same voxels at the same places.
    folder
        New folder; it appears complete or not at all.
    text
        Names, dates and descriptions.
    compression
        ``rle`` = RLE Lossless (pydicom needs no further library for it), ``none`` = Explicit VR Little Endian.
    force
        Replace an existing folder.

    Returns
    -------
    Path
        The folder, with ``IM0001.dcm`` ... in index order along the slice axis.

    Raises
    ------
    OutputError
        If the folder exists or cannot be written.
    GeometryError
        If rows and columns are not perpendicular, which DICOM cannot say.
    """
    text = text or SeriesText()
    folder = Path(folder)
    if folder.exists() and not force:
        raise OutputError("the folder exists already", where=folder, todo="choose another name, or --force")
    columns, rows = volume.in_plane_axes
    if abs(float(volume.grid.directions[:, columns] @ volume.grid.directions[:, rows])) > 1e-4:
        raise GeometryError("rows and columns are not perpendicular: DICOM cannot hold such a slice", where=volume.id)
    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for number, dataset in enumerate(_datasets(volume, text, compression), start=1):
            dataset.save_as(temporary / f"IM{number:04d}.dcm", enforce_file_format=True)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        with suppress(OSError):
            shutil.rmtree(temporary)
        raise OutputError(f"cannot write ({error.strerror or error})", where=folder) from error
    return folder


def _datasets(volume: Volume, text: SeriesText, compression: str) -> Iterator[FileDataset]:
    from pydicom.uid import RLELossless

    stored, slope, intercept = stored_values(volume, synthetic=text.synthetic)
    uids = _Uids(volume, text)
    for index in range(volume.n_slices):
        dataset = _header(volume, text, uids, index)
        pixels = np.ascontiguousarray(np.take(stored, index, axis=volume.slice_axis).T)
        _set_pixels(dataset, pixels, slope, intercept, volume.modality)
        if compression == "rle":
            dataset.compress(RLELossless, generate_instance_uid=False)
        yield dataset


class _Uids:
    """2.25 UIDs from a digest of the content."""

    def __init__(self, volume: Volume, text: SeriesText) -> None:
        digest = hashlib.sha256(volume.voxels.tobytes())
        digest.update(volume.grid.affine.tobytes())
        said = [(name, value) for name, value in asdict(text).items() if name in _IDENTIFYING]
        digest.update(repr((volume.id, volume.slice_axis, sorted(said, key=str))).encode())
        self.seed = digest.hexdigest()

    def of(self, role: str) -> str:
        return derived_uid(self.seed, role)


def derived_uid(seed: str, role: str) -> str:
    """A UID of the 2.25 root (PS3.5 B.2) that follows from a seed and a role: equal text gives equal UIDs."""
    return f"2.25.{int(hashlib.sha256(f'{seed}/{role}'.encode()).hexdigest()[:32], 16)}"


def _header(volume: Volume, text: SeriesText, uids: _Uids, index: int) -> FileDataset:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    is_ct = volume.modality is Modality.CT
    instance = uids.of(f"instance {index}")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(CT_STORAGE if is_ct else MR_STORAGE)
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    instance_values = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": instance,
        "InstanceNumber": index + 1,
    }
    values = (
        instance_values
        | _words(volume, text, uids)
        | plane_geometry(volume, index)
        | acquisition(volume, text.contrast_agent, synthetic=text.synthetic)
    )
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _words(volume: Volume, text: SeriesText, uids: _Uids) -> dict[str, Any]:
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["DERIVED", text.image_type, "AXIAL" if volume.modality is Modality.CT else "OTHER"],
        "StudyInstanceUID": uids.of("study"),
        "SeriesInstanceUID": uids.of("series"),
        "FrameOfReferenceUID": uids.of("frame of reference"),
        **_times(text),
        **dict.fromkeys(
            ("AccessionNumber", "ReferringPhysicianName", "PatientBirthDate", "PositionReferenceIndicator"), ""
        ),
        "Modality": str(volume.modality),
        "Manufacturer": "miliary-seg",
        "ManufacturerModelName": text.model,
        "StudyDescription": text.study,
        "SeriesDescription": text.description,
        "ProtocolName": text.protocol,
        "PatientName": text.patient_name,
        "PatientID": text.patient_id,
        "PatientSex": "O" if text.synthetic else "",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": text.deidentification,
        "DerivationDescription": text.derivation,
        "BodyPartExamined": "BRAIN",
        "PatientPosition": "HFS" if text.synthetic else "",
        "StudyID": "1",
        "SeriesNumber": text.series_number,
        "AcquisitionNumber": 1 if text.synthetic else None,
        "BurnedInAnnotation": "NO",
        "ContentQualification": "RESEARCH",
    }


def _times(text: SeriesText) -> dict[str, str]:
    """Dates; and times, which of a conversion nobody knows."""
    day = text.date.strftime("%Y%m%d")
    if not text.synthetic:
        return {"StudyDate": day, "ContentDate": day, "StudyTime": "", "ContentTime": ""}
    kinds = ("Study", "Series", "Acquisition", "Content")
    return {f"{kind}Date": day for kind in kinds} | {f"{kind}Time": "120000" for kind in kinds}


def plane_geometry(volume: Volume, index: int) -> dict[str, Any]:
    """Attributes that place one slice (LPS+ mm): rows run along the higher in-plane voxel axis."""
    columns, rows = volume.in_plane_axes
    corner = np.zeros(3)
    corner[volume.slice_axis] = index
    directions = volume.grid.directions * RAS_TO_LPS[:, None]
    position = volume.grid.to_ras_mm(corner) * RAS_TO_LPS
    normal = np.cross(directions[:, columns], directions[:, rows])
    spacing = volume.grid.spacing_mm
    return {
        "ImagePositionPatient": _decimals(position),
        "ImageOrientationPatient": _decimals(np.concatenate([directions[:, columns], directions[:, rows]])),
        "PixelSpacing": _decimals(np.array([spacing[rows], spacing[columns]])),
        "SliceThickness": _decimals(np.array([volume.thickness_mm]))[0],
        "SpacingBetweenSlices": _decimals(np.array([volume.slice_spacing_mm]))[0],
        "SliceLocation": _decimals(np.array([position @ normal]))[0],
    }


def _decimals(values: Float64Array) -> list[str]:
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(v) + 0.0) for v in values]


def _set_pixels(
    dataset: Dataset, pixels: np.ndarray[Any, np.dtype[np.uint16]], slope: float, intercept: float, modality: Modality
) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    if modality is Modality.CT or (slope, intercept) != (1.0, 0.0):
        dataset.RescaleSlope, dataset.RescaleIntercept = _decimals(np.array([slope, intercept]))
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
