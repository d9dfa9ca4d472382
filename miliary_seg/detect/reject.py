"""From features to the probability that a reader would call a candidate a lesion.

The first of two looks (``network`` is the second). Boosted decision trees, fitted on lesions implanted into real and
painted heads (docs/detection.md, rejector), stored as plain arrays in ``trees.npz`` and evaluated with numpy. One
forest for thin slices, one for slices over 2 mm apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from miliary_seg.detect.features import Features
from miliary_seg.detect.scale_space import over_jobs
from miliary_seg.domain.result import OperatingPoint

Float64Array = NDArray[np.float64]

CHUNK = 1024
"""Candidates that walk down the trees together: their state stays in cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Decision trees over named features; node 0 of each tree is at ``roots``.

    A leaf points at itself, so that every candidate can take ``depth`` steps in every tree.
    """

    names: tuple[str, ...]
    constant: float
    roots: NDArray[np.int32]
    depth: int
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float32]

    def log_odds(self, table: NDArray[np.float32]) -> Float64Array:
        """Sum over trees for rows of features (n, len(names)); what is not finite counts as 0."""
        table = np.nan_to_num(table, posinf=0.0, neginf=0.0)
        result = np.zeros(len(table))

        def walk(first: int) -> None:
            rows = table[first : first + CHUNK]
            at = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
            line = np.arange(len(rows))[:, None]
            for _ in range(self.depth):
                at = np.where(rows[line, self.feature[at]] <= self.threshold[at], self.left[at], self.right[at])
            result[first : first + CHUNK] = self.value[at].sum(axis=1)

        over_jobs(walk, range(0, len(table), CHUNK))
        return result + self.constant


def stored(name: str, thick: bool) -> dict[str, NDArray[Any]]:
    """The arrays for thick or thin slices in a file of weights of this package."""
    prefix = "thick_" if thick else "thin_"
    with np.load(str(files("miliary_seg.detect") / name), allow_pickle=False) as file:
        return {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}


@cache
def forest(thick: bool) -> Forest:
    """The forest for thick or thin slices, read once."""
    part = stored("trees.npz", thick)
    return Forest(
        names=tuple(str(name) for name in part["names"]),
        constant=float(part["constant"]),
        depth=int(part["depth"]),
        **{name: part[name] for name in ("roots", "feature", "threshold", "left", "right", "value")},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Probability threshold of an operating point, and what was measured there (docs/detection.md)."""

    probability: float
    recall: float | None = None
    false_positives_per_slice: float | None = None


THRESHOLDS: dict[tuple[str, bool], Threshold] = {
    ("high", False): Threshold(probability=0.12, recall=0.91, false_positives_per_slice=0.97),
    ("balanced", False): Threshold(probability=0.29, recall=0.88, false_positives_per_slice=0.29),
    ("specific", False): Threshold(probability=0.53, recall=0.84, false_positives_per_slice=0.10),
    ("high", True): Threshold(probability=0.09, recall=0.74, false_positives_per_slice=0.94),
    ("balanced", True): Threshold(probability=0.24, recall=0.66, false_positives_per_slice=0.25),
    ("specific", True): Threshold(probability=0.43, recall=0.61, false_positives_per_slice=0.10),
}
"""By name and whether slices are thick. Recall is that of implanted lesions of 3-8 mm with contrast >= 10 standard
deviations of the noise, on persons left out of the fit (0.9 mm; 3 and 5 mm slices); false positives are cross-sections
a slice on their lesion-free MR scans (CT: docs/rejector.md)."""


def probability(features: Features, thick: bool) -> Float64Array:
    """Probability of each candidate.

    Parameters
    ----------
    features
        Columns of length n: all of ``FEATURES``.
    thick
        Whether slices are more than 2 mm apart.

    Returns
    -------
    array (n,)
        0 to 1.
    """
    trees = forest(thick)
    table = np.column_stack([features[name] for name in trees.names]).astype(np.float32)
    result: Float64Array = expit(trees.log_odds(table))
    return result


def operating_point(name: str, thick: bool) -> OperatingPoint:
    """The operating point of a name, for thin or thick slices."""
    chosen, strict = THRESHOLDS[name, thick], THRESHOLDS["specific", thick]
    return OperatingPoint(
        name=name,
        probability_threshold=chosen.probability,
        measured_recall=chosen.recall,
        measured_false_positives_per_slice=chosen.false_positives_per_slice,
        evidence_probability=strict.probability,
        evidence_false_positives_per_slice=strict.false_positives_per_slice,
    )
