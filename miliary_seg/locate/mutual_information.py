"""Mutual information of template classes and the scan's grey levels, in nats, with its gradient.

References
----------
Viola P, Wells WM. Alignment by maximization of mutual information. Int J Comput Vis 1997;24:137.
doi:10.1023/A:1007958904918
Studholme C, Hill DLG, Hawkes DJ. An overlap invariant entropy measure of 3D medical image alignment.
Pattern Recognit 1999;32:71. doi:10.1016/S0031-3203(98)00091-0
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from miliary_seg.domain.arrays import Float32Array, Float64Array, IndexArray
from miliary_seg.locate.atlas import TemplatePoints
from miliary_seg.locate.pyramid import N_BINS, WorkingScan
from miliary_seg.locate.transform import apply

MARGIN = 2
"""Empty bins on either side, so that the smoothing kernel loses nothing."""
MIN_SHARE = 0.25
"""Share of the points that must be inside the scan."""
MIN_SAMPLES = 200
"""Fewer samples carry no information."""
KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
"""Parzen window over the scan's bins (a cubic B-spline in effect)."""


@dataclass(frozen=True, slots=True)
class JointHistogram:
    """Shares of (class, grey level), shape (n_classes, bins), and where every sample went."""

    shares: Float64Array
    cells: IndexArray


def normalized_mutual_information(
    scan: WorkingScan, points: TemplatePoints, matrix: Float64Array, *, brain_weight: float = 0.0
) -> float:
    """Normalized mutual information of the points inside the scan (1 = none); 0 where fewer than a quarter are.

    With ``brain_weight`` so many times what the brain's own points say beyond 1 is added.
    """
    ijk = apply(scan.inverse @ matrix, points.positions_mm)
    inside = np.flatnonzero(scan.contains(ijk))
    if inside.size < MIN_SHARE * points.classes.size:
        return 0.0
    classes = points.classes
    if inside.size < classes.size:
        ijk, classes = ijk.take(inside, axis=1), classes[inside]
    shares = joint_histogram(scan.levels_at(ijk), classes, points.n_classes).shares
    head = _normalized(shares)
    return head + brain_weight * (_normalized(shares[: points.n_tissues]) - 1) if brain_weight else head


def mutual_information(levels: Float32Array, classes: IndexArray, n_classes: int) -> float:
    """Mutual information in nats of levels and classes, both of shape (n,)."""
    return _information(joint_histogram(levels, classes, n_classes))[0]


def unbiased_information(levels: Float32Array, classes: IndexArray, n_classes: int) -> float:
    """Mutual information in nats minus its expected value by chance; 0 if there are too few samples.

    The expected value without any relation is that of the chi-squared statistic (Miller 1955): the number of free
    cells over twice the number of samples. Smoothing over bins leaves about a third of them free.
    """
    if levels.size < MIN_SAMPLES:
        return 0.0
    free = (n_classes - 1) * (N_BINS - 1) / 3
    return mutual_information(levels, classes, n_classes) - free / (2 * levels.size)


def mutual_information_slope(
    levels: Float32Array, classes: IndexArray, n_classes: int, weights: Float64Array | None = None
) -> tuple[float, Float64Array]:
    """Mutual information in nats of samples that count by their weights, and its derivative by every level, (n,)."""
    histogram = joint_histogram(levels, classes, n_classes, weights)
    information, log_ratio = _information(histogram)
    smooth = _smoothed(log_ratio).ravel()
    slope: Float64Array = smooth[histogram.cells + 1] - smooth[histogram.cells]
    slope *= 1 / len(levels) if weights is None else weights / weights.sum()
    return information, slope


def joint_histogram(
    levels: Float32Array, classes: IndexArray, n_classes: int, weights: Float64Array | None = None
) -> JointHistogram:
    """Joint histogram; every sample is shared between the two nearest bins."""
    bins = N_BINS + 2 * MARGIN
    value = np.minimum(np.maximum(levels, 0), np.float32(N_BINS - 1.001)) + MARGIN
    low = value.astype(np.intp)
    upper_share = value - low
    cells = classes * bins + low
    n = n_classes * bins
    upper = np.bincount(cells, upper_share if weights is None else upper_share * weights, n)
    shares = np.bincount(cells, weights, n) - upper
    shares[1:] += upper[:-1]
    total = len(levels) if weights is None else float(weights.sum())
    return JointHistogram(shares.reshape(n_classes, bins) / max(total, 1), cells)


def _information(histogram: JointHistogram) -> tuple[float, Float64Array]:
    """Mutual information after Parzen smoothing, and log(p / marginal over classes), of the histogram's shape."""
    shares = _smoothed(histogram.shares) + 1e-10
    log_ratio = np.log(shares / shares.sum(axis=0))
    information = float((shares * (log_ratio - np.log(shares.sum(axis=1))[:, None])).sum())
    return information, log_ratio


def _smoothed(shares: Float64Array) -> Float64Array:
    rows, n = shares.shape
    padded = np.zeros((rows, n + 2 * MARGIN))
    padded[:, MARGIN:-MARGIN] = shares
    smooth = np.zeros_like(shares)
    for shift, weight in enumerate(KERNEL):
        smooth += weight * padded[:, shift : shift + n]
    return smooth


def _normalized(shares: Float64Array) -> float:
    """Normalized mutual information of a joint histogram whose sum may be less than 1."""
    total = shares.sum()
    if not total > 0:
        return 1.0
    shares = shares / total
    joint = _entropy(shares)
    return (_entropy(shares.sum(axis=0)) + _entropy(shares.sum(axis=1))) / joint if joint > 0 else 0.0


def _entropy(shares: Float64Array) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
