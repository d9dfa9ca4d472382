"""NIfTI files: what is read, where it lies, and what is refused."""

from __future__ import annotations

import bz2
import gzip
import itertools
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.errors import GeometryError, MiliaryError, SettingsError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load import load_study, read_array
from miliary_seg.settings import Settings

AFFINE = np.array([[-0.9, 0.02, 0.0, 50.0], [0.02, 0.9, 0.1, -60.0], [0.0, -0.05, 2.0, -30.0], [0, 0, 0, 1.0]])


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = None, **fields: Any) -> Path:
    image = nib.Nifti1Image(data, AFFINE if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def patch(path: Path, offset: int, form: str, *values: Any) -> Path:
    """Overwrite header bytes of an uncompressed file (offsets: nifti1.h)."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + form, data, offset, *values)
    path.write_bytes(bytes(data))
    return path


DIM, DATATYPE, PIXDIM, VOX_OFFSET, SLOPE, INTER, UNITS = 40, 70, 76, 108, 112, 116, 123
QFORM_CODE, SFORM_CODE, QUATERN_B, SROW_X = 252, 254, 256, 280


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ", ".hdr"])
def test_voxels_and_affine(tmp_path: Path, head: np.ndarray, ending: str) -> None:
    path = tmp_path / f"t1{ending}"
    if ending == ".NII.GZ":
        save(tmp_path / "x.nii.gz", head).rename(path)
    elif ending == ".hdr":
        nib.save(nib.Nifti1Pair(head, AFFINE), path)
    else:
        save(path, head)
    voxels, affine = read_array(path)
    np.testing.assert_array_equal(voxels, head)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-5)
    assert voxels.dtype == np.float32


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_data_types_in_both_byte_orders(tmp_path: Path, kind: str, order: str) -> None:
    data = np.random.default_rng(3).integers(0, 120, (9, 8, 7)).astype(kind)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(order + kind))
    nib.save(nib.Nifti1Image(data.astype(order + kind), AFFINE, header), tmp_path / "t1.nii")
    np.testing.assert_array_equal(read_array(tmp_path / "t1.nii")[0], data)


def test_nifti_2_and_bzip2_and_no_ending(tmp_path: Path, head: np.ndarray) -> None:
    nib.save(nib.Nifti2Image(head, AFFINE), tmp_path / "two.nii.gz")
    path = save(tmp_path / "one.nii", head)
    (tmp_path / "one.nii.bz2").write_bytes(bz2.compress(path.read_bytes()))
    path.rename(tmp_path / "scan")
    for name in ("two.nii.gz", "one.nii.bz2", "scan"):
        np.testing.assert_array_equal(read_array(tmp_path / name)[0], head)


def test_scaling(tmp_path: Path, head: np.ndarray) -> None:
    path = patch(save(tmp_path / "t1.nii", head), SLOPE, "ff", 0.5, -10.0)
    np.testing.assert_allclose(read_array(path)[0], head * 0.5 - 10)
    patch(path, SLOPE, "ff", 0.0, 7.0)
    np.testing.assert_array_equal(read_array(path)[0], head)
    patch(path, SLOPE, "ff", float("inf"), 0.0)
    with pytest.raises(UnsuitableImageError, match="scl_slope"):
        read_array(path)


def orientations() -> list[np.ndarray]:
    found = []
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = 0
            for voxel_axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
                affine[world, voxel_axis] = sign * (1.0, 1.1, 2.0)[voxel_axis]
            affine[:3, 3] = (3, -5, 7)
            found.append(affine)
    return found


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_48_orientations(tmp_path: Path, head: np.ndarray, form: str) -> None:
    for number, affine in enumerate(orientations()):
        image = nib.Nifti1Image(head, None)
        image.set_sform(affine if form == "sform" else None, 1 if form == "sform" else 0)
        image.set_qform(affine if form == "qform" else None, 1 if form == "qform" else 0)
        path = tmp_path / f"t1_{number}.nii"
        nib.save(image, path)
        (volume,) = load_study(path).volumes
        np.testing.assert_array_equal(volume.voxels, head)
        assert np.abs(volume.grid.affine - affine).max() < 1e-4
        assert volume.slice_axis == 2
        assert volume.source.orientation_source == form


def test_the_sform_wins_over_a_distant_qform_with_a_caveat(tmp_path: Path, head: np.ndarray) -> None:
    image = nib.Nifti1Image(head, AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += 20
    image.set_qform(moved, 1)
    image.set_sform(AFFINE, 4)
    nib.save(image, tmp_path / "t1.nii")
    (volume,) = load_study(tmp_path / "t1.nii").volumes
    np.testing.assert_allclose(volume.grid.affine, AFFINE, atol=1e-5)
    assert "sform_qform_differ" in {caveat.code for caveat in volume.caveats}


def test_mirrored_forms_are_refused(tmp_path: Path, head: np.ndarray) -> None:
    image = nib.Nifti1Image(head, AFFINE)
    image.set_qform(AFFINE @ np.diag([-1, 1, 1, 1]), 1)
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / "t1.nii")
    with pytest.raises(GeometryError, match="mirror"):
        read_array(tmp_path / "t1.nii")


def test_no_orientation(tmp_path: Path, head: np.ndarray) -> None:
    path = patch(save(tmp_path / "t1.nii", head), QFORM_CODE, "hh", 0, 0)
    unknown = Settings().updated({"load.assume_orientation": "unknown"})
    for settings in (Settings(), unknown):
        with pytest.raises(GeometryError, match="left and right are unknown"):
            read_array(path, settings)
    (volume,) = load_study(path, settings=unknown).volumes
    assert not volume.orientation_known
    assert volume.source.orientation_source == "none"
    assert "orientation_unknown" in {caveat.code for caveat in volume.caveats}
    settings = Settings().updated({"load.assume_orientation": "LPS"})
    _, affine = read_array(path, settings)
    np.testing.assert_allclose(np.diag(affine)[:2] < 0, True)
    np.testing.assert_allclose(affine[2, 2], nib.load(path).header.get_zooms()[2], rtol=1e-6)
    with pytest.raises(SettingsError, match="RAS"):
        read_array(path, Settings().updated({"load.assume_orientation": "LRS"}))


@pytest.mark.parametrize(("code", "factor"), [(1, 1e-3), (3, 1e3), (0, 1.0)])
def test_units_become_millimetres(tmp_path: Path, head: np.ndarray, code: int, factor: float) -> None:
    scaled = np.diag([factor, factor, factor, 1]) @ AFFINE
    path = patch(save(tmp_path / "t1.nii", head, scaled), UNITS, "B", code)
    np.testing.assert_allclose(read_array(path)[1], AFFINE, rtol=1e-4, atol=1e-4)


def test_the_slice_axis(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 900, (8, 9, 10)).astype(np.int16)
    thick = save(tmp_path / "t1_thick.nii", data, np.diag([1.0, 4.0, 1.0, 1.0]))
    assert load_study(thick).volumes[0].slice_axis == 1
    coronal_first = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
    cube = save(tmp_path / "t1_cube.nii", data, coronal_first)
    (volume,) = load_study(cube).volumes
    assert volume.slice_axis == 1
    assert "slice_axis_assumed" in {caveat.code for caveat in volume.caveats}
    image = nib.Nifti1Image(data, np.eye(4))
    image.header.set_dim_info(slice=0)
    nib.save(image, tmp_path / "t1_dim.nii")
    assert load_study(tmp_path / "t1_dim.nii").volumes[0].slice_axis == 0


def test_what_is_not_finite_becomes_zero_and_is_counted(tmp_path: Path, head: np.ndarray) -> None:
    data = head.astype(np.float32)
    data[0, 0, 0], data[1, 1, 1], data[2, 2, 2] = np.nan, np.inf, -np.inf
    (volume,) = load_study(save(tmp_path / "t1.nii", data)).volumes
    assert volume.voxels[1, 1, 1] == 0
    (caveat,) = [c for c in volume.caveats if c.code == "not_finite"]
    assert caveat.text.startswith("3 voxels")


def test_values_beyond_float32(tmp_path: Path, head: np.ndarray) -> None:
    with pytest.raises(UnsuitableImageError, match="range"):
        read_array(save(tmp_path / "t1.nii", head.astype(np.float64) * 1e300))


def test_one_volume_of_a_4d_file(tmp_path: Path, head: np.ndarray) -> None:
    path = save(tmp_path / "bold.nii.gz", np.stack([head, head + 1, head + 2], axis=3))
    with pytest.raises(UnsuitableImageError, match="4-D: 3 volumes"):
        read_array(path)
    np.testing.assert_array_equal(read_array(path, Settings().updated({"load.volume": 2}))[0], head + 2)
    with pytest.raises(UnsuitableImageError, match="no volume 3"):
        read_array(path, Settings().updated({"load.volume": 3}))


def _as(data: bytes) -> Any:
    return lambda path: path.write_bytes(data)


def _edit(offset: int, form: str, *values: Any) -> Any:
    return lambda path: patch(path, offset, form, *values)


REFUSED: list[tuple[str, Any, type[MiliaryError], str]] = [
    ("empty", _as(b""), UnreadableFileError, "empty"),
    ("text", _as(b"hello, this is no scan\n" * 40), UnreadableFileError, "text"),
    ("html", _as(b"<!DOCTYPE html><html>" + b" " * 400), UnreadableFileError, "web page"),
    ("lfs", _as(b"version https://git-lfs.github.com/spec/v1\n"), UnreadableFileError, "pointer"),
    ("binary", _as(bytes(range(256)) * 4), UnreadableFileError, "something else"),
    ("header cut", lambda p: p.write_bytes(p.read_bytes()[:300]), UnreadableFileError, "not a NIfTI"),
    ("voxels cut", lambda p: p.write_bytes(p.read_bytes()[:-1]), UnreadableFileError, "truncated"),
    ("dim 0", _edit(DIM + 6, "h", 0), UnreadableFileError, "dimensions"),
    ("dim negative", _edit(DIM + 2, "h", -3), UnreadableFileError, "dimensions"),
    ("9 dimensions", _edit(DIM, "h", 9), UnreadableFileError, "dimensions"),
    ("huge", _edit(DIM + 2, "hhh", 32767, 32767, 32767), UnsuitableImageError, "max_voxels"),
    ("more than there is", _edit(DIM + 2, "hhh", 900, 900, 900), UnreadableFileError, "truncated"),
    ("2-D", _edit(DIM, "hhhh", 2, 12, 10, 1), UnsuitableImageError, "2-D"),
    ("vector", _edit(DIM, "hhhhhh", 5, 12, 10, 4, 1, 2), UnsuitableImageError, "vector"),
    ("cifti", _edit(68, "h", 3002), UnsuitableImageError, "CIFTI"),
    ("complex", _edit(DATATYPE, "h", 32), UnsuitableImageError, "complex"),
    ("rgb", _edit(DATATYPE, "h", 128), UnsuitableImageError, "colour"),
    ("unknown type", _edit(DATATYPE, "h", 999), UnsuitableImageError, "999"),
    ("offset 0", _edit(VOX_OFFSET, "f", 0.0), UnreadableFileError, "vox_offset"),
    ("offset far", _edit(VOX_OFFSET, "f", 1e9), UnreadableFileError, "truncated"),
    ("analyze", _edit(344, "4s", b"\0\0\0\0"), UnsuitableImageError, "left"),
    ("pair without image", _edit(344, "4s", b"ni1\0"), UnreadableFileError, ".img"),
    ("sform not finite", _edit(SROW_X, "f", float("nan")), GeometryError, "sform"),
    ("sform singular", _edit(SROW_X, "ffff", 0, 0, 0, 0), GeometryError, "sform"),
    ("bad qform", lambda p: (patch(p, SFORM_CODE, "h", 0), patch(p, QUATERN_B, "f", 5.0)), GeometryError, "qform"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(tmp_path: Path, head: np.ndarray, change: Any, error: type[MiliaryError], words: str) -> None:
    path = save(tmp_path / "t1.nii", head)
    change(path)
    with pytest.raises(error) as caught:
        read_array(path)
    assert words in str(caught.value)
    assert "t1.nii" in str(caught.value)


def test_gzip_is_read_to_its_end(tmp_path: Path, head: np.ndarray) -> None:
    good = gzip.compress(save(tmp_path / "x.nii", head).read_bytes())
    path = tmp_path / "t1.nii.gz"
    path.write_bytes(good + b"\0" * 512)
    np.testing.assert_array_equal(read_array(path)[0], head)
    flipped = bytearray(good)
    flipped[-6] ^= 0xFF
    for bad, words in (
        (bytes(flipped), "checksum"),
        (good[:-4], "no end"),
        (good[: len(good) // 2], "truncated|no end"),
    ):
        path.write_bytes(bad)
        with pytest.raises(UnreadableFileError, match=words):
            read_array(path)
    path.write_bytes(gzip.compress(good))
    with pytest.raises(UnreadableFileError, match="not a NIfTI"):
        read_array(path)


def test_a_member_after_the_voxels_is_bounded(tmp_path: Path, head: np.ndarray) -> None:
    data = save(tmp_path / "x.nii", head).read_bytes()
    path = tmp_path / "t1.nii.gz"
    path.write_bytes(gzip.compress(data + bytes(80 << 20)))
    with pytest.raises(UnsuitableImageError, match="far more data"):
        read_array(path)


def test_bzip2_cut(tmp_path: Path, head: np.ndarray) -> None:
    packed = bz2.compress(save(tmp_path / "x.nii", head).read_bytes())
    (tmp_path / "t1.nii.bz2").write_bytes(packed[:-10])
    with pytest.raises(UnreadableFileError):
        read_array(tmp_path / "t1.nii.bz2")


@pytest.mark.parametrize(("values", "words"), [((5,), "empty"), ((0, 1), "mask")])
def test_images_without_an_image(tmp_path: Path, values: tuple[int, ...], words: str) -> None:
    data = np.resize(np.array(values, np.int16), (6, 6, 6))
    with pytest.raises(UnsuitableImageError, match=words):
        read_array(save(tmp_path / "t1.nii", data))


def test_a_label_map_named_by_the_user_is_remarked_on(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 9, (6, 6, 6)).astype(np.int16)
    (volume,) = load_study(save(tmp_path / "t1.nii", data)).volumes
    assert "looks_like_labels" in {caveat.code for caveat in volume.caveats}


def test_a_sidecar_says_thickness_and_sequence(tmp_path: Path, head: np.ndarray) -> None:
    save(tmp_path / "scan_4.nii.gz", head)
    (tmp_path / "scan_4.json").write_text(
        '{"Modality": "MR", "RepetitionTime": 9, "EchoTime": 0.12, "InversionTime": 2.5, "ScanningSequence": "SE_IR",'
        ' "SliceThickness": 2.2, "ImageType": ["ORIGINAL", "PRIMARY"], "FlipAngle": 150}'
    )
    (volume,) = load_study(tmp_path / "scan_4.nii.gz").volumes
    assert volume.sequence.sequence == "flair"
    assert volume.slice_thickness_mm == 2.2
    (tmp_path / "scan_4.json").write_text("[1, 2")
    assert load_study(tmp_path / "scan_4.nii.gz").volumes[0].sequence.sequence == "unknown"


def test_a_pair_may_be_named_by_its_image(tmp_path: Path, head: np.ndarray) -> None:
    nib.save(nib.Nifti1Pair(head, AFFINE), tmp_path / "t1.img")
    np.testing.assert_array_equal(read_array(tmp_path / "t1.img")[0], head)
    np.testing.assert_array_equal(read_array(tmp_path)[0], head)


def test_two_slices_are_read_but_not_analysed(tmp_path: Path, head: np.ndarray) -> None:
    path = save(tmp_path / "t1.nii", head[:, :, :2])
    np.testing.assert_array_equal(read_array(path)[0], head[:, :, :2])
    with pytest.raises(UnsuitableImageError, match="2 slices"):
        load_study(path)


@pytest.mark.parametrize("thick", [1, 5])
@pytest.mark.parametrize("codes", [range(1, 6), range(1, 60), range(1001, 1181)], ids=["few", "aseg", "parcels"])
def test_a_label_map_is_no_scan(tmp_path: Path, codes: range, thick: int) -> None:
    """Regions of whole numbers, as segmentations and parcellations hold them, in thin and in thick slices."""
    centres = np.random.default_rng(3).uniform(0, 60, (len(codes), 3))
    places = np.stack(np.indices((60, 60, 60 // thick)), axis=-1) * np.array([1, 1, thick])
    nearest = np.linalg.norm(places[..., None, :] - centres, axis=-1).argmin(axis=-1)
    labels = np.array(codes)[nearest].astype(np.int16)
    labels[np.linalg.norm(places - 30, axis=-1) > 28] = 0
    save(tmp_path / "head.nii.gz", labels, np.diag([1.0, 1.0, thick, 1.0]))
    with pytest.raises(UnsuitableImageError, match="a label map"):
        load_study(tmp_path / "head.nii.gz")


@pytest.mark.parametrize("levels", [40, 250])
def test_a_coarsely_stored_scan_is_none(tmp_path: Path, levels: int) -> None:
    """Eight-bit and coarser scans hold few whole numbers as well, but their neighbours differ."""
    scan = np.random.default_rng(4).normal(0.5, 0.12, (40, 40, 30)).clip(0, 1)
    save(tmp_path / "head.nii.gz", (scan * levels).astype(np.uint8), np.eye(4))
    assert len(load_study(tmp_path / "head.nii.gz").volumes) == 1
