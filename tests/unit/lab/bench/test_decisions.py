"""Answers against the truth: the plan, one scan of it, and the tables."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from miliary_seg.errors import OutputError, UsageError
from miliary_seg.lab.bench.decisions import (
    LESIONS,
    RUNS,
    DecisionLesion,
    DecisionPlan,
    DecisionRun,
    cells,
    decision_sections,
    run,
    write_decisions,
)
from miliary_seg.lab.bench.scenes import Host
from miliary_seg.settings import Settings

LESION = DecisionLesion(
    host="a",
    sequence="t1c",
    thickness_mm=1.0,
    diameter_mm=2.5,
    enhancement=0.4,
    place="junction",
    kind="solid",
    slices=2,
    found=True,
)
RUN = DecisionRun(
    host="a",
    sequence="t1c",
    thickness_mm=1.0,
    pattern="spread",
    wanted=25,
    draw=0,
    size="mixed",
    enhancement="faint",
    true_count=25,
    true_slab_count=31,
    marked=22,
    low=15,
    high=33,
    probability=0.9,
    expected=24.0,
    size_mm=3.1,
    slab_marked=28,
    slab_low=20,
    slab_high=40,
    verdict="MET",
    native_verdict="MET",
    reasons="",
    lesions=(LESION, replace(LESION, found=False)),
)


def test_runs_are_counted_by_thickness_and_true_count() -> None:
    runs = [
        RUN,
        replace(RUN, verdict="INDETERMINATE", low=1, high=9),
        replace(RUN, thickness_mm=5.0, true_count=0, verdict="NOT_MET", low=0, high=4),
        replace(RUN, pattern="one-sided", verdict="NOT_MET"),
    ]
    thin, thick = cells(runs)
    assert (thin.thickness, thin.true_count, thin.n) == ("1 mm", "25-29", 2)
    assert (thin.met, thin.indeterminate, thin.not_met) == (1, 1, 0)
    assert (thin.covered, thin.width) == (1, 13.0)
    assert (thick.thickness, thick.true_count, thick.not_met) == ("5 mm", "0", 1)
    answers, patterns, failed = decision_sections(runs, ["b: no brain"])
    assert len(answers.rows) == 2
    assert patterns.rows == (("one-sided", "1", "0", "0", "1"),)
    assert failed.rows == (("b: no brain",),)


def test_files_are_written_once(tmp_path: Path) -> None:
    page = write_decisions([RUN], [], tmp_path / "out")
    assert "Answers by true count" in page.read_text("utf-8")
    (row,) = csv.DictReader((tmp_path / "out" / RUNS).read_text("utf-8").splitlines())
    assert (row["true_count"], row["expected"], row["verdict"]) == ("25", "24", "MET")
    assert "lesions" not in row
    lesions = list(csv.DictReader((tmp_path / "out" / LESIONS).read_text("utf-8").splitlines()))
    assert [(lesion["diameter_mm"], lesion["found"]) for lesion in lesions] == [("2.5", "true"), ("2.5", "false")]
    with pytest.raises(OutputError, match="already"):
        write_decisions([RUN], [], tmp_path / "out")
    write_decisions([RUN], [], tmp_path / "out", force=True)


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown pattern sideways"):
        DecisionPlan(hosts=(), patterns=("sideways",))


@pytest.mark.slow
def test_a_head_without_lesions_and_one_with_many() -> None:
    """On 5 mm slices of a drawn head: none is a NOT_MET, and of 40 the interval holds the truth."""
    plan = DecisionPlan(hosts=(Host(name="drawn", seed=3),), thicknesses_mm=(5.0,), counts=(0, 40))
    none, many = run(plan, Settings())
    assert isinstance(none, DecisionRun)
    assert isinstance(many, DecisionRun)
    assert (none.true_count, none.verdict) == (0, "NOT_MET")
    assert many.true_count == 40
    assert many.verdict != "NOT_MET"
    assert none.lesions == ()
    assert sum(lesion.slices > 0 for lesion in many.lesions) >= many.true_count
    found = [lesion for lesion in many.lesions if lesion.found]
    assert 0 < len(found) < len(many.lesions)
    diameter = {state: [x.diameter_mm for x in many.lesions if x.found is state] for state in (True, False)}
    assert sum(diameter[True]) / len(diameter[True]) > sum(diameter[False]) / len(diameter[False])
