"""What is kept, what is redone and what is refused, by what lies in the output folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.cohort import RunPlan, read_manifest, write_tables
from miliary_seg.cohort.run.case import versions
from miliary_seg.cohort.run.manifest import finished, origin_of, require_same_settings
from miliary_seg.errors import OutputError
from miliary_seg.load import find_cases
from miliary_seg.settings import Settings


@pytest.fixture
def done(batch, plan: RunPlan) -> Path:
    batch("good-1")
    return plan.output / "good-1"


def origin(case, plan: RunPlan, **libraries: str):
    return origin_of(case, plan, dict(versions()) | libraries)


def test_equal_origins_are_kept(done, plan, cases) -> None:
    (case,) = cases("good-1")
    assert finished(done, origin(case, plan), plan) is not None
    assert read_manifest(done).verify(done) == []


def test_what_is_redone_without_being_asked(done, plan, cases) -> None:
    (case,) = cases("good-1")
    same = origin(case, plan)
    assert finished(done, replace(same, software="miliary-seg 0.2.0"), plan) is None
    assert finished(done, origin(case, plan, numpy="99.0"), plan) is None, "another numpy may change a last bit"
    assert finished(done, replace(same, input_digest="changed"), plan) is None
    assert finished(done, replace(same, choices_digest="changed"), plan) is None
    assert finished(done, replace(same, place="elsewhere"), plan) is not None, "the same scan, copied"
    assert finished(plan.output / "new", same, plan) is None
    (plan.output / "empty").mkdir()
    assert finished(plan.output / "empty", same, plan) is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "complete.json").unlink(), "not marked as complete"),
        (lambda folder: (folder / "complete.json").write_text("{"), "not marked as complete"),
        (lambda folder: (folder / "complete.json").write_text('{"format": 0}'), "not marked as complete"),
        (lambda folder: (folder / "complete.json").write_text("[]"), "not marked as complete"),
        (lambda folder: (folder / "result.json").write_text(""), "not marked as complete"),
    ],
)
def test_a_half_written_case_is_refused_and_replaced_by_force(done, plan, batch, spoil, said) -> None:
    spoil(done)
    left = {p.name: p.read_bytes() for p in done.iterdir()}
    refused = batch("good-1")["good-1"]
    assert isinstance(refused.error, OutputError)
    assert said in refused.error.what
    assert "--force" in refused.error.todo
    assert {p.name: p.read_bytes() for p in done.iterdir()} == left
    assert batch("good-1", plan=replace(plan, force=True))["good-1"].status == "done"


def test_a_foreign_folder_is_refused_before_any_work_also_with_force(plan, batch, tmp_path) -> None:
    (plan.output / "good-1").mkdir(parents=True)
    (plan.output / "good-1" / "thesis.docx").write_text("x")
    outcome = batch("good-1", plan=replace(plan, force=True))["good-1"]
    assert "not a result of miliary-seg" in outcome.error.what
    assert not (tmp_path / "calls.txt").exists()


def test_another_scan_of_the_same_name_is_refused(done, plan, cases) -> None:
    (case,) = cases("good-1")
    other = replace(origin(case, plan), place="elsewhere", input_digest="another")
    with pytest.raises(OutputError, match="another scan of the same name"):
        finished(done, other, plan)
    assert finished(done, other, replace(plan, force=True)) is None


def test_other_settings_are_refused_by_case_and_for_the_folder(done, plan, cases) -> None:
    (case,) = cases("good-1")
    changed = Settings().updated({"decide.bilateral": "quadrants"})
    other = replace(plan, settings=changed)
    with pytest.raises(OutputError, match="other settings"):
        finished(done, origin(case, other), other)
    require_same_settings(plan.output, changed, force=False)  # nothing says yet what the folder holds
    write_tables(plan.output, plan.settings)
    require_same_settings(plan.output, Settings().updated({"load.sequence": "t1c"}), force=False)
    with pytest.raises(OutputError, match=r"decide\.bilateral"):
        require_same_settings(plan.output, changed, force=False)
    require_same_settings(plan.output, changed, force=True)
    (plan.output / "settings.toml").write_text("[decide]\nno_such_key = 3\n")
    with pytest.raises(OutputError, match="cannot be read"):
        require_same_settings(plan.output, plan.settings, force=False)


def test_forced_other_settings_leave_the_older_cases_out_of_the_tables(batch, plan) -> None:
    batch("good-1", "good-2")
    other = replace(plan, settings=Settings().updated({"decide.bilateral": "quadrants"}), force=True)
    batch("good-2", plan=other)
    collected = write_tables(plan.output, other.settings)
    assert (collected.n_cases, collected.left_out) == (1, ("good-1",))
    assert (plan.output / "good-1" / "result.json").is_file()
    rows = (plan.output / "cases.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["case", "good-2"]


def save(path: Path, value: int) -> Path:
    nib.save(nib.Nifti1Image(np.full((6, 6, 6), value, np.int16), np.eye(4)), path)
    return path


def digest(path: Path, plan: RunPlan) -> str:
    (case,) = find_cases([path], plan.settings).cases
    return origin(case, plan).input_digest


def test_the_input_digest_follows_content_and_header_and_not_the_place(plan, tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = save(tmp_path / "a" / "sub-01_ce-gd_T1w.nii", 1)
    twin = save(tmp_path / "b" / "sub-01_ce-gd_T1w.nii", 1)
    assert digest(first, plan) == digest(twin, plan)
    sidecar = first.with_name("sub-01_ce-gd_T1w.json")
    sidecar.write_text(json.dumps({"SliceThickness": 3.0, "Modality": "MR", "SequenceName": "x"}))
    assert digest(first, plan) != digest(twin, plan), "a sidecar says more"
    sidecar.unlink()
    save(first, 2)
    assert digest(first, plan) != digest(twin, plan), "other voxels"


def test_choices_and_mask_are_part_of_the_origin(plan, tmp_path, cases) -> None:
    (case,) = cases("good-1")
    masks = [replace(plan, mask=save(tmp_path / f"{n}.nii", n)) for n in (0, 1)]
    plans = [plan, replace(plan, settings=Settings().updated({"load.sequence": "ct"})), *masks]
    assert len({origin(case, p).choices_digest for p in plans}) == 4
    assert len({origin(case, p).settings_digest for p in plans}) == 1


def test_a_case_whose_file_vanished_fails_alone(plan, tmp_path) -> None:
    from miliary_seg.cohort import run_cases

    path = save(tmp_path / "sub-01_ce-gd_T1w.nii", 1)
    found = find_cases([path], plan.settings)
    path.unlink()
    (outcome,) = run_cases(found.cases, plan)
    assert outcome.error.code == "unreadable_file"
    assert "cannot be read" in outcome.error.what


def test_archives_are_digested_by_member(plan, tmp_path, sample_data) -> None:
    import zipfile

    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((sample_data / "dicom_t1c_miliary").glob("*.dcm"))[:5]:
            file.write(path, path.name)
    assert len(digest(archive, plan)) == 64
