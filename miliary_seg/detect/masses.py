"""Masses: lesions so large that they fill the window in which a grey value is compared with the brain around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from miliary_seg.detect.features import Features
from miliary_seg.detect.surroundings import LOCAL_SIGMA_MM
from miliary_seg.domain.volume import BoolArray

Float64Array = NDArray[np.float64]

MASS_RADIUS_MM = 8.0
"""From here on a ball takes a fifth and more of its own window."""
ISOLATION_LEAST = 0.3
EIGEN_RATIO_LEAST = 0.4
LEAK_MOST = 0.05
"""A mass is compact: darker than its centre, and below half of its height, on all sides."""
THROUGH_LEAST = 0.6
"""... and is there on both sides of its middle slice, as a cap of fluid or fat at an end of the scan is not."""
RANK_LEAST = 0.95
"""... and brighter (darker) than this share of the brain, as grey matter, fluid in its gap and white matter are not.

All chosen on masses drawn in two heads beside the development scans; measured on others (docs/detection.md, Masses)."""


def least_outlierness(radius_mm: Float64Array) -> Float64Array:
    """Outlierness of a ball that stands one standard deviation of its surroundings out of them.

    The window around it, a Gaussian, holds the ball as well. With the share s of its weight inside the ball, height d
    and the surroundings' variance v, its mean lies s d above them, and its variance is v + s (1 - s) d^2. So (centre -
    mean) / standard deviation is (1 - s) / sqrt(1 + s (1 - s)) for d^2 = v; of no ball can it exceed sqrt((1 - s) / s),
    which falls below 1 at a radius of 12.3 mm.

    Parameters
    ----------
    radius_mm
        Radii (n,).

    Returns
    -------
    array (n,)
        1 for the smallest, towards 0 for the largest.

    Examples
    --------
    >>> least_outlierness(np.array([1.0, 8.0, 16.0])).round(2).tolist()
    [1.0, 0.74, 0.24]
    """
    share = gammainc(1.5, (radius_mm / LOCAL_SIGMA_MM) ** 2 / 2)
    least: Float64Array = (1 - share) / np.sqrt(1 + share * (1 - share))
    return least


def stands_out(radius_mm: Float64Array, features: Features) -> BoolArray:
    """Which candidates are compact masses that stand out from the brain around them, their own share taken out.

    Parameters
    ----------
    radius_mm
        Radii (n,).
    features
        Columns of length n.
    """
    compact = (features["isolation"] >= ISOLATION_LEAST) & (features["leak"] <= LEAK_MOST)
    compact &= (features["eigen_ratio"] >= EIGEN_RATIO_LEAST) & (features["through"] >= THROUGH_LEAST)
    rare = (features["centre_rank"] >= RANK_LEAST) & (features["outlierness"] >= least_outlierness(radius_mm))
    result: BoolArray = (radius_mm > MASS_RADIUS_MM) & compact & rare
    return result
