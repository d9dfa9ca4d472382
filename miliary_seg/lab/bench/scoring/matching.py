"""Which predicted lesion is which reference lesion: one to one, as many pairs as there can be, the best such set.

Pairs are *admissible* where the two lesions share a voxel (``overlap``) or their centres lie close enough
(``distance``; a centre within the lesion's voxels always does). Among all one-to-one assignments of admissible pairs
the one with most pairs is taken, and among those the one of least total cost (1 - intersection over union, or distance
over reach): ``domain.one_to_one``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from miliary_seg.domain.arrays import Float64Array, Int64Array
from miliary_seg.domain.one_to_one import one_to_one
from miliary_seg.errors import GeometryError, UsageError
from miliary_seg.lab.bench.scoring.findings import Findings

DEFAULT_TOLERANCE_MM = 2.0
"""About two voxels of a usual scan, and less than the least distance between two miliary lesions (docs/bench.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRule:
    """When two lesions may be the same one."""

    kind: Literal["auto", "overlap", "distance"] = "auto"
    """``auto``: overlap where both sides have voxels on one grid, else distance."""
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    """Centres may lie this far apart, or as far as the reference lesion's radius where that is more."""

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "overlap", "distance"):
            raise UsageError(f"a matching rule cannot be {self.kind!r}", todo="auto, overlap or distance")
        if not 0 < self.tolerance_mm <= 50:
            raise UsageError(f"a tolerance of {self.tolerance_mm} mm makes no sense", todo="above 0, at most 50")

    def resolved(self, predicted: Findings, reference: Findings) -> Literal["overlap", "distance"]:
        """The rule for one pair of scans.

        Raises
        ------
        GeometryError
            If overlap is asked for and the two do not lie on one grid.
        """
        a, b = predicted.labels, reference.labels
        on_one_grid = a is not None and b is not None and a.grid.same_as(b.grid, atol_mm=0.1)
        if self.kind == "overlap" and not on_one_grid:
            what = "overlap needs voxels on one grid" + ("" if a is None or b is None else f" ({_shapes(a, b)})")
            raise GeometryError(what, todo="resample one onto the other, or match by --match distance")
        return "overlap" if on_one_grid and self.kind != "distance" else "distance"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges:
    """Admissible pairs as columns of equal length."""

    predicted: Int64Array
    reference: Int64Array
    cost: Float64Array
    """0 (perfect) to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matching:
    """Pairs of lesions, and the admissible pairs that they were chosen from."""

    predicted: Int64Array
    reference: Int64Array
    edges: Edges


def match(predicted: Findings, reference: Findings, rule: MatchRule) -> Matching:
    """Pair predicted with reference lesions.

    Returns
    -------
    Matching
        Positions in both sets, in the order of the reference; independent of the order of the lesions except where
        two assignments are equally good.

    Raises
    ------
    GeometryError
        If overlap is asked for and the two do not lie on one grid.
    """
    by_overlap = rule.resolved(predicted, reference) == "overlap"
    edges = overlap_edges(predicted, reference) if by_overlap else distance_edges(predicted, reference, rule)
    rows, columns = one_to_one(edges.predicted, edges.reference, 2.0 - edges.cost, _room(edges, reference))
    order = np.argsort(columns, kind="stable")
    return Matching(predicted=rows[order], reference=columns[order], edges=edges)


def overlap_edges(predicted: Findings, reference: Findings) -> Edges:
    """Pairs that share a voxel; cost 1 - intersection over union. Both need labels on one grid."""
    if predicted.labels is None or reference.labels is None:
        raise UsageError("overlap needs the voxels of both sides")
    a, b = np.asarray(predicted.labels.labels), np.asarray(reference.labels.labels)
    both = (a > 0) & (b > 0)
    codes, shared = np.unique(a[both].astype(np.int64) * (len(reference) + 1) + b[both], return_counts=True)
    rows, columns = codes // (len(reference) + 1), codes % (len(reference) + 1)
    sizes_a, sizes_b = np.bincount(a.ravel()), np.bincount(b.ravel())
    union = sizes_a[rows] + sizes_b[columns] - shared
    return Edges(predicted=rows - 1, reference=columns - 1, cost=1 - shared / union)


def distance_edges(predicted: Findings, reference: Findings, rule: MatchRule) -> Edges:
    """Pairs whose predicted centre lies within the reach of the reference centre, or in a voxel of that lesion.

    Cost distance over reach, 1 where it is further off (a long or bent lesion).
    """
    reach = reach_mm(reference, rule)
    if not len(predicted) or not len(reference):
        nothing = np.zeros(0, dtype=np.int64)
        return Edges(predicted=nothing, reference=nothing, cost=np.zeros(0))
    near = cKDTree(predicted.centres_ras_mm).query_ball_point(reference.centres_ras_mm, reach)
    pairs = {(row, column) for column, found in enumerate(near) for row in found} | _inside(predicted, reference)
    rows, columns = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    apart = np.linalg.norm(predicted.centres_ras_mm[rows] - reference.centres_ras_mm[columns], axis=1)
    return Edges(predicted=rows, reference=columns, cost=np.minimum(apart / reach[columns], 1.0))


def _inside(predicted: Findings, reference: Findings) -> set[tuple[int, int]]:
    """Predicted centres that lie in a voxel of a reference lesion, with that lesion."""
    if reference.labels is None:
        return set()
    grid = reference.labels.grid
    index = np.rint(grid.to_ijk(predicted.centres_ras_mm)).astype(np.int64)
    rows = np.flatnonzero(np.all((index >= 0) & (index < grid.shape), axis=1))
    labels = np.asarray(reference.labels.labels)[tuple(index[rows].T)]
    return {(int(row), int(label) - 1) for row, label in zip(rows, labels, strict=True) if label}


def reach_mm(reference: Findings, rule: MatchRule) -> Float64Array:
    """How far a predicted centre may lie from each reference centre."""
    reach: Float64Array = np.fmax(rule.tolerance_mm, reference.diameters_mm / 2)
    return reach


def _room(edges: Edges, reference: Findings) -> float:
    """More than the summed worth (2 at most) of all pairs that there can be."""
    return 2.0 * min(len(reference), edges.cost.size) + 1.0


def _shapes(a: object, b: object) -> str:
    return f"{a.grid.shape} and {b.grid.shape}"  # type: ignore[attr-defined]
