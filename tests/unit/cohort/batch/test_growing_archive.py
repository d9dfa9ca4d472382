"""An archive grows, its folders are moved and renamed: every scan is counted once, at every step."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.cohort import BatchOptions, read_cases, read_manifest, run_cases, write_tables
from miliary_seg.cohort.run.manifest import place_of
from miliary_seg.errors import InputError, OutputError
from miliary_seg.load import find_cases
from miliary_seg.load.inventory import CaseInfo


def save(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 900, (8, 8, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


@pytest.fixture
def step(plan, faulty, tmp_path):
    """Run some paths; statuses by case, and the cases of the table."""

    def run(*paths: Path, plan=plan) -> tuple[dict[str, str], list[str]]:
        found = find_cases(paths)
        assert not found.problems
        outcomes = list(run_cases(found.cases, plan, BatchOptions(), faulty.FaultyWork()))
        assert all(outcome.error is None for outcome in outcomes), [str(o.error) for o in outcomes]
        write_tables(plan.output, plan.settings)
        table = list(csv.DictReader((plan.output / "cases.csv").read_text("utf-8").splitlines()))
        return {outcome.case: outcome.status for outcome in outcomes}, [row["case"] for row in table]

    return run


@pytest.mark.slow
def test_every_scan_is_counted_once_while_the_archive_grows(step, tmp_path, plan) -> None:
    grow = tmp_path / "grow"
    first = save(grow / "P1" / "t1c.nii.gz", 1)
    assert step(first) == ({"t1c": "done"}, ["t1c"])
    assert step(grow) == ({"t1c": "kept"}, ["t1c"]), "the name that it has here"
    save(grow / "P2" / "t1c.nii.gz", 2)
    assert step(grow) == ({"t1c": "kept", "P2-t1c": "done"}, ["P2-t1c", "t1c"])
    (grow / "P1").rename(grow / "Q1")
    assert step(grow) == ({"t1c": "kept", "P2-t1c": "kept"}, ["P2-t1c", "t1c"]), "moved: known by its content"
    save(grow / "Q1" / "t1c.nii.gz", 3)
    assert step(grow)[1] == ["P2-t1c", "Q1-t1c", "t1c"], "neither path nor content is known: another scan"
    save(grow / "P2" / "t1c.nii.gz", 4)
    assert step(grow) == ({"P2-t1c": "done", "Q1-t1c": "kept"}, ["P2-t1c", "Q1-t1c", "t1c"]), "changed in its place"
    shutil.copytree(grow / "P2", grow / "P2 copy")
    assert step(grow)[1] == ["P2-t1c", "Q1-t1c", "t1c"], "a copy is no other scan"
    assert step(grow / "P2" / "t1c.nii.gz")[0] == {"P2-t1c": "kept"}, "not a second one called t1c"


@pytest.mark.slow
def test_a_persons_scans_arrive_one_by_one(step, tmp_path, plan) -> None:
    grow = tmp_path / "grow"
    save(grow / "P1_T1.nii.gz", 1)
    assert step(grow) == ({"P1": "done"}, ["P1"])
    save(grow / "P1_FLAIR.nii.gz", 2)
    save(grow / "P2_FLAIR.nii.gz", 3)
    assert step(grow) == ({"P1": "done", "P2": "done"}, ["P1", "P2"]), "done again with both"
    assert step(grow) == ({"P1": "kept", "P2": "kept"}, ["P1", "P2"])
    (grow / "P1_T1.nii.gz").unlink()
    assert step(grow)[1] == ["P1", "P2"]


def test_a_persons_scan_that_was_finished_under_its_own_name_keeps_it(step, tmp_path, plan) -> None:
    """As one file that was named, or as an earlier version called it."""
    grow = tmp_path / "grow"
    first = save(grow / "P1_T1.nii.gz", 1)
    assert step(first) == ({"P1_T1": "done"}, ["P1_T1"])
    assert step(grow) == ({"P1_T1": "kept"}, ["P1_T1"])
    save(grow / "P1_FLAIR.nii.gz", 2)
    assert step(grow) == ({"P1_T1": "done"}, ["P1_T1"]), "both of them, under the name that is there"
    assert step(grow) == ({"P1_T1": "kept"}, ["P1_T1"])


@pytest.mark.slow
def test_several_scans_of_a_person_that_an_earlier_version_finished(step, tmp_path, plan) -> None:
    """Its marks name the folder as their place."""
    grow = tmp_path / "grow"
    for number, name in enumerate(("P1_T1", "P1_FLAIR", "P2_T1", "P2_FLAIR")):
        save(grow / f"{name}.nii.gz", number)
    step(grow)
    for name in ("P1", "P2"):
        mark = read_manifest(plan.output / name)
        replace(mark, origin=replace(mark.origin, place=place_of(grow.absolute()))).write(plan.output / name)
    assert step(grow) == ({"P1": "kept", "P2": "kept"}, ["P1", "P2"])
    save(grow / "P2_T1c.nii.gz", 9)
    assert step(grow) == ({"P1": "kept", "P2": "done"}, ["P1", "P2"])


def test_a_changed_file_whose_name_would_be_another_now_is_done_again_under_the_old_one(step, tmp_path) -> None:
    file = save(tmp_path / "grow" / "P1" / "t1c.nii.gz", 1)
    step(file)
    save(file, 2)
    assert step(tmp_path / "grow") == ({"t1c": "done"}, ["t1c"])


def test_a_scan_of_a_name_that_is_taken_gets_a_longer_one(step, tmp_path) -> None:
    for number in (1, 2):
        save(tmp_path / f"P{number}" / "t1c.nii.gz", number)
    assert step(tmp_path / "P1")[1] == ["t1c"]
    assert step(tmp_path / "P2") == ({"P2-t1c": "done"}, ["P2-t1c", "t1c"])
    assert step(tmp_path / "P2")[0] == {"P2-t1c": "kept"}
    assert step(tmp_path / "P1", tmp_path / "P2") == ({"t1c": "kept", "P2-t1c": "kept"}, ["P2-t1c", "t1c"])


def test_a_study_keeps_its_name_when_a_series_is_added(plan, faulty, tmp_path) -> None:
    case = CaseInfo(id="scan-SE0", path=tmp_path, series=(), study_instance_uid="1.2.3")
    run = lambda *cases: [o.case for o in run_cases(cases, plan, work=faulty.FaultyWork())]  # noqa: E731
    assert run(case) == ["scan-SE0"]
    assert run(replace(case, id="scan")) == ["scan-SE0"]
    other = replace(case, study_instance_uid="1.2.4")
    assert run(replace(other, id="scan-SE0", longer_names=("longer",), path=tmp_path / "x")) == ["scan-SE0"], "no input"
    assert read_manifest(plan.output / "scan-SE0").origin.study == place_of("1.2.3")


def test_two_finished_cases_of_one_input_are_told_and_counted_once(step, tmp_path, plan) -> None:
    """What an earlier version left: t1c and P1-t1c are one scan."""
    step(save(tmp_path / "P1" / "t1c.nii.gz", 1))
    twin = plan.output / "P1-t1c"
    shutil.copytree(plan.output / "t1c", twin)
    rows = tuple({**row, "case": "P1-t1c"} for row in read_manifest(twin).rows)
    replace(read_manifest(twin), case="P1-t1c", rows=rows).write(twin)
    collected = write_tables(plan.output, plan.settings)
    assert collected.n_cases == 1
    assert collected.same_scan == (("t1c", "P1-t1c"),)
    assert len((plan.output / "cases.csv").read_text().splitlines()) == 2
    assert (plan.output / "index.html").read_text("utf-8").count("data-case=") == 1


def test_one_scan_in_two_folders_of_results_is_refused(step, tmp_path, plan) -> None:
    file = save(tmp_path / "P1" / "t1c.nii.gz", 1)
    other = replace(plan, output=tmp_path / "out2")
    step(file)
    step(save(tmp_path / "P1" / "t2.nii.gz", 7), tmp_path / "P1", plan=other)
    with pytest.raises(InputError, match="t1c-again is t1c in"):
        _stated([plan.output, other.output])


def _stated(folders: list[Path]) -> list[dict[str, str]]:
    """Read tables to which the work of these tests gives too few columns."""
    for folder in folders:
        table = folder / "cases.csv"
        rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            for row in rows:
                name = "t1c-again" if folder.name == "out2" and row["case"] == "t1c" else row["case"]
                facts = {"study_verdict": "NOT_MET", "settings_digest": "d", "software_version": "0"}
                writer.writerow({**row, **facts, "case": name})
        for mark in folder.glob("*/complete.json"):
            if folder.name == "out2" and mark.parent.name == "t1c":
                mark.write_text(json.dumps({**json.loads(mark.read_text()), "case": "t1c-again"}))
    return read_cases(folders)


def test_a_scan_that_another_run_finished_meanwhile_is_not_replaced(plan, faulty, tmp_path, monkeypatch) -> None:
    one, two = (save(tmp_path / f"P{n}" / "t1c.nii.gz", n) for n in (1, 2))
    (first,), (second,) = find_cases([one]).cases, find_cases([two]).cases
    second = replace(second, longer_names=())
    work = faulty.FaultyWork()

    class Slow(faulty.FaultyWork):
        def __call__(self, case, plan, seal):
            assert [o.status for o in run_cases([first], plan, work=work)] == ["done"]
            return super().__call__(case, plan, seal)

    (outcome,) = run_cases([second], plan, work=Slow())
    assert isinstance(outcome.error, OutputError)
    assert "meanwhile" in outcome.error.what
    assert read_manifest(plan.output / "t1c").origin.place == place_of(one.absolute())
