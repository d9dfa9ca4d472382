"""How likely given lesions meet the criteria, if each is real with its own probability and some were missed.

For lesions that others found; with the program's own candidates ``true_count`` says how many an image truly shows, and
only sides and levels are drawn here. Lesions are taken as independent. One lesion spans several slices, so counts of
neighbouring slices rise and fall together; therefore whole lesions are drawn, never slices. With few uncertain lesions
every combination is enumerated and the answer is exact; otherwise it is a seeded simulation. Where a sensitivity was
stated, the lesions that were missed on the deciding image are added in closed form. What it leaves out: correlated
false positives (vessels), the scan's gates. docs/criteria.md says how to read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import nbdtr, nbdtrc

from miliary_seg.decide.regions import LEVELS, QUADRANTS, REGIONS, SIDES, Regions
from miliary_seg.decide.slice_counts import SliceStack
from miliary_seg.domain.arrays import BoolArray, Float64Array, Int16Array, Int64Array
from miliary_seg.domain.lesion import Lesion
from miliary_seg.errors import UsageError

EXACT_UP_TO = 11
"""Uncertain lesions that are enumerated: 2 048 combinations, as many as are simulated otherwise."""
N_SAMPLES = 2048
"""Simulated scans; the standard error of a probability is then at most 0.011."""
SEED = 20200917
"""Fixed, so that equal lesions give equal probabilities; the number itself means nothing."""
CERTAIN = 1e-12
"""Probabilities nearer than this to 0 or 1 are certain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenarios:
    """Possible truths: which lesions are real in each, and how much weight each scenario has."""

    present: BoolArray
    """Shape (scenarios, lesions)."""
    weights: Float64Array
    """Shape (scenarios,), sum 1."""
    exact: bool

    def regions_met(self, regions: Regions, fewest: int, by_quadrant: bool) -> BoolArray:
        """Whether every side and level has enough sure lesions in each scenario, shape (scenarios,)."""
        names = (*LEVELS, *(QUADRANTS if by_quadrant else SIDES))
        columns = [REGIONS.index(name) for name in names]
        held = self.present.astype(np.float32) @ regions.sure[:, columns].astype(np.float32)
        enough: BoolArray = np.asarray(np.all(held >= fewest, axis=1))
        return enough

    def counts(self, stack: SliceStack) -> Int16Array:
        """Lesions per image in each scenario, shape (images, scenarios)."""
        shown = stack.shows.astype(np.float32) @ self.present.T.astype(np.float32)
        return np.rint(np.minimum(shown, np.iinfo(np.int16).max)).astype(np.int16)

    def chance(self, met: BoolArray | Float64Array) -> float:
        """Weighted mean over the scenarios of how likely something holds in each."""
        return float(min(1.0, (self.weights * met).sum()))

    def distribution(self, counts: Int64Array, sensitivity: float | None) -> tuple[tuple[int, float], ...]:
        """(true count, probability) pairs of the deciding image, ascending, without (nearly) impossible ones."""
        mass = np.bincount(counts, weights=self.weights)
        if sensitivity is not None:
            mass = np.sum([_with_misses(int(n), mass[n], sensitivity, mass.size) for n in np.flatnonzero(mass)], axis=0)
        return tuple((int(value), float(mass[value])) for value in np.flatnonzero(mass > CERTAIN))


def reached(counts: Int64Array, threshold: int, sensitivity: float | None) -> Float64Array:
    """How likely the true count of an image reaches the threshold, in each scenario.

    Of an image with T true lesions the detector shows n, binomial with its sensitivity s. With weight 1/T on every T
    (no size is preferred, and none found means none there) the missed ones are negative binomial: T - n failures
    before the n-th success.

    Parameters
    ----------
    counts
        Real lesions among those found on the deciding image, shape (scenarios,).
    threshold
        Lesions that the rule asks for.
    sensitivity
        Measured share of lesions that the detector finds, 0 to 1; None (not measured) = nothing is missed.

    Examples
    --------
    >>> reached(np.array([0, 15, 20]), 20, 0.8).round(2).tolist()
    [0.0, 0.33, 1.0]
    """
    sure: Float64Array = (counts >= threshold).astype(np.float64)
    if sensitivity is None:
        return sure
    lacking = np.maximum(threshold - counts, 1)
    chance: Float64Array = np.where(counts > 0, nbdtrc(lacking - 1, np.maximum(counts, 1), sensitivity), 0.0)
    return np.maximum(sure, chance)


def _with_misses(found: int, mass: float, sensitivity: float, size: int) -> Float64Array:
    """Probability ``mass`` of so many real lesions found, spread over true counts; as many entries for every ``found``.

    Counts beyond ten standard deviations are gathered in the last entry.
    """
    n = max(size - 1, 1)
    most = int(n / sensitivity + 10 * (n * (1 - sensitivity)) ** 0.5 / sensitivity) + 1
    spread = np.zeros(most + 1)
    if found == 0:
        spread[0] = mass
        return spread
    below = nbdtr(np.arange(most + 1 - found), found, sensitivity)
    below[-1] = 1.0
    spread[found:] = mass * np.diff(below, prepend=0.0)
    return spread


def chances_of(lesions: Sequence[Lesion]) -> Float64Array:
    """Probability of each lesion, shape (lesions,).

    Raises
    ------
    UsageError
        If a probability is not a number from 0 to 1.
    """
    chances = np.array([lesion.probability for lesion in lesions], dtype=np.float64)
    if not np.all((chances >= 0) & (chances <= 1)):
        raise UsageError("the probability of a lesion is not a number from 0 to 1")
    return chances


def scenarios_of(lesions: Sequence[Lesion]) -> Scenarios:
    """Enumerate or simulate which lesions are real.

    Draws belong to a lesion's rank by id, so neither the order of the lesions nor the probability of another one
    changes them: a higher probability never makes a lesion vanish from a simulated scenario.

    Raises
    ------
    UsageError
        If a probability is not a number from 0 to 1.
    """
    chances = chances_of(lesions)
    uncertain = np.flatnonzero((chances > CERTAIN) & (chances < 1 - CERTAIN))
    if uncertain.size > EXACT_UP_TO:
        draws = np.random.default_rng(SEED).random((len(lesions), N_SAMPLES))
        ranks = np.argsort(np.argsort([lesion.id for lesion in lesions]))
        return Scenarios(
            present=(draws[ranks] < chances[:, None]).T, weights=np.full(N_SAMPLES, 1 / N_SAMPLES), exact=False
        )
    combinations = (np.arange(2**uncertain.size)[:, None] >> np.arange(uncertain.size)) & 1 == 1
    present = np.repeat(chances[None] > 0.5, len(combinations), axis=0)
    present[:, uncertain] = combinations
    weights = np.where(combinations, chances[uncertain], 1 - chances[uncertain]).prod(axis=1)
    return Scenarios(present=present, weights=weights, exact=True)
