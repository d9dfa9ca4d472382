"""Planes in order, and the affine that places them: by position along the normal, and nothing else.

Never by InstanceNumber, SliceLocation, file name, PatientPosition, SliceThickness or SpacingBetweenSlices: each of
them is wrong in real files that other loaders believe.

Nothing here calls BLAS or LAPACK: their last digits change with the build of numpy and with the processor, and the
registration makes voxels of the brain mask of them (docs/dependencies.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from miliary_seg.domain.arrays import Float64Array, Int64Array
from miliary_seg.errors import GeometryError
from miliary_seg.load.dicom.planes import Plane
from miliary_seg.load.dicom.stacks import positions_of

SPACING_TOLERANCE_MM = 0.01
SPACING_TOLERANCE_FRACTION = 0.01
"""A slice may lie off the straight, even line by the larger of the two: DICOM's decimal strings round in the fifth
digit, a missing slice is off by half a step (docs/loading.md)."""
TILT_DEG = 0.1
MAX_TILT_DEG = 45.0
"""CT gantries tilt by up to 30 degrees; slices displaced further sideways are not one acquisition."""
LPS_TO_RAS = np.array([[-1.0], [-1.0], [1.0], [1.0]])
"""Signs of the rows of an affine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an ordered stack of planes lies."""

    affine: Float64Array
    """4 x 4, (column, row, slice) to RAS+ mm; the slice column is sheared where the gantry was tilted."""
    slice_index: tuple[int, ...]
    """Index of each plane on the even line; gaps are missing slices."""
    uneven_positions_mm: tuple[float, ...] = ()
    """Positions along the normal where they are not even; empty otherwise."""
    tilt_deg: float = 0.0
    """Angle between the line of the slice corners and the normal of the slices."""

    @property
    def n_slices(self) -> int:
        """Slices of the even line, missing ones included."""
        return self.slice_index[-1] + 1

    @property
    def missing(self) -> tuple[int, ...]:
        """Indices on the even line that no plane fills."""
        return tuple(sorted(set(range(self.n_slices)) - set(self.slice_index)))


def in_order(planes: list[Plane]) -> list[Plane]:
    """Planes by projection of their position on the normal of the first one, ascending."""
    along = _projected(positions_of(planes), _normal(planes))
    return [planes[int(k)] for k in np.argsort(along, kind="stable")]


def place(planes: list[Plane]) -> Placement:
    """Fit the line of slices to ordered planes of distinct positions.

    Raises
    ------
    GeometryError
        If the slices do not lie on one straight line.
    """
    first = planes[0]
    positions = positions_of(planes)
    normal = _normal(planes)
    along = _projected(positions, normal)
    if len(planes) == 1:
        step = normal * (first.thickness_mm or 1.0)
        return Placement(affine=_affine(planes, positions[0], step), slice_index=(0,))
    index = _even_index(along)
    fit_index = index if index is not None else (along - along[0]) / np.diff(along).mean()
    origin, step, residual = _line(np.asarray(fit_index, dtype=np.float64), positions)
    spacing = abs(float(_projected(step, normal)))
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_FRACTION * spacing)
    sideways = residual - _projected(residual, normal)[:, None] * normal
    if np.abs(sideways).max() > tolerance:
        raise GeometryError(
            f"the slices do not lie on a straight line ({np.abs(sideways).max():.2f} mm off)",
            where=first.layout.path.parent,
            todo="the series mixes acquisitions; give one of them",
        )
    drift = step - normal * _projected(step, normal)
    tilt = math.degrees(math.atan2(_length(drift), spacing))
    if tilt > MAX_TILT_DEG:
        raise GeometryError(
            f"each slice is displaced sideways ({tilt:.0f} degrees)",
            where=first.layout.path.parent,
            todo="the series mixes acquisitions; give one of them",
        )
    return Placement(
        affine=_affine(planes, origin, step),
        slice_index=tuple(int(k) for k in index) if index is not None else tuple(range(len(planes))),
        uneven_positions_mm=() if index is not None else tuple(float(x) for x in along),
        tilt_deg=tilt if tilt > TILT_DEG else 0.0,
    )


def _normal(planes: list[Plane]) -> Float64Array:
    cosines = np.mean([plane.orientation for plane in planes], axis=0)
    normal = np.cross(cosines[:3], cosines[3:])
    unit: Float64Array = normal / _length(normal)
    return unit


def _even_index(along: Float64Array) -> Int64Array | None:
    """Whole-number index of each position on an even line, or None where there is no such line.

    The step is the smallest gap's least-squares refinement; gaps of several steps are missing slices.
    """
    gaps = np.diff(along)
    steps = np.rint(gaps / np.median(gaps)).astype(np.int64)
    if steps.min() < 1:
        steps = np.rint(gaps / gaps.min()).astype(np.int64)
    index = np.concatenate([[0], np.cumsum(steps)])
    _, (slope,), off = _line(index.astype(np.float64), along[:, None])
    if np.abs(off).max() > max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_FRACTION * abs(slope)):
        return None
    return index if index[-1] < 2 * len(index) else None


def _line(index: Float64Array, positions: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Least-squares line through positions (n, k) in mm: origin at index 0 and step (k,), residuals (n, k).

    In closed form about the mean, where the slope is a ratio of two sums of products.
    """
    index = index[:, None]
    centre, middle = _sums(index) / len(index), _sums(positions) / len(index)
    away = index - centre
    step = _sums(away * (positions - middle)) / _sums(away * away)
    origin = middle - centre * step
    return origin, step, positions - (origin + index * step)


def _sums(rows: Float64Array) -> Float64Array:
    """Sums of the columns, each rounded once."""
    return np.array([math.fsum(column) for column in rows.T])


def _projected(vectors: Float64Array, normal: Float64Array) -> Float64Array:
    """Vectors (..., 3) on a unit normal, in mm."""
    along: Float64Array = (vectors * normal).sum(axis=-1)
    return along


def _length(vector: Float64Array) -> float:
    return math.sqrt(float((vector * vector).sum()))


def _affine(planes: list[Plane], origin: Float64Array, step: Float64Array) -> Float64Array:
    cosines: Any = np.mean([plane.orientation for plane in planes], axis=0)
    spacing = np.mean([plane.spacing for plane in planes], axis=0)
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] / _length(cosines[:3]) * spacing[1]
    affine[:3, 1] = cosines[3:] / _length(cosines[3:]) * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    placed: Float64Array = LPS_TO_RAS * affine + 0.0  # which makes 0.0 of -0.0
    return placed
