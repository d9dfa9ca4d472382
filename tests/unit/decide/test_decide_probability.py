from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, nbinom

from miliary_seg.decide import decide
from miliary_seg.decide.probability import N_SAMPLES, reached, scenarios_of
from miliary_seg.domain.compartment import Registration
from miliary_seg.domain.decision import Verdict
from miliary_seg.errors import UsageError
from miliary_seg.settings import DecideSettings


def native(**changes: Any) -> DecideSettings:
    """The plain rule on the slices that are there (as in tests/conformance/criteria.toml)."""
    return DecideSettings(slice="native", **changes)


def poisson_binomial(chances: list[float]) -> np.ndarray:
    """Exact distribution of the number of successes of independent trials."""
    mass = np.ones(1)
    for chance in chances:
        mass = np.convolve(mass, [1 - chance, chance])
    return mass


def two_linked_slices(build: Any, chances: list[float]) -> tuple[list[Any], list[Any]]:
    """Every lesion lies on slices 2 and 5: both counts are one Poisson-binomial number. Four sure lesions elsewhere."""
    lesions = [build.lesion(i, [2, 5], p=p) for i, p in enumerate(chances, 1)]
    lesions += [build.lesion(100 + i, [8]) for i in range(4)]
    places = [build.place(100 + i, *corner) for i, corner in enumerate(build.corners)]
    return lesions, places


@pytest.mark.parametrize(("n", "tolerance"), [(8, 1e-12), (11, 1e-12), (12, 0.045), (40, 0.045)])
def test_counts_follow_the_poisson_binomial_distribution(build: Any, n: int, tolerance: float) -> None:
    """Exact up to 11 uncertain lesions; beyond, within four standard errors of 2048 samples."""
    chances = np.random.default_rng(n).uniform(0.2, 0.95, n).tolist()
    settings = native(mri_lesions_per_slice=round(0.6 * n))
    decision = decide(*two_linked_slices(build, chances), build.facts(10), settings)
    mass = poisson_binomial(chances)
    assert decision.probability == pytest.approx(mass[settings.mri_lesions_per_slice :].sum(), abs=tolerance)
    for count, probability in decision.count_distribution:
        assert probability == pytest.approx(mass[count], abs=tolerance)
    assert sum(probability for _, probability in decision.count_distribution) == pytest.approx(1)


def test_lesions_that_span_slices_are_drawn_whole(build: Any) -> None:
    """Drawn slice by slice, P would be the square: 0.25 instead of 0.5."""
    decision = decide(*two_linked_slices(build, [0.5]), build.facts(10), native(mri_lesions_per_slice=1))
    assert decision.probability == pytest.approx(0.5)


def test_quadrant_evidence_enters_the_probability(build: Any) -> None:
    lesions, places = build.crowd({2: 3, 5: 3})
    extra = build.lesion(50, [7], p=0.3)
    kept = [p for p in places if p.side == "left"]
    mixed = [*kept, build.place(50, "right", "infratentorial")]
    decision = decide([*lesions, extra], mixed, build.facts(10), native(mri_lesions_per_slice=3))
    assert decision.probability == pytest.approx(0.3)
    by_name = {r.name: r.probability for r in decision.readings}
    assert by_name["acquired/native/pairwise/quadrants/1"] == 0.0


def test_simulation_repeats_itself_and_does_not_depend_on_the_order(build: Any) -> None:
    lesions = [build.lesion(i, [i % 5], p=0.5) for i in range(1, 31)]
    straight, shuffled = scenarios_of(lesions), scenarios_of(lesions[::-1])
    assert not straight.exact
    assert straight.present.shape == (N_SAMPLES, 30)
    assert np.array_equal(straight.present, shuffled.present[:, ::-1])
    assert straight.present.mean() == pytest.approx(0.5, abs=0.01)


def test_a_likelier_lesion_is_real_in_every_world_in_which_it_was(build: Any) -> None:
    lesions = [build.lesion(i, [0], p=0.5) for i in range(1, 31)]
    raised = [build.lesion(1, [0], p=0.7), *lesions[1:]]
    before, after = scenarios_of(lesions).present, scenarios_of(raised).present
    assert np.all(after >= before)
    assert np.array_equal(after[:, 1:], before[:, 1:])


def test_certain_lesions_need_no_drawing(build: Any) -> None:
    worlds = scenarios_of([build.lesion(1, [0]), build.lesion(2, [0], p=0.0)])
    assert worlds.exact
    assert worlds.present.tolist() == [[True, False]]
    assert scenarios_of([]).weights.tolist() == [1.0]


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_probability_lies_between_0_and_1(build: Any, p: float) -> None:
    with pytest.raises(UsageError, match="not a number from 0 to 1"):
        decide([build.lesion(1, [0], p=p)], [], build.facts(3), native())


def test_no_probability_without_sides(build: Any) -> None:
    fit = Registration(trusted=False, trust=0.0)
    decision = decide(*build.crowd({2: 20, 5: 20}), build.facts(10, registration=fit), native())
    assert decision.probability is None
    assert decision.count_distribution == ((20, 1.0),)


def test_a_count_reached_by_improbable_lesions_is_borderline_whatever_the_detector(build: Any) -> None:
    facts = build.facts(10, lesion_sensitivity=1.0, false_positives_per_slice=0.0)
    for p, borderline in ((0.99, False), (0.75, True)):
        lesions, places = build.crowd({2: 24, 5: 24}, p=p)
        decision = decide(lesions, places, facts, native())
        assert (decision.margin, decision.borderline) == (4, borderline)
        assert (decision.verdict is Verdict.INDETERMINATE) == borderline


@pytest.mark.parametrize("sensitivity", [0.36, 0.82, 1.0])
@pytest.mark.parametrize("found", [1, 7, 19])
def test_missed_lesions_follow_bayes(found: int, sensitivity: float) -> None:
    """Binomial with the detector's sensitivity, prior weight 1/T: summed over every T, against the closed form."""
    truths = np.arange(found, 1200)
    posterior = binom.pmf(found, truths, sensitivity) / truths
    posterior /= posterior.sum()
    wanted = posterior[truths >= 20].sum()
    assert reached(np.array([found]), 20, sensitivity)[0] == pytest.approx(wanted, abs=1e-9)


def test_missed_lesions_enter_the_probability_and_the_distribution(build: Any) -> None:
    """Fifteen sure lesions on two slices and a detector that finds six of ten."""
    lesions, places = build.crowd({2: 15, 5: 15})
    facts = build.facts(10, lesion_sensitivity=0.6)
    decision = decide(lesions, places, facts, native())
    assert decision.probability == pytest.approx(float(nbinom.sf(4, 15, 0.6)))
    mass = dict(decision.count_distribution)
    assert sum(mass.values()) == pytest.approx(1.0)
    assert min(mass) == 15
    assert mass[18] == pytest.approx(float(nbinom.pmf(3, 15, 0.6)))
    assert decision.borderline
    mixed = decide([build.lesion(n, [2, 5], p=0.5) for n in range(1, 31)], places, facts, native())
    assert sum(p for _, p in mixed.count_distribution) == pytest.approx(1.0)


def test_nothing_found_is_nothing_missed(build: Any) -> None:
    decision = decide([], [], build.facts(10, lesion_sensitivity=0.4), native())
    assert (decision.probability, decision.count_distribution) == (0.0, ((0, 1.0),))


def test_the_interval_of_the_count(build: Any) -> None:
    """Ten coins on two slices: the 2.5, 50 and 97.5 % quantiles of a binomial number are 2, 5 and 8."""
    decision = decide(*two_linked_slices(build, [0.5] * 10), build.facts(10), native(mri_lesions_per_slice=5))
    assert decision.count_interval == (2, 5, 8)
    assert decide([], [], build.facts(10), native()).count_interval == (0, 0, 0)


def test_uncertain_lesions_make_a_count_borderline(build: Any) -> None:
    lesions, places = build.crowd({2: 23, 5: 23}, p=0.8)  # variance 23 * 0.16 = 3.7: 1.96 standard deviations are 3.8
    assert decide(lesions, places, build.facts(10), native()).borderline
    lesions, places = build.crowd({2: 23, 5: 23}, p=0.99)
    assert not decide(lesions, places, build.facts(10), native()).borderline
