"""Why a candidate is no lesion: what holds whatever it looks like, and the operating point's threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from miliary_seg.detect.features import Features
from miliary_seg.detect.masses import stands_out

Float64Array = NDArray[np.float64]

CONTRAST_LEAST = 3.5
"""Candidates fainter than this are rejected whatever their shape: noise makes balls too (docs/detection.md)."""
LARGE_RADIUS_MM = 2.5
CONTRAST_LEAST_LARGE = 5.0
"""Larger blobs must be clearer than that: convolutions of white matter are large, round and faint."""
OUTLIERNESS_LEAST_LARGE = 1.0
"""... and stand out from the brain around them: the crown of a gyrus is a ball too, of ordinary grey values."""
RULES = {
    "contrast": f"contrast below {CONTRAST_LEAST:g} ({CONTRAST_LEAST_LARGE:g} where large) noise standard deviations",
    "probability": "probability below the threshold of the operating point",
    "ordinary": "large, and no brighter (darker) than the brain around it often is",
    "overlap": "the same object as a candidate that answers more strongly",
}
"""Why a candidate is no lesion, by code."""


def broken_rules(
    radius_mm: Float64Array, features: Features, probability: Float64Array, threshold: float
) -> NDArray[np.str_]:
    """The rule that rejects each candidate, empty where none does."""
    large = radius_mm > LARGE_RADIUS_MM
    faint = features["contrast_to_noise"] < np.where(large, CONTRAST_LEAST_LARGE, CONTRAST_LEAST)
    ordinary = large & (features["outlierness"] < OUTLIERNESS_LEAST_LARGE) & ~stands_out(radius_mm, features)
    unlikely = ~(probability >= threshold)  # NaN, too
    return np.select([faint, unlikely, ordinary], ["contrast", "probability", "ordinary"], "").astype("<U16")
