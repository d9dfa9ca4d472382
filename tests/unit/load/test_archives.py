"""DICOM in zip archives: the same volume as unpacked, nothing written, bombs and odd names refused."""

from __future__ import annotations

import pickle
import resource
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miliary_seg.errors import MiliaryError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load import archive, find_cases, load_case, read_array


def zipped(path: Path, folder: Path, *, method: int = zipfile.ZIP_DEFLATED, below: str = "disc/series") -> Path:
    with zipfile.ZipFile(path, "w", method) as pack:
        for file in sorted(folder.iterdir()):
            pack.write(file, f"{below}/{file.name}")
    return path


@pytest.fixture
def folder(tmp_path: Path, kit: Any) -> Path:
    kit.write(tmp_path / "plain", kit.Series().datasets())
    return tmp_path / "plain"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_same_volume_as_unpacked(tmp_path: Path, folder: Path, kit: Any, method: int) -> None:
    voxels, affine = read_array(zipped(tmp_path / "scan.zip", folder, method=method))
    np.testing.assert_array_equal(voxels, kit.Series().stored().transpose(2, 1, 0).astype(np.float32))
    np.testing.assert_allclose(affine, kit.Series().affine(), atol=1e-5)


def test_nothing_is_written_and_every_member_is_in_the_ledger(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    pack = zipped(place / "scan.zip", folder)
    with zipfile.ZipFile(pack, "a") as more:
        more.writestr("disc/README.txt", "x")
    found = find_cases([place])
    assert {str(e.path.relative_to(place)): e.status for e in found.ledger} == {
        "scan.zip/disc/README.txt": "skipped",
        **{f"scan.zip/disc/series/im{k:03d}.dcm": "used" for k in range(5)},
    }
    case = pickle.loads(pickle.dumps(found.cases[0]))  # as another process gets it
    assert load_case(case).volumes[0].voxels.shape == (8, 6, 5)
    assert [entry.name for entry in place.iterdir()] == ["scan.zip"]


@pytest.mark.parametrize("name", ["../../evil.dcm", "/evil.dcm", "a/../../b.dcm", "..\\evil.dcm", "C:/evil.dcm"])
def test_names_that_lead_out_are_not_read(tmp_path: Path, folder: Path, name: str) -> None:
    pack = zipped(tmp_path / "scan.zip", folder)
    with zipfile.ZipFile(pack, "a") as more:
        more.writestr(name, (folder / "im000.dcm").read_bytes())
    entries = [entry for entry in find_cases([pack]).ledger if "evil" in entry.path.name or entry.path.name == "b.dcm"]
    assert [entry.reason for entry in entries] == ["a name that leads out of the archive"]
    assert all(entry.path.is_relative_to(pack) for entry in entries)
    assert read_array(pack)[0].shape == (8, 6, 5)


def test_an_archive_within_is_not_opened(tmp_path: Path, folder: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", folder)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.write(inner, "inner.zip")
    with pytest.raises(MiliaryError, match="an archive within an archive"):
        read_array(tmp_path / "outer.zip")


def limits(path: Path) -> tuple[str, float, float]:
    """Message, processor time, growth of the peak memory (MB)."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(MiliaryError) as caught:
        read_array(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return str(caught.value), time.process_time() - began, grown


def test_a_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("a.dcm", b"\0" * (100 << 20))
    message, seconds, grown = limits(tmp_path / "bomb.zip")
    assert "grows from" in message
    assert "bomb.zip" in message
    assert seconds < 2
    assert grown < 300


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path, folder: Path) -> None:
    data = bytearray(zipped(tmp_path / "scan.zip", folder).read_bytes())
    at = data.find(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, struct.unpack_from("<I", data, at + 24)[0] - 6)
    (tmp_path / "scan.zip").write_bytes(data)
    with pytest.raises(MiliaryError):
        read_array(tmp_path / "scan.zip")


def test_a_damaged_member_is_refused(tmp_path: Path, folder: Path) -> None:
    pack = zipped(tmp_path / "scan.zip", folder, method=zipfile.ZIP_STORED)
    data = bytearray(pack.read_bytes())
    last = data.find(b"PK\x03\x04", data.find(b"PK\x03\x04") + 4)
    data[last - 20] ^= 1  # within the pixels of the first member
    pack.write_bytes(data)
    with pytest.raises(UnreadableFileError):
        read_array(pack)


def test_a_truncated_archive(tmp_path: Path, folder: Path) -> None:
    pack = zipped(tmp_path / "scan.zip", folder)
    pack.write_bytes(pack.read_bytes()[:-40])
    with pytest.raises(UnreadableFileError, match=r"scan\.zip"):
        read_array(pack)


def test_a_directory_without_end(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = zipped(tmp_path / "scan.zip", folder)
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(UnsuitableImageError, match="directory"):
        read_array(pack)


def test_too_many_members_and_two_of_one_name(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = zipped(tmp_path / "twice.zip", folder)
    with zipfile.ZipFile(twice, "a") as more, pytest.warns(UserWarning, match="Duplicate"):
        more.writestr("disc/series/im000.dcm", b"other")
    with pytest.raises(UnreadableFileError, match="two files of one name"):
        read_array(twice)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with pytest.raises(UnsuitableImageError, match="5 files"):
        read_array(zipped(tmp_path / "many.zip", folder))


def test_encrypted_oddly_packed_and_other_members(tmp_path: Path, folder: Path) -> None:
    pack = tmp_path / "scan.zip"
    with zipfile.ZipFile(pack, "w", zipfile.ZIP_BZIP2) as odd:
        odd.write(folder / "im000.dcm", "im.dcm")
        odd.mkdir("empty")
    with pytest.raises(MiliaryError, match="method"):
        read_array(pack)
    data = bytearray(zipped(pack, folder).read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at + 1)) > 0:
        data[at + 8] |= 1
    pack.write_bytes(data)
    with pytest.raises(MiliaryError, match="encrypted"):
        read_array(pack)


def test_a_volume_within_an_archive_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as pack:
        pack.writestr("t1.nii.gz", b"\x1f\x8b")
    with pytest.raises(MiliaryError, match="a volume within an archive"):
        read_array(tmp_path / "scan.zip")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for read in (archive.open_file, archive.file_size, archive.file_bytes):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none.dcm")


def test_a_broken_member_stands_against_its_folder(tmp_path: Path, folder: Path) -> None:
    pack = zipped(tmp_path / "scan.zip", folder)
    with zipfile.ZipFile(pack, "a") as more:
        more.writestr("disc/series/im009.dcm", (folder / "im000.dcm").read_bytes()[:200])
    with pytest.raises(UnreadableFileError, match="im009"):
        read_array(pack)


def test_a_series_beside_its_own_archive_counts_once(tmp_path: Path, folder: Path, kit: Any) -> None:
    zipped(folder / "copy.zip", folder, below="copy")
    voxels, _ = read_array(folder)
    np.testing.assert_array_equal(voxels, kit.Series().stored().transpose(2, 1, 0).astype(np.float32))


def test_a_damaged_archive_hides_nothing_else(tmp_path: Path, folder: Path) -> None:
    (folder / "viewer.zip").write_bytes(b"PK\x03\x04 no archive at all")
    found = find_cases([folder])
    assert len(found.cases) == 1
    assert [problem.path.name for problem in found.problems] == ["viewer.zip"]
    assert read_array(folder)[0].shape == (8, 6, 5)
