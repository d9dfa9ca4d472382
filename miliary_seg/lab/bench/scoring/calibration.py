"""Whether probabilities mean what they say: predicted against observed, in bins.

Expected calibration error: mean over bins of |mean predicted - observed fraction|, weighted by their numbers (Naeini
et al. 2015, AAAI 29:2901-2907). Brier score: mean of (predicted - observed)^2 (Brier 1950, Mon Weather Rev 78:1-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from miliary_seg.errors import UsageError
from miliary_seg.lab.bench.scoring.intervals import Estimate, proportion

EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
"""Narrow at the ends, where most probabilities lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Predictions of about one size."""

    low: float
    high: float
    mean_predicted: float
    observed: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Bins without empty ones, and two figures over all predictions."""

    bins: tuple[Bin, ...]
    expected_error: float
    brier: float
    n: int


def calibration(predicted: ArrayLike, happened: ArrayLike, edges: Sequence[float] = EDGES) -> Calibration | None:
    """Compare probabilities with what happened; None without predictions.

    Parameters
    ----------
    predicted
        Probabilities, shape (n,).
    happened
        Whether each came true, shape (n,).
    edges
        Borders of the bins; a value on a border belongs to the upper bin, 1 to the last.

    Raises
    ------
    UsageError
        If a prediction is not a number from 0 to 1.
    """
    chances, truths = np.asarray(predicted, dtype=np.float64), np.asarray(happened, dtype=bool)
    if not chances.size:
        return None
    if not np.all((chances >= 0) & (chances <= 1)):
        raise UsageError("a probability is not a number from 0 to 1")
    of = np.clip(np.searchsorted(edges, chances, side="right") - 1, 0, len(edges) - 2)
    bins = []
    for number in np.unique(of).tolist():
        mine = of == number
        observed = proportion(int(truths[mine].sum()), int(mine.sum()))
        mean = float(chances[mine].mean())
        bins.append(Bin(low=edges[number], high=edges[number + 1], mean_predicted=mean, observed=observed))
    error = sum(b.observed.n * abs(b.mean_predicted - (b.observed.value or 0.0)) for b in bins) / chances.size
    brier = float(((chances - truths) ** 2).mean())
    return Calibration(bins=tuple(bins), expected_error=float(error), brier=brier, n=int(chances.size))
