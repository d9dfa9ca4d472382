"""How many lesions an image truly shows: from every candidate, accepted or not, and from what the detector misses.

The probabilities of all candidates on an image add up to the lesions that the detector can account for. What it cannot
account for - lesions without a candidate, probabilities that are too low or too high on this scan - was measured on
scans with known lesions of persons who were not in the fit: the true count of the second-best image given that sum is
negative binomial; its mean and its shape depend on the sequence and on the thickness of the slices. How it was fitted,
and how often its interval holds the truth: docs/measurements/decision.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import betainc

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.decision import CountDistribution
from miliary_seg.domain.sequence import Sequence

NEGLIGIBLE = 1e-9
"""Probability of all counts beyond the last that is kept."""
MOST = 2000
"""No image of a head shows more lesions."""
WIDEST_SHAPE = 1.2
"""Of the negative binomial where nothing was measured: the standard deviation is about as large as the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountModel:
    """True count of the second-best image, given the sum of the candidates' probabilities there."""

    up_to_mm: float
    """Slice thickness up to which this holds."""
    scale: float
    power: float
    size_power: float
    shape: float
    shape_power: float
    largest_shape: float
    """A narrower law would be pretended: few persons were measured."""

    def shape_at(self, expected: float) -> float:
        """Shape x (sum + 0.5) ** shape_power; the variance is mean + mean ** 2 / shape.

        A scan with many clear lesions says more of the others than one with few.
        """
        shape = self.shape * (max(expected, 0.0) + NOTHING) ** self.shape_power
        return float(min(max(shape, SMALLEST_SHAPE), self.largest_shape))

    def mean(self, expected: float, size_mm: float) -> float:
        """Mean true count = scale x (sum + 0.5) ** power x (size / 4 mm) ** size_power.

        Where the marked lesions are small, more are missed; where they are large, slices beside them count too.
        """
        size = min(max(size_mm, SIZES_MM[0]), SIZES_MM[1]) / TYPICAL_MM
        return float(self.scale * (max(expected, 0.0) + NOTHING) ** self.power * size**self.size_power)

    def distribution(self, expected: float, size_mm: float) -> CountDistribution:
        """Of the true count: that of this model, and for a few scans that of no model."""
        parts = [
            share * _pmf(round(law.mean(expected, size_mm), 3), round(law.shape_at(expected), 3))
            for share, law in ((1 - OUTLIER_SHARE, self), (OUTLIER_SHARE, UNMEASURED))
        ]
        pmf = np.zeros(max(map(len, parts)))
        for part in parts:
            pmf[: len(part)] += part
        return tuple((n, float(p)) for n, p in enumerate(pmf) if p > 0)


NOTHING = 0.5
"""Added to the sum, so that a scan without any candidate is not sure to hold nothing."""
SMALLEST_SHAPE = 0.5
"""A wider law says nothing."""
TYPICAL_MM = 4.0
SIZES_MM = (2.0, 8.0)
"""Mean diameters of marked lesions that were seen; beyond them the nearer end is taken."""
T1_MODELS = (
    CountModel(
        up_to_mm=2.25, scale=0.745, power=1.099, size_power=-0.461, shape=8.173, shape_power=0.223, largest_shape=12.0
    ),
    CountModel(
        up_to_mm=4.0, scale=1.082, power=1.012, size_power=-0.654, shape=10.937, shape_power=0.031, largest_shape=12.0
    ),
    CountModel(
        up_to_mm=5.75, scale=0.959, power=1.167, size_power=-1.478, shape=5.991, shape_power=0.249, largest_shape=12.0
    ),
    CountModel(
        up_to_mm=7.0, scale=1.484, power=1.23, size_power=-2.228, shape=5.909, shape_power=0.362, largest_shape=12.0
    ),
)
FLAIR_MODELS = (
    CountModel(
        up_to_mm=5.75, scale=6.875, power=0.483, size_power=-0.073, shape=0.674, shape_power=0.748, largest_shape=6.0
    ),
)
"""One for all slices, and far wider: a lesion no brighter than the cortex is hardly ever found there. The most cautious
of the four models fitted without one person each: by the others, one of seven scans that said no had 20."""
MODELS = {Sequence.T1C: T1_MODELS, Sequence.T1: T1_MODELS, Sequence.FLAIR: FLAIR_MODELS}
"""Fitted by ``scripts/fit-decision`` (docs/measurements/decision.md); T1 without contrast medium stands for an enhanced
scan without bright vessels."""
UNMEASURED = CountModel(
    up_to_mm=np.inf, scale=2.0, power=0.9, size_power=0.0, shape=WIDEST_SHAPE, shape_power=0.0, largest_shape=20.0
)
"""Thicker slices or another sequence than any that were measured: the widest interval."""


OUTLIER_SHARE = 0.01
"""Share of scans that are taken to behave like none that was measured: of some hundred scans no less can be said."""


def model_for(thickness_mm: float, sequence: Sequence) -> CountModel:
    """The model that was measured on slices of this thickness of this sequence, or the widest one."""
    return next((model for model in MODELS.get(sequence, ()) if thickness_mm <= model.up_to_mm), UNMEASURED)


def true_count(
    expected: float, size_mm: float, thickness_mm: float, sequence: Sequence = Sequence.T1C
) -> CountDistribution:
    """Distribution of the true count of the second-best image.

    Parameters
    ----------
    expected
        Sum of the probabilities of all candidates that show on the second-best image.
    size_mm
        Geometric mean of the diameters of the marked lesions of the scan.
    thickness_mm
        Of the acquired slices, on which the candidates were found.
    sequence
        What the scan shows.

    Returns
    -------
    CountDistribution
        (count, probability) pairs from 0 on; they add up to 1.

    Examples
    --------
    >>> few = true_count(1.0, 4.0, 1.0)
    >>> at_least(few, 20) < 0.01 < at_least(true_count(19.0, 4.0, 1.0), 20)
    True
    """
    return model_for(thickness_mm, sequence).distribution(expected, size_mm)


def at_least(distribution: CountDistribution, threshold: int) -> float:
    """Probability that the true count reaches a threshold."""
    return min(1.0, float(sum(p for n, p in distribution if n >= threshold)))


@cache
def _pmf(mean: float, shape: float) -> Float64Array:
    """Negative binomial up to the count beyond which next to nothing lies; what does is added to the last.

    By its recurrence and the incomplete beta function: ``scipy.stats`` says the same, and takes a second to import.
    """
    chance = shape / (shape + mean)
    beyond = betainc(np.arange(1, MOST + 2), shape, 1 - chance)
    most = min(int(np.count_nonzero(beyond > NEGLIGIBLE)) + 1, MOST)
    steps = np.arange(1, most + 1)
    growth = (steps - 1 + shape) / steps * (1 - chance)
    pmf: Float64Array = chance**shape * np.cumprod(np.concatenate([[1.0], growth]))
    pmf[-1] += beyond[most]
    return pmf
