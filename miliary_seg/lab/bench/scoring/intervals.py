"""How sure a figure is: intervals of proportions, and the bootstrap over heads.

Lesions of one head are alike, so figures over lesions are resampled by heads (all scans of a head together); a
proportion of scans has the intervals of Wilson (1927) and Clopper and Pearson (1934), as scipy.stats computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from miliary_seg.domain.arrays import Float64Array

CONFIDENCE = 0.95
N_RESAMPLES = 2000
"""Percentiles of 2.5 and 97.5 % then rest on 50 resamples each (Efron and Tibshirani 1993 advise 1000 or more)."""
SEED = 20200917
"""Fixed, so that equal figures get equal intervals; the number itself means nothing."""
LEAST_HEADS = 3
"""Fewer heads give no bootstrap interval: two have three resamples, one has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One figure with its 95 % interval; None where it cannot be told."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """What it is over: lesions, slices or scans."""
    method: str = ""
    """``wilson``, ``exact`` (Clopper-Pearson) or ``bootstrap over heads``."""


def proportion(successes: int, n: int, method: Literal["wilson", "exact"] = "wilson") -> Estimate:
    """A proportion of independent trials with its interval.

    Examples
    --------
    >>> found = proportion(0, 20, "exact")
    >>> found.value, round(found.high, 3)
    (0.0, 0.168)
    """
    if n == 0:
        return Estimate(value=None, n=0, method=method)
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(CONFIDENCE, method=method)
    return Estimate(value=successes / n, low=float(interval.low), high=float(interval.high), n=n, method=method)


def ratio_over_heads(heads: Sequence[str], above: ArrayLike, below: ArrayLike) -> Estimate:
    """Sum over sum, one pair of numbers a scan, with a bootstrap over heads.

    Parameters
    ----------
    heads
        Head of each scan.
    above, below
        Numerator and denominator of each scan (for instance lesions found, lesions there), shape (scans,).
    """
    over, under = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if under.sum() == 0:
        return Estimate(value=None, method="bootstrap over heads")
    weights = head_weights(heads)
    low, high = percentiles(safe_ratio(weights @ over, weights @ under))
    return Estimate(
        value=float(over.sum() / under.sum()), low=low, high=high, n=round(under.sum()), method="bootstrap over heads"
    )


def median_over_heads(heads: Sequence[str], values: Sequence[Float64Array]) -> Estimate:
    """Median of all values (one array a scan) with a bootstrap over heads."""
    groups: dict[str, list[Float64Array]] = {}
    for head, some in zip(heads, values, strict=True):
        groups.setdefault(head, []).append(some)
    pools = [np.concatenate(parts) for parts in groups.values()]
    pools = [pool for pool in pools if pool.size]
    if not pools:
        return Estimate(value=None, method="bootstrap over heads")
    everything = np.concatenate(pools)
    low: float | None = None
    high: float | None = None
    if len(pools) >= LEAST_HEADS:
        draws = np.random.default_rng(SEED).integers(len(pools), size=(N_RESAMPLES, len(pools)))
        low, high = percentiles(np.array([np.median(np.concatenate([pools[i] for i in draw])) for draw in draws]))
    return Estimate(
        value=float(np.median(everything)), low=low, high=high, n=everything.size, method="bootstrap over heads"
    )


def head_weights(heads: Sequence[str]) -> Float64Array:
    """How often each scan is drawn in each resample of heads, shape (resamples, scans); no rows for too few heads."""
    names, of = np.unique(np.array(heads, dtype=str), return_inverse=True)
    if len(names) < LEAST_HEADS:
        return np.zeros((0, len(heads)))
    draws = np.random.default_rng(SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_RESAMPLES)
    weights: Float64Array = draws[:, of].astype(np.float64)
    return weights


def percentiles(samples: Float64Array) -> tuple[float | None, float | None]:
    """The 95 % interval of resampled figures; (None, None) where there are none."""
    samples = samples[np.isfinite(samples)]
    if not samples.size:
        return None, None
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def safe_ratio(above: Float64Array, below: Float64Array) -> Float64Array:
    """Element-wise ratio; NaN where there is nothing to divide by."""
    ratio: Float64Array = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio
