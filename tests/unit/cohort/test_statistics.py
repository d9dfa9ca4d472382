"""Statistics against published figures and against formulas worked out here by other means."""

from __future__ import annotations

from math import comb, exp, sqrt

import numpy as np
import pytest

from miliary_seg.cohort import (
    Subject,
    co_occurrence,
    compare_several,
    compare_two,
    cumulative_incidence,
    incidence,
    patients_of,
    survival,
    wilson,
)
from miliary_seg.errors import InputError

# Freireich et al. 1963: weeks of remission in acute leukaemia, 6-mercaptopurine against placebo; + = censored
MERCAPTOPURINE = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


def arm(text: str, group: str) -> list[Subject]:
    return [Subject(time=float(t.rstrip("+")), event=int("+" not in t), group=group) for t in text.split()]


@pytest.mark.parametrize(
    ("count", "total", "percent", "low", "high"),
    [
        (21, 546, 3.8, 2.53, 5.81),  # R15, incidence
        (13, 21, 61.9, 40.9, 79.3),  # R16, leptomeningeal disease
        (11, 21, 52.4, 32.4, 71.7),  # R16, earlier metastases: Wilson by hand
        (15, 21, 71.4, 50.0, 86.2),  # R16, whole-brain radiotherapy: Wilson by hand
    ],
)
def test_published_proportions(count: int, total: int, percent: float, low: float, high: float) -> None:
    found = wilson(count, total)
    assert round(100 * found.estimate, 1) == percent
    assert abs(100 * found.low - low) < 0.06
    assert abs(100 * found.high - high) < 0.06


@pytest.mark.parametrize(("count", "total"), [(0, 30), (30, 30), (7, 19)])
def test_wilson_against_its_formula(count: int, total: int) -> None:
    z, p = 1.959963984540054, count / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    found = wilson(count, total)
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=1e-12)


def test_nothing_out_of_nothing_has_no_estimate() -> None:
    assert wilson(0, 0).estimate is None


def fisher(a: int, n: int, b: int, m: int) -> float:
    """Two-sided exact test by summing the hypergeometric tables at most as probable."""
    tables = [comb(n, x) * comb(m, a + b - x) for x in range(max(0, a + b - m), min(n, a + b) + 1)]
    seen = comb(n, a) * comb(m, b)
    return sum(t for t in tables if t <= seen) / comb(n + m, a + b)


@pytest.mark.parametrize(("first", "second"), [((5, 121), (2, 422)), ((14, 121), (14, 422))])
def test_two_groups_of_the_published_series(first: tuple[int, int], second: tuple[int, int]) -> None:
    two = compare_two(first, second)
    assert two.p_value == pytest.approx(fisher(*first, *second), rel=1e-9)
    p1, p2 = first[0] / first[1], second[0] / second[1]
    assert two.difference == pytest.approx(p1 - p2)
    assert two.ratio == pytest.approx(p1 / p2)
    low = two.difference - sqrt((p1 - two.first.low) ** 2 + (two.second.high - p2) ** 2)  # Newcombe's method 10
    high = two.difference + sqrt((two.first.high - p1) ** 2 + (p2 - two.second.low) ** 2)
    assert (two.difference_low, two.difference_high) == pytest.approx((low, high), abs=1e-9)
    spread = exp(1.959963984540054 * sqrt(1 / first[0] - 1 / first[1] + 1 / second[0] - 1 / second[1]))  # Katz
    assert (two.ratio_low, two.ratio_high) == pytest.approx((two.ratio / spread, two.ratio * spread))


@pytest.mark.parametrize("counts", [((3, 50), (0, 60)), ((0, 50), (3, 60)), ((0, 5), (0, 6))])
def test_a_ratio_without_bounds_is_none(counts: tuple[tuple[int, int], tuple[int, int]]) -> None:
    two = compare_two(*counts)
    assert (two.ratio_low, two.ratio_high) == (None, None)
    assert (two.ratio is None) == (counts[1][0] == 0)


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(InputError, match="no patient"):
        compare_two((0, 0), (1, 5))


def test_holm_corrects_each_group_against_the_rest() -> None:
    found = compare_several({"HER2": (9, 40), "HR": (2, 90), "TN": (3, 60)})
    raw = sorted((g.comparison.p_value, g.group) for g in found.groups)
    expected, largest = {}, 0.0
    for rank, (p, group) in enumerate(raw):
        largest = max(largest, min(1.0, p * (len(raw) - rank)))
        expected[group] = largest
    assert {g.group: g.p_holm for g in found.groups} == pytest.approx(expected)
    her2 = next(g for g in found.groups if g.group == "HER2").comparison
    assert (her2.second.count, her2.second.total) == (5, 150)


def test_the_overall_test_is_seeded_and_near_the_exact_one() -> None:
    table = {"a": (3, 6), "b": (0, 6), "c": (1, 6)}
    found = compare_several(table)
    assert found == compare_several(table)
    weights = {(x, y, 4 - x - y): comb(6, x) * comb(6, y) * comb(6, 4 - x - y) for x in range(5) for y in range(5 - x)}
    exact = sum(w for w in weights.values() if w <= weights[3, 0, 1]) / sum(weights.values())
    assert found.p_value == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("table", [{"a": (0, 9), "b": (0, 8), "c": (0, 7)}, {"a": (9, 9), "b": (8, 8), "c": (7, 7)}])
def test_groups_that_cannot_differ(table: dict[str, tuple[int, int]]) -> None:
    assert compare_several(table).p_value == 1.0


def test_one_group_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="fewer than two groups"):
        compare_several({"a": (1, 4), "b": (0, 0)})


def test_survival_of_a_published_trial() -> None:
    found = survival(arm(MERCAPTOPURINE, "6-MP") + arm(PLACEBO, "placebo"))
    treated, placebo = found.curves
    assert (treated.median, placebo.median) == (23.0, 8.0)
    assert found.chi2 == pytest.approx(16.79, abs=0.005)  # textbook value of this data set
    at_ten = dict(zip(treated.times, treated.values, strict=True))[10.0]
    assert at_ten == pytest.approx(18 / 21 * 16 / 17 * 14 / 15)
    assert found.warnings == ()
    assert (treated.low[0], treated.high[0]) == (None, None)
    assert found.at_risk["placebo"][0] == 21


def test_a_median_that_is_not_reached_is_none() -> None:
    curve = survival(arm("5+ 6 7+ 8+ 9+", "")).curves[0]
    assert curve.median is None
    assert curve.values[-1] == pytest.approx(0.75)


def test_nobody_had_the_event() -> None:
    found = survival(arm("5+ 6+", "a") + arm("7+ 8+", "b"))
    assert found.p_value is None
    assert {curve.values for curve in found.curves} == {(1.0,)} or all(set(c.values) == {1.0} for c in found.curves)


def test_small_arms_carry_a_warning() -> None:
    found = survival(arm(PLACEBO, "large") + arm("3 4 5+", "small"))
    assert "small (3)" in found.warnings[0]
    assert "large" not in found.warnings[0]


def test_intervals_stay_between_0_and_1() -> None:
    for curve in survival(arm(MERCAPTOPURINE, "a") + arm(PLACEBO, "b")).curves:
        steps = zip(curve.low, curve.values, curve.high, strict=True)
        assert all(0 <= low <= value <= high <= 1 for low, value, high in steps if low is not None)
        assert curve.low[0] is None
        assert (curve.low[-1] is None) == (curve.values[-1] < 1e-9)


@pytest.mark.parametrize(("times", "median"), [("1 2 3 4", 2.5), ("1 2 3+ 4+", 2.0), ("1 2 3", 2.0)])
def test_a_median_on_a_flat_step_is_its_middle(times: str, median: float) -> None:
    assert survival(arm(times, "")).curves[0].median == median


def test_a_competing_event_by_hand() -> None:
    times, events = [1, 2, 3, 4, 5, 6], [1, 2, 0, 1, 2, 1]
    found = cumulative_incidence([Subject(time=t, event=e) for t, e in zip(times, events, strict=True)])
    value, alive, expected = 0.0, 1.0, [0.0]
    for at_risk, event in zip(range(6, 0, -1), events, strict=True):
        value += alive / at_risk * (event == 1)
        alive *= 1 - (event > 0) / at_risk
        expected.append(value)
    curve = found.curves[0]
    steps = np.interp(times, curve.times, curve.values)  # the curve has a value at each of these times
    assert steps == pytest.approx(expected[1:])
    assert curve.n_events == 3


def test_only_the_competing_event_occurred() -> None:
    found = cumulative_incidence([Subject(time=1, event=2), Subject(time=4, event=0)])
    assert found.curves[0].values == (0.0, 0.0)
    assert found.curves[0].times == (0.0, 4.0)


@pytest.mark.parametrize(
    ("subjects", "said"),
    [
        ([], "no patient"),
        ([Subject(time=0, event=1)], "not above 0"),
        ([Subject(time=1, event=2)], "event 2 is none of 0, 1"),
    ],
)
def test_impossible_follow_up_is_refused(subjects: list[Subject], said: str) -> None:
    with pytest.raises(InputError, match=said):
        survival(subjects)


def rows(**verdicts: str) -> list[dict[str, str]]:
    return [{"case": case.replace("__", "_ses-"), "study_verdict": verdict} for case, verdict in verdicts.items()]


def test_a_patient_with_several_scans_counts_once() -> None:
    cases = [
        ("sub-1_ses-1", "NOT_MET"),
        ("sub-1_ses-2", "MET"),
        ("sub-2_ses-1", "NOT_MET"),
        ("sub-2_ses-2", "INDETERMINATE"),
    ]
    found = incidence(patients_of([{"case": c, "study_verdict": v} for c, v in cases]))
    assert (found.n_patients, found.n_met, found.n_indeterminate) == (2, 1, 1)
    assert (found.screened.estimate, found.highest.estimate) == (0.5, 1.0)
    assert (found.decided.count, found.decided.total) == (1, 1)


def test_findings_are_counted_among_met_only_and_where_known() -> None:
    patients = patients_of([{"case": f"p{i}", "study_verdict": "MET" if i < 4 else "NOT_MET"} for i in range(6)])
    found = co_occurrence(patients, {"p0": "Yes", "p1": "no", "p2": "1", "p5": "yes"}, "leptomeningeal")
    assert (found.count, found.total) == (2, 3)
    with pytest.raises(InputError, match="holds 'perhaps'"):
        co_occurrence(patients, {"p0": "perhaps"}, "leptomeningeal")
