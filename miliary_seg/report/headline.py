"""The answer as a reader takes it in: a sentence, three lines with numbers, and what limits it.

Page, structured report and notebooks say the same words, made here.
"""

from __future__ import annotations

from dataclasses import dataclass

from miliary_seg.domain.compartment import Level, Side
from miliary_seg.domain.decision import HIDES_LESIONS, SliceAnswer, Verdict
from miliary_seg.domain.result import SeriesResult

STATES = {Verdict.MET: "met", Verdict.NOT_MET: "not met", Verdict.INDETERMINATE: "open"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One part of the rule."""

    what: str
    numbers: str
    asked: str
    verdict: Verdict

    @property
    def state(self) -> str:
        """``met``, ``not met`` or ``open``."""
        return STATES[self.verdict]


def sentence(verdict: Verdict) -> str:
    """The answer in one sentence, without its full stop.

    Examples
    --------
    >>> sentence(Verdict.NOT_MET)
    'The pattern does not meet the proposed criteria of miliary brain metastasis'
    """
    return f"The pattern {verdict.text} of miliary brain metastasis"


def lines(series: SeriesResult) -> tuple[Line, Line, Line]:
    """The three parts of the rule with the numbers that they were judged by."""
    decision = series.decision
    verdicts = {criterion.name: criterion.verdict for criterion in decision.criteria}
    unknown = Verdict.INDETERMINATE
    return (
        Line(
            what="lesions on two separate slices",
            numbers=_on_slices(series),
            asked=f"{decision.threshold} asked on each",
            verdict=verdicts.get("count", unknown),
        ),
        Line(
            what="both sides",
            numbers=_tally(series, "side", tuple(Side)),
            asked="asked: some on each",
            verdict=verdicts.get("bilateral", unknown),
        ),
        Line(
            what="above and below the tentorium",
            numbers=_tally(series, "level", tuple(Level)),
            asked="asked: some in each",
            verdict=verdicts.get("both_levels", unknown),
        ),
    )


def slice_answers(series: SeriesResult) -> list[dict[str, str | Verdict]]:
    """The answers on slices as acquired and on what thick slices would have shown, in words, where both are known."""
    found = series.decision.slice_answers
    return [_answer(answer) for answer in found] if len(found) > 1 else []


def taken_as_exact(series: SeriesResult) -> bool:
    """Whether nothing probabilistic is known: lesions were given, without probabilities or rates of error."""
    given = series.detection.operating_point.name == "given"
    return given and all(lesion.probability == 1.0 for lesion in series.lesions)


def why_no_probability(series: SeriesResult) -> str:
    """Why no probability is given; empty where there is one."""
    if taken_as_exact(series):
        return "the lesions were given and are taken as they are"
    if series.decision.probability is not None:
        return ""
    fit, mask = series.location.registration, series.location.mask_trust
    hidden = any(item.code in HIDES_LESIONS for item in series.decision.reasons)
    why = {
        "the atlas fit is not trusted": not fit.levels_usable,
        "left and right are unknown": not fit.sides_usable,
        "the brain mask is not trusted": not mask.trusted,
        "lesions need not show on such a scan": hidden,
        "part of the brain is not in view": True,
    }
    return next(text for text, holds in why.items() if holds)


def summary(series: SeriesResult) -> str:
    """All of it as one text, for readers without layout."""
    parts = [f"{line.what}: {line.numbers} ({line.asked}; {line.state})" for line in lines(series)]
    return f"{sentence(series.decision.verdict)}. {'; '.join(parts)}."


def _on_slices(series: SeriesResult) -> str:
    decision = series.decision
    shown = sorted((evidence.n_lesions for evidence in decision.evidence_slices), reverse=True)[:2]
    if not shown:
        return f"at most {max(decision.slice_counts, default=0)}"
    return " and ".join(map(str, shown)) if len(shown) > 1 else f"{shown[0]} on one"


def _tally(series: SeriesResult, kind: str, values: tuple[Side, ...] | tuple[Level, ...]) -> str:
    fit = series.location.registration
    if not (fit.sides_usable if kind == "side" else fit.levels_usable):
        return "unknown"
    found = [getattr(place, kind) for place in series.assignments]
    return ", ".join(f"{found.count(value)} {_SHORT[value]}" for value in values)


_SHORT: dict[Side | Level, str] = {
    Side.LEFT: "left",
    Side.RIGHT: "right",
    Level.SUPRATENTORIAL: "above",
    Level.INFRATENTORIAL: "below",
}


def _answer(answer: SliceAnswer) -> dict[str, str | Verdict]:
    """What was counted on, the count with its range over where thick slices start, the true count, the answer."""
    as_acquired = answer.slice == "native"
    count = "unknown" if answer.count is None else str(answer.count)
    if answer.count_range is not None and answer.count_range[0] != answer.count_range[1]:
        count += f" ({answer.count_range[0]} to {answer.count_range[1]})"
    interval = answer.count_interval
    return {
        "what": f"slices as acquired ({answer.thickness_mm:.3g} mm)"
        if as_acquired
        else f"what {answer.thickness_mm:g} mm slices would have shown",
        "count": count,
        "likely": "unknown" if interval is None else f"{interval[0]} to {interval[2]}",
        "verdict": answer.verdict,
    }
