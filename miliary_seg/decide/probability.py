"""How likely the criteria are met, if every lesion is real with its own probability.

Lesions are taken as independent. One lesion spans several slices, so counts of neighbouring slices rise and fall
together; therefore whole lesions are drawn, never slices. With few uncertain lesions every combination is
enumerated and the answer is exact; otherwise it is a seeded simulation. What it leaves out: lesions that the
detector missed, correlated false positives (vessels), the scan's gates. docs/criteria.md says how to read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miliary_seg.decide.images import FloatVector, Stack
from miliary_seg.decide.regions import LEVELS, QUADRANTS, REGIONS, SIDES, Regions
from miliary_seg.domain.lesion import Lesion
from miliary_seg.errors import UsageError

BoolMatrix = NDArray[np.bool_]

EXACT_UP_TO = 11
"""Uncertain lesions that are enumerated: 2 048 combinations, as many as are simulated otherwise."""
N_SAMPLES = 2048
"""Simulated scans; the standard error of a probability is then at most 0.011."""
SEED = 20200917
"""Fixed, so that equal lesions give equal probabilities; the number itself means nothing."""
CERTAIN = 1e-12
"""Probabilities nearer than this to 0 or 1 are certain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Worlds:
    """Possible truths: which lesions are real in each, and how much weight each world has."""

    present: BoolMatrix
    """Shape (worlds, lesions)."""
    weights: FloatVector
    """Shape (worlds,), sum 1."""
    exact: bool

    def regions_met(self, regions: Regions, fewest: int, by_quadrant: bool) -> BoolMatrix:
        """Whether every side and level has enough sure lesions in each world, shape (worlds,)."""
        names = (*LEVELS, *(QUADRANTS if by_quadrant else SIDES))
        columns = [REGIONS.index(name) for name in names]
        held = self.present.astype(np.float32) @ regions.sure[:, columns].astype(np.float32)
        enough: BoolMatrix = np.asarray(np.all(held >= fewest, axis=1))
        return enough

    def counts(self, stack: Stack) -> NDArray[np.int16]:
        """Lesions per image in each world, shape (images, worlds)."""
        shown = stack.shows.astype(np.float32) @ self.present.T.astype(np.float32)
        return np.rint(np.minimum(shown, np.iinfo(np.int16).max)).astype(np.int16)

    def chance(self, met: BoolMatrix) -> float:
        """Weight of the worlds in which something holds."""
        return float(min(1.0, self.weights[met].sum()))

    def distribution(self, values: NDArray[np.int64]) -> tuple[tuple[int, float], ...]:
        """(value, probability) pairs, ascending, without impossible ones."""
        mass = np.bincount(values, weights=self.weights)
        return tuple((int(value), float(mass[value])) for value in np.flatnonzero(mass))


def worlds_of(lesions: Sequence[Lesion]) -> Worlds:
    """Enumerate or simulate which lesions are real.

    Draws belong to a lesion's rank by id, so neither the order of the lesions nor the probability of another one
    changes them: a higher probability never makes a lesion vanish from a simulated world.

    Raises
    ------
    UsageError
        If a probability is not a number from 0 to 1.
    """
    chances = np.array([lesion.probability for lesion in lesions], dtype=np.float64)
    if not np.all((chances >= 0) & (chances <= 1)):
        raise UsageError("the probability of a lesion is not a number from 0 to 1")
    uncertain = np.flatnonzero((chances > CERTAIN) & (chances < 1 - CERTAIN))
    if uncertain.size > EXACT_UP_TO:
        draws = np.random.default_rng(SEED).random((len(lesions), N_SAMPLES))
        ranks = np.argsort(np.argsort([lesion.id for lesion in lesions]))
        return Worlds(
            present=(draws[ranks] < chances[:, None]).T, weights=np.full(N_SAMPLES, 1 / N_SAMPLES), exact=False
        )
    combinations = (np.arange(2**uncertain.size)[:, None] >> np.arange(uncertain.size)) & 1 == 1
    present = np.repeat(chances[None] > 0.5, len(combinations), axis=0)
    present[:, uncertain] = combinations
    weights = np.where(combinations, chances[uncertain], 1 - chances[uncertain]).prod(axis=1)
    return Worlds(present=present, weights=weights, exact=True)
