"""Whether groups of patients differ in how many meet the proposed criteria."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from miliary_seg.cohort.statistics.proportions import LEVEL, Proportion, wilson
from miliary_seg.errors import InputError

RESAMPLES = 99_999
"""Tables drawn for the overall test of more than two groups: its p-value is sure to about 0.0015 at 0.05."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoGroups:
    """Two proportions compared: first against second."""

    first: Proportion
    second: Proportion
    p_value: float
    """Fisher's exact test, two-sided."""
    difference: float
    """First minus second."""
    difference_low: float
    difference_high: float
    """Newcombe's hybrid score interval (method 10 of Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873)."""
    ratio: float | None
    """First over second; None where the second is 0."""
    ratio_low: float | None
    ratio_high: float | None
    """Interval of Katz and others 1978 on the log scale, doi:10.2307/2530610; None where a count is 0.

    The score interval of statsmodels 0.15 would be narrower for rare events, but is wrong where a proportion is 1.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAgainstRest:
    """One of several groups against all others together."""

    group: str
    comparison: TwoGroups
    p_holm: float
    """Its p-value, corrected for the number of groups (Holm 1979)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralGroups:
    """Proportions in more than two groups."""

    p_value: float
    """Exact conditional test over all groups (Fisher, Freeman, Halton), by seeded Monte Carlo."""
    groups: tuple[GroupAgainstRest, ...]


def compare_two(first: tuple[int, int], second: tuple[int, int]) -> TwoGroups:
    """Fisher's exact test, risk difference and risk ratio of two groups (R17).

    Parameters
    ----------
    first, second
        Count and total of each group, total >= 1.

    Raises
    ------
    InputError
        If a group is empty.

    Examples
    --------
    Miliary disease of the brain, EGFR-mutated against wild type (counts inferred from Hsu 2017):

    >>> two = compare_two((5, 121), (2, 422))
    >>> round(two.p_value, 4), [round(100 * x, 1) for x in (two.difference, two.difference_low, two.difference_high)]
    (0.0073, [3.7, 1.0, 8.8])
    """
    from scipy.stats import fisher_exact
    from statsmodels.stats.proportion import confint_proportions_2indep

    (a, n), (b, m) = first, second
    if not n or not m:
        raise InputError("a group has no patient", todo="compare groups that both have patients")
    p_value = float(fisher_exact(np.array([[a, n - a], [b, m - b]])).pvalue)
    low, high = confint_proportions_2indep(a, n, b, m, compare="diff", method="newcomb", alpha=1 - LEVEL)
    ratio_low, ratio_high = _ratio_interval(a, n, b, m)
    return TwoGroups(
        first=wilson(a, n),
        second=wilson(b, m),
        p_value=p_value,
        difference=a / n - b / m,
        difference_low=float(low),
        difference_high=float(high),
        ratio=(a / n) / (b / m) if b else None,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
    )


def _ratio_interval(a: int, n: int, b: int, m: int) -> tuple[float | None, float | None]:
    from scipy.stats.contingency import relative_risk

    if not a or not b:
        return None, None
    interval = relative_risk(a, n, b, m).confidence_interval(LEVEL)
    return float(interval.low), float(interval.high)


def compare_several(table: Mapping[str, tuple[int, int]], seed: int = 0) -> SeveralGroups:
    """Each group against the rest with Holm's correction, and one test over all (R19).

    Parameters
    ----------
    table
        Count and total of each group; at least two groups with patients.
    seed
        Of the Monte Carlo test.

    Raises
    ------
    InputError
        If fewer than two groups have patients.
    """
    from scipy.stats import MonteCarloMethod, fisher_exact
    from statsmodels.stats.multitest import multipletests

    filled = {name: counts for name, counts in table.items() if counts[1]}
    if len(filled) < 2:
        raise InputError("fewer than two groups have patients", todo="choose a column with at least two values")
    counts = np.array([[k, n - k] for k, n in filled.values()])
    if len(filled) == 2 or not counts.sum(axis=0).all():  # exact by itself; nothing can differ
        p_value = float(fisher_exact(counts).pvalue) if len(filled) == 2 else 1.0
    else:
        method = MonteCarloMethod(n_resamples=RESAMPLES, rng=np.random.default_rng(seed))
        p_value = float(np.squeeze(fisher_exact(counts, method=method).pvalue))  # an array of one for small tables
    k_all, n_all = counts[:, 0].sum(), counts.sum()
    pairs = {g: compare_two((k, n), (int(k_all - k), int(n_all - n))) for g, (k, n) in filled.items()}
    holm = multipletests([two.p_value for two in pairs.values()], method="holm")[1]
    groups = (
        GroupAgainstRest(group=name, comparison=two, p_holm=float(p))
        for (name, two), p in zip(pairs.items(), holm, strict=True)
    )
    return SeveralGroups(p_value=p_value, groups=tuple(groups))
