"""Classic series: voxels, affine and what is recorded, against values computed by hand."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.load import load_study, read_array
from miliary_seg.settings import Settings

TILT = np.radians(15)


def expected(stored: np.ndarray) -> np.ndarray:
    return stored.transpose(2, 1, 0).astype(np.float32)


def test_a_plain_series(tmp_path: Path, kit: Any) -> None:
    series = kit.Series()
    paths = kit.write(tmp_path / "scan", series.datasets())
    study = load_study(tmp_path / "scan")
    (volume,) = study.volumes
    assert study.case == "scan"
    np.testing.assert_array_equal(volume.voxels, expected(series.stored()))
    np.testing.assert_allclose(volume.grid.affine, series.affine(), atol=1e-9)
    assert volume.slice_axis == 2
    assert volume.slice_thickness_mm == 2.5
    assert volume.gap_mm == pytest.approx(0.5)
    assert volume.modality is Modality.MR
    assert volume.sequence.sequence is Sequence.T1
    assert volume.source.sop_instance_uids == tuple(f"1.2.3.4.{k + 1}" for k in range(5))
    assert volume.source.study_instance_uid == "1.2.3"
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert volume.source.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()


@pytest.mark.parametrize("order", [[4, 2, 0, 1, 3], [4, 3, 2, 1, 0]])
def test_only_positions_order_the_slices(tmp_path: Path, kit: Any, order: list[int]) -> None:
    series = kit.Series()
    datasets = series.datasets()
    for ds, number in zip(datasets, order, strict=True):
        ds.InstanceNumber, ds.SliceLocation = number, -float(number)
        ds.SpacingBetweenSlices, ds.PatientPosition = 99.0, "FFP"
    kit.write(tmp_path, datasets, names=[f"{k:02d}" for k in order])
    voxels, affine = read_array(tmp_path)
    np.testing.assert_array_equal(voxels, expected(series.stored()))
    np.testing.assert_allclose(affine, series.affine(), atol=1e-9)


def test_descending_positions_are_read_ascending_along_the_normal(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(step=(0.0, 0.0, -3.0))
    kit.write(tmp_path, series.datasets())
    voxels, affine = read_array(tmp_path)
    np.testing.assert_array_equal(voxels, expected(series.stored()[::-1]))
    np.testing.assert_allclose(affine[:3, 3], [20, 30, -2])
    np.testing.assert_allclose(affine[:3, 2], [0, 0, 3], atol=1e-9)


def orientations() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(p, s) for p in itertools.permutations(range(3)) for s in itertools.product((1, -1), repeat=3)]


@pytest.mark.parametrize(("axes", "signs"), orientations())
def test_48_orientations_keep_every_voxel_in_its_place(
    tmp_path: Path, kit: Any, axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    unit = np.zeros((3, 3))
    for voxel_axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
        unit[voxel_axis, world] = sign
    angle = np.radians(7)
    oblique = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    unit = unit @ oblique.T
    series = kit.Series(n=4, row=tuple(unit[0]), column=tuple(unit[1]), step=tuple(3.0 * unit[2]))
    kit.write(tmp_path, series.datasets())
    voxels, affine = read_array(tmp_path)
    stored, truth = series.stored(), series.affine()
    inverse = np.linalg.inv(affine)
    for column, row, k in [(0, 0, 0), (7, 0, 1), (0, 5, 2), (7, 5, 3), (3, 2, 1)]:
        world = truth @ [column, row, k, 1]
        found = inverse @ world
        ijk = np.rint(found[:3]).astype(int)
        assert np.abs((affine @ [*ijk, 1]) - world).max() < 0.01
        assert voxels[tuple(ijk)] == stored[k, row, column]


def test_gantry_tilt_keeps_the_sheared_grid(tmp_path: Path, kit: Any) -> None:
    column = (0.0, float(np.cos(TILT)), float(np.sin(TILT)))
    series = kit.Series(column=column, step=(0.0, 0.0, 3.0), sop_class=kit.CT)
    kit.write(tmp_path, series.datasets())
    (volume,) = load_study(tmp_path).volumes
    np.testing.assert_allclose(volume.grid.affine, series.affine(), atol=1e-6)
    assert volume.grid.is_sheared
    assert volume.slice_spacing_mm == pytest.approx(3 * np.cos(TILT))
    assert "gantry_tilt" in {caveat.code for caveat in volume.caveats}


def test_each_slice_has_its_own_rescale(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(sop_class=kit.CT)
    datasets = series.datasets()
    for k, ds in enumerate(datasets):
        ds.RescaleSlope, ds.RescaleIntercept = 1 + 0.25 * k, -1024 + k
    kit.write(tmp_path, datasets)
    (volume,) = load_study(tmp_path).volumes
    for k in range(5):
        truth = series.stored()[k].T * (1 + 0.25 * k) + (-1024 + k)
        np.testing.assert_allclose(volume.voxels[:, :, k], truth, rtol=1e-6)
    assert volume.modality is Modality.CT


def test_an_empty_slope_is_no_slope(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(attributes={"RescaleSlope": None, "RescaleIntercept": None})
    kit.write(tmp_path, series.datasets())
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(series.stored()))


def test_bits_outside_of_bits_stored_are_masked_and_the_sign_extended(tmp_path: Path, kit: Any) -> None:
    truth = np.arange(-24, 24, dtype=np.int16).reshape(6, 8)
    series = kit.Series(n=3)
    datasets = series.datasets()
    for ds in datasets:
        words = (truth.astype(np.int64) & 0xFFF).astype(np.uint16) | 0xA000
        kit.image(ds, words)
        ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 1
    kit.write(tmp_path, datasets)
    np.testing.assert_array_equal(read_array(tmp_path)[0][:, :, 1], truth.T)


@pytest.mark.parametrize("kind", [np.int16, np.int8, np.uint8, np.int32])
def test_word_sizes(tmp_path: Path, kit: Any, kind: type) -> None:
    low = 0 if np.dtype(kind).kind == "u" else -100
    truth = np.random.default_rng(2).integers(low, 100, (3, 6, 8)).astype(kind)
    datasets = kit.Series(n=3).datasets()
    for k, ds in enumerate(datasets):
        kit.image(ds, truth[k])
        bits = np.dtype(kind).itemsize * 8
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    kit.write(tmp_path, datasets)
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(truth))


def test_identical_copies_of_a_slice_are_dropped_with_a_note(tmp_path: Path, kit: Any) -> None:
    series = kit.Series()
    datasets = series.datasets()
    copy = series.datasets()[2]
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.99"
    kit.write(tmp_path, [*datasets, copy])
    (volume,) = load_study(tmp_path).volumes
    np.testing.assert_array_equal(volume.voxels, expected(series.stored()))
    assert "duplicate_slices_dropped" in {caveat.code for caveat in volume.caveats}


def test_a_file_copied_twice_counts_once(tmp_path: Path, kit: Any) -> None:
    series = kit.Series()
    kit.write(tmp_path / "a", series.datasets())
    kit.write(tmp_path / "b", series.datasets())
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(series.stored()))


def test_a_missing_slice_is_filled_on_request_and_recorded(tmp_path: Path, kit: Any) -> None:
    series = kit.Series(n=6)
    datasets = series.datasets()
    del datasets[2]
    kit.write(tmp_path, datasets)
    (volume,) = load_study(tmp_path, settings=Settings().updated({"load.resample": True})).volumes
    truth = expected(series.stored())
    np.testing.assert_allclose(volume.voxels[:, :, 2], (truth[:, :, 1] + truth[:, :, 3]) / 2)
    np.testing.assert_array_equal(volume.voxels[:, :, 3:], truth[:, :, 3:])
    np.testing.assert_allclose(volume.grid.affine, series.affine(), atol=1e-6)
    assert volume.missing_slices == (2,)
    assert volume.resampled
    assert volume.source.sop_instance_uids == ()


def test_uneven_slices_are_resampled_on_request(tmp_path: Path, kit: Any) -> None:
    heights = np.array([0.0, 2.0, 4.0, 7.0, 10.0, 13.5])
    datasets = kit.Series(n=6).datasets()
    for ds, height in zip(datasets, heights, strict=True):
        ds.ImagePositionPatient = [-20.0, -30.0, 10.0 + float(height)]
        kit.image(ds, (np.add.outer(np.arange(6), np.arange(8)) * 3 + 100 + height * 10).astype(np.uint16))
    kit.write(tmp_path, datasets)
    (volume,) = load_study(tmp_path, settings=Settings().updated({"load.resample": True})).volumes
    assert volume.resampled
    assert volume.grid.spacing_mm[2] == pytest.approx(2.0)
    # The image grows by 10 per mm of height: every resampled voxel must show the height at which it lies.
    for k in range(volume.n_slices):
        height = (volume.grid.affine @ [0, 0, k, 1])[2] - 10.0
        assert volume.voxels[0, 0, k] == pytest.approx(100 + 10 * height, abs=1e-2)


def test_deflated_gzipped_and_headless_files(tmp_path: Path, kit: Any) -> None:
    import gzip

    from pydicom.uid import DeflatedExplicitVRLittleEndian

    series = kit.Series(syntax=DeflatedExplicitVRLittleEndian)
    kit.write(tmp_path / "deflated", series.datasets())
    paths = kit.write(tmp_path / "gz", kit.Series().datasets())
    for path in paths:
        path.with_suffix(".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for path in kit.write(tmp_path / "bare", kit.Series().datasets()):
        data = path.read_bytes()
        path.write_bytes(data[144 + int.from_bytes(data[140:144], "little") :])
    for folder in ("deflated", "gz", "bare"):
        np.testing.assert_array_equal(read_array(tmp_path / folder)[0], expected(series.stored()))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_implicit_and_big_endian(tmp_path: Path, kit: Any, syntax: str) -> None:
    series = kit.Series(syntax=syntax)
    datasets = series.datasets()
    if syntax.endswith(".2.2"):
        for k, ds in enumerate(datasets):
            ds.PixelData = series.stored()[k].astype(">u2").tobytes()
    kit.write(tmp_path, datasets)
    np.testing.assert_array_equal(read_array(tmp_path)[0], expected(series.stored()))


def test_one_file_of_many_is_not_a_volume_but_one_study_of_a_path_is_a_case(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path, kit.Series().datasets())
    assert load_study(tmp_path, case="mine").case == "mine"
