"""Side and level of each lesion, its distance from the boundary, and the confidence."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.domain.compartment import Assignment, Level, Side
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.result import Location
from miliary_seg.domain.volume import LabelMap
from miliary_seg.locate.regions import Place, places_of

SEED = 20201


def sample_points(mask: BoolArray, grid: Grid, n: int, seed: int = SEED) -> Float64Array:
    """Draw points uniformly from the volume of a mask.

    Parameters
    ----------
    mask
        Shape (i, j, k) on ``grid``.
    grid
        Where the voxels lie.
    n
        How many points.
    seed
        Equal seeds give equal points.

    Returns
    -------
    numpy.ndarray
        Shape (n, 3), RAS+ mm, spread within the voxels too; empty where the mask is.
    """
    inside = np.flatnonzero(mask)
    if not n or not inside.size:
        return np.empty((0, 3))
    rng = np.random.default_rng(seed)
    voxels = np.column_stack(np.unravel_index(rng.choice(inside, n), mask.shape))
    return grid.to_ras_mm(voxels + rng.random((n, 3)) - 0.5)


DISTANCES_MM = (0.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 4.5, 5.5, 7.0, 9.0)
"""Distances in mm at which the error tables below are given; linear between."""
MIDLINE_WRONG = (0.5, 0.387, 0.204, 0.098, 0.047, 0.0204, 0.0093, 0.0057, 0.0037, 0.0021, 0.001)
TENTORIUM_WRONG = (0.5, 0.413, 0.255, 0.153, 0.095, 0.0505, 0.0242, 0.0120, 0.0068, 0.0037, 0.0024)
"""Share of voxels on the wrong side of a surface by their distance to it, in trusted fits of the hardest people seen:
some with a mass that moves the midline (docs/measurements/compartments.md, "Lesions near a boundary").
"""
REAL_SCAN_STRETCH = 1.5
"""Real scans are harder than simulated ones: distances are divided by this."""


def assign(lesions: Iterable[Lesion], labels: LabelMap, location: Location) -> tuple[Assignment, ...]:
    """Say where each lesion lies.

    Parameters
    ----------
    lesions
        In any order.
    labels
        Instance labels on the scan's grid: n = lesion id n. A lesion without voxels is placed by its centroid.
    location
        What ``locate`` returned for the same scan.

    Returns
    -------
    tuple of Assignment
        One a lesion, in the order given. Sides are None without a known orientation or where the header contradicts
        the head, sides and levels without a trusted fit; distances are given all the same.
    """
    lesions = tuple(lesions)
    midline = _mean_distance(lesions, labels, location.midline_distance_mm)
    tentorium = _mean_distance(lesions, labels, location.tentorium_distance_mm)
    usable, sided = location.registration.levels_usable, location.registration.sides_usable
    levels = [(Level.SUPRATENTORIAL if z <= 0 else Level.INFRATENTORIAL) if usable else None for z in tentorium]
    assigned = []
    for lesion, x, z, level, place in zip(
        lesions, midline, tentorium, levels, _places(lesions, levels, location), strict=True
    ):
        assigned.append(
            Assignment(
                lesion_id=lesion.id,
                side=(Side.LEFT if x < 0 else Side.RIGHT) if sided else None,
                level=level,
                boundary_distance_mm=min(abs(x), abs(z)),
                midline_distance_mm=x,
                tentorium_distance_mm=z,
                side_confidence=1 - wrong_share(x, MIDLINE_WRONG) if sided else 0.5,
                level_confidence=1 - wrong_share(z, TENTORIUM_WRONG) if usable else 0.5,
                region=place.region,
                region_confidence=place.region_confidence,
                tissue=place.tissue,
                tissue_confidence=place.tissue_confidence,
            )
        )
    return tuple(assigned)


def _places(lesions: tuple[Lesion, ...], levels: list[Level | None], location: Location) -> list[Place]:
    """Region and layer of each lesion; nothing where no atlas was fitted or the fit is not trusted."""
    if location.template is None or not location.registration.levels_usable:
        return [Place()] * len(lesions)
    centroids = np.array([lesion.centroid_ras_mm for lesion in lesions], dtype=np.float64).reshape(-1, 3)
    return places_of(centroids, levels, location.template)


def wrong_share(distance_mm: float, table: tuple[float, ...]) -> float:
    """Probability that a point this far (mm) from a surface is on its other side, 0 to 0.5."""
    return float(np.interp(abs(distance_mm) / REAL_SCAN_STRETCH, DISTANCES_MM, table))


def _mean_distance(lesions: tuple[Lesion, ...], labels: LabelMap, distance_mm: Float32Array) -> list[float]:
    """Mean signed distance over each lesion's voxels, in mm."""
    if not lesions:
        return []
    ids = np.array([lesion.id for lesion in lesions])
    voxels = labels.labels > 0
    owner = labels.labels[voxels].astype(np.intp)
    size = int(max(owner.max(initial=0), ids.max())) + 1
    count = np.bincount(owner, minlength=size)
    total = np.bincount(owner, weights=distance_mm[voxels], minlength=size)
    centroids = np.array([lesion.centroid_ijk for lesion in lesions]).T
    at_centroid = ndi.map_coordinates(distance_mm, centroids, order=1, mode="nearest")
    mean = np.where(count[ids] > 0, total[ids] / np.maximum(count[ids], 1), at_centroid)
    return [float(value) for value in mean]
