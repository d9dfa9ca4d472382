"""The story of ``bench score``: pair the files, read both sides, score every case, put them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from miliary_seg.errors import UsageError
from miliary_seg.lab.bench.pairs import Pair, pair_by_name, pair_by_table, with_truths
from miliary_seg.lab.bench.scoring import CaseScore, MatchRule, Pooled, pooled, score_case
from miliary_seg.lab.bench.sides import ReadOptions, read_case


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePlan:
    """What is scored, and by which rule."""

    predictions: Path | None = None
    references: Path | None = None
    pairs: Path | None = None
    """A table in place of the two folders."""
    truths: Path | None = None
    rule: MatchRule = field(default_factory=MatchRule)
    options: ReadOptions = field(default_factory=ReadOptions)
    skip_missing: bool = False

    def __post_init__(self) -> None:
        by_name = self.predictions is not None and self.references is not None
        if by_name == (self.pairs is not None) or (self.predictions is None) != (self.references is None):
            what = "give PREDICTIONS and REFERENCES, or --pairs with a table of both"
            raise UsageError(what, todo="see `miliary-seg bench score --help`")
        if self.options.frame not in ("ras", "lps"):
            raise UsageError(f"--frame cannot be {self.options.frame!r}", todo="ras or lps")
        if self.options.labels not in ("auto", "instances", "mask"):
            raise UsageError(f"--labels cannot be {self.options.labels!r}", todo="auto, instances or mask")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """Predictions against references."""

    rule: MatchRule
    scores: tuple[CaseScore, ...]
    pooled: Pooled
    left_out: tuple[str, ...] = ()
    """Cases that only one side has."""


def score(plan: ScorePlan, progress: Callable[[Sequence[Pair]], Sequence[Pair]] | None = None) -> Agreement:
    """Score predictions against references.

    Parameters
    ----------
    plan
        What and how.
    progress
        Given the pairs, returns them behind a progress bar; None = silent.

    Raises
    ------
    MiliaryError
        For the first file that cannot be read or compared: no case is ever left out silently.
    """
    pairs, left_out = _pairs(plan)
    scores = [score_case(read_case(pair, plan.options), plan.rule) for pair in (progress(pairs) if progress else pairs)]
    return Agreement(rule=plan.rule, scores=tuple(scores), pooled=pooled(scores), left_out=tuple(left_out))


def _pairs(plan: ScorePlan) -> tuple[list[Pair], list[str]]:
    left_out: list[str] = []
    if plan.predictions is not None and plan.references is not None:
        pairs, left_out = pair_by_name(plan.predictions, plan.references, skip_missing=plan.skip_missing)
    elif plan.pairs is not None:
        pairs = pair_by_table(plan.pairs)
    return (pairs if plan.truths is None else with_truths(pairs, plan.truths)), left_out
