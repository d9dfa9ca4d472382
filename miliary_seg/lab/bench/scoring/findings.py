"""The lesions of one scan as one side sees them: a program, a reader, or the truth of a phantom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import Float64Array, Int64Array
from miliary_seg.domain.grid import Grid, other_axes
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import UsageError

HALF = 0.5
"""A lesion known by centre and diameter shows on a slice that holds at least half of the smaller of its diameter and
the slice thickness: the rule of the phantoms (docs/phantoms.md)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """Lesions as columns; what is not known is NaN or None."""

    centres_ras_mm: Float64Array
    """Shape (n, 3)."""
    diameters_mm: Float64Array
    """Shape (n,); of the sphere of equal volume; NaN where not known."""
    scores: Float64Array
    """Shape (n,); larger = surer; NaN where not known."""
    contrasts: Float64Array
    """Shape (n,); in noise standard deviations; NaN where not known."""
    slices: tuple[tuple[int, ...], ...] | None = None
    """Slices on which each lesion shows; None where not known."""
    labels: LabelMap | None = None
    """Voxels: label n is lesion n - 1 of the columns; None where only centres are known."""

    def __post_init__(self) -> None:
        n = len(self.centres_ras_mm)
        if self.centres_ras_mm.shape != (n, 3) or not np.isfinite(self.centres_ras_mm).all():
            raise UsageError("centres of lesions must be finite numbers of shape (n, 3)")
        columns = (self.diameters_mm, self.scores, self.contrasts)
        if any(column.shape != (n,) for column in columns) or (self.slices is not None and len(self.slices) != n):
            raise UsageError("the columns of a set of lesions differ in length")

    def __len__(self) -> int:
        return len(self.centres_ras_mm)

    @classmethod
    def of(
        cls,
        centres_ras_mm: ArrayLike,
        *,
        diameters_mm: ArrayLike | None = None,
        scores: ArrayLike | None = None,
        contrasts: ArrayLike | None = None,
        slices: tuple[tuple[int, ...], ...] | None = None,
    ) -> Findings:
        """Lesions known by their centres.

        Raises
        ------
        UsageError
            If columns differ in length or a centre is not finite.
        """
        centres = np.asarray(centres_ras_mm, dtype=np.float64).reshape(-1, 3)
        unknown = np.full(len(centres), np.nan)
        columns = [unknown if c is None else np.asarray(c, dtype=np.float64) for c in (diameters_mm, scores, contrasts)]
        return cls(
            centres_ras_mm=centres, diameters_mm=columns[0], scores=columns[1], contrasts=columns[2], slices=slices
        )

    @classmethod
    def of_labels(cls, labels: LabelMap, slice_axis: int) -> Findings:
        """Lesions of a map of instances: centre of mass, diameter of the equal sphere, slices with at least one voxel.

        Labels may have gaps; they are renumbered 1, 2, 3 ... in ascending order.
        """
        keys, inverse = np.unique(labels.labels, return_inverse=True)
        inverse = inverse.reshape(labels.labels.shape)
        order = inverse if keys.size and keys[0] == 0 else inverse + 1
        n = int(order.max(initial=0))
        numbers = np.arange(1, n + 1)
        centres = np.array(ndi.center_of_mass(order > 0, order, numbers)).reshape(-1, 3)
        sizes = np.bincount(order.ravel(), minlength=n + 1)[1:] * labels.grid.voxel_volume_mm3
        return cls(
            centres_ras_mm=labels.grid.to_ras_mm(centres),
            diameters_mm=np.cbrt(6 / np.pi * sizes),
            scores=np.full(n, np.nan),
            contrasts=np.full(n, np.nan),
            slices=_slices_of(order, n, slice_axis),
            labels=LabelMap(labels=order.astype(np.int32), grid=labels.grid),
        )

    def slice_counts(self, n_slices: int) -> Int64Array | None:
        """Lesions on each of ``n_slices`` slices; None where the slices are not known.

        Raises
        ------
        UsageError
            If a lesion lies on a slice that does not exist.
        """
        if self.slices is None:
            return None
        shown = np.array([s for lesion in self.slices for s in set(lesion)], dtype=np.int64)
        if shown.size and not (shown.min() >= 0 and shown.max() < n_slices):
            raise UsageError(f"a lesion lies on slice {int(shown.max())}, the scan has {n_slices}")
        counts: Int64Array = np.bincount(shown, minlength=n_slices)
        return counts


def slices_by_geometry(centres_ras_mm: Float64Array, diameters_mm: Float64Array, grid: Grid, slice_axis: int) -> Any:
    """Slices that show balls of these diameters, by ``HALF``; a tuple of indices a lesion.

    Slices are taken to touch (thickness = spacing). A lesion without a diameter shows on the nearest slice alone, one
    beyond the ends of the stack on none.
    """
    first, second = (grid.directions[:, a] for a in other_axes(slice_axis))
    across = np.cross(first, second)
    across /= np.linalg.norm(across)
    thickness = abs(float(across @ grid.affine[:3, slice_axis]))
    indices = np.arange(grid.shape[slice_axis])
    shown = []
    for at, size in zip(grid.to_ijk(centres_ras_mm)[:, slice_axis], diameters_mm, strict=True):
        extent = (0.0 if np.isnan(size) else float(size)) / thickness
        if extent == 0.0:
            inside = np.abs(indices - at) <= HALF
            shown.append(tuple(indices[inside].tolist()[:1]))
            continue
        overlap = np.minimum(at + extent / 2, indices + 0.5) - np.maximum(at - extent / 2, indices - 0.5)
        shown.append(tuple(indices[overlap >= HALF * min(extent, 1.0)].tolist()))
    return tuple(shown)


def _slices_of(order: NDArray[Any], n: int, slice_axis: int) -> tuple[tuple[int, ...], ...]:
    shown: list[list[int]] = [[] for _ in range(n)]
    for k, plane in enumerate(np.moveaxis(order, slice_axis, 0)):
        for number in np.unique(plane).tolist():
            if number:
                shown[number - 1].append(k)
    return tuple(map(tuple, shown))
