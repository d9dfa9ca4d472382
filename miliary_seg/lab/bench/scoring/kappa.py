"""Agreement of two readers beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TWO_SIDED_95 = 1.959963985


@dataclass(frozen=True, slots=True, kw_only=True)
class Kappa:
    """Cohen's kappa, unweighted, with its asymptotic 95 % interval."""

    n: int
    observed: float | None
    """Share of cases with equal answers; None of no cases."""
    expected: float | None
    """... by chance, from how often each reader gives each answer."""
    value: float | None
    """None where it is not defined: both always give one and the same answer."""
    low: float | None = None
    high: float | None = None


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> Kappa:
    """Cohen's kappa of two readers' answers to the same cases.

    Parameters
    ----------
    first, second
        Answers of each, in the same order of cases.

    References
    ----------
    Cohen 1960, doi:10.1177/001316446002000104; standard error: Fleiss, Cohen, Everitt 1969, doi:10.1037/h0028106.

    Examples
    --------
    >>> round(cohens_kappa(["MET"] * 5 + ["NOT_MET"] * 5, ["MET"] * 4 + ["NOT_MET"] * 6).value, 3)
    0.8
    """
    if len(first) != len(second):
        raise ValueError("two readers answer the same cases")
    n = len(first)
    if not n:
        return Kappa(n=0, observed=None, expected=None, value=None)
    answers = sorted({*first, *second})
    table = np.zeros((len(answers), len(answers)))
    for a, b in zip(first, second, strict=True):
        table[answers.index(a), answers.index(b)] += 1 / n
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float(np.trace(table)), float(rows @ columns)
    if expected >= 1 - 1e-12:
        return Kappa(n=n, observed=observed, expected=expected, value=None)
    value = (observed - expected) / (1 - expected)
    error = TWO_SIDED_95 * _standard_error(table, value, expected, n)
    return Kappa(
        n=n,
        observed=observed,
        expected=expected,
        value=value,
        low=max(-1.0, value - error),
        high=min(1.0, value + error),
    )


def _standard_error(table: np.ndarray, kappa: float, expected: float, n: int) -> float:
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    on = float((np.diag(table) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum())
    pairs = table * (columns[:, None] + rows[None, :]) ** 2
    off = float(pairs.sum() - np.trace(pairs)) * (1 - kappa) ** 2
    variance = (on + off - (kappa - expected * (1 - kappa)) ** 2) / ((1 - expected) ** 2 * n)
    return float(max(variance, 0.0) ** 0.5)
