"""Rules that reject a candidate: fixed limits, and the probability threshold of the operating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from miliary_seg.detect.context import LOCAL_SIGMA_MM
from miliary_seg.detect.features import Features
from miliary_seg.domain.arrays import BoolArray, Float64Array, IndexArray

OVERLAP_RADII = 0.7
"""Of two candidates closer than this times the larger radius, the weaker one is the same object."""
OVERLAP_MM = 1.0
"""The same holds for any two closer than this, or if the weaker lies within the ball of the stronger."""


def same_object(index_mm: Float64Array, radius: Float64Array) -> IndexArray:
    """For each candidate the strongest candidate of the same object; itself if it is that one.

    Among likely candidates the one with the largest scale-normalised response fits its object best in place and width,
    whatever their probabilities: a ball responds most strongly at its centre and at its own radius.

    Parameters
    ----------
    index_mm
        Positions (n, 3) in mm, the strongest response first.
    radius
        Radii (n,) in mm.
    """
    from scipy.spatial import cKDTree

    owner = np.arange(len(radius))
    if len(radius) < 2:
        return owner
    reach = np.maximum(OVERLAP_MM, OVERLAP_RADII * radius)
    pairs = cKDTree(index_mm).query_pairs(float(max(reach.max(), radius.max())), output_type="ndarray")
    apart = np.linalg.norm(index_mm[pairs[:, 0]] - index_mm[pairs[:, 1]], axis=1)
    stronger, weaker = pairs.T
    pairs = pairs[apart < np.maximum(np.maximum(reach[stronger], radius[stronger]), reach[weaker])]
    for one, other in pairs[np.lexsort(pairs.T[::-1])]:
        if owner[one] == one and owner[other] == other:
            owner[other] = one
    return owner


MASS_RADIUS_MM = 8.0
"""From this radius on, a ball takes a fifth or more of the window in which its surroundings are measured."""
ISOLATION_LEAST = 0.3
EIGEN_RATIO_LEAST = 0.4
LEAK_MOST = 0.05
"""A mass is compact: on all sides the grey value is below that of the centre, and falls below half of its height."""
THROUGH_LEAST = 0.6
"""A mass shows on both sides of its middle slice; a cap of fluid or fat at an end of the scan does not."""
RANK_LEAST = 0.95
"""A mass is brighter (darker) than this share of the brain; grey matter, white matter and fluid in a gap are not.

All chosen on masses drawn in two heads and on the development scans; measured on others
(docs/measurements/detection.md, "Masses")."""


def least_outlierness(radius_mm: Float64Array) -> Float64Array:
    """Outlierness of a ball that is one standard deviation of its surroundings brighter than they are.

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
    """Which candidates are compact masses that stand out from the brain around them; their own voxels are allowed for.

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


CONTRAST_LEAST = 3.5
"""Candidates fainter than this are rejected whatever their shape: noise makes balls too (docs/detection.md, step 6)."""
LARGE_RADIUS_MM = 2.5
CONTRAST_LEAST_LARGE = 5.0
"""The same for larger candidates: convolutions of white matter are large, round and faint."""
OUTLIERNESS_LEAST_LARGE = 1.0
"""Larger candidates must also stand out from the brain around: the crown of a gyrus is a ball of ordinary grey."""
RULES = {
    "contrast": f"contrast below {CONTRAST_LEAST:g} ({CONTRAST_LEAST_LARGE:g} where large) noise standard deviations",
    "probability": "probability below the threshold of the operating point",
    "ordinary": "large, and no brighter (darker) than the brain around it often is",
    "calcified": "denser than 100 HU at its centre: calcification, bone or a vessel full of contrast medium",
    "overlap": "the same object as a candidate that answers more strongly",
    "mass": "part of a mass that is listed as one lesion",
    "outside_brain": "a lesion that was given, but lies outside of the brain",
}
"""Why a candidate is no lesion, by code."""


CALCIFIED_HU = 100.0
"""Denser than clotted blood (up to 90 HU) and than enhancing metastases: physiological calcification of plexus, pineal,
falx or basal ganglia, bone at the rim, or a vessel full of contrast medium (Kiroglu 2010, Diagn Interv Radiol
16:263-269, on calcifications)."""


def broken_rules(
    radius_mm: Float64Array, features: Features, probability: Float64Array, threshold: float
) -> NDArray[np.str_]:
    """The rule that rejects each candidate, empty where none does."""
    large = radius_mm > LARGE_RADIUS_MM
    faint = features["contrast_to_noise"] < np.where(large, CONTRAST_LEAST_LARGE, CONTRAST_LEAST)
    ordinary = large & (features["outlierness"] < OUTLIERNESS_LEAST_LARGE) & ~stands_out(radius_mm, features)
    unlikely = ~(probability >= threshold)  # NaN, too
    return np.select([faint, unlikely, ordinary], ["contrast", "probability", "ordinary"], "").astype("<U16")
