"""Series that SimpleITK's own reader reads right must come out the same here: voxels and every corner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miliary_seg.load import read_array

SimpleITK: Any = pytest.importorskip("SimpleITK")
pydicom = pytest.importorskip("pydicom")


def write_series(folder: Path, cosines: np.ndarray, *, signed: bool) -> None:
    """Seven slices of an oblique block."""
    rng = np.random.default_rng(4)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(7):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{k}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        ds = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.9", "1.9.1", "1.9.2"
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.PatientID = "CT", 1, 7 - k, "x"
        ds.ImagePositionPatient = [round(float(x), 6) for x in np.array([-31.0, 12.0, 5.0]) + k * 2.5 * cosines[2]]
        ds.ImageOrientationPatient = [round(float(x), 9) for x in [*cosines[0], *cosines[1]]]
        ds.PixelSpacing, ds.SliceThickness = [0.7, 0.9], 2.5
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 16, 20, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        values = rng.integers(-900 if signed else 0, 3000, (16, 20)).astype(np.int16 if signed else np.uint16)
        ds.PixelData = values.tobytes()
        ds["PixelData"].VR = "OW"
        ds.save_as(folder / f"{(k * 3) % 7}.dcm", enforce_file_format=True)


def rotated(angles: tuple[float, float, float]) -> np.ndarray:
    cosines = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        turn = np.eye(3)
        a, b = [x for x in range(3) if x != axis]
        turn[[a, a, b, b], [a, b, a, b]] = [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]
        cosines = cosines @ turn
    return cosines


@pytest.mark.parametrize("angles", [(0, 0, 0), (11, -7, 4), (90, 0, 0), (0, 90, 90), (170, 5, -80)])
@pytest.mark.parametrize("signed", [True, False])
def test_same_voxels_in_the_same_places(tmp_path: Path, angles: tuple[float, float, float], signed: bool) -> None:
    write_series(tmp_path, rotated(angles), signed=signed)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    voxels, affine = read_array(tmp_path)
    theirs = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    for corner in np.ndindex(2, 2, 2):
        index = [int(c * (n - 1)) for c, n in zip(corner, theirs.shape, strict=True)]
        world = np.array([-1, -1, 1]) * image.TransformIndexToPhysicalPoint(index)
        ijk = np.linalg.inv(affine) @ [*world, 1]
        nearest = np.rint(ijk[:3]).astype(int)
        assert np.abs(affine @ [*nearest, 1] - [*world, 1]).max() < 0.01
        assert voxels[tuple(nearest)] == theirs[tuple(index)]
    assert np.sort(voxels, axis=None).tolist() == np.sort(theirs, axis=None).astype(np.float32).tolist()
