"""MGH and NRRD: places and voxels as nibabel and SimpleITK give them, orientation only where the file states it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as _SimpleITK

from miliary_seg.errors import GeometryError, MiliaryError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load import find_cases, load_study, read_array
from miliary_seg.settings import Settings

SimpleITK: Any = _SimpleITK
COSINES = np.array([[0.0, 0.6, 0.8], [-1.0, 0.0, 0.0], [0.0, -0.8, 0.6]])


def affine() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = COSINES * [0.8, 1.1, 2.5]
    matrix[:3, 3] = [31.5, -7.25, 12.0]
    return matrix


@pytest.mark.parametrize("name", ["brain.mgh", "brain.mgz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_mgh_as_nibabel_reads_it(tmp_path: Path, head: np.ndarray, name: str, dtype: str) -> None:
    values = (head % 250).astype(dtype)
    nib.save(nib.MGHImage(values, affine()), tmp_path / name)
    voxels, placed = read_array(tmp_path / name)
    np.testing.assert_array_equal(voxels, values.astype(np.float32))
    np.testing.assert_allclose(placed, affine(), atol=1e-4)
    assert load_study(tmp_path / name).volumes[0].source.format == "MGH"


def mgh_bytes(tmp_path: Path, head: np.ndarray) -> bytearray:
    nib.save(nib.MGHImage(head, affine()), tmp_path / "x.mgh")
    return bytearray((tmp_path / "x.mgh").read_bytes())


def test_mgh_without_stated_directions_is_refused(tmp_path: Path, head: np.ndarray) -> None:
    data = mgh_bytes(tmp_path, head)
    data[28:30] = b"\0\0"  # goodRASFlag
    (tmp_path / "x.mgh").write_bytes(data)
    with pytest.raises(GeometryError, match="states no orientation"):
        read_array(tmp_path / "x.mgh")
    stated = read_array(tmp_path / "x.mgh", Settings().updated({"load.assume_orientation": "LPS"}))[1]
    np.testing.assert_allclose(stated[:3, :3], np.diag([-0.8, -1.1, 2.5]), atol=1e-6)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\0\0\0\2", "not an MGH"),
        (4, b"\0\0\0\0", "impossible dimensions"),
        (4, b"\0\0\0\1", "2-D"),
        (4, b"\x7f\xff\xff\xff", "more than load.max_voxels"),
        (20, b"\0\0\0\7", "unknown type"),
        (30, b"\0\0\0\0", "not finite or singular"),
        (42, b"\x7f\xc0\0\0", "not finite or singular"),
        (12, b"\0\0\0\x09", "truncated"),
    ],
)
def test_damaged_mgh(tmp_path: Path, head: np.ndarray, at: int, value: bytes, message: str) -> None:
    data = mgh_bytes(tmp_path, head)
    data[at : at + len(value)] = value
    (tmp_path / "x.mgh").write_bytes(data[: 284 + head.nbytes])
    with pytest.raises(MiliaryError, match=message):
        read_array(tmp_path / "x.mgh")


def test_a_damaged_mgz_is_noticed_by_its_checksum(tmp_path: Path, head: np.ndarray) -> None:
    data = bytearray(gzip.compress(bytes(mgh_bytes(tmp_path, head))))
    data[-6] ^= 1
    (tmp_path / "x.mgz").write_bytes(data)
    with pytest.raises(UnreadableFileError, match="damaged"):
        read_array(tmp_path / "x.mgz")


def test_a_4d_mgh_needs_a_choice(tmp_path: Path, head: np.ndarray) -> None:
    nib.save(nib.MGHImage(np.stack([head, head + 1], axis=-1), affine()), tmp_path / "x.mgz")
    with pytest.raises(UnsuitableImageError, match="4-D"):
        read_array(tmp_path / "x.mgz")
    second = read_array(tmp_path / "x.mgz", Settings().updated({"load.volume": 1}))[0]
    np.testing.assert_array_equal(second, head + 1)


@pytest.mark.parametrize(("name", "packed"), [("t1.nrrd", True), ("t1.nrrd", False), ("t1.nhdr", False)])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_nrrd_as_simpleitk_writes_it(tmp_path: Path, head: np.ndarray, name: str, packed: bool, dtype: str) -> None:
    values = (head % 250).astype(dtype)
    image = SimpleITK.GetImageFromArray(values.transpose(2, 1, 0))
    lps = np.diag([-1.0, -1, 1]) @ COSINES
    image.SetDirection(lps.ravel().tolist())
    image.SetSpacing([0.8, 1.1, 2.5])
    image.SetOrigin((np.diag([-1.0, -1, 1]) @ affine()[:3, 3]).tolist())
    SimpleITK.WriteImage(image, str(tmp_path / name), packed)
    voxels, placed = read_array(tmp_path / name)
    np.testing.assert_array_equal(voxels, values.astype(np.float32))
    np.testing.assert_allclose(placed, affine(), atol=1e-6)
    assert [case.eligible[0].format for case in find_cases([tmp_path]).cases] == ["NRRD"]


def nrrd(path: Path, head: np.ndarray, **changes: str | None) -> Path:
    """A file written by hand; a field of None is left out, '_' stands for a blank."""
    fields: dict[str, str | None] = {
        "type": "short", "dimension": "3", "sizes": " ".join(map(str, head.shape)), "endian": "little",
        "encoding": "raw", "space": "right-anterior-superior", "space_directions": "(1,0,0) (0,2,0) (0,0,-3)",
        "space_origin": "(-5,4,3)",
    }  # fmt: skip
    fields |= changes
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in fields.items() if value is not None]
    text = "NRRD0004\n# a remark: x\nkey:=value\n" + "\n".join(lines) + "\n\n"
    path.write_bytes(text.encode() + head.astype("<i2").tobytes(order="F"))
    return path


@pytest.mark.parametrize(
    ("space", "signs"), [("RAS", (1, 1, 1)), ("left-posterior-superior", (-1, -1, 1)), ("LAS", (-1, 1, 1))]
)
def test_the_three_spaces_of_patients(
    tmp_path: Path, head: np.ndarray, space: str, signs: tuple[int, int, int]
) -> None:
    _, placed = read_array(nrrd(tmp_path / "x.nrrd", head, space=space))
    expected = np.diag([*signs, 1.0]) @ np.array([[1, 0, 0, -5], [0, 2, 0, 4], [0, 0, -3, 3], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(placed, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"space": None, "space_directions": None, "space_origin": None, "spacings": "1 2 3"},
        {"space": "scanner-xyz"},
        {"space": "3D-right-handed", "space_origin": None},
    ],
)
def test_other_spaces_leave_the_sides_unknown(tmp_path: Path, head: np.ndarray, changes: dict[str, Any]) -> None:
    path = nrrd(tmp_path / "x.nrrd", head, **changes)
    with pytest.raises(GeometryError, match="states no orientation"):
        read_array(path)
    volume = load_study(path, settings=Settings().updated({"load.assume_orientation": "unknown"})).volumes[0]
    assert not volume.orientation_known
    np.testing.assert_allclose(volume.grid.spacing_mm, (1, 2, 3))


def test_units_and_an_absent_origin(tmp_path: Path, head: np.ndarray) -> None:
    path = nrrd(tmp_path / "x.nrrd", head, space_units='"cm" "cm" "cm"', space_origin=None)
    volume = load_study(path).volumes[0]
    np.testing.assert_allclose(volume.grid.affine, np.diag([10.0, 20, -30, 1]))
    assert "origin_unknown" in [caveat.code for caveat in volume.caveats]


def test_raw_voxels_that_begin_like_gzip(tmp_path: Path, head: np.ndarray) -> None:
    head[0, 0, 0] = np.frombuffer(b"\x1f\x8b", dtype="<i2")[0]
    np.testing.assert_array_equal(read_array(nrrd(tmp_path / "x.nrrd", head))[0], head)


def test_volumes_along_a_fourth_axis(tmp_path: Path, head: np.ndarray) -> None:
    both = np.stack([head, head + 1], axis=-1)
    path = nrrd(
        tmp_path / "x.nrrd",
        both,
        dimension="4",
        kinds="domain domain domain list",
        space_directions="(1,0,0) (0,2,0) (0,0,3) none",
    )
    with pytest.raises(UnsuitableImageError, match="4-D"):
        read_array(path)
    np.testing.assert_array_equal(read_array(path, Settings().updated({"load.volume": 1}))[0], head + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": "4"}, "do not fit"),
        ({"sizes": "12 10 -8"}, "do not fit"),
        ({"dimension": "2", "sizes": "120 8"}, "sizes"),
        ({"kinds": "RGB-color domain domain"}, "colour or vectors"),
        ({"kinds": "domain domain"}, "sizes"),
        ({"type": "block"}, "unknown type"),
        ({"endian": None}, "endian"),
        ({"encoding": "hex"}, "encoding"),
        ({"encoding": "gzip"}, "not packed"),
        ({"byte skip": "4"}, "skipped"),
        ({"space_directions": "(1,0,0) (0,2,0) none"}, "no direction"),
        ({"space_directions": "(1,0,0) (0,2,0) (0,0,0)"}, "singular"),
        ({"space_directions": "(1,0,0) (0,2,0) (0,x,1)"}, "not a vector"),
        ({"space_directions": None, "spacings": "1 nan 2"}, "spacings"),
        ({"space_directions": None, "spacings": "1 x 2"}, "spacings"),
        ({"space_units": '"ft" "ft" "ft"'}, "lengths"),
        ({"data file": "LIST 2"}, "several files"),
        ({"data file": "../x.raw"}, "another folder"),
        ({"data file": "absent.raw"}, "without its data file"),
        ({"Type": "float"}, "occurs twice"),
        ({"sizes": "12 10 80"}, "truncated"),
        ({"sizes": "1200 1000 80"}, "truncated"),
        ({"sizes": "99999 99999 99999"}, "load.max_voxels"),
    ],
)
def test_nrrd_that_is_refused(tmp_path: Path, head: np.ndarray, changes: dict[str, Any], message: str) -> None:
    path = nrrd(tmp_path / "x.nrrd", head, **changes)
    with pytest.raises(MiliaryError, match=message) as caught:
        read_array(path)
    assert "x.nrrd" in str(caught.value)


def test_nrrd_without_end_or_data(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
    (tmp_path / "b.nhdr").write_bytes(b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n")
    (tmp_path / "c.nrrd").write_bytes(b"<html>")
    for name, message in (("a.nrrd", "no end"), ("b.nhdr", "names no data file"), ("c.nrrd", "web page")):
        with pytest.raises(UnreadableFileError, match=message):
            read_array(tmp_path / name)
