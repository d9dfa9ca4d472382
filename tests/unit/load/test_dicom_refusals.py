"""What a series is refused for: the kind of error, and that it names the place."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miliary_seg.errors import (
    AmbiguousInputError,
    GeometryError,
    MiliaryError,
    NoImageError,
    UnreadableFileError,
    UnsuitableImageError,
)
from miliary_seg.load import find_cases, load_study, read_array

Change = Callable[[list[Any]], None]


def _set(keyword: str, value: Any, slices: slice = slice(None)) -> Change:
    def change(datasets: list[Any]) -> None:
        for ds in datasets[slices]:
            setattr(ds, keyword, value)

    return change


def _drop(keyword: str, slices: slice = slice(None)) -> Change:
    def change(datasets: list[Any]) -> None:
        for ds in datasets[slices]:
            delattr(ds, keyword)

    return change


def _move(index: int, by: tuple[float, float, float]) -> Change:
    def change(datasets: list[Any]) -> None:
        ds = datasets[index]
        ds.ImagePositionPatient = [a + b for a, b in zip(ds.ImagePositionPatient, by, strict=True)]

    return change


def _turn(datasets: list[Any]) -> None:
    """Three directions under one series UID."""
    for ds, axes in zip(datasets, [(0, 1), (1, 2), (0, 2), (0, 1), (1, 2)], strict=True):
        cosines = np.zeros(6)
        cosines[axes[0]], cosines[3 + axes[1]] = 1, 1
        ds.ImageOrientationPatient = list(cosines)


REFUSED: list[tuple[str, Change, type[MiliaryError], str]] = [
    ("no position", _drop("ImagePositionPatient"), GeometryError, "ImagePositionPatient"),
    ("one without position", _drop("ImagePositionPatient", slice(2, 3)), GeometryError, "im002"),
    ("no orientation", _drop("ImageOrientationPatient"), GeometryError, "ImageOrientationPatient"),
    ("no spacing", _drop("PixelSpacing"), GeometryError, "PixelSpacing"),
    ("zero spacing", _set("PixelSpacing", [0, 0]), GeometryError, "PixelSpacing"),
    ("huge spacing", _set("PixelSpacing", [1e4, 1e4]), GeometryError, "range"),
    ("no unit vectors", _set("ImageOrientationPatient", [1, 0, 0, 0, 2, 0]), GeometryError, "perpendicular"),
    ("not perpendicular", _set("ImageOrientationPatient", [1, 0, 0, 0.6, 0.8, 0]), GeometryError, "perpendicular"),
    ("missing slice", lambda datasets: datasets.pop(2), GeometryError, "missing at index 2"),
    ("uneven slices", _move(2, (0, 0, 1.2)), GeometryError, "uneven"),
    ("sideways", _move(2, (4, 0, 0)), GeometryError, "straight line"),
    ("staircase", lambda d: [_move(k, (20.0 * k, 0, 0))(d) for k in range(5)], GeometryError, "displaced"),
    ("inverted grey values", _set("PhotometricInterpretation", "MONOCHROME1"), UnsuitableImageError, "MONOCHROME1"),
    ("palette", _set("PhotometricInterpretation", "PALETTE COLOR"), UnsuitableImageError, "not grey"),
    ("colour", _set("SamplesPerPixel", 3), UnsuitableImageError, "not grey"),
    ("slope 0", _set("RescaleSlope", 0), UnsuitableImageError, "RescaleSlope"),
    ("too many bits", _set("BitsStored", 17), UnsuitableImageError, "BitsStored"),
    ("odd words", _set("BitsAllocated", 12), UnsuitableImageError, "BitsAllocated"),
    ("bad high bit", _set("HighBit", 3), UnsuitableImageError, "HighBit"),
    ("no rows", _set("Rows", 0), UnsuitableImageError, "Rows"),
    ("frames without groups", _set("NumberOfFrames", 1 << 20), UnreadableFileError, "bytes of pixels"),
    ("a bomb", lambda d: (_set("Rows", 65535)(d), _set("Columns", 65535)(d)), UnsuitableImageError, "GB of pixels"),
    ("other spacing in one", _set("PixelSpacing", [2, 2], slice(4, 5)), AmbiguousInputError, "parts"),
    ("other frame of reference", _set("FrameOfReferenceUID", "1.8", slice(3, 5)), AmbiguousInputError, "parts"),
    ("two patients", _set("PatientID", "Q-1", slice(2, 5)), AmbiguousInputError, "2 patients"),
    ("a localizer", _set("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), NoImageError, "localizer"),
    ("a survey", _set("SeriesDescription", "3-plane survey"), NoImageError, "localizer"),
    ("three directions", _turn, NoImageError, "localizer"),
    ("a segmentation", _set("SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.4"), NoImageError, "Segmentation"),
    ("ultrasound", _set("Modality", "US"), NoImageError, "modality US"),
    ("a private class", _set("SOPClassUID", "1.3.12.2.1107.5.9.1"), NoImageError, "private SOP class"),
    ("a private syntax", lambda d: [setattr(x.file_meta, "TransferSyntaxUID", "1.2.826.0.1.3") for x in d],
     UnreadableFileError, "transfer syntax"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(tmp_path: Path, kit: Any, change: Change, error: type[MiliaryError], words: str) -> None:
    datasets = kit.Series().datasets()
    change(datasets)
    kit.write(tmp_path, datasets)
    for call in (read_array, load_study):
        with pytest.raises(error) as caught:
            call(tmp_path)
        assert words in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert "Roe" not in str(caught.value)
        assert "4711" not in str(caught.value)


def _cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.parametrize("keep", [0, 100, 200, 600, -40, -2])
def test_one_damaged_file_refuses_its_series(tmp_path: Path, kit: Any, keep: int) -> None:
    paths = kit.write(tmp_path, kit.Series().datasets())
    _cut(paths[4], keep)
    with pytest.raises(MiliaryError, match="im004"):
        read_array(tmp_path)


def test_the_end_slices_are_not_dropped_silently_when_their_file_is_empty(tmp_path: Path, kit: Any) -> None:
    paths = kit.write(tmp_path, kit.Series().datasets())
    _cut(paths[0], 0)
    found = find_cases([tmp_path])
    assert found.cases[0].eligible == ()
    assert "empty" in found.cases[0].series[0].why


def test_two_images_with_one_sop_instance_uid(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    other = kit.Series(seed=5).datasets()[1]
    kit.write(tmp_path, [*datasets, other])
    with pytest.raises(AmbiguousInputError, match="SOPInstanceUID"):
        read_array(tmp_path)


def test_two_images_at_one_position_that_nothing_tells_apart(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    other = kit.Series(seed=5).datasets()[1]
    other.SOPInstanceUID = "1.2.3.4.77"
    kit.write(tmp_path, [*datasets, other])
    with pytest.raises(AmbiguousInputError, match="one position"):
        read_array(tmp_path)


def test_a_blank_slice_within_the_image(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    kit.image(datasets[2], np.zeros((6, 8), np.uint16))
    kit.write(tmp_path, datasets)
    with pytest.raises(UnreadableFileError, match="im002"):
        read_array(tmp_path)


def test_blank_slices_at_the_end_are_remarked_on(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    kit.image(datasets[4], np.zeros((6, 8), np.uint16))
    kit.write(tmp_path, datasets)
    (volume,) = load_study(tmp_path).volumes
    assert "blank_slices" in {caveat.code for caveat in volume.caveats}


def test_an_empty_image(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    for ds in datasets:
        kit.image(ds, np.zeros((6, 8), np.uint16))
    kit.write(tmp_path, datasets)
    with pytest.raises(UnsuitableImageError, match="empty"):
        read_array(tmp_path)


def test_a_deflate_bomb_costs_nothing(tmp_path: Path, kit: Any) -> None:
    import zlib

    from pydicom.uid import DeflatedExplicitVRLittleEndian

    series = kit.Series(syntax=DeflatedExplicitVRLittleEndian)
    for path in kit.write(tmp_path, series.datasets()):
        data = path.read_bytes()
        start = 144 + int.from_bytes(data[140:144], "little")
        body = zlib.decompress(data[start:], -15)
        # Before the pixels: an element that inflates to 40 MB.
        squeeze = zlib.compressobj(1, wbits=-15)
        element = b"\x08\x00\x01\x00OB\0\0" + (40 << 20).to_bytes(4, "little")
        bomb = squeeze.compress(element) + squeeze.compress(bytes(40 << 20)) + squeeze.compress(body) + squeeze.flush()
        path.write_bytes(data[:start] + bomb)
    with pytest.raises(MiliaryError):
        read_array(tmp_path)


def test_missing_transfer_syntax(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    for ds in datasets:
        del ds.file_meta.TransferSyntaxUID
        ds.file_meta.ImplementationVersionName = "X"
    tmp_path.mkdir(exist_ok=True)
    for k, ds in enumerate(datasets):
        ds.save_as(tmp_path / f"{k}.dcm", implicit_vr=False, little_endian=True, enforce_file_format=False)
    with pytest.raises(UnreadableFileError, match="TransferSyntaxUID"):
        read_array(tmp_path)


def test_few_slices_are_read_but_not_analysed(tmp_path: Path, kit: Any) -> None:
    for n in (1, 2):
        series = kit.Series(n=n)
        kit.write(tmp_path / str(n), series.datasets())
        voxels, affine = read_array(tmp_path / str(n))
        np.testing.assert_array_equal(voxels, series.stored().transpose(2, 1, 0))
        np.testing.assert_allclose(affine[:, [0, 1, 3]], series.affine()[:, [0, 1, 3]], atol=1e-9)
        with pytest.raises(UnsuitableImageError, match=f"{n} slices"):
            load_study(tmp_path / str(n))


def test_a_series_uid_for_every_slice_is_not_a_choice_of_one(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    for k, ds in enumerate(datasets):
        ds.SeriesInstanceUID = f"1.2.3.4.0.{k}"
    kit.write(tmp_path, datasets)
    with pytest.raises(UnsuitableImageError, match="5 series"):
        read_array(tmp_path)


def test_sequences_nested_without_end(tmp_path: Path, kit: Any) -> None:
    import struct

    paths = kit.write(tmp_path, kit.Series().datasets())
    data = paths[3].read_bytes()
    start = data.find(struct.pack("<HH", 0x0028, 0x0002))
    opening = struct.pack("<HH2sHI", 0x0028, 0x0001, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    paths[3].write_bytes(data[:start] + opening * 3000 + closing * 3000 + data[start:])
    with pytest.raises(UnreadableFileError, match="im003"):
        read_array(tmp_path)


def test_hostile_strings_stay_out_of_names(tmp_path: Path, kit: Any) -> None:
    attributes = {
        "SeriesDescription": "<script>alert(1)</script>../../t1 \x1b[31m",
        "PatientName": "=cmd|' /C calc'!A0",
        "SeriesInstanceUID": "../../etc/passwd",
        "StudyInstanceUID": "/etc",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about what is written here
        kit.write(tmp_path / "a b'\"\u00e9\u4e2d", kit.Series(attributes=attributes).datasets())
    study = load_study(tmp_path)
    assert set(study.volumes[0].id) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_")
    assert "script" not in study.volumes[0].id
    evidence = " ".join(study.volumes[0].sequence.evidence)
    assert "<" not in evidence
    assert "\x1b" not in evidence
