"""What lies in folders beside scans, and which NIfTI files are one person's."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from miliary_seg.cli import app
from miliary_seg.errors import MiliaryError
from miliary_seg.load import find_cases, load_study
from miliary_seg.load.dicom.codestream import loses
from miliary_seg.load.nifti.sidecar import read_sidecar


def scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(0).normal(100, 9, (20, 20, 12)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


PEOPLE = [
    (["BraTS-MET-00002-000-t1c", "BraTS-MET-00002-000-t1n", "BraTS-MET-00002-000-t2w", "BraTS-MET-00002-000-t2f"],
     {"BraTS-MET-00002-000": ["t1c", "flair"]}),
    (["UPENN-GBM-00001_11_T1GD", "UPENN-GBM-00001_11_FLAIR"], {"UPENN-GBM-00001_11": ["t1c", "flair"]}),
    (["P1_T1", "P1_FLAIR", "P2_T1", "P2_FLAIR"], {"P1": ["flair", "t1"], "P2": ["flair", "t1"]}),
    (["P1_T1", "P2_FLAIR"], {"P1": ["t1"], "P2": ["flair"]}),
    (["P1_pre_T1c", "P1_post_T1c"], {"P1_pre": ["t1c"], "P1_post": ["t1c"]}),  # visits, not sequences
    (["P1_T1w", "P1_ce-gd_T1w"], {"P1": ["t1c"]}),
    (["日本 T1c", "中国 T1c"], {"日本": ["t1c"], "中国": ["t1c"]}),
    (["P1-flair", "P1_T1c_brain", "P1.t2"], {"P1": ["t1c", "flair"]}),
    (["T1", "FLAIR"], {"T1": ["t1"], "FLAIR": ["flair"]}),  # whose?
    (["sub-1_ses-a_T1w", "sub-1_ses-a_FLAIR"], {"sub-1_ses-a": ["flair", "t1"]}),
]  # fmt: skip


@pytest.mark.parametrize(("names", "expected"), PEOPLE)
def test_files_of_one_person_are_one_case(tmp_path: Path, names: list[str], expected: dict[str, list[str]]) -> None:
    for name in names:
        scan(tmp_path / f"{name}.nii.gz")
    found = find_cases([tmp_path]).cases
    assert {case.id: [str(s.sequence.sequence) for s in case.eligible] for case in found} == expected


@pytest.mark.parametrize(
    "names",
    [
        ["P1_T1", "P1_FLAIR", "P2_FLAIR", "P1_ce-gd_T1w", "P1_T2"],
        ["A-000-t2f", "A-000-t1n", "A-000-t1c", "A-001-t1c"],
        ["a/P1 FLAIR", "b/P1 FLAIR", "a/P1 T1c", "T1c", "FLAIR"],
        ["Jane_T1c", "Jane_FLAIR"],
    ],
)
def test_names_stay_while_a_persons_files_arrive_one_by_one(tmp_path: Path, names: list[str]) -> None:
    """In any order, and however many are there: a case is called by its file, not by what lies beside it."""
    alone = {}
    for name in names:
        file = scan(tmp_path / name / f"{name}.nii.gz")
        (tmp_path / name / f"{name}.json").write_text(json.dumps({"PatientName": "Doe^Jane"}))
        (case,) = find_cases([tmp_path / name]).cases
        alone[name] = case.id
        assert not file.is_relative_to(tmp_path / "all")
    for order in (names, names[::-1]):
        root, seen = tmp_path / f"all{order is names}", set()
        for name in order:
            scan(root / f"{name}.nii.gz")
            found = {case.id for case in find_cases([root]).cases}
            assert seen <= found, f"{name} renamed a case"
            seen = found
    assert all("jane" not in name.lower() for name in alone.values())


def test_a_file_that_cannot_be_read_has_the_name_of_its_person(tmp_path: Path) -> None:
    scan(tmp_path / "P1_T1.nii.gz")
    (tmp_path / "P1_FLAIR.nii.gz").write_bytes(b"torn")
    (tmp_path / "P2_FLAIR.nii.gz").write_bytes(b"torn")
    found = find_cases([tmp_path])
    (case,) = found.cases
    assert (case.id, len(case.series), [caveat.code for caveat in case.caveats]) == ("P1", 2, ["series_not_readable"])
    assert {problem.case for problem in found.problems} == {"P1", "P2"}


def test_an_empty_scan_is_told_and_an_empty_mask_is_not(tmp_path: Path) -> None:
    """Both pack to nothing; the name says which of them was a scan."""
    scan(tmp_path / "P1_FLAIR.nii.gz")
    for name in ("P1_T1c", "P1_tumour_mask", "drawn"):
        nib.save(nib.Nifti1Image(np.zeros((60, 60, 40), np.int16), np.eye(4)), tmp_path / f"{name}.nii.gz")
    study = load_study(tmp_path)
    assert [str(volume.sequence.sequence) for volume in study.volumes] == ["flair"]
    assert study.unreadable_series == ("P1_T1c",)
    assert [caveat.code for caveat in study.caveats] == ["series_not_readable"]


def test_half_a_pair_of_files(tmp_path: Path) -> None:
    pair = nib.Nifti1Pair(np.random.default_rng(0).normal(90, 9, (20, 20, 12)).astype(np.float32), np.eye(4))
    for name in ("P1_T1", "P2_T1", "P3_T1"):
        nib.save(pair, tmp_path / f"{name}.img")
    (tmp_path / "P1_T1.hdr").unlink()
    (tmp_path / "P2_T1.img").unlink()
    found = find_cases([tmp_path])
    assert [case.id for case in found.cases] == ["P3"]
    assert {(problem.case, problem.error.code) for problem in found.problems} == {
        ("P1", "unreadable_file"),
        ("P2", "unreadable_file"),
    }


def test_the_name_of_a_file_that_the_user_names_is_kept(tmp_path: Path) -> None:
    one, _ = (scan(tmp_path / f"P1_{kind}.nii.gz") for kind in ("T1", "FLAIR"))
    assert [case.id for case in find_cases([one]).cases] == ["P1_T1"]


@pytest.mark.parametrize("name", ["._P1_T1.nii.gz", ".P1_T1.nii.gz", "P1_T1.nii.gz.part", "P1_T1.nii.gz.crdownload"])
def test_what_is_no_scan_though_named_like_one(tmp_path: Path, name: str) -> None:
    scan(tmp_path / "P1_T1.nii.gz").read_bytes()
    (tmp_path / name).write_bytes(b"\0" * 50)
    found = find_cases([tmp_path])
    assert [case.id for case in found.cases] == ["P1"]
    assert found.problems == ()
    assert "skipped" in [entry.status for entry in found.ledger]


@pytest.mark.parametrize("inside", [True, False])
def test_what_an_annex_holds_is_read(tmp_path: Path, inside: bool) -> None:
    """A data set of git-annex, given whole or one participant of it."""
    real = scan(tmp_path / "set" / ".git" / "annex" / "objects" / "aa" / "MD5E-1.nii.gz")
    for participant in ("sub-1", "sub-2"):
        (tmp_path / "set" / participant).mkdir(parents=True)
    (tmp_path / "set" / "sub-1" / "sub-1_T1w.nii.gz").symlink_to(real)
    (tmp_path / "set" / "sub-1" / "sub-1_FLAIR.nii.gz").symlink_to(real.with_name("MD5E-gone.nii.gz"))
    found = find_cases([tmp_path / "set" / "sub-1" if inside else tmp_path / "set"])
    assert [[s.id for s in case.eligible] for case in found.cases] == [["sub-1_T1w"]]
    assert ["not here" in problem.error.what for problem in found.problems] == [True]


def test_a_link_out_of_the_input_is_still_not_followed(tmp_path: Path) -> None:
    real = scan(tmp_path / "elsewhere" / "P9_T1.nii.gz")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "P1_T1.nii.gz").symlink_to(real)
    assert find_cases([tmp_path / "in"]).cases == ()


@pytest.mark.parametrize("lost", ["link", "part"])
def test_a_lost_last_slice(tmp_path: Path, kit: Any, lost: str) -> None:
    paths = kit.write(tmp_path, kit.Series().datasets())
    last = paths[-1]
    data = last.read_bytes()
    last.unlink()
    if lost == "link":
        last.symlink_to(tmp_path / "gone.dcm")
    else:
        last.with_name(last.name + ".part").write_bytes(data[:300])
    with pytest.raises(MiliaryError, match="a slice that was lost"):
        load_study(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_sidecars_of_any_converter(tmp_path: Path, encoding: str) -> None:
    path = scan(tmp_path / "scan_T1.nii.gz")
    (tmp_path / "scan_T1.json").write_bytes('{"SliceThickness": 3, "ProtocolName": "Schädel"}'.encode(encoding))
    assert read_sidecar(path)["SliceThickness"] == 3


def test_the_image_of_a_packed_pair_may_be_named(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(np.random.default_rng(0).normal(9, 1, (9, 9, 9)), np.eye(4)), tmp_path / "P1_T1.img.gz")
    assert len(load_study(tmp_path / "P1_T1.img.gz").volumes) == 1


@pytest.mark.parametrize(("stated", "told"), [(5, False), (9, True), ("", False)])
def test_fewer_images_than_the_header_speaks_of(tmp_path: Path, kit: Any, stated: Any, told: bool) -> None:
    kit.write(tmp_path, kit.Series(attributes={"ImagesInAcquisition": stated}).datasets())
    codes = [caveat.code for caveat in load_study(tmp_path).volumes[0].caveats]
    assert ("fewer_images_than_stated" in codes) is told


def j2k(transformation: int) -> bytes:
    siz = struct.pack(">HH", 0xFF51, 41) + bytes(39)
    cod = struct.pack(">HHBBHBBBBBB", 0xFF52, 12, 0, 0, 1, 0, 5, 4, 4, 0, transformation)
    return b"\xff\x4f" + siz + cod


def jpeg_ls(near: int) -> bytes:
    frame = struct.pack(">HHBHHBBBB", 0xFFF7, 11, 8, 4, 4, 1, 1, 0x11, 0)
    return b"\xff\xd8" + frame + struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, near, 0, 0)


@pytest.mark.parametrize(
    ("stream", "lossy"),
    [(j2k(0), True), (j2k(1), False), (jpeg_ls(3), True), (jpeg_ls(0), False), (b"", False), (b"\xff\x4f\xff", False)],
)
def test_loss_by_the_code_stream(stream: bytes, lossy: bool) -> None:
    assert loses(stream) is lossy


def test_inspect_fails_where_there_is_nothing(tmp_path: Path) -> None:
    scan(tmp_path / "P1_T1.nii.gz")
    here, gone = str(tmp_path), str(tmp_path / "nowhere")
    assert CliRunner().invoke(app, ["inspect", here]).exit_code == 0
    for arguments in ([gone], [here, gone]):
        done = CliRunner().invoke(app, ["inspect", "--json", *arguments])
        assert done.exit_code == 3
        assert json.loads(done.stdout)["problems"]
