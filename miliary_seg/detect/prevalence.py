"""The scan's own prior: in a scan with many certain lesions, doubtful candidates are more likely to be lesions.

The rejector's probabilities hold for the mix of lesions and other things in its training scenes. If a scan has far more
certain lesions than false ones could explain, its mix is another one, and by Bayes the odds of every candidate rise by
the ratio of the two priors (Saerens 2002, doi:10.1162/089976602753284446). Without such evidence nothing
changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit, logit

from miliary_seg.detect.classifier import Threshold
from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.false_positives import count_quantile
from miliary_seg.domain.result import OperatingPoint

TYPICAL_LESIONS = 58
"""Mean number of lesions of a training scene (docs/detection.md, "The scan's own prior")."""
QUANTILE = 0.999
"""Quantile of the number of false certain lesions of a scan: up to that number, certain lesions prove nothing."""
FALSE_LESION_MM = 3.0
"""Extent of a typical false lesion across slices: rates are of cross-sections, and it shows on several thin slices."""


def adjust_operating_point(
    point: OperatingPoint, points: dict[str, Threshold], n_certain: int, n_slices: int, spacing_mm: float
) -> OperatingPoint:
    """The operating point for this scan.

    Parameters
    ----------
    point
        As chosen. Only ``balanced`` adapts, at most to ``high``, whose rates are measured.
    points
        All thresholds of the kind of scan, by name.
    n_certain
        Lesions at least as probable as the point ``specific`` asks for.
    n_slices, spacing_mm
        Number of slices that show brain, and their spacing.

    Returns
    -------
    OperatingPoint
        Its ``prior_odds_ratio`` is 1 where nothing changes. Recall and false positives lie between those of
        ``balanced`` and ``high``; the threshold of evidence moves with the probabilities, so that the
        same candidates are evidence.
    """
    high, strict = points["high"], points["specific"]
    if point.name != "balanced" or strict.recall is None or strict.false_positives_per_slice is None:
        return point
    false = strict.false_positives_per_slice * n_slices / max(1.0, FALSE_LESION_MM / spacing_mm)
    lesions = (n_certain - count_quantile(false, QUANTILE)) / strict.recall
    largest = float(np.exp(logit(point.probability_threshold) - logit(high.probability)))
    ratio = float(np.clip(lesions / TYPICAL_LESIONS, 1.0, largest))
    share = float(np.log(ratio) / np.log(largest))
    return replace(
        point,
        measured_recall=_between(point.measured_recall, high.recall, share),
        measured_false_positives_per_slice=_between(
            point.measured_false_positives_per_slice, high.false_positives_per_slice, share
        ),
        evidence_probability=float(adjust_probability(np.array([point.evidence_probability]), ratio)[0]),
        prior_odds_ratio=ratio,
    )


def adjust_probability(probability: Float64Array, ratio: float) -> Float64Array:
    """Probabilities after their odds are multiplied by a ratio; shape (n,)."""
    if ratio == 1.0:
        return probability
    moved: Float64Array = expit(logit(np.clip(probability, 1e-12, 1 - 1e-12)) + np.log(ratio))
    return moved


def _between(low: float | None, high: float | None, share: float) -> float | None:
    return low if low is None or high is None else round(low + share * (high - low), 4)
