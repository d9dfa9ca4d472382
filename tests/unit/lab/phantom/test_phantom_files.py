"""Phantoms written as DICOM series and NIfTI, read back by other programs."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - its own short name

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, OutputError
from miliary_seg.lab.phantom.scanner import rotation
from miliary_seg.lab.phantom.spec import ORIENTATIONS
from miliary_seg.report.dicom.images import SeriesText, write_series
from miliary_seg.report.volume_files import write_bytes, write_nifti, write_sidecar


def volume(orientation="LPS", slice_axis=2, turn=(5.0, -7.0, 11.0), low=0.0, high=900.0, **more) -> Volume:
    """Random voxels on an oblique grid with three different spacings."""
    sizes = [24, 22, 20]
    sizes[slice_axis] = 6
    shape = (sizes[0], sizes[1], sizes[2])
    unit = np.zeros((3, 3))
    for axis, letter in enumerate(orientation):
        unit["LRPAIS".index(letter) // 2, axis] = 1.0 if letter in "RAS" else -1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation(turn) @ unit @ np.diag([0.9, 1.1, 3.3])
    affine[:3, 3] = (12.5, -33.25, 7.125)
    voxels = np.random.default_rng(3).uniform(low, high, shape).astype(np.float32)
    return Volume(voxels=voxels, grid=Grid(shape=shape, affine=affine), slice_axis=slice_axis, **more)


def world_values(series: Path, points: np.ndarray) -> np.ndarray:
    """Value at RAS points, through SimpleITK: an independent way from files to the patient."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    image = reader.Execute()
    found = [image.TransformPhysicalPointToIndex((-x, -y, z)) for x, y, z in points.tolist()]
    return np.array([image[index] for index in found])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("slice_axis", [0, 2])
def test_every_voxel_lies_where_it_did(tmp_path, orientation, slice_axis):
    made = volume(orientation, slice_axis)
    series = write_series(made, tmp_path / "series")
    index = np.random.default_rng(1).integers(0, made.grid.shape, (40, 3))
    expected = np.rint(made.voxels[tuple(index.T)])
    assert np.array_equal(world_values(series, made.grid.to_ras_mm(index)), expected)


@pytest.mark.parametrize("compression", ["rle", "none"])
def test_tags_and_pixels_by_pydicom(tmp_path, compression):
    made = volume(slice_thickness_mm=3.0, sequence=SequenceEvidence(sequence=Sequence.T1C))
    text = SeriesText(date=dt.date(2020, 2, 29), description="T1 POST", series_number=7)
    folder = write_series(made, tmp_path / "series", text, compression=compression)
    files = sorted(folder.iterdir())
    assert [f.name for f in files] == [f"IM{n:04d}.dcm" for n in range(1, 7)]
    read = [pydicom.dcmread(f) for f in files]
    for k, one in enumerate(read):
        assert np.array_equal(one.pixel_array.T, np.rint(made.voxels[:, :, k]))
        assert np.array(one.ImagePositionPatient, float) * (-1, -1, 1) == pytest.approx(
            made.grid.to_ras_mm([0, 0, k]), abs=1e-4
        )
        assert one.StudyDate == one.ContentDate == "20200229"
        assert one.PatientName == "PHANTOM"
        assert one.ContrastBolusAgent == "GADOLINIUM"
        assert one.SliceThickness == 3.0
        assert float(one.SpacingBetweenSlices) == pytest.approx(3.3)
        assert one.SOPClassUID == one.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.4"
        assert one.SOPInstanceUID == one.file_meta.MediaStorageSOPInstanceUID
        assert one.file_meta.TransferSyntaxUID.is_compressed == (compression == "rle")
        assert one.PixelSpacing == [1.1, 0.9]
    assert len({one.SOPInstanceUID for one in read}) == 6
    assert len({one.SeriesInstanceUID for one in read}) == 1
    uids = [
        read[0][tag].value for tag in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
    ]
    assert len(set(uids)) == 4
    assert all(uid.is_valid and len(uid) <= 64 for uid in uids)


def test_equal_input_gives_equal_bytes_and_other_input_other_uids(tmp_path):
    first = write_series(volume(), tmp_path / "a")
    second = write_series(volume(), tmp_path / "b")
    other = write_series(volume(), tmp_path / "c", SeriesText(date=dt.date(2021, 1, 1)))
    for name in ("IM0001.dcm", "IM0006.dcm"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    uid = [pydicom.dcmread(folder / "IM0001.dcm").SeriesInstanceUID for folder in (first, other)]
    assert uid[0] != uid[1]


def test_ct_is_in_hounsfield_units(tmp_path):
    made = volume(low=-1000, high=2500, modality=Modality.CT, sequence=SequenceEvidence(sequence=Sequence.CTC))
    one = pydicom.dcmread(write_series(made, tmp_path / "ct") / "IM0002.dcm")
    assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert one.ContrastBolusAgent == "IODINE"
    assert "EchoTime" not in one
    hounsfield = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
    assert np.array_equal(hounsfield.T, np.rint(made.voxels[:, :, 1]))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-5.0, 5.0), (0.0, 1e6)])
def test_odd_ranges_survive_by_a_rescale(tmp_path, low, high):
    made = volume(low=low, high=high, sequence=SequenceEvidence(sequence=Sequence.FLAIR))
    one = pydicom.dcmread(write_series(made, tmp_path / "mr") / "IM0003.dcm")
    values = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
    assert pytest.approx(made.voxels[:, :, 2], abs=(high - low) / 30000) == values.T
    assert one.InversionTime == 2500


MADE_UP = {"MagneticFieldStrength", "InversionTime", "ConvolutionKernel", "AcquisitionTime", "SeriesTime"}
EMPTY = {"PatientSex", "PatientPosition", "StudyTime", "AcquisitionNumber"}


@pytest.mark.parametrize(
    ("modality", "sequence", "empty"),
    [
        (Modality.MR, Sequence.T1C, {"RepetitionTime", "EchoTime", "EchoTrainLength", "ContrastBolusAgent"}),
        (Modality.MR, Sequence.FLAIR, {"RepetitionTime", "EchoTime", "MRAcquisitionType", "ScanOptions"}),
        (Modality.CT, Sequence.CTC, {"KVP", "ContrastBolusAgent"}),
    ],
)
def test_a_conversion_makes_nothing_up(tmp_path, modality, sequence, empty):
    made = volume(modality=modality, sequence=SequenceEvidence(sequence=sequence))
    one = pydicom.dcmread(write_series(made, tmp_path / "a", SeriesText(synthetic=False)) / "IM0002.dcm")
    assert not {element.keyword for element in one} & MADE_UP
    assert {name for name in EMPTY | empty if name not in one or one[name].value not in (None, "")} == set()
    assert one.get("ScanningSequence", "RM") == "RM"


@pytest.mark.parametrize("modality", [Modality.MR, Modality.CT])
@pytest.mark.parametrize(("low", "high", "whole"), [(0.0, 300.0, False), (0, 900, True), (-3000, 3000, True)])
def test_a_conversion_keeps_its_values(tmp_path, modality, low, high, whole):
    made = volume(low=low, high=high, modality=modality)
    made = replace(made, voxels=np.rint(made.voxels)) if whole else made
    one = pydicom.dcmread(write_series(made, tmp_path / "a", SeriesText(synthetic=False)) / "IM0003.dcm")
    values = one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
    difference = np.abs(values.T - made.voxels[:, :, 2]).max()
    assert difference == 0 if whole else difference <= (high - low) / 65535


def test_what_cannot_be_written_is_refused(tmp_path):
    folder = write_series(volume(), tmp_path / "series")
    with pytest.raises(OutputError, match="exists"):
        write_series(volume(), folder)
    write_series(volume(high=500.0), folder, force=True)
    assert len(list(folder.iterdir())) == 6
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]
    skew = np.eye(4)
    skew[0, 1] = 0.3
    with pytest.raises(GeometryError, match="perpendicular"):
        write_series(Volume(voxels=np.ones((4, 4, 4)), grid=Grid(shape=(4, 4, 4), affine=skew)), tmp_path / "skew")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        write_series(volume(), tmp_path / "file" / "series")


def test_nifti_keeps_grid_and_values(tmp_path):
    made = volume(slice_axis=1)
    path = write_nifti(made, tmp_path / "deep" / "scan.nii.gz")
    read = nib.load(path)
    assert np.array_equal(np.asarray(read.dataobj), made.voxels)
    assert read.affine == pytest.approx(made.grid.affine, abs=1e-4)
    assert int(read.header["sform_code"]) == int(read.header["qform_code"]) == 1
    assert read.header.get_xyzt_units()[0] == "mm"
    assert read.header.get_dim_info()[2] == 1
    again = write_nifti(made, tmp_path / "again.nii.gz")
    assert again.read_bytes() == path.read_bytes()
    gzip.decompress(path.read_bytes())  # to the end, so that the checksum is looked at


def test_nifti_integers_and_labels(tmp_path):
    made = volume(high=200.0)
    read = nib.load(write_nifti(made, tmp_path / "a.nii", dtype="uint8"))
    assert read.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(read.dataobj), np.rint(made.voxels))
    labels = LabelMap(labels=np.full((24, 22, 6), 300), grid=made.grid)
    assert nib.load(write_nifti(labels, tmp_path / "l.nii.gz")).get_data_dtype() == np.uint16
    with pytest.raises(OutputError, match="fit"):
        write_nifti(labels, tmp_path / "m.nii.gz", dtype="uint8")
    with pytest.raises(OutputError, match="ends"):
        write_nifti(made, tmp_path / "m.img")
    with pytest.raises(OutputError, match="exists"):
        write_nifti(made, tmp_path / "a.nii")


def test_the_sidecar_says_what_the_header_cannot(tmp_path):
    made = volume(slice_thickness_mm=2.5, sequence=SequenceEvidence(sequence=Sequence.T1C))
    fields = json.loads(write_sidecar(made, tmp_path / "a.json").read_text())
    assert fields["SliceThickness"] == 2.5
    assert fields["ContrastBolusIngredient"] == "GADOLINIUM"
    plain = json.loads(write_sidecar(volume(), tmp_path / "b.json").read_text())
    assert "ContrastBolusIngredient" not in plain


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        write_bytes(tmp_path / "file" / "a.json", b"{}")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


SAMPLES = Path(__file__).resolve().parents[4] / "sample_data"


def test_the_samples_are_what_their_answers_say():
    answers = json.loads((SAMPLES / "reference_answers.json").read_text())
    series, nifti = sorted(answers, key=lambda name: answers[name]["verdict"])
    files = sorted((SAMPLES / series).iterdir())
    assert len(files) == len(answers[series]["slice_counts"])
    positions = [float(pydicom.dcmread(f, stop_before_pixels=True).ImagePositionPatient[2]) for f in files]
    assert positions == pytest.approx(answers[series]["slice_positions_mm"])
    assert sum(n > 25 for n in answers[series]["slice_counts"]) >= 5
    assert min(n for name, n in answers[series]["compartment_counts"].items() if name != "unassigned") > 20
    assert answers[nifti]["n_lesions"] == 0
    assert answers[nifti]["n_mimics"] > 40
    assert nib.load(SAMPLES / nifti).shape[2] == len(answers[nifti]["slice_counts"])
    assert sum(f.stat().st_size for f in SAMPLES.rglob("*")) < 6e6
