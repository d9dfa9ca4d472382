"""Tables as people keep them: missing values, numbers as spreadsheets write them, odd arms; an answer or a reason."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from miliary_seg.cohort import Subject, SummaryPlan, cumulative_incidence, summarise, survival, write_cohort_summary
from miliary_seg.errors import InputError

ROWS = (
    ("sub-01", "wild", "12", "1", "yes"),
    ("sub-02", "wild", "4", "1", "no"),
    ("sub-03", "mutated", "30", "0", "yes"),
    ("sub-04", "mutated", "22", "1", "no"),
    ("sub-05", "mutated", "9", "0", "no"),
    ("sub-06", "wild", "2.5", "1", "yes"),
)
HEADER = ("participant_id", "arm", "os", "died", "headache")


@pytest.fixture
def table(tmp_path: Path):
    """Writes participants.tsv from rows of cells."""

    def write(*rows: tuple[str, ...], header: tuple[str, ...] = HEADER) -> Path:
        path = tmp_path / "participants.tsv"
        path.write_text("\n".join("\t".join(row) for row in (header, *rows)) + "\n", "utf-8")
        return path

    return write


@pytest.fixture
def plan(finished, table):
    """The plan of everything over these rows."""
    folder = finished({f"sub-{n:02}": "NOT_MET" if n % 3 else "MET" for n in range(1, 13)})

    def make(*rows: tuple[str, ...], **other: object) -> SummaryPlan:
        asked = {"findings": ("headache",), "groups": ("arm",), "time": "os", "event": "died", "by": "arm"}
        return SummaryPlan(runs=(folder,), participants=table(*rows), **{**asked, "among": "all", **other})

    return make


def answers(document: dict) -> tuple:
    found = document["survival"]
    arms = {curve["group"]: (curve["n"], curve["n_events"], curve["median"]) for curve in found["curves"]}
    return arms, found["p_value"], document["groups"][0]["values"], document["co_occurrence"][0]["among_met"]


@pytest.mark.parametrize("missing", ["", "n/a", "NA", "nan", "NaN", "N/A", " na ", "#N/A", "<NA>"])
def test_missing_values_are_no_group_and_no_arm(plan, missing: str) -> None:
    clean = answers(summarise(plan(*ROWS)))
    holes = (("sub-07", missing, "3", "1", "yes"), ("sub-08", "wild", missing, "1", "no"))
    holes += (("sub-09", "wild", "5", missing, missing),)
    arms, p_value, values, finding = answers(summarise(plan(*ROWS, *holes)))
    assert (arms, p_value, values) == clean[:3]
    assert finding["total"] == clean[3]["total"], "sub-09 is MET and its headache unknown"


@pytest.mark.parametrize("spell", [{"1": "1.0", "0": "0.0"}, {"1": "True", "0": "False"}, {"1": "Yes", "0": "no"}])
def test_events_as_spreadsheets_and_programs_write_them(plan, spell: dict[str, str]) -> None:
    rows = [(*row[:3], spell[row[3]], row[4]) for row in ROWS]
    assert answers(summarise(plan(*rows))) == answers(summarise(plan(*ROWS)))


def test_groups_of_numbers_with_and_without_a_point_are_the_same(plan) -> None:
    rows = [
        (row[0], "1.0" if n % 2 else "1", *row[2:]) if n < 3 else (row[0], "2", *row[2:]) for n, row in enumerate(ROWS)
    ]
    assert summarise(plan(*rows))["groups"][0]["values"] == ["1", "2"]


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("os", "0", r"'0' in line 4 \(sub-03\), which is not above 0"),
        ("os", "-3", "line 4 .*not above 0"),
        ("os", "44000", "100 years of months"),
        ("os", "12,5", r"column 'os' holds '12,5' in line 4 \(sub-03\), which is not a number"),
        ("os", "inf", "not a finite number"),
        ("os", "2021-03-04", "not a number"),
        ("died", "dead", r"column 'died' holds 'dead' in line 4 \(sub-03\), which is no event"),
        ("died", "2", r"in line 4 \(sub-03\), a competing event; add --competing"),
        ("died", "0.5", "no event"),
        ("headache", "maybe", r"column 'headache' holds 'maybe' in line 4 \(sub-03\), which is neither yes nor no"),
    ],
)
def test_a_bad_cell_names_line_column_and_patient(plan, column: str, cell: str, said: str) -> None:
    rows = [list(row) for row in ROWS]
    rows[2][HEADER.index(column)] = cell
    with pytest.raises(InputError, match=said) as caught:
        summarise(plan(*map(tuple, rows)))
    assert caught.value.todo
    assert "participants.tsv" in str(caught.value)


@pytest.mark.parametrize(
    ("arms", "said", "tested"),
    [
        (
            (("wild", "12", "1"), ("mutated", "1", "0")),
            "no log-rank test: mutated censored before the first event",
            False,
        ),
        ((("wild", "12", "1"), ("mutated", "20", "1"), ("c", "1", "0")), "log-rank test without c", True),
        ((("wild", "12", "1"), ("mutated", "12", "1")), "no log-rank test: too few patients at risk", False),
        ((("wild", "12", "0"), ("mutated", "20", "0")), "no log-rank test: nobody had the event", False),
        ((("wild", "12", "1"),), "fewer than 10 patients", False),
    ],
)
def test_odd_arms_give_an_answer_or_a_reason(plan, tmp_path: Path, arms, said: str, tested: bool) -> None:
    rows = [(f"sub-{n:02}", arm, time, event, "yes") for n, (arm, time, event) in enumerate(arms, start=1)]
    document = summarise(plan(*rows, groups=(), findings=()))
    found = document["survival"]
    assert any(warning.startswith(said) for warning in found["warnings"]), found["warnings"]
    assert (found["p_value"] is not None) is tested
    page = write_cohort_summary(document, tmp_path / "out") / "cohort.html"
    assert said in page.read_text("utf-8")


def test_small_cohorts_of_every_shape_end_without_a_traceback() -> None:
    draw = random.Random(3)
    for _ in range(300):
        sizes = [draw.choice([1, 1, 2, 3, 12]) for _ in range(draw.randint(1, 4))]
        subjects = [
            Subject(time=draw.choice([0.5, 1.0, 1.0, 2.0, 8.0]), event=draw.choice([0, 0, 1]), group=f"arm{n}")
            for n, size in enumerate(sizes)
            for _ in range(size)
        ]
        found = survival(subjects)
        assert found.p_value is None or 0 <= found.p_value <= 1
        assert found.p_value is not None or len(sizes) == 1 or any("no log-rank" in text for text in found.warnings)
        cumulative_incidence(subjects)


def test_the_log_rank_test_without_an_arm_at_risk_is_the_test_of_the_others() -> None:
    times = np.random.default_rng(0).exponential(10, 40) + 1.0
    two = [Subject(time=float(t), event=1, group=f"arm{n % 2}") for n, t in enumerate(times)]
    early = [Subject(time=0.5, event=0, group="early")] * 3
    assert survival([*two, *early]).p_value == survival(two).p_value


def test_a_missing_participant_is_not_called_na(plan) -> None:
    with pytest.raises(InputError, match="line 8 has no participant_id"):
        summarise(plan(*ROWS, ("NA", "wild", "1", "1", "no")))
