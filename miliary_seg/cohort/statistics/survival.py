"""Time to an event: Kaplan-Meier, log-rank, and cumulative incidence where another event competes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from miliary_seg.cohort.statistics.proportions import LEVEL
from miliary_seg.domain.arrays import Float64Array
from miliary_seg.errors import InputError

Bounds = tuple[list[float | None], list[float | None]]
"""Lower and upper ends of intervals; None where undefined."""
FEW = 10
"""Arms with fewer patients carry a warning (R18)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One patient's follow-up."""

    time: float
    """From the user's origin to event or last contact, > 0, in the user's unit."""
    event: int
    """0 = censored, 1 = the event, 2 = a competing event."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A step function with pointwise 95 % intervals; each value holds from its time on."""

    group: str
    n: int
    n_events: int
    times: tuple[float, ...]
    """Starting at 0."""
    values: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    """None where the interval is not defined (before the first event, and where survival has fallen to 0)."""
    censored_at: tuple[float, ...]
    median: float | None = None
    """Time at which survival falls below 0.5, or the middle of the step where it is exactly 0.5 (as in R and SAS);
    None where it is not reached."""
    median_low: float | None = None
    median_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """Curves of one or several groups, who was still at risk, and whether they differ."""

    kind: str
    """``survival`` (Kaplan-Meier) or ``cumulative_incidence`` (Aalen-Johansen)."""
    curves: tuple[Curve, ...]
    risk_times: tuple[float, ...]
    at_risk: Mapping[str, tuple[int, ...]]
    """Patients of each group whose time is at least the risk time."""
    chi2: float | None
    p_value: float | None
    """Log-rank test over all groups; None for one group, and for cumulative incidence."""
    warnings: tuple[str, ...]


def survival(subjects: Sequence[Subject]) -> Survival:
    """Kaplan-Meier curves with median and log-rank test (R18).

    Parameters
    ----------
    subjects
        Events 0 or 1.

    Raises
    ------
    InputError
        If nobody is given, a time is not above 0, or an event is neither 0 nor 1.
    """
    groups = _grouped(subjects, {0, 1})
    chi2, p_value, no_test = _log_rank(groups)
    return Survival(
        kind="survival",
        curves=tuple(_kaplan_meier(name, members) for name, members in groups.items()),
        risk_times=(times := _risk_times(groups)),
        at_risk=_at_risk(groups, times),
        chi2=chi2,
        p_value=p_value,
        warnings=(*no_test, *_warnings(groups)),
    )


def cumulative_incidence(subjects: Sequence[Subject]) -> Survival:
    """Probability of event 1 by each time where event 2 competes (Aalen-Johansen).

    Parameters
    ----------
    subjects
        Events 0, 1 or 2.

    Raises
    ------
    InputError
        If nobody is given, a time is not above 0, or an event is not 0, 1 or 2.
    """
    groups = _grouped(subjects, {0, 1, 2})
    return Survival(
        kind="cumulative_incidence",
        curves=tuple(_aalen_johansen(name, members) for name, members in groups.items()),
        risk_times=(times := _risk_times(groups)),
        at_risk=_at_risk(groups, times),
        chi2=None,
        p_value=None,
        warnings=_warnings(groups),
    )


def _grouped(subjects: Sequence[Subject], events: set[int]) -> dict[str, list[Subject]]:
    if not subjects:
        raise InputError("no patient has a time and an event", todo="check the columns")
    for subject in subjects:
        if not 0 < subject.time < np.inf:
            raise InputError(
                f"time {subject.time:g} is not above 0", todo="times run from the origin to event or last contact"
            )
        if subject.event not in events:
            what = f"event {subject.event} is none of {', '.join(map(str, sorted(events)))}"
            raise InputError(what, todo="0 censored, 1 event, 2 competing event (with --competing)")
    return {g: [s for s in subjects if s.group == g] for g in sorted({s.group for s in subjects})}


def _kaplan_meier(name: str, members: Sequence[Subject]) -> Curve:
    from statsmodels.duration.survfunc import SurvfuncRight

    time, event = _arrays(members)
    with np.errstate(divide="ignore", invalid="ignore"):  # the last step to 0 has no standard error
        fit = SurvfuncRight(time, event)
        low, high = _log_log(fit.surv_prob, fit.surv_prob_se)
        median = _median(fit.surv_times, fit.surv_prob)
        bounds = fit.quantile_ci(0.5, alpha=1 - LEVEL) if event.any() else (np.nan, np.nan)
    curve = _curve(name, members, fit.surv_times, 1.0, fit.surv_prob, (low, high))
    return replace(curve, median=_finite(median), median_low=_finite(bounds[0]), median_high=_finite(bounds[1]))


def _aalen_johansen(name: str, members: Sequence[Subject]) -> Curve:
    from statsmodels.duration.survfunc import CumIncidenceRight

    time, event = _arrays(members)
    if not (event == 1).any():  # the curve stays at 0 until the last contact
        return _curve(name, members, time.max(keepdims=True), 0.0, np.zeros(1), ([None], [None]))
    with np.errstate(divide="ignore", invalid="ignore"):
        fit = CumIncidenceRight(time, event)
        value, error = np.asarray(fit.cinc[0]), np.asarray(fit.cinc_se[0])
        bounds = _log_log(value, error)
    return _curve(name, members, fit.times, 0.0, value, bounds)


def _curve(
    name: str, members: Sequence[Subject], times: Float64Array, start: float, values: Float64Array, bounds: Bounds
) -> Curve:
    """A curve that begins at time 0 with ``start``, where no interval is defined."""
    low, high = bounds
    return Curve(
        group=name,
        n=len(members),
        n_events=sum(s.event == 1 for s in members),
        times=(0.0, *map(float, times)),
        values=(start, *map(float, values)),
        low=(None, *low),
        high=(None, *high),
        censored_at=tuple(sorted(s.time for s in members if s.event == 0)),
    )


def _median(times: Float64Array, survival: Float64Array) -> float:
    """Time at which survival falls below 0.5; the middle of the step where it is 0.5; NaN where it is not reached."""
    half = np.isclose(survival, 0.5, atol=1e-9)
    below = (survival < 0.5) & ~half
    after = float(times[below][0]) if below.any() else np.nan
    if not half.any():
        return after
    return float(times[half][0]) if np.isnan(after) else (float(times[half][0]) + after) / 2


def _log_log(value: Float64Array, error: Float64Array) -> Bounds:
    """Complementary log-log interval (Kalbfleisch and Prentice 1980): never outside [0, 1]; None where undefined."""
    from scipy.stats import norm

    spread = norm.ppf((1 + LEVEL) / 2) * error / (value * np.log(value))
    with np.errstate(over="ignore"):
        bounds = np.stack([value ** np.exp(-spread), value ** np.exp(spread)])
    defined = np.isfinite(bounds).all(axis=0) & (value > 1e-9) & (value < 1 - 1e-9)
    low, high = (np.where(defined, edge, np.nan) for edge in (bounds.min(axis=0), bounds.max(axis=0)))
    return [_finite(x) for x in low], [_finite(x) for x in high]


def _log_rank(groups: Mapping[str, Sequence[Subject]]) -> tuple[float | None, float | None, tuple[str, ...]]:
    """Statistic and p-value, and why there is none, or of which arms only.

    An arm of which nobody is at risk when the first event occurs has no expected event and tells nothing: the test is
    over the others, as R's ``survdiff`` does it (the covariance of all would be singular).
    """
    from statsmodels.duration.survfunc import survdiff

    events = [s.time for group in groups.values() for s in group if s.event]
    if len(groups) < 2 or not events:
        return None, None, ("no log-rank test: nobody had the event",) if len(groups) > 1 else ()
    kept = {name: group for name, group in groups.items() if any(s.time >= min(events) for s in group)}
    left_out = ", ".join(name for name in groups if name not in kept)
    why = (f"log-rank test without {left_out}: censored before the first event",) if left_out else ()
    if len(kept) < 2:
        return None, None, (f"no log-rank test: {left_out} censored before the first event",)
    members = [s for group in kept.values() for s in group]
    time, event = _arrays(members)
    try:
        with np.errstate(all="ignore"):
            chi2, p_value = survdiff(time, event, np.array([s.group for s in members]))
    except np.linalg.LinAlgError:
        chi2 = p_value = np.nan
    if not np.isfinite(p_value):
        return None, None, ("no log-rank test: too few patients at risk together",)
    return _finite(chi2), _finite(p_value), why


def _risk_times(groups: Mapping[str, Sequence[Subject]]) -> tuple[float, ...]:
    """Round times, about six, from 0 to the longest follow-up."""
    from matplotlib.ticker import MaxNLocator

    longest = max(s.time for group in groups.values() for s in group)
    return tuple(float(t) for t in MaxNLocator(6).tick_values(0, longest) if 0 <= t <= longest)


def _at_risk(groups: Mapping[str, Sequence[Subject]], times: Sequence[float]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(sum(s.time >= t for s in group) for t in times) for name, group in groups.items()}


def _warnings(groups: Mapping[str, Sequence[Subject]]) -> tuple[str, ...]:
    small = [f"{name or 'all patients'} ({len(g)})" for name, g in groups.items() if len(g) < FEW]
    return (f"fewer than {FEW} patients: {', '.join(small)}; read the curve with care",) if small else ()


def _arrays(members: Sequence[Subject]) -> tuple[Float64Array, NDArray[np.int_]]:
    return np.array([s.time for s in members], dtype=np.float64), np.array([s.event for s in members])


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
