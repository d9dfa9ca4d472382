"""Writing a case: all or nothing, only where it may, and the same bytes twice."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from miliary_seg.errors import DiskFullError, OutputError
from miliary_seg.report import atomic_folder as drafts
from miliary_seg.report import validate, write, write_case

FILES = {
    "result.json",
    "report.html",
    "t1c-1/lesions.nii.gz",
    "t1c-1/compartments.nii.gz",
    "t1c-1/lesions.csv",
    "t1c-1/slices.csv",
    "t1c-1/candidates.csv",
    "t1c-1/location.npz",
    "t1c-1/lesions.seg.dcm",
    "t1c-1/measurements.sr.dcm",
}


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_as_promised(tmp_path, case):
    folder = write_case(case, tmp_path / "new" / "out", False)
    assert folder == tmp_path / "new" / "out" / "sub-01"
    assert set(tree(folder)) == FILES
    document = json.loads((folder / "result.json").read_text("utf-8"))
    validate(document)
    for path in document["series"][0]["files"].values():
        assert (folder / path).is_file()
    assert [p.name for p in folder.parent.iterdir()] == ["sub-01"]


@pytest.mark.parametrize("change", [{"trusted": False}, {"reoriented": True}, {"orientation_known": False}])
def test_compartments_that_may_not_be_used_are_not_written(tmp_path, make_case, change):
    case = make_case()
    series = case.series[0]
    location = replace(series.location, registration=replace(series.location.registration, **change))
    folder = write_case(replace(case, series=(replace(series, location=location),)), tmp_path, False)
    assert set(tree(folder)) == FILES - {"t1c-1/compartments.nii.gz"}
    document = json.loads((folder / "result.json").read_text("utf-8"))
    validate(document)
    assert "compartment_map" not in document["series"][0]["files"]


def test_two_writes_are_byte_identical(tmp_path, make_case):
    first = tree(write_case(make_case(), tmp_path / "a", False))
    second = tree(write_case(make_case(), tmp_path / "b" / "c", False))
    assert first == second


def test_existing_result_needs_force(tmp_path, case, make_case):
    folder = write_case(case, tmp_path, False)
    before = tree(folder)
    with pytest.raises(OutputError, match="--force"):
        write_case(make_case(blobs=()), tmp_path, False)
    assert tree(folder) == before
    (folder / "stale.txt").write_text("x")
    write_case(make_case(blobs=()), tmp_path, True)
    assert json.loads((folder / "result.json").read_text())["series"][0]["lesions"] == []
    assert set(tree(folder)) == FILES - {"t1c-1/lesions.seg.dcm"}, "nothing to segment"
    assert [p.name for p in tmp_path.iterdir()] == ["sub-01"]


def test_an_empty_folder_is_free(tmp_path, case):
    (tmp_path / "sub-01").mkdir()
    assert set(tree(write_case(case, tmp_path, False))) == FILES


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_force_never_replaces_what_is_not_a_result(tmp_path, case, kind):
    target, elsewhere = tmp_path / "sub-01", tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "result.json").write_text("{}")
    if kind == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("years of work")
    elif kind == "file":
        target.write_text("years of work")
    else:
        target.symlink_to(elsewhere)
    with pytest.raises(OutputError, match="not a result"):
        write_case(case, tmp_path, True)
    assert (elsewhere / "result.json").read_text() == "{}"
    if kind == "folder":
        assert (target / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("stage", ["write_label_map", "lesions_table", "validate", "_flush", "_install"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_midway_leaves_nothing(tmp_path, case, monkeypatch, stage, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(write, stage, fail)
    wanted = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        write_case(case, tmp_path / "out", False)
    assert list(tmp_path.rglob("*")) == []


def test_a_failure_midway_keeps_the_old_result(tmp_path, case, monkeypatch):
    folder = write_case(case, tmp_path, False)
    before = tree(folder)
    rename = Path.rename

    def second_rename_fails(self, target):
        if self.name.endswith(".draft"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_rename_fails)
    with pytest.raises(OutputError, match="Input/output"):
        write_case(case, tmp_path, True)
    monkeypatch.undo()
    assert tree(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["sub-01"]


def test_output_below_a_file(tmp_path, case):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"):
        write_case(case, tmp_path / "file" / "out", False)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["../escape", "/abs/x", "a/../../b", "..", "<b>", "a\nb", "report.html"])
def test_names_stay_below_the_output(tmp_path, make_case, name):
    folder = write_case(make_case(case=name, series_id=name), tmp_path / "out", False)
    assert folder.parent == tmp_path / "out"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    paths = json.loads((folder / "result.json").read_text())["series"][0]["files"].values()
    assert all((folder / path).resolve().is_relative_to(folder.resolve()) for path in paths)
    assert all((folder / path).is_file() for path in paths)


def test_series_that_differ_only_in_letter_case(tmp_path, make_case):
    from dataclasses import replace

    one, two = make_case(series_id="T1"), make_case(series_id="t1")
    folder = write_case(replace(one, series=(*one.series, *two.series)), tmp_path, False)
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {"T1", "t1-2"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_apart_and_loses_nothing(tmp_path, case, make_case, monkeypatch, number):
    folder = write_case(case, tmp_path, False)
    before = tree(folder)

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("miliary_seg.report.write.os.fsync", full)
    with pytest.raises(DiskFullError, match="no space is left"):
        write_case(make_case(blobs=()), tmp_path, True)
    assert tree(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["sub-01"]


def test_drafts_of_killed_runs_are_swept_and_those_of_other_cases_are_not(tmp_path, case):
    folder = write_case(case, tmp_path, False)
    ended = 2**22 + 1  # above any process number of Linux and macOS
    mine, host = drafts.temp_name("sub-01", "draft"), drafts.temp_name("", "draft")[2:10]
    key, gone = "0" * 32, f"{host}-{ended}-{'1' * 32}"
    ours = [tmp_path / name for name in (f".sub-01.{gone}.draft", f".sub-01.{gone}.old", f".sub-01.{key}.draft")]
    names = (mine, f".sub-01.00000000-{ended}-{key}.draft", f".sub-01.{key[1:]}3.old", f".sub-02.{gone}.draft")
    others = [tmp_path / name for name in (*names, f".sub-01.x.{gone}.draft", ".sub-01.draft", ".git")]
    for left in (*ours, *others):
        left.mkdir()
        (left / "part").write_text("x")
    os.utime(ours[2], (0, 0))  # of nobody, and long forgotten
    drafts.sweep_drafts([folder, tmp_path / "nowhere" / "sub-03"])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["sub-01", *(p.name for p in others)])
