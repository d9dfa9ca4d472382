"""Small DICOM series, made attribute by attribute, so that the truth does not come from the loader."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

MR, CT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ROW, COLUMN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


@dataclass
class Series:
    """What a series of slices is made of; the defaults are a plain axial T1."""

    n: int = 5
    rows: int = 6
    columns: int = 8
    origin: tuple[float, float, float] = (-20.0, -30.0, 10.0)
    row: tuple[float, ...] = ROW
    column: tuple[float, ...] = COLUMN
    step: tuple[float, float, float] = (0.0, 0.0, 3.0)
    spacing: tuple[float, float] = (0.5, 0.75)
    attributes: dict[str, Any] = field(default_factory=dict)
    study: str = "1.2.3"
    series: str = "1.2.3.4"
    sop_class: str = MR
    syntax: str = ExplicitVRLittleEndian
    seed: int = 0

    def stored(self) -> np.ndarray:
        """Stored values (slice, row, column)."""
        return np.random.default_rng(self.seed).integers(1, 4000, (self.n, self.rows, self.columns)).astype(np.uint16)

    def affine(self) -> np.ndarray:
        """RAS affine by the definition of PS3.3 C.7.6.2.1.1, by hand."""
        lps = np.eye(4)
        lps[:3, 0] = np.array(self.row) * self.spacing[1]
        lps[:3, 1] = np.array(self.column) * self.spacing[0]
        lps[:3, 2] = self.step
        lps[:3, 3] = self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps

    def datasets(self) -> list[FileDataset]:
        """One data set a slice."""
        stored = self.stored()
        return [self._slice(k, stored[k]) for k in range(self.n)]

    def _slice(self, k: int, pixels: np.ndarray) -> FileDataset:
        ds = blank(self.sop_class, f"{self.series}.{k + 1}", self.syntax)
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = self.study, self.series, "1.2.9"
        ds.PatientID, ds.PatientName = "P-4711", "Roe^Jane"
        ds.Modality = "CT" if self.sop_class == CT else "MR"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = 3, k + 1, "t1_mprage_sag"
        ds.ImagePositionPatient = [float(x) for x in np.array(self.origin) + k * np.array(self.step)]
        ds.ImageOrientationPatient = [*self.row, *self.column]
        ds.PixelSpacing, ds.SliceThickness = list(self.spacing), 2.5
        image(ds, pixels)
        for keyword, value in self.attributes.items():
            setattr(ds, keyword, value)
        return ds


def blank(sop_class: str, uid: str, syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, uid
    meta.TransferSyntaxUID = syntax
    big, implicit = syntax == "1.2.840.10008.1.2.2", syntax == "1.2.840.10008.1.2"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=implicit, is_little_endian=not big)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    return ds


def image(ds: FileDataset, pixels: np.ndarray) -> None:
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"


def write(folder: Path, datasets: list[FileDataset], names: list[str] | None = None) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / (names[k] if names else f"im{k:03d}.dcm") for k in range(len(datasets))]
    for path, ds in zip(paths, datasets, strict=True):
        ds.save_as(path, enforce_file_format=bool(ds.file_meta.get("TransferSyntaxUID")))
    return paths


def item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, Sequence([value]) if keyword.endswith("Sequence") else value)
    return ds


class Kit:
    """What the tests build with."""

    Series, MR, CT, ENHANCED_MR = Series, MR, CT, ENHANCED_MR
    write, blank, image, item = staticmethod(write), staticmethod(blank), staticmethod(image), staticmethod(item)


@pytest.fixture
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def head() -> np.ndarray:
    """A small image (i, j, k) with many grey values."""
    return np.random.default_rng(1).integers(0, 3000, (12, 10, 8)).astype(np.int16)
