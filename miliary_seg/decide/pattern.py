"""How miliary a lesion set looks: uniformity, dominance, homogeneity. Descriptors, not part of the rule."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.pattern import Distribution, Homogeneity, Pattern, RandomnessTest

Points = Float64Array

MILIARY_MM = 3.0
"""Bot 2020 calls enhancement miliary below this diameter."""

RADIUS_MM = 20.0
"""Radius in which neighbours are counted: about a gyrus with its banks, a quarter of a hemisphere's width; the
nearest-neighbour distance covers smaller scales."""

N_SIMULATIONS = 199
"""Usual number for a Monte Carlo test at 5 %: the smallest two-sided p-value is 0.01."""

MIN_UNIFORMITY = 4
"""Quartiles of fewer values are made up of single ones."""

MIN_HOMOGENEITY = 10
"""With fewer lesions even tight clusters stay inside the band of chance."""

SIGNIFICANCE = 0.05
"""Shared by the two statistics (Bonferroni)."""

MAX_LESIONS = 1500
"""Neighbours are counted among at most so many lesions, evenly taken, so that the test stays within a second."""


def describe_pattern(
    lesions: Sequence[Lesion], random_points_ras_mm: Points | None = None, sure_probability: float = 0.0
) -> Pattern:
    """Describe a lesion set.

    Parameters
    ----------
    lesions
        Accepted lesions of one series.
    random_points_ras_mm
        Points drawn at random from the brain mask, shape (n, 3), RAS+ mm; as many as ``points_needed`` says. They are
        shared out to the simulations, so the result is as reproducible as they are.
    sure_probability
        The largest lesion is sought among those at least that probable: one doubtful object must not be the dominant
        lesion.

    Returns
    -------
    Pattern
        Fields that need more lesions are None.
    """
    diameters = np.array([lesion.equivalent_diameter_mm for lesion in lesions])
    if not diameters.size or diameters.min() <= 0:
        return Pattern(n_lesions=len(lesions))
    middle = median(diameters.tolist())
    sure = diameters[[lesion.probability >= sure_probability for lesion in lesions]]
    enough = diameters.size >= MIN_UNIFORMITY
    first, third = np.percentile(diameters, [25, 75])
    return Pattern(
        n_lesions=len(lesions),
        below_3_mm_fraction=float((diameters < MILIARY_MM).mean()),
        diameter_cv=float(diameters.std(ddof=1) / diameters.mean()) if enough else None,
        diameter_iqr_over_median=float((third - first) / middle) if enough else None,
        largest_over_median=float(sure.max() / middle) if sure.size else None,
        homogeneity=_homogeneity(lesions, random_points_ras_mm),
    )


def points_needed(n_lesions: int) -> int:
    """Number of random points that the test of homogeneity needs for this many lesions; 0 = no test."""
    return N_SIMULATIONS * min(n_lesions, MAX_LESIONS) if n_lesions >= MIN_HOMOGENEITY else 0


def _homogeneity(lesions: Sequence[Lesion], places: Points | None) -> Homogeneity | None:
    needed = points_needed(len(lesions))
    if places is None or not needed or len(places) < needed:
        return None
    taken = np.linspace(0, len(lesions) - 1, needed // N_SIMULATIONS).round().astype(int)
    centres = np.array([lesions[k].centroid_ras_mm for k in taken])
    simulated = np.array([_statistics(draw) for draw in places[:needed].reshape(N_SIMULATIONS, len(centres), 3)])
    nearest, within = (
        _against(observed, column) for observed, column in zip(_statistics(centres), simulated.T, strict=True)
    )
    return Homogeneity(
        distribution=_distribution(nearest, within),
        nearest_neighbour=nearest,
        neighbours_within=within,
        radius_mm=RADIUS_MM,
        n_simulations=N_SIMULATIONS,
    )


def _statistics(points: Points) -> tuple[float, float]:
    """Mean distance in mm to the nearest other point, and mean number of other points within the radius."""
    from scipy.spatial import KDTree

    tree = KDTree(points)
    distances = np.asarray(tree.query(points, k=2)[0])
    pairs = int(tree.count_neighbors(tree, RADIUS_MM))
    return float(distances[:, 1].mean()), (pairs - len(points)) / len(points)


def _against(observed: float, simulated: Float64Array) -> RandomnessTest:
    """One statistic against its simulations (Besag and Diggle 1977: rank among them; two-sided)."""
    expected = float(simulated.mean())
    below, above = int((simulated <= observed).sum()), int((simulated >= observed).sum())
    scale = expected if expected > 0 else 1.0
    low, high = np.percentile(simulated / scale, [2.5, 97.5])
    return RandomnessTest(
        observed=observed,
        expected=expected,
        ratio=observed / scale,
        ratio_low=float(low),
        ratio_high=float(high),
        p_value=min(1.0, 2 * (1 + min(below, above)) / (1 + len(simulated))),
    )


def _distribution(nearest: RandomnessTest, within: RandomnessTest) -> Distribution:
    """Clustered at either scale counts as clustered: delineated lesions never touch, so regularity nearby says less."""
    limit = SIGNIFICANCE / 2
    if (within.p_value <= limit and within.ratio > 1) or (nearest.p_value <= limit and nearest.ratio < 1):
        return Distribution.CLUSTERED
    if min(within.p_value, nearest.p_value) <= limit:
        return Distribution.REGULAR
    return Distribution.RANDOM
