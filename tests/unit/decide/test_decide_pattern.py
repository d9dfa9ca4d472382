"""Descriptors of a lesion set: by hand where it can be done, against known point processes where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.decide import describe_pattern, points_needed
from miliary_seg.decide.pattern import MAX_LESIONS, N_SIMULATIONS
from miliary_seg.domain.pattern import Distribution

BRAIN_MM = np.array([65.0, 80.0, 55.0])


def in_brain(n, rng, size_mm=BRAIN_MM):
    """Places spread evenly over an ellipsoid of the size of a brain."""
    found = rng.uniform(-1, 1, (3 * n + 60, 3))
    return found[(found**2).sum(axis=1) <= 1][:n] * size_mm


@pytest.fixture
def described(build):
    """``described(centres)`` -> Pattern, against an even spread over the ellipsoid."""

    def call(centres, diameters=None, seed=1, size_mm=BRAIN_MM):
        sizes = [2.0] * len(centres) if diameters is None else diameters
        lesions = [
            build.lesion(k, [0], centroid_ras_mm=tuple(map(float, c)), equivalent_diameter_mm=float(d))
            for k, (c, d) in enumerate(zip(centres, sizes, strict=True), 1)
        ]
        return describe_pattern(lesions, in_brain(points_needed(len(lesions)), np.random.default_rng(seed), size_mm))

    return call


def test_uniformity_and_dominance_by_hand(described):
    found = described([(0, 0, 0)] * 5, [1.0, 2.0, 2.0, 3.0, 12.0])
    assert found.n_lesions == 5
    assert found.diameter_cv == pytest.approx(np.sqrt((9 + 4 + 4 + 1 + 64) / 4) / 4)
    assert found.diameter_iqr_over_median == pytest.approx((3.0 - 2.0) / 2.0)
    assert found.largest_over_median == pytest.approx(6.0)
    assert found.below_3_mm_fraction == pytest.approx(0.6)  # 3.0 itself is not below
    assert found.homogeneity is None


def test_few_lesions_claim_little(described):
    assert described([]).largest_over_median is None
    three = described([(0, 0, 0)] * 3, [1.0, 2.0, 3.0])
    assert (three.diameter_cv, three.diameter_iqr_over_median) == (None, None)
    assert three.largest_over_median == 1.5
    assert points_needed(9) == 0
    assert points_needed(10) == 10 * N_SIMULATIONS


def test_no_mask_no_homogeneity(build):
    lesions = [build.lesion(k, [0]) for k in range(1, 13)]
    assert describe_pattern(lesions).homogeneity is None
    assert describe_pattern(lesions, np.empty((0, 3))).homogeneity is None


def test_random_places_are_called_random(described):
    """The test keeps its size: of 60 random sets at most a few are called anything else (5 % are expected to be)."""
    answers = [described(in_brain(60, np.random.default_rng(100 + k)), seed=k) for k in range(60)]
    wrong = sum(a.homogeneity.distribution is not Distribution.RANDOM for a in answers)
    assert wrong <= 7  # 99 % of binomial(60, 0.05)
    ratios = [a.homogeneity.nearest_neighbour.ratio for a in answers]
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.02)


def test_one_crowded_region_is_clustered(described):
    rng = np.random.default_rng(3)
    corner = np.array([30.0, -40.0, -25.0]) + rng.normal(0, 8.0, (25, 3))
    found = described(np.vstack([in_brain(35, rng), corner])).homogeneity
    assert found.distribution is Distribution.CLUSTERED
    assert found.neighbours_within.ratio > found.neighbours_within.ratio_high > 1
    assert found.nearest_neighbour.ratio < found.nearest_neighbour.ratio_low < 1


def test_small_chains_are_clustered_at_the_small_scale(described):
    """Pairs and chains along a vessel: seen by the nearest neighbour, hardly by the wide count."""
    rng = np.random.default_rng(5)
    heads = in_brain(30, rng)
    found = described(np.vstack([heads, heads + 3.0])).homogeneity
    assert found.nearest_neighbour.observed == pytest.approx(3 * np.sqrt(3), rel=0.1)
    assert found.nearest_neighbour.p_value == pytest.approx(0.01)
    assert found.distribution is Distribution.CLUSTERED


def test_a_lattice_is_regular(described):
    axis = np.arange(-72, 73, 24.0)
    lattice = np.array(np.meshgrid(axis, axis, axis)).reshape(3, -1).T
    lattice = lattice[((lattice / BRAIN_MM) ** 2).sum(axis=1) < 0.9] + np.random.default_rng(0).normal(0, 0.5, 3)
    found = described(lattice).homogeneity
    assert found.distribution is Distribution.REGULAR
    assert found.nearest_neighbour.ratio > 1.3


def test_expected_distance_agrees_with_the_formula_of_the_infinite_space(described):
    """0.554 / density^(1/3) (Clark and Evans 1954 in three dimensions); a finite brain lies a little above."""
    n = 800
    found = described(in_brain(n, np.random.default_rng(7))).homogeneity
    density = n / (4 / 3 * np.pi * BRAIN_MM.prod())
    assert 1.0 < found.nearest_neighbour.expected / (0.55396 / density ** (1 / 3)) < 1.12


def test_nothing_near_anything(described):
    """Where no simulation has a neighbour within the radius the ratio stays finite."""
    lesions = [(500.0 * k, 0.0, 0.0) for k in range(10)]
    found = described(lesions, size_mm=np.full(3, 1e6)).homogeneity
    assert found.neighbours_within.expected == 0.0
    assert found.neighbours_within.ratio == 0.0
    assert found.neighbours_within.p_value == 1.0


def test_equal_input_gives_equal_descriptors_and_crowds_stay_quick(described):
    centres = in_brain(MAX_LESIONS + 200, np.random.default_rng(9))
    assert points_needed(len(centres)) == MAX_LESIONS * N_SIMULATIONS
    few = centres[:50]
    assert described(few) == described(few)
    assert described(centres).n_lesions == len(centres)
