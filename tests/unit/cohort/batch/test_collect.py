"""Tables and page over an output folder follow from its completion marks alone."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from miliary_seg.cohort import read_manifest, write_tables
from miliary_seg.cohort.run.manifest import files_of
from miliary_seg.cohort.tables import finished_cases
from miliary_seg.errors import OutputError
from miliary_seg.settings import Settings

NAMES = ("cases.csv", "index.html", "settings.toml")


def test_tables_do_not_depend_on_the_history(batch, plan) -> None:
    batch("good-2", "good-1")
    write_tables(plan.output, plan.settings)
    at_once = {name: (plan.output / name).read_bytes() for name in NAMES}
    for name in NAMES:
        (plan.output / name).unlink()
    batch("good-1", "good-2")
    collected = write_tables(plan.output, plan.settings)
    assert collected.n_cases == 2
    assert {name: (plan.output / name).read_bytes() for name in NAMES} == at_once
    rows = list(csv.DictReader((plan.output / "cases.csv").read_text("utf-8").splitlines()))
    assert [row["case"] for row in rows] == ["good-1", "good-2"]


def test_failed_cases_are_on_the_page_until_they_are_done(batch, plan) -> None:
    batch("good-1", "refuse-2")
    write_tables(plan.output, plan.settings)
    page = (plan.output / "index.html").read_text("utf-8")
    assert 'data-case="refuse-2"' in page
    assert "torn" in page
    assert "secret" not in page
    (plan.output / "good-1" / "complete.json").rename(plan.output / "good-1" / "lost.json")
    write_tables(plan.output, plan.settings)
    assert 'data-case="good-1"' not in (plan.output / "index.html").read_text("utf-8")


def test_cases_may_lie_one_level_deeper(batch, plan) -> None:
    batch("good-1", "good-2")
    (plan.output / "sub").mkdir()
    (plan.output / "good-1").rename(plan.output / "sub" / "good-1")
    assert [mark.case for _, mark in finished_cases(plan.output)] == ["good-2", "good-1"]


def test_several_versions_are_told(batch, plan) -> None:
    batch("good-1", "good-2")
    mark = plan.output / "good-2" / "complete.json"
    mark.write_text(mark.read_text().replace("miliary-seg 0", "miliary-seg 99"))
    assert len(write_tables(plan.output, plan.settings).versions) == 2


def test_nothing_finished_writes_nothing(tmp_path, plan) -> None:
    assert write_tables(tmp_path, plan.settings).n_cases == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path, plan) -> None:
    with pytest.raises(OutputError, match="cannot look for finished cases"):
        write_tables(tmp_path / "none", plan.settings)


def test_settings_are_those_that_all_cases_share(batch, plan) -> None:
    changed = replace(plan, settings=Settings().updated({"decide.bilateral": "quadrants"}))
    batch("good-1", plan=changed)
    state_settings(plan.output / "good-1", changed.settings)
    write_tables(plan.output)
    assert Settings.from_toml(plan.output / "settings.toml").digest == changed.settings.digest
    (plan.output / "settings.toml").unlink()  # as after runs with --no-tables
    batch("good-2")
    with pytest.raises(OutputError, match="several settings"):
        write_tables(plan.output)


def state_settings(folder: Path, settings: Settings) -> None:
    """Give a result the settings that the work of these tests does not write, and a mark that agrees."""
    mark = read_manifest(folder)
    (folder / "complete.json").unlink()
    (folder / "result.json").write_text(json.dumps({"settings": settings.as_dict()}))
    replace(mark, files=files_of(folder)).write(folder)


def cases_in(output: Path) -> list[str]:
    return [row["case"] for row in csv.DictReader((output / "cases.csv").read_text("utf-8").splitlines())]


def test_a_case_that_failed_when_done_again_answers_no_longer(batch, plan, faulty, monkeypatch) -> None:
    batch("good-1", "good-2")
    write_tables(plan.output, plan.settings)
    assert cases_in(plan.output) == ["good-1", "good-2"]
    monkeypatch.setitem(faulty.FAULTS, "good", faulty.FAULTS["refuse"])
    batch("good-1", plan=replace(plan, force=True))
    collected = write_tables(plan.output, plan.settings)
    assert (collected.n_cases, collected.failed_again) == (1, ("good-1",))
    assert cases_in(plan.output) == ["good-2"]
    assert [mark.case for _, mark in finished_cases(plan.output)] == ["good-2"]
    page = (plan.output / "index.html").read_text("utf-8")
    assert '<tr data-status="failed" data-case="good-1">' in page
    assert "result of an earlier input" in page
    assert "NOT_MET" in page
    monkeypatch.undo()
    batch("good-1")  # the earlier input again: its result stands
    assert write_tables(plan.output, plan.settings).failed_again == ()
    assert cases_in(plan.output) == ["good-1", "good-2"]


def test_a_table_of_nothing_but_failed_cases_is_emptied(batch, plan, faulty, monkeypatch) -> None:
    batch("good-1")
    write_tables(plan.output, plan.settings)
    monkeypatch.setitem(faulty.FAULTS, "good", faulty.FAULTS["refuse"])
    batch("good-1", plan=replace(plan, force=True))
    write_tables(plan.output, plan.settings)
    assert cases_in(plan.output) == []


def test_a_result_without_one_object_stays_in_the_tables(batch, plan) -> None:
    assert batch("partial-1")["partial-1"].status == "partial"
    assert write_tables(plan.output, plan.settings).failed_again == ()
    assert cases_in(plan.output) == ["partial-1"]


def test_runs_that_overlap_are_read_by_the_clock(batch, plan) -> None:
    batch("good-1")
    event = {"event": "failed", "case": "good-1", "code": "timeout", "cause": "stopped"}
    later, earlier = ("2999-01-01T00:00:00.000Z", "2001-01-01T00:00:00.000Z")
    for name, time in (("99990101-late-run-with-old-line", earlier), ("00000101-early-run-with-new-line", later)):
        ledger = plan.output / "ledger" / f"{name}.jsonl"
        ledger.write_text(json.dumps({"time": time, **event}) + "\n")
        assert write_tables(plan.output, plan.settings).failed_again == (() if time == earlier else ("good-1",))


@pytest.mark.parametrize("name", ["result.json", "thumbnail.png"])
def test_cases_that_lost_files_are_named_and_in_no_table(batch, plan, name) -> None:
    batch("good-1", "good-2")
    folder = plan.output / "good-1"
    (folder / "complete.json").unlink(), (folder / "thumbnail.png").write_bytes(b"png")
    mark = read_manifest(plan.output / "good-2")
    replace(mark, case="good-1", files=files_of(folder)).write(folder)
    write_tables(plan.output, plan.settings)
    assert "data:image/png" in (plan.output / "index.html").read_text("utf-8")
    (folder / name).unlink()
    collected = write_tables(plan.output, plan.settings)
    assert (collected.n_cases, collected.damaged) == (1, ("good-1",))
    assert cases_in(plan.output) == ["good-2"]


def test_the_verb(batch, plan, cli, tmp_path) -> None:
    batch("good-1")
    state_settings(plan.output / "good-1", plan.settings)
    finished = cli("cohort", "tables", plan.output)
    assert finished.code == 0
    assert finished.out.startswith("1 cases")
    (tmp_path / "empty").mkdir()
    assert cli("cohort", "tables", tmp_path / "empty").code == 3
