"""Free-response receiver operating characteristic: lesions found against false marks, over every threshold.

Bunch et al. 1978 (J Appl Photogr Eng 4:166-171); a second mark on a lesion is neither right nor wrong (as in the LUNA16
challenge, Setio et al. 2017, Med Image Anal 42:1-13). Matching is one to one at every threshold at once: sets of marks
that can be matched form a matroid, so that the matching of greatest total score is the best one at each threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float64Array, Int64Array
from miliary_seg.domain.one_to_one import one_to_one
from miliary_seg.lab.bench.scoring.findings import Findings
from miliary_seg.lab.bench.scoring.intervals import Estimate, head_weights, percentiles, safe_ratio
from miliary_seg.lab.bench.scoring.matching import MatchRule, distance_edges

MAX_POINTS = 120
"""Points of a drawn curve; thresholds between them are left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Marks:
    """Scored marks of one scan, judged."""

    hit_scores: Float64Array
    """Score of the mark that finds each found lesion, shape (found,)."""
    hit_reference: Int64Array
    """Which reference lesion that is, shape (found,)."""
    false_scores: Float64Array
    """Scores of marks near no lesion."""
    n_reference: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Froc:
    """A curve over falling thresholds, pooled over scans."""

    thresholds: Float64Array
    sensitivity: Float64Array
    low: Float64Array
    """Lower end of the interval (bootstrap over heads); NaN where there is none."""
    high: Float64Array
    per_scan: Float64Array
    """False marks a scan."""
    per_slice: Float64Array
    """False marks over slices; NaN where the number of slices is not known."""


def marks_of(candidates: Findings, reference: Findings, rule: MatchRule) -> Marks:
    """Judge every mark by the distance of centres, whatever the rule is for the lesions themselves."""
    edges = distance_edges(candidates, reference, rule)
    rank = np.empty(len(candidates))
    rank[np.argsort(candidates.scores, kind="stable")] = np.arange(1, len(candidates) + 1)
    rows, columns = one_to_one(edges.predicted, edges.reference, rank[edges.predicted], 0.0)
    near = np.zeros(len(candidates), dtype=bool)
    near[edges.predicted] = True
    return Marks(
        hit_scores=candidates.scores[rows],
        hit_reference=columns,
        false_scores=candidates.scores[~near],
        n_reference=len(reference),
    )


def froc(heads: Sequence[str], marks: Sequence[Marks], n_slices: Sequence[int]) -> Froc | None:
    """Pool scans into one curve; None where there is no lesion to be found or no mark.

    Parameters
    ----------
    heads
        Head of each scan.
    marks
        Judged marks of each scan.
    n_slices
        Slices of each scan; 0 where not known.
    """
    n_lesions = sum(scan.n_reference for scan in marks)
    scores = [np.concatenate([scan.hit_scores, scan.false_scores]) for scan in marks]
    if not n_lesions or not any(some.size for some in scores):
        return None
    thresholds = _thresholds(np.concatenate(scores))
    hits = np.stack([_at_least(scan.hit_scores, thresholds) for scan in marks])
    false = np.stack([_at_least(scan.false_scores, thresholds) for scan in marks])
    lesions = np.array([scan.n_reference for scan in marks], dtype=np.float64)
    weights = head_weights(heads)
    drawn = safe_ratio(weights @ hits, np.repeat((weights @ lesions)[:, None], len(thresholds), axis=1))
    ends = np.array([percentiles(column) for column in drawn.T], dtype=np.float64).reshape(len(thresholds), 2)
    slices = sum(n_slices) if all(n_slices) else 0
    return Froc(
        thresholds=thresholds,
        sensitivity=hits.sum(axis=0) / n_lesions,
        low=ends[:, 0],
        high=ends[:, 1],
        per_scan=false.sum(axis=0) / len(marks),
        per_slice=false.sum(axis=0) / slices if slices else np.full(len(thresholds), np.nan),
    )


def sensitivity_at(
    heads: Sequence[str], marks: Sequence[Marks], false_per_scan: float, kept: Sequence[BoolArray] | None = None
) -> Estimate:
    """Sensitivity where the scans together make so many false marks a scan, with a bootstrap over heads.

    Parameters
    ----------
    heads, marks
        One a scan.
    false_per_scan
        The rate that fixes the threshold. The threshold is that of all scans; it is not chosen anew in a resample.
    kept
        Which reference lesions count (a bin of sizes, for instance); None = all.
    """
    allowed = int(false_per_scan * len(marks))
    false = np.sort(np.concatenate([scan.false_scores for scan in marks]) if marks else np.zeros(0))[::-1]
    threshold = false[allowed] if false.size > allowed else -np.inf
    found, there = [], []
    for n, scan in enumerate(marks):
        mine = np.ones(scan.n_reference, dtype=bool) if kept is None else kept[n]
        # Strictly above: at the threshold itself there would be one false mark too many.
        found.append(int(mine[scan.hit_reference[scan.hit_scores > threshold]].sum()))
        there.append(int(mine.sum()))
    from miliary_seg.lab.bench.scoring.intervals import ratio_over_heads

    return ratio_over_heads(heads, found, there)


def _thresholds(scores: Float64Array) -> Float64Array:
    distinct = np.unique(scores)[::-1]
    if distinct.size <= MAX_POINTS:
        return distinct
    # Even steps in the logarithm of the rank: the left end of the curve is where it is read.
    ranks = np.unique(np.rint(np.geomspace(1, distinct.size, MAX_POINTS)).astype(int)) - 1
    chosen: Float64Array = distinct[ranks]
    return chosen


def _at_least(scores: Float64Array, thresholds: Float64Array) -> Float64Array:
    counts: Float64Array = len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left").astype(float)
    return counts
