"""From features to the probability that a reader would call a candidate a lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from miliary_seg.detect.features import Features
from miliary_seg.domain.result import OperatingPoint

Float64Array = NDArray[np.float64]

LOGISTIC_NAMES = ("isolation", "tube_isolation", "eigen_ratio", "log_radius")
LOGISTIC_THIN = (2.32, 4.77, 4.36, 2.91, -10.58)
"""Weights of the four features and the constant, fitted on implants in four kinds of head (docs/detection.md)."""
LOGISTIC_THICK = (2.47, 1.90, 1.59, 1.53, -7.59)
"""The same for slices more than 2 mm apart."""
RIM_MM = 2.0
"""This close to the mask's edge vessels, dura and mask errors outnumber lesions."""
RIM_PENALTY = 2.5
"""Subtracted from the log odds at the very edge, falling to 0 at ``RIM_MM``."""

LARGE_LOG_RADIUS = float(np.log(5.0))
LARGE_PENALTY = 6.0
"""Per unit of log radius beyond 5 mm, where the logistic was not fitted: folds are large too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Probability threshold of an operating point, and what was measured there (docs/detection.md)."""

    probability: float
    recall: float | None = None
    false_positives_per_slice: float | None = None


THRESHOLDS: dict[tuple[str, bool], Threshold] = {
    ("high", False): Threshold(probability=0.10),
    ("balanced", False): Threshold(probability=0.19),
    ("specific", False): Threshold(probability=0.35),
    ("high", True): Threshold(probability=0.12),
    ("balanced", True): Threshold(probability=0.165),
    ("specific", True): Threshold(probability=0.25),
}
"""By name and whether slices are thick."""


def probability(features: Features, thick: bool) -> Float64Array:
    """Probability of each candidate.

    Parameters
    ----------
    features
        Columns of length n, at least those of ``LOGISTIC_NAMES`` and ``edge_mm``.
    thick
        Whether slices are more than 2 mm apart.

    Returns
    -------
    array (n,)
        0 to 1.
    """
    *weights, constant = LOGISTIC_THICK if thick else LOGISTIC_THIN
    odds = constant + sum(w * features[name] for w, name in zip(weights, LOGISTIC_NAMES, strict=True))
    odds = odds - LARGE_PENALTY * np.clip(features["log_radius"] - LARGE_LOG_RADIUS, 0, None)
    rim = np.clip(1 - features["edge_mm"] / RIM_MM, 0, 1)
    result: Float64Array = expit(odds - RIM_PENALTY * rim)
    return result


def operating_point(name: str, thick: bool) -> OperatingPoint:
    """The operating point of a name, for thin or thick slices."""
    chosen = THRESHOLDS[name, thick]
    return OperatingPoint(
        name=name,
        probability_threshold=chosen.probability,
        measured_recall=chosen.recall,
        measured_false_positives_per_slice=chosen.false_positives_per_slice,
    )
