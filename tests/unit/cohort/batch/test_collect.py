"""Tables and page over an output folder follow from its completion marks alone."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from miliary_seg.cohort import write_tables
from miliary_seg.cohort.collect import finished_cases
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
    tree = {"settings": changed.settings.as_dict()}
    (plan.output / "good-1" / "result.json").write_text(json.dumps(tree))
    write_tables(plan.output)
    assert Settings.from_toml(plan.output / "settings.toml").digest == changed.settings.digest
    (plan.output / "settings.toml").unlink()  # as after runs with --no-tables
    batch("good-2")
    with pytest.raises(OutputError, match="several settings"):
        write_tables(plan.output)


def test_the_verb(batch, plan, cli, tmp_path) -> None:
    batch("good-1")
    (plan.output / "good-1" / "result.json").write_text(json.dumps({"settings": plan.settings.as_dict()}))
    finished = cli("cohort", "tables", plan.output)
    assert finished.code == 0
    assert finished.out.startswith("1 cases")
    (tmp_path / "empty").mkdir()
    assert cli("cohort", "tables", tmp_path / "empty").code == 3
