"""The scan's own prior: only a scan that surely holds many lesions moves, upwards, and never beyond the point high."""

from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.detect.classifier import operating_point, thresholds
from miliary_seg.detect.prevalence import QUANTILE, adjust_operating_point, adjust_probability
from miliary_seg.domain.false_positives import count_quantile
from miliary_seg.domain.sequence import Sequence

HEAD = (150, 1.0)
"""Slices that show brain, and their spacing in mm."""
T1C = Sequence.T1C


def test_bayes_moves_the_odds() -> None:
    moved = adjust_probability(np.array([0.0, 0.2, 0.5, 1.0]), 3.0)
    assert moved == pytest.approx([0.0, 3 * 0.25 / (1 + 3 * 0.25), 0.75, 1.0], abs=1e-9)
    assert adjust_probability(np.array([0.2]), 1.0)[0] == 0.2


@pytest.mark.parametrize("thick", [False, True])
@pytest.mark.parametrize("n_certain", [0, 5, 20])
def test_a_scan_with_few_certain_lesions_does_not_move(thick: bool, n_certain: int) -> None:
    point = operating_point("balanced", T1C, thick)
    assert adjust_operating_point(point, thresholds(T1C, thick), n_certain, *HEAD) == point
    assert point.prior_odds_ratio == 1.0


@pytest.mark.parametrize("thick", [False, True])
def test_many_certain_lesions_lower_the_threshold_to_high_at_most(thick: bool) -> None:
    balanced = operating_point("balanced", T1C, thick)
    point = adjust_operating_point(balanced, thresholds(T1C, thick), 400, *HEAD)
    ratio = point.prior_odds_ratio
    high = thresholds(T1C, thick)["high"]
    assert adjust_probability(np.array([high.probability]), ratio)[0] == pytest.approx(balanced.probability_threshold)
    assert point.measured_recall == pytest.approx(high.recall)
    assert point.measured_false_positives_per_slice == pytest.approx(high.false_positives_per_slice)
    assert ratio > 1.0


def test_evidence_stays_what_it_was() -> None:
    before = operating_point("balanced", T1C, thick=False)
    point = adjust_operating_point(before, thresholds(T1C, False), 400, *HEAD)
    ratio = point.prior_odds_ratio
    chances = np.linspace(0.01, 0.99, 50)
    kept = adjust_probability(chances, ratio) >= point.evidence_probability
    assert (kept == (chances >= before.evidence_probability)).all()


def test_more_certain_lesions_never_mean_fewer_lesions() -> None:
    ratios = [
        adjust_operating_point(
            operating_point("balanced", T1C, False), thresholds(T1C, False), n, *HEAD
        ).prior_odds_ratio
        for n in range(0, 300, 10)
    ]
    assert ratios == sorted(ratios)
    assert ratios[0] == 1.0 < ratios[-1]


@pytest.mark.parametrize("name", ["high", "specific"])
def test_other_points_stay_as_they_were_chosen(name: str) -> None:
    point = operating_point(name, T1C, False)
    assert adjust_operating_point(point, thresholds(T1C, False), 400, *HEAD) == point
    assert point.prior_odds_ratio == 1.0


def test_false_lesions_of_one_scan_in_a_thousand() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.poisson(rng.gamma(2.0, 4.5 / 2.0, 200_000))
    assert (drawn > count_quantile(4.5, QUANTILE)).mean() == pytest.approx(0.001, abs=0.0005)
