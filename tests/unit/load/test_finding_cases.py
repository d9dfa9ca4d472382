"""Paths into cases: what becomes a case, how it is named, what becomes of every file."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.errors import (
    AmbiguousInputError,
    MiliaryError,
    NoImageError,
    UnreadableFileError,
    UnsuitableImageError,
)
from miliary_seg.load import find_cases, inspect, load_case, load_study, read_array
from miliary_seg.settings import Settings


def save(path: Path, data: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([-1.0, 1.0, 2.0, 1.0])), path)
    return path


def study(kit: Any, number: int, patient: str = "P-4711", **changes: Any) -> list[Any]:
    series = kit.Series(study=f"1.2.{number}", series=f"1.2.{number}.1", seed=number, **changes)
    datasets = series.datasets()
    for ds in datasets:
        ds.PatientID = patient
    return datasets


def test_a_patient_cd(tmp_path: Path, kit: Any) -> None:
    """Nested, no endings, litter all around, another modality, a report."""
    names = [f"I{k:04d}" for k in range(5)]
    kit.write(tmp_path / "DICOM" / "ST0" / "SE0", kit.Series().datasets(), names)
    report = kit.blank("1.2.840.10008.5.1.4.1.1.88.11", "1.2.5")
    report.Modality = "SR"
    kit.write(tmp_path / "DICOM" / "ST0" / "SE1", [report], ["SR1"])
    directory = kit.blank("1.2.840.10008.1.3.10", "1.2.6")
    kit.write(tmp_path, [directory], ["DICOMDIR"])
    for name, data in (
        ("autorun.exe", b"MZ" * 300),
        (".DS_Store", b"\0" * 99),
        ("._I0001", b"x" * 200),
        ("VERSION", b""),
    ):
        (tmp_path / "DICOM" / "ST0" / "SE0" / name).write_bytes(data)
    found = find_cases([tmp_path])
    assert len(found.cases) == 1
    assert found.problems == ()
    assert {entry.status for entry in found.ledger} == {"used", "skipped"}
    reasons = {entry.path.name: entry.reason for entry in found.ledger if entry.status == "skipped"}
    assert reasons["DICOMDIR"].startswith("a DICOMDIR")
    assert "SR" in reasons["SR1"]
    assert len(found.ledger) == sum(len(files) for _, _, files in os.walk(tmp_path))
    assert read_array(tmp_path)[0].shape == (8, 6, 5)


def test_studies_become_cases_with_names_from_their_folders(tmp_path: Path, kit: Any) -> None:
    for number, name in ((1, "case-one"), (2, "case-two"), (3, "Roe Jane")):
        kit.write(tmp_path / name / "scan", study(kit, number))
    found = find_cases([tmp_path])
    names = [case.id for case in found.cases]
    assert {"case-one-scan", "case-two-scan"} <= set(names)
    hidden = next(name for name in names if "case" not in name.removeprefix(tmp_path.name))
    assert "Roe" not in hidden
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)
    assert [case.id for case in find_cases([tmp_path]).cases] == names
    with pytest.raises(AmbiguousInputError, match="3 cases"):
        load_study(tmp_path)


def test_two_patients_in_one_folder(tmp_path: Path, kit: Any) -> None:
    second = study(kit, 2, "Q-1")
    kit.write(tmp_path / "mixed", [*study(kit, 1), *second])
    kit.write(tmp_path / "clean", study(kit, 3, "R-2"))
    found = find_cases([tmp_path])
    assert [len(case.eligible) for case in found.cases] == [1]
    (problem,) = found.problems
    assert isinstance(problem.error, AmbiguousInputError)
    assert problem.path == tmp_path / "mixed"
    assert not re.search("4711|Q-1", str(problem.error))
    with pytest.raises(AmbiguousInputError, match="2 patients"):
        read_array(tmp_path)


def test_two_patients_in_one_study(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path / "a", study(kit, 1, "A"))
    kit.write(tmp_path / "b", study(kit, 1, "B"))
    with pytest.raises(AmbiguousInputError, match="patients"):
        read_array(tmp_path)


def test_one_series_uid_in_two_studies(tmp_path: Path, kit: Any) -> None:
    other = study(kit, 2)
    for ds in other:
        ds.SeriesInstanceUID = "1.2.1.1"
    kit.write(tmp_path / "a", study(kit, 1))
    kit.write(tmp_path / "b", other)
    with pytest.raises(AmbiguousInputError, match="SeriesInstanceUID"):
        read_array(tmp_path)


def test_without_uids_a_folder_is_a_study(tmp_path: Path, kit: Any) -> None:
    datasets = kit.Series().datasets()
    for ds in datasets:
        del ds.StudyInstanceUID, ds.SeriesInstanceUID
    kit.write(tmp_path, datasets)
    assert read_array(tmp_path)[0].shape == (8, 6, 5)


def test_nifti_files_are_cases_and_masks_are_not(tmp_path: Path, head: np.ndarray) -> None:
    save(tmp_path / "T1.nii.gz", head)
    save(tmp_path / "T1POST.nii.gz", head)
    save(tmp_path / "GOLD_STANDARD.nii.gz", head)
    save(tmp_path / "sub_dseg.nii.gz", head)
    blocks = np.zeros((40, 40, 40), np.int16)
    blocks[10:30, 10:30, 10:30] = 3
    save(tmp_path / "anonymous.nii.gz", blocks)
    save(tmp_path / "bytes.nii", np.resize(np.arange(5, dtype=np.uint8), (6, 6, 6)))
    found = find_cases([tmp_path])
    assert [case.id for case in found.cases] == ["T1", "T1POST"]
    skipped = {entry.path.name: entry.reason for entry in found.ledger if entry.status == "skipped"}
    assert set(skipped) == {"GOLD_STANDARD.nii.gz", "sub_dseg.nii.gz", "anonymous.nii.gz", "bytes.nii"}
    assert all("mask or label map" in reason for reason in skipped.values())


def test_bids_files_of_a_session_are_one_case(tmp_path: Path, head: np.ndarray) -> None:
    anat = tmp_path / "sub-01" / "ses-1" / "anat"
    save(anat / "sub-01_ses-1_ce-GADOLINIUM_T1w.nii.gz", head)
    save(anat / "sub-01_ses-1_T1w.nii.gz", head)
    save(anat / "sub-01_ses-1_FLAIR.nii.gz", head)
    save(anat / "sub-01_ses-1_desc-brain_mask.nii.gz", head)
    save(tmp_path / "sub-02" / "ct" / "sub-02_ct.nii.gz", head)
    found = find_cases([tmp_path])
    assert [case.id for case in found.cases] == ["sub-01_ses-1", "sub-02"]
    first = found.cases[0]
    assert [str(s.sequence.sequence) for s in first.eligible] == ["t1c", "flair"]
    assert first.eligible[0].sequence.confidence == "high"
    assert [str(v.sequence.sequence) for v in load_case(first).volumes] == ["t1c", "flair"]
    assert [str(s.modality) for s in found.cases[1].series] == ["CT"]


def names(*paths: Path) -> list[str]:
    return sorted(case.id for case in find_cases(paths).cases)


def test_a_case_is_named_by_its_path_and_not_by_its_neighbours(tmp_path: Path, kit: Any, head: np.ndarray) -> None:
    """Whatever comes later, the names that were there stay: else one scan is counted twice."""
    seen: set[str] = set()
    for step in ("P1/T1", "P2/T1", "P1/visit2/T1", "T1"):
        save(tmp_path / f"{step}.nii.gz", head)
        assert seen < set(names(tmp_path)), step
        seen = set(names(tmp_path))
    assert seen == {"P1-T1", "P2-T1", "P1-visit2-T1", "T1"}
    studies = tmp_path / "dicom"
    kit.write(studies / "A" / "scan", study(kit, 1))
    assert names(studies) == ["A-scan"]
    kit.write(studies / "B" / "scan", study(kit, 2))
    assert names(studies) == ["A-scan", "B-scan"]


def test_equal_names_below_several_paths_get_the_folder_above(tmp_path: Path, head: np.ndarray) -> None:
    files = [save(tmp_path / name / "T1.nii.gz", head) for name in ("P1", "P2")]
    assert names(files[0]) == names(files[0].parent) == ["T1"]
    assert names(*files) == names(*reversed(files)) == names(*(f.parent for f in files)) == ["P1-T1", "P2-T1"]
    one, two = save(tmp_path / "x" / "a b.nii", head), save(tmp_path / "x" / "a_b.nii.gz", head)
    three = save(tmp_path / "x" / "a(b.nii", head)
    found = names(one.parent)
    assert found == names(three, two, one), "the order does not matter"
    assert "a_b" in found
    assert len({name[:4] for name in found if name != "a_b"}) == 1


@pytest.mark.parametrize("name", ["日本_T1c", "中国_T1c", "Müller-頭", "หัว", "сканT1", "a" * 200, "頭" * 80])
def test_names_keep_their_letters(tmp_path: Path, head: np.ndarray, name: str) -> None:
    import unicodedata

    for n, form in enumerate(("NFC", "NFD")):
        spelled = unicodedata.normalize(form, name)[:80]
        (found,) = names(save(tmp_path / str(n) / f"{spelled}.nii.gz", head))
        assert len(found) <= 64
        assert len(found.encode()) <= 150
        kept = name.removesuffix("_T1c")
        assert found == name or (len(name) > 60 and found[:10] == name[:10] and re.search("-[0-9a-f]{8}-", found))
        assert names(tmp_path / str(n)) == [found.replace(name, kept)], "whose it is, found below a folder"


def test_the_same_files_below_two_paths_are_one_case(tmp_path: Path, kit: Any, head: np.ndarray) -> None:
    file = save(tmp_path / "n" / "T1.nii.gz", head)
    kit.write(tmp_path / "d" / "SE0", kit.Series().datasets())
    kit.write(tmp_path / "d" / "SE1", kit.Series(series="1.2.3.8", seed=8).datasets())
    found = find_cases([file, tmp_path / "d" / "SE0", tmp_path, tmp_path / "n", file])
    assert [[s.n_files for s in case.series] for case in found.cases] == [[1], [5, 5]]


def test_one_bad_file_neither_hides_nor_stops_the_others(tmp_path: Path, head: np.ndarray) -> None:
    save(tmp_path / "T1.nii.gz", head)
    (tmp_path / "T2.nii.gz").write_text("no image")
    save(tmp_path / "bold.nii.gz", np.stack([head, head], axis=3))
    found = find_cases([tmp_path, tmp_path / "missing", tmp_path / "T1.nii.gz"])
    assert [case.id for case in found.cases] == ["T1"], "given twice, found once"
    kinds = {problem.path.name: type(problem.error) for problem in found.problems}
    assert kinds == {
        "T2.nii.gz": UnreadableFileError,
        "bold.nii.gz": UnsuitableImageError,
        "missing": NoImageError,
    }


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("nothing.nii.gz", None, NoImageError),
        ("text.nii.gz", b"words", UnreadableFileError),
        ("words.txt", b"words", UnreadableFileError),
        ("empty.dcm", b"", UnreadableFileError),
        ("cut.dcm", b"\0" * 128 + b"DICM", UnreadableFileError),
    ],
)
def test_a_file_that_the_user_names(tmp_path: Path, name: str, data: bytes | None, error: type[MiliaryError]) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    (problem,) = find_cases([path]).problems
    assert isinstance(problem.error, error)
    assert name in str(problem.error)


def test_folders_without_a_scan(tmp_path: Path) -> None:
    with pytest.raises(NoImageError, match="empty"):
        read_array(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NoImageError, match="neither DICOM nor NIfTI"):
        read_array(tmp_path)


def test_links_do_not_lead_out(tmp_path: Path, kit: Any, head: np.ndarray) -> None:
    outside = save(tmp_path / "outside" / "T1.nii.gz", head)
    inside = tmp_path / "in"
    kit.write(inside / "scan", kit.Series().datasets())
    (inside / "out").symlink_to(tmp_path / "outside")
    (inside / "T1.nii.gz").symlink_to(outside)
    (inside / "again.dcm").symlink_to(inside / "scan" / "im000.dcm")
    hidden = inside / ".git" / "annex" / "x.nii.gz"
    save(hidden, head)
    (inside / "T2.nii.gz").symlink_to(hidden)
    found = find_cases([inside])
    assert sorted(case.id for case in found.cases) == ["T2", "scan"]
    reasons = {entry.path.name: entry.reason for entry in found.ledger if "link" in entry.reason}
    assert set(reasons) == {"out", "T1.nii.gz", "again.dcm"}


def test_a_broken_series_is_a_caveat_beside_a_good_one(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path / "good", kit.Series().datasets())
    bad = kit.Series(series="1.2.3.8", seed=8).datasets()
    paths = kit.write(tmp_path / "bad", bad)
    paths[1].write_bytes(paths[1].read_bytes()[:-9])
    loaded = load_study(tmp_path)
    assert len(loaded.volumes) == 1
    assert [caveat.code for caveat in loaded.caveats] == ["series_not_readable"]
    with pytest.raises(UnreadableFileError, match="im001"):
        read_array(tmp_path)


def test_a_series_that_fails_while_it_is_decoded_is_a_caveat_too(tmp_path: Path, kit: Any) -> None:
    kit.write(tmp_path / "good", kit.Series().datasets())
    bad = kit.Series(series="1.2.3.8", seed=8).datasets()
    kit.image(bad[2], np.zeros((6, 8), np.uint16))
    kit.write(tmp_path / "bad", bad)
    loaded = load_study(tmp_path)
    assert len(loaded.volumes) == 1
    assert "blank slice" in loaded.caveats[0].text


def test_progress_and_inventory(tmp_path: Path, kit: Any, head: np.ndarray) -> None:
    kit.write(tmp_path / "scan", kit.Series().datasets())
    save(tmp_path / "T1.nii.gz", head)
    (tmp_path / "x.nii").write_bytes(b"no")
    seen: list[int] = []
    find_cases([tmp_path], progress=seen.append)
    assert seen == list(range(1, 8))
    inventory = inspect([tmp_path], Settings())
    assert len(inventory.cases) == 2
    data = json.loads(json.dumps(inventory.as_dict()))
    series = data["cases"][0]["series"][0]
    assert series["used"]
    assert series["sequence"] == "t1"
    assert series["plane"] == "axial"
    assert series["shape"] == [8, 6, 5]
    assert data["problems"][0]["code"] == "unreadable_file"
    assert data["files"] == {"used": 6, "failed": 1}
    assert "Roe" not in json.dumps(data)
    assert "4711" not in json.dumps(data)


def test_max_voxels(tmp_path: Path, kit: Any, head: np.ndarray) -> None:
    settings = Settings().updated({"load.max_voxels": 100})
    kit.write(tmp_path / "scan", kit.Series().datasets())
    with pytest.raises(UnsuitableImageError, match="max_voxels"):
        read_array(tmp_path / "scan", settings)
    with pytest.raises(UnsuitableImageError, match="max_voxels"):
        read_array(save(tmp_path / "T1.nii", head), settings)


def test_unreadable_folder_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr("miliary_seg.load.walk.os.scandir", refuse)
    with pytest.raises(UnreadableFileError, match="may not be read"):
        read_array(tmp_path)


@pytest.mark.parametrize("name", ["DOE_JOHN", "mr-4711", "2020 Doe"])
def test_the_named_path_itself_never_names_the_patient(tmp_path: Path, kit: Any, name: str) -> None:
    attributes = {"PatientName": "DOE^JOHN"}
    kit.write(tmp_path / "one" / name, study(kit, 1, "4711", attributes=attributes))
    (case,) = find_cases([tmp_path / "one" / name]).cases
    assert re.fullmatch(r"case-[0-9a-f]{8}", case.id)
    root = tmp_path / "two" / name
    kit.write(root / "DOE", study(kit, 1, "4711", attributes=attributes))
    other = study(kit, 2, "P-9", attributes={"PatientName": "Roe^Jane"})
    kit.write(root / "baseline", other)
    first, second = sorted(case.id for case in find_cases([root]).cases)
    assert first == "baseline"
    assert re.fullmatch(r"case-[0-9a-f]{8}", second)
    archive = Path(shutil.make_archive(str(tmp_path / name), "zip", tmp_path / "one" / name))
    assert find_cases([archive]).cases[0].id == case.id
