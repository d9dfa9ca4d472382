"""Incidence per patient and co-occurrence: proportions with Wilson intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from miliary_seg.cohort.statistics.participants import value_of
from miliary_seg.cohort.statistics.patients import Patient
from miliary_seg.domain.decision import Verdict
from miliary_seg.errors import InputError

LEVEL = 0.95
"""Confidence level of every interval: the convention of the medical literature."""
YES = frozenset({"1", "yes", "y", "true", "present", "positive"})
NO = frozenset({"0", "no", "n", "false", "absent", "negative"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """A count out of a count, with its 95 % interval."""

    count: int
    total: int
    estimate: float | None
    """None where the total is 0."""
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incidence:
    """How many patients meet the proposed criteria, and what the indeterminate ones could make of it."""

    n_patients: int
    n_met: int
    n_not_met: int
    n_indeterminate: int
    screened: Proportion
    """MET over all patients, as the published figure is counted; also the lowest that the indeterminate ones allow."""
    decided: Proportion
    """MET over MET and NOT_MET."""
    highest: Proportion
    """As if every indeterminate patient were MET."""


def wilson(count: int, total: int) -> Proportion:
    """Proportion with the Wilson score interval (``scipy.stats``, without continuity correction).

    Parameters
    ----------
    count, total
        0 <= count <= total.

    Examples
    --------
    The published incidence, 21 of 546:

    >>> p = wilson(21, 546)
    >>> f"{100 * p.estimate:.1f} % ({100 * p.low:.2f}-{100 * p.high:.2f})"
    '3.8 % (2.53-5.81)'
    """
    from scipy.stats import binomtest

    if total == 0:
        return Proportion(count=count, total=total, estimate=None, low=None, high=None)
    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    return Proportion(
        count=count, total=total, estimate=count / total, low=float(interval.low), high=float(interval.high)
    )


def incidence(patients: Sequence[Patient]) -> Incidence:
    """Incidence per patient (R15), with the indeterminate ones as bounds.

    Parameters
    ----------
    patients
        What ``patients_of`` gave.
    """
    met, not_met, unclear = (
        sum(patient.verdict is verdict for patient in patients)
        for verdict in (Verdict.MET, Verdict.NOT_MET, Verdict.INDETERMINATE)
    )
    return Incidence(
        n_patients=len(patients),
        n_met=met,
        n_not_met=not_met,
        n_indeterminate=unclear,
        screened=wilson(met, len(patients)),
        decided=wilson(met, met + not_met),
        highest=wilson(met + unclear, len(patients)),
    )


def co_occurrence(patients: Sequence[Patient], values: Mapping[str, str], column: str) -> Proportion:
    """Share of the patients with MET who also have a finding (R16), among those of whom it is known.

    Parameters
    ----------
    patients
        What ``patients_of`` gave.
    values
        Participant to yes or no (``YES``, ``NO``, in any case).
    column
        Name of the finding, for messages.

    Raises
    ------
    InputError
        If a value is neither yes nor no.
    """
    known = [yes_or_no(values[p.id], column) for p in patients if p.verdict is Verdict.MET and p.id in values]
    return wilson(sum(known), len(known))


def yes_or_no(value: str, column: str) -> bool:
    """Truth value of a cell.

    Raises
    ------
    InputError
        If it is neither in ``YES`` nor in ``NO``.
    """
    try:
        return truth(value)
    except ValueError as error:
        raise InputError(f"column {column!r} holds {value!r}", todo=str(error.args[1])) from error


def truth(value: str) -> bool:
    """Truth value of a cell; ValueError with what is wrong and what to do where it has none.

    Examples
    --------
    >>> truth("Yes"), truth("0.0"), truth("TRUE")
    (True, False, True)
    """
    word = (value_of(value) or "").lower()
    if word not in YES | NO:
        raise ValueError("which is neither yes nor no", "use yes, no or n/a (or 1, 0)")
    return word in YES
