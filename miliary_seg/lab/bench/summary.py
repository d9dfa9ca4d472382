"""Figures of the phantoms, group by group (docs/bench.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from miliary_seg.domain.decision import Verdict
from miliary_seg.lab.bench.scoring import (
    Calibration,
    Estimate,
    Pooled,
    VerdictTable,
    calibration,
    pooled,
    verdict_table,
)
from miliary_seg.lab.bench.scoring.froc import sensitivity_at
from miliary_seg.lab.bench.scoring.intervals import proportion, ratio_over_heads
from miliary_seg.lab.bench.selftest import SceneScore, SelfTest

GOAL_BINS: tuple[tuple[str, tuple[float, float], tuple[float, float], float], ...] = (
    ("3-8 mm, contrast >= 10", (3.0, 8.0), (10.0, np.inf), 20.0),
    ("3-8 mm, contrast >= 10", (3.0, 8.0), (10.0, np.inf), 100.0),
    ("1.5-3 mm, contrast 10-17", (1.5, 3.0), (10.0, 17.0), 100.0),
    ("1.5-3 mm, contrast 17-30", (1.5, 3.0), (17.0, 30.0), 100.0),
    ("3-5 mm, contrast 5.5-10", (3.0, 5.0), (5.5, 10.0), 100.0),
)
"""Lesions that docs/detection.md states goals for: name, diameter in mm, contrast, false marks a scan."""
COUNT_RANGE = (5, 40)
"""True counts over which the goals ask for the error of a slice's count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalRow:
    """Sensitivity for one kind of lesion at a rate of false marks a scan."""

    group: str
    lesions: str
    false_per_scan: float
    sensitivity: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeRow:
    """Lesion-free heads of one kind: what is found there is false."""

    group: str
    kind: str
    scans: int
    false_per_slice: Estimate
    false_sections_per_slice: Estimate
    worst_slice: int
    met: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Scans of one wanted count on the deciding slices."""

    group: str
    count: int
    met: Estimate
    indeterminate: int
    not_met: int
    borderline: int
    true_count: float
    """Mean over scans of the true count on the second-best slice apart."""
    found_count: float
    truth_met: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRow:
    """Error of the count on slices whose true count lies within ``COUNT_RANGE``."""

    group: str
    slices: int
    mean_absolute: Estimate
    bias: Estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """All figures of one test; worked out when asked for."""

    test: SelfTest

    @property
    def groups(self) -> list[str]:
        """Slice thicknesses in the order of the plan."""
        return list(dict.fromkeys(s.scene.group for s in self.test.scores))

    def scenes(self, family: str, group: str = "", kind: str = "") -> list[SceneScore]:
        """Scenes of a family, and of a group and kind where these are given."""
        return [
            s
            for s in self.test.scores
            if s.scene.family == family and group in ("", s.scene.group) and kind in ("", s.scene.kind)
        ]

    @cached_property
    def lesions(self) -> dict[str, Pooled]:
        """Group -> all figures over the scans with lesions of every size and contrast."""
        chosen = {group: [s.score for s in self.scenes("lesions", group)] for group in self.groups}
        return {group: pooled(scores) for group, scores in chosen.items() if scores}

    @cached_property
    def goals(self) -> list[GoalRow]:
        """Sensitivity for the lesions that goals are stated for."""
        rows = []
        for group in self.lesions:
            scores = [s.score for s in self.scenes("lesions", group)]
            heads = [s.head for s in scores]
            marks = [s.marks for s in scores if s.marks is not None]
            for name, (small, large), (faint, bright), rate in GOAL_BINS:
                kept = []
                for s in scores:
                    size, contrast = s.given.reference.diameters_mm, s.given.reference.contrasts
                    kept.append((size >= small) & (size < large) & (contrast >= faint) & (contrast < bright))
                found = sensitivity_at(heads, marks, rate, kept)
                rows.append(GoalRow(group=group, lesions=name, false_per_scan=rate, sensitivity=found))
        return rows

    @cached_property
    def free(self) -> list[FreeRow]:
        """Lesion-free heads by group and kind."""
        kinds = dict.fromkeys((s.scene.group, s.scene.kind) for s in self.scenes("free"))
        return [_free_row(group, kind, self.scenes("free", group, kind)) for group, kind in kinds]

    @cached_property
    def curve(self) -> list[CurvePoint]:
        """Answers against the true count."""
        keys = dict.fromkeys((s.scene.group, s.scene.kind) for s in self.scenes("curve"))
        return [_curve_point(group, self.scenes("curve", group, kind)) for group, kind in keys]

    @cached_property
    def counts(self) -> list[CountRow]:
        """Error of the count of slices with 5 to 40 true lesions."""
        rows = [_count_row(group, self.scenes("curve", group)) for group in self.groups]
        return [row for row in rows if row.slices]

    @cached_property
    def negatives(self) -> dict[tuple[str, str], VerdictTable]:
        """(group, kind) -> answers, of patterns that fail one part of the rule."""
        keys = dict.fromkeys((s.scene.group, s.scene.kind) for s in self.scenes("negative"))
        return {key: _table(self.scenes("negative", *key)) for key in keys}

    @cached_property
    def verdicts(self) -> VerdictTable:
        """Answers of all scenes."""
        return _table(self.test.scores)

    @cached_property
    def decision_calibration(self) -> Calibration | None:
        """P(criteria met) against whether the truth meets them."""
        pairs = [
            (s.score.given.probability, s.score.given.truth_met)
            for s in self.test.scores
            if s.score.given.probability is not None
        ]
        return calibration([p for p, _ in pairs], [bool(met) for _, met in pairs])

    @cached_property
    def lesion_calibration(self) -> Calibration | None:
        """Probability of each accepted lesion against whether it is one; lesions and lesion-free heads together."""
        scores = [s.score for s in (*self.scenes("lesions"), *self.scenes("free"))]
        chances = np.concatenate([s.given.predicted.scores for s in scores] or [np.zeros(0)])
        return calibration(chances, np.concatenate([~s.false for s in scores] or [np.zeros(0, dtype=bool)]))


def _free_row(group: str, kind: str, scenes: Sequence[SceneScore]) -> FreeRow:
    scores = [s.score for s in scenes]
    heads, slices = [s.head for s in scores], [s.n_slices for s in scores]
    return FreeRow(
        group=group,
        kind=kind,
        scans=len(scenes),
        false_per_slice=ratio_over_heads(heads, [s.false.sum() for s in scores], slices),
        false_sections_per_slice=ratio_over_heads(heads, [s.false_sections or 0 for s in scores], slices),
        worst_slice=max(s.worst_slice for s in scenes),
        met=proportion(sum(s.score.given.verdict is Verdict.MET for s in scenes), len(scenes), "exact"),
    )


def _curve_point(group: str, scenes: Sequence[SceneScore]) -> CurvePoint:
    answers = [s.score.given.verdict for s in scenes]
    return CurvePoint(
        group=group,
        count=scenes[0].scene.count or 0,
        met=proportion(answers.count(Verdict.MET), len(scenes)),
        indeterminate=answers.count(Verdict.INDETERMINATE),
        not_met=answers.count(Verdict.NOT_MET),
        borderline=sum(s.borderline for s in scenes),
        true_count=float(np.mean([s.true_count for s in scenes])),
        found_count=float(np.mean([s.found_count for s in scenes])),
        truth_met=sum(bool(s.score.given.truth_met) for s in scenes),
    )


def _count_row(group: str, scenes: Sequence[SceneScore]) -> CountRow:
    heads, errors = [], []
    for s in scenes:
        given, error = s.score.given, s.score.count_error
        true = None if given.n_slices is None else given.reference.slice_counts(given.n_slices)
        if error is None or true is None:
            continue
        true = true if given.slices is None else true[list(given.slices)]
        heads.append(s.score.head)
        errors.append(error[(true >= COUNT_RANGE[0]) & (true <= COUNT_RANGE[1])])
    sizes = [error.size for error in errors]
    return CountRow(
        group=group,
        slices=sum(sizes),
        mean_absolute=ratio_over_heads(heads, [np.abs(error).sum() for error in errors], sizes),
        bias=ratio_over_heads(heads, [error.sum() for error in errors], sizes),
    )


def _table(scenes: Sequence[SceneScore]) -> VerdictTable:
    given = [s.score.given for s in scenes]
    return verdict_table([(g.verdict, g.truth_met) for g in given if g.verdict is not None and g.truth_met is not None])
