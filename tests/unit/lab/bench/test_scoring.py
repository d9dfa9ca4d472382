"""Scores against truths worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import GeometryError, UsageError
from miliary_seg.lab.bench.scoring import (
    CaseInput,
    Findings,
    MatchRule,
    calibration,
    froc,
    pooled,
    score_case,
    verdict_table,
)
from miliary_seg.lab.bench.scoring.findings import slices_by_geometry
from miliary_seg.lab.bench.scoring.froc import marks_of, sensitivity_at
from miliary_seg.lab.bench.scoring.intervals import median_over_heads, proportion, ratio_over_heads
from miliary_seg.lab.bench.scoring.matching import match

GRID = Grid(shape=(10, 10, 4), affine=np.diag([1.0, 1.0, 2.0, 1.0]))


def boxes(*corners: tuple[slice, slice, slice], grid: Grid = GRID) -> Findings:
    """Boxes as lesions 1, 2, 3 ..."""
    labels = np.zeros(grid.shape, dtype=np.int32)
    for n, corner in enumerate(corners, start=1):
        labels[corner] = n
    return Findings.of_labels(LabelMap(labels=labels, grid=grid), slice_axis=2)


def scored(predicted: Findings, reference: Findings, **known: object):
    given_case = CaseInput(case="one", predicted=predicted, reference=reference, n_slices=4)
    return score_case(replace(given_case, **known), MatchRule())


A = (slice(0, 2), slice(0, 2), slice(0, 2))
"""8 voxels of 2 mm3 on slices 0 and 1."""
B = (slice(6, 8), slice(6, 8), slice(1, 2))
"""4 voxels on slice 1."""


def test_lesions_of_a_label_map() -> None:
    found = boxes(A, B)
    assert found.centres_ras_mm.tolist() == [[0.5, 0.5, 1.0], [6.5, 6.5, 2.0]]
    assert found.diameters_mm == pytest.approx([(6 * 16 / np.pi) ** (1 / 3), (6 * 8 / np.pi) ** (1 / 3)])
    assert found.slices == ((0, 1), (1,))
    assert found.slice_counts(4).tolist() == [1, 2, 0, 0]


def test_labels_with_gaps_are_renumbered() -> None:
    labels = np.zeros(GRID.shape, dtype=np.int32)
    labels[A], labels[B] = 7, 300
    found = Findings.of_labels(LabelMap(labels=labels, grid=GRID), slice_axis=2)
    assert np.unique(found.labels.labels).tolist() == [0, 1, 2]
    assert found.slices == ((0, 1), (1,))


def test_a_perfect_prediction() -> None:
    score = scored(boxes(A, B), boxes(A, B))
    assert score.rule == "overlap"
    assert score.hit.all()
    assert not score.false.any()
    assert score.dice.tolist() == [1.0, 1.0]
    assert score.volume_error == pytest.approx([0.0, 0.0])
    assert score.count_error.tolist() == [0, 0, 0, 0]


def test_dice_volume_and_count_error_by_hand() -> None:
    """The predicted A is half of A (one slice): Dice 2 * 4 / (4 + 8), volume half; slice 0 lacks one lesion."""
    half = (slice(0, 2), slice(0, 2), slice(1, 2))
    score = scored(boxes(half), boxes(A, B))
    assert score.dice.tolist() == [pytest.approx(2 / 3)]
    assert score.volume_error.tolist() == [pytest.approx(-0.5)]
    assert score.count_error.tolist() == [-1, -1, 0, 0]
    figures = pooled([score]).figures
    assert figures["sensitivity"].value == 0.5
    assert figures["precision"].value == 1.0
    assert figures["count_error_mean_absolute"].value == 0.5
    assert figures["count_error_bias"].value == -0.5


def test_nothing_predicted() -> None:
    score = scored(boxes(), boxes(A, B))
    assert not score.hit.any()
    figures = pooled([score]).figures
    assert figures["sensitivity"].value == 0.0
    assert figures["precision"].value is None
    assert figures["false_per_scan"].value == 0.0
    assert figures["dice_median"].value is None


def test_nothing_there() -> None:
    score = scored(boxes(A, B), boxes())
    figures = pooled([score]).figures
    assert figures["sensitivity"].value is None
    assert figures["precision"].value == 0.0
    assert figures["false_per_scan"].value == 2.0
    assert figures["false_per_slice"].value == 0.5
    assert figures["false_sections_per_slice"].value == 0.75
    assert figures["count_error_bias"].value == 0.75


def test_nothing_at_all() -> None:
    figures = pooled([scored(boxes(), boxes())]).figures
    assert figures["sensitivity"].value is None
    assert figures["count_error_mean_absolute"].value == 0.0


def test_one_lesion_split_in_two_is_one_hit_and_one_false() -> None:
    """The larger piece overlaps more, so it is the one that is matched."""
    long = (slice(0, 6), slice(0, 1), slice(0, 1))
    pieces = boxes((slice(0, 2), slice(0, 1), slice(0, 1)), (slice(3, 6), slice(0, 1), slice(0, 1)))
    score = scored(pieces, boxes(long))
    assert score.matching.predicted.tolist() == [1]
    assert (int(score.hit.sum()), int(score.false.sum()), score.repeats, score.merged) == (1, 1, 1, 0)


def test_two_lesions_merged_in_one_are_one_hit_and_one_miss() -> None:
    long = (slice(0, 6), slice(0, 1), slice(0, 1))
    pieces = boxes((slice(0, 2), slice(0, 1), slice(0, 1)), (slice(3, 6), slice(0, 1), slice(0, 1)))
    score = scored(boxes(long), pieces)
    assert score.matching.reference.tolist() == [1]
    assert (int(score.hit.sum()), int(score.false.sum()), score.repeats, score.merged) == (1, 0, 0, 1)


def test_as_many_pairs_as_there_can_be() -> None:
    """The nearest pair would be (p0, r1); taking it leaves p1 alone. Both can be matched, so both are."""
    reference = Findings.of([[0.0, 0, 0], [2.0, 0, 0]])
    predicted = Findings.of([[1.6, 0, 0], [3.9, 0, 0]])
    found = match(predicted, reference, MatchRule(kind="distance", tolerance_mm=2.0))
    assert list(zip(found.predicted.tolist(), found.reference.tolist(), strict=True)) == [(0, 0), (1, 1)]


def test_reach_is_the_tolerance_or_the_radius_where_that_is_more() -> None:
    reference = Findings.of([[0.0, 0, 0], [50.0, 0, 0], [90.0, 0, 0]], diameters_mm=[10.0, 1.0, np.nan])
    predicted = Findings.of([[4.9, 0, 0], [52.1, 0, 0], [91.9, 0, 0]])
    found = match(predicted, reference, MatchRule(tolerance_mm=2.0))
    assert found.reference.tolist() == [0, 2]


def test_a_centre_in_a_long_lesion_finds_it_however_far_from_its_middle() -> None:
    long = boxes((slice(0, 10), slice(0, 1), slice(0, 1)))
    rule = MatchRule(kind="distance", tolerance_mm=1.0)
    for place, found in (([0.0, 0, 0], [0]), ([0.0, 3.0, 0], []), ([99.0, 0, 0], [])):
        assert match(Findings.of([place]), long, rule).reference.tolist() == found


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(0, 25), st.integers(0, 25))
def test_the_order_of_lesions_does_not_matter(rng, n_predicted: int, n_reference: int) -> None:
    numbers = np.random.default_rng(rng.getrandbits(32))
    predicted = Findings.of(numbers.uniform(0, 8, (n_predicted, 3)), scores=numbers.random(n_predicted))
    reference = Findings.of(numbers.uniform(0, 8, (n_reference, 3)))
    p, r = numbers.permutation(n_predicted), numbers.permutation(n_reference)
    turned_p = Findings.of(predicted.centres_ras_mm[p], scores=predicted.scores[p])
    turned_r = Findings.of(reference.centres_ras_mm[r])
    rule = MatchRule(kind="distance")
    here, there = match(predicted, reference, rule), match(turned_p, turned_r, rule)
    pairs = set(zip(here.predicted.tolist(), here.reference.tolist(), strict=True))
    assert {(int(p[i]), int(r[j])) for i, j in zip(there.predicted, there.reference, strict=True)} == pairs
    straight, turned = marks_of(predicted, reference, rule), marks_of(turned_p, turned_r, rule)
    assert sorted(straight.hit_scores) == sorted(turned.hit_scores)
    assert sorted(straight.false_scores) == sorted(turned.false_scores)


def test_the_froc_by_hand() -> None:
    """0.9 hit, 0.8 false, 0.7 hit, 0.6 a second mark on the first lesion (ignored), 0.5 false; the third is missed."""
    reference = Findings.of([[0.0, 0, 0], [20.0, 0, 0], [40.0, 0, 0]])
    places = [[0.2, 0, 0], [60.0, 0, 0], [20.1, 0, 0], [0.4, 0, 0], [80.0, 0, 0]]
    marks = marks_of(Findings.of(places, scores=[0.9, 0.8, 0.7, 0.6, 0.5]), reference, MatchRule())
    curve = froc(["a"], [marks], [10])
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.7, 0.5]
    assert curve.sensitivity.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert curve.per_scan.tolist() == [0, 1, 1, 2]
    assert curve.per_slice.tolist() == [0, 0.1, 0.1, 0.2]
    assert np.isnan(curve.low).all()
    assert sensitivity_at(["a"], [marks], 0).value == pytest.approx(1 / 3)
    assert sensitivity_at(["a"], [marks], 1).value == pytest.approx(2 / 3)
    third = [np.array([False, False, True])]
    assert sensitivity_at(["a"], [marks], 5, third).value == 0.0


def test_the_froc_matches_best_at_every_threshold() -> None:
    """At 0.9 only the first mark counts and finds one lesion; at 0.8 both lesions are found by re-pairing it."""
    reference = Findings.of([[0.0, 0, 0], [2.0, 0, 0]])
    marks = marks_of(Findings.of([[1.0, 0, 0], [-0.5, 0, 0]], scores=[0.9, 0.8]), reference, MatchRule())
    assert sorted(marks.hit_scores.tolist()) == [0.8, 0.9]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_froc_equals_a_matching_at_each_threshold(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    candidates = Findings.of(numbers.uniform(0, 7, (20, 3)), scores=np.round(numbers.random(20), 1))
    reference = Findings.of(numbers.uniform(0, 7, (8, 3)))
    marks = marks_of(candidates, reference, MatchRule())
    for threshold in (0.0, 0.3, 0.6, 0.9):
        kept = candidates.scores >= threshold
        above = Findings.of(candidates.centres_ras_mm[kept])
        best = len(match(above, reference, MatchRule()).predicted)
        assert int((marks.hit_scores >= threshold).sum()) == best


def test_no_curve_without_lesions_or_marks() -> None:
    nothing, one = Findings.of([]), Findings.of([[0.0, 0, 0]], scores=[0.5])
    assert froc(["a"], [marks_of(one, nothing, MatchRule())], [0]) is None
    assert froc(["a"], [marks_of(nothing, one, MatchRule())], [0]) is None


def test_overlap_needs_one_grid() -> None:
    shifted = Grid(shape=(10, 10, 4), affine=np.diag([1.0, 1.0, 2.5, 1.0]))
    with pytest.raises(GeometryError, match="one grid"):
        match(boxes(A), boxes(A, grid=shifted), MatchRule(kind="overlap"))
    score = scored(boxes(A), boxes(A, grid=shifted))
    assert score.rule == "distance"
    assert score.hit.all()
    assert not score.dice.size


def test_slices_of_a_ball_by_the_rule_of_the_phantoms() -> None:
    """2 mm slices at 0, 2, 4, 6: a 6 mm ball at 2 spans -1 to 5; a point is on its nearest slice; far off on none."""
    shown = slices_by_geometry(
        np.array([[0.0, 0, 2], [0.0, 0, 2.9], [0.0, 0, 30]]), np.array([6.0, np.nan, 4.0]), GRID, 2
    )
    assert shown == ((0, 1, 2), (1,), ())


def test_wilson_and_exact_intervals_as_published() -> None:
    """Newcombe 1998 (Stat Med 17:857-872), table I: 81/263 and 0/20, methods 3 (Wilson) and 5 (Clopper-Pearson)."""
    wilson, exact = proportion(81, 263), proportion(81, 263, "exact")
    assert (wilson.low, wilson.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert (exact.low, exact.high) == (pytest.approx(0.2527, abs=5e-5), pytest.approx(0.3676, abs=5e-5))
    assert proportion(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert proportion(0, 20, "exact").high == pytest.approx(0.1684, abs=5e-5)
    assert proportion(0, 0).value is None


def test_the_bootstrap_draws_heads_and_not_scans() -> None:
    """Two scans of each head: were scans drawn, heads that found all and heads that found none would blur."""
    heads = ["a", "a", "b", "b", "c", "c", "d", "d"]
    found = ratio_over_heads(heads, [10, 10, 10, 10, 0, 0, 0, 0], [10] * 8)
    by_scan = ratio_over_heads(list("abcdefgh"), [10, 10, 10, 10, 0, 0, 0, 0], [10] * 8)
    assert found.value == by_scan.value == 0.5
    assert found.high - found.low > by_scan.high - by_scan.low
    assert ratio_over_heads(heads, [10, 10, 10, 10, 0, 0, 0, 0], [10] * 8) == found
    assert ratio_over_heads(["a", "b"], [1, 2], [2, 2]).low is None


def test_the_median_over_heads() -> None:
    found = median_over_heads(["a", "b", "c"], [np.array([1.0, 2.0]), np.array([3.0]), np.zeros(0)])
    assert (found.value, found.n, found.low) == (2.0, 3, None)
    spread = median_over_heads(list("abcd"), [np.array([float(n)]) for n in range(4)])
    assert (spread.low, spread.high) == (0.0, 3.0)


def test_the_table_of_answers() -> None:
    m, i, n = Verdict.MET, Verdict.INDETERMINATE, Verdict.NOT_MET
    table = verdict_table([(m, True), (m, True), (i, True), (n, True), (n, False), (i, False), (n, False)])
    assert (table.met, table.not_met) == ((2, 1, 1), (0, 1, 2))
    figures = {name: wilson.value for name, (wilson, _) in table.figures().items()}
    assert figures["sensitivity"] == 0.5
    assert "specificity" not in figures, "an indeterminate answer is not a right one: wrongly_met says it plainly"
    assert figures["wrongly_met"] == 0.0
    assert figures["not_met_if_not_met"] == pytest.approx(2 / 3)


def test_calibration_by_hand() -> None:
    """0.1 twice (one came true) and 0.9 twice (both did): (2 * |0.1 - 0.5| + 2 * |0.9 - 1|) / 4."""
    found = calibration([0.1, 0.1, 0.9, 0.9], [True, False, True, True])
    assert [(b.low, b.high, b.observed.value) for b in found.bins] == [(0.05, 0.2, 0.5), (0.8, 0.95, 1.0)]
    assert found.expected_error == pytest.approx(0.25)
    assert found.brier == pytest.approx((0.81 + 0.01 + 0.01 + 0.01) / 4)
    assert calibration([], []) is None
    assert calibration([0.0, 1.0], [False, True]).expected_error == 0.0
    with pytest.raises(UsageError, match="0 to 1"):
        calibration([1.5], [True])


def test_findings_that_contradict_themselves() -> None:
    with pytest.raises(UsageError, match="finite"):
        Findings.of([[0.0, np.nan, 0.0]])
    with pytest.raises(UsageError, match="length"):
        Findings.of([[0.0, 0, 0]], diameters_mm=[1.0, 2.0])
    with pytest.raises(UsageError, match="slice 9"):
        Findings.of([[0.0, 0, 0]], slices=((9,),)).slice_counts(4)
    for rule in ({"kind": "nearest"}, {"tolerance_mm": 0.0}):
        with pytest.raises(UsageError):
            MatchRule(**rule)


def test_bins_by_size_and_contrast() -> None:
    reference = Findings.of([[0.0, 0, 0], [20.0, 0, 0]], diameters_mm=[2.0, 4.0], contrasts=[6.0, 20.0])
    pool = pooled([scored(Findings.of([[0.0, 0, 0]]), reference)])
    sizes = {row.diameter_mm: row.sensitivity.value for row in pool.by_diameter}
    assert sizes == {(1.5, 3.0): 1.0, (3.0, 5.0): 0.0}
    assert {row.contrast for row in pool.by_contrast} == {(5.5, 10.0), (17.0, 30.0)}
    assert len(pool.by_both) == 2
