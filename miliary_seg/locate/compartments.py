"""Distances to midline, tentorium and brain surface on the scan's own grid, and what part of the brain is in view."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array, IndexArray
from miliary_seg.domain.compartment import Compartment, Coverage, TemplateMap
from miliary_seg.locate.atlas import grid_points, load_atlas
from miliary_seg.locate.brain_mask import background_value
from miliary_seg.locate.deform import Deformation, to_template
from miliary_seg.locate.pyramid import linear_weights, upsampled
from miliary_seg.locate.transform import apply, inverse

COARSE_MM = 4.0
"""Lattice on which the inverse of the fit is computed; between its points the maps are smooth."""
COVERAGE_EVERY = 2
"""Every n-th voxel of the 2 mm atlas along each axis counts for coverage."""
PADDING_MM = 2.0
"""A scan has noise: if all neighbours within this distance have the value of a corner, there is no image here."""
DEEP_MM = 5.0
"""Deeper than this in the fitted brain, the mask's own refinement (``brain_mask.BAND_MM``) takes nothing away."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DistanceMaps:
    """Signed distances in mm of the scan, kept on a coarse lattice; each map of the whole grid is made on demand.

    Three maps of a large scan at once would be most of the memory that this package needs.
    """

    _midline: Float32Array
    _tentorium: Float32Array
    _outside: Float32Array
    _weights: list[Float32Array]
    template: TemplateMap
    """The lattice's own positions in the template."""

    def midline_mm(self) -> Float32Array:
        """Negative on the left, shape (i, j, k) of the scan."""
        return upsampled(self._midline, self._weights)

    def tentorium_mm(self) -> Float32Array:
        """Negative above, shape (i, j, k) of the scan."""
        return upsampled(self._tentorium, self._weights)

    def outside_mm(self, steps: tuple[int, ...] = (1, 1, 1)) -> Float32Array:
        """Positive outside the atlas's brain surface as carried into the scan, at every ``steps``-th of its voxels."""
        weights = [weight[::step] for weight, step in zip(self._weights, steps, strict=True)]
        return upsampled(self._outside, weights)


def distance_maps(
    shape: tuple[int, int, int], affine: Float64Array, matrix: Float64Array, deformation: Deformation
) -> DistanceMaps:
    """Carry the atlas's surfaces to the grid of a scan.

    Distances are measured in the template and scaled by the mean scale of the fit.
    """
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    steps = np.maximum(1, np.floor(COARSE_MM / spacing)).astype(int)
    counts = [int(np.ceil((n - 1) / step)) + 1 for n, step in zip(shape, steps, strict=True)]
    lattice_affine = affine @ np.diag([*steps.astype(np.float64), 1.0])
    place = to_template(grid_points(tuple(counts), lattice_affine), matrix, deformation)
    atlas = load_atlas()
    ijk = apply(inverse(atlas.affine), place)
    scale = float(np.cbrt(abs(np.linalg.det(matrix[:3, :3]))))

    def scaled(values: Float64Array | Float32Array) -> Float32Array:
        coarse: Float32Array = (values * scale).astype(np.float32).reshape(counts)
        return coarse

    return DistanceMaps(
        _midline=scaled(place[0]),
        _tentorium=scaled(ndi.map_coordinates(atlas.tentorium_mm, ijk, order=1, mode="nearest")),
        _outside=scaled(ndi.map_coordinates(atlas.outside_mm, ijk, order=1, mode="nearest")),
        template=TemplateMap(positions_mm=place.astype(np.float32).reshape(3, *counts), affine=lattice_affine),
        _weights=[linear_weights(np.arange(n) / step, m) for n, step, m in zip(shape, steps, counts, strict=True)],
    )


def coverage(
    voxels: Float32Array, affine: Float64Array, matrix: Float64Array, deformation: Deformation, brain: BoolArray
) -> Coverage:
    """Fraction of each compartment of the fitted atlas that the scan shows and the brain mask holds.

    A point is out of view beyond the end of the grid, where the grid is padded with background, and deep in the atlas's
    brain but outside the mask ``brain``, since no lesion is searched for there.
    """
    atlas = load_atlas()
    every = (slice(None, None, COVERAGE_EVERY),) * 3
    in_brain = atlas.labels[every].ravel() > 0
    labels, outside = (values[every].ravel()[in_brain] for values in (atlas.labels, atlas.outside_mm))
    lattice_affine = atlas.affine @ np.diag([*[COVERAGE_EVERY] * 3, 1.0])
    positions = grid_points(atlas.labels[every].shape, lattice_affine)[:, in_brain]
    field, field_affine = deformation.displacement()
    ijk = apply(inverse(field_affine), positions)
    moved = positions + np.stack([ndi.map_coordinates(part, ijk, order=1, mode="nearest") for part in field])
    scan_ijk = apply(inverse(affine) @ matrix, moved)
    upper = np.array(voxels.shape, dtype=np.float64)[:, None] - 0.5
    seen = np.asarray(((scan_ijk > -0.5) & (scan_ijk < upper)).all(axis=0))
    i, j, k = nearest = np.clip(np.rint(scan_ijk), 0, np.floor(upper)).astype(np.intp)
    seen &= ~_is_padding(voxels, affine, nearest) & (brain[i, j, k] | (outside > -DEEP_MM))
    return Coverage(**{c.name.lower(): float(seen[labels == c].mean()) for c in Compartment})


def _is_padding(voxels: Float32Array, affine: Float64Array, places: IndexArray) -> BoolArray:
    """Whether all voxels within ``PADDING_MM`` of places, shape (3, n), have one value: that of a corner of the grid.

    Any corner: a scan padded at one end has noise in the corners of the other.
    """
    reach = np.rint(PADDING_MM / np.sqrt((affine[:3, :3] ** 2).sum(axis=0))).astype(np.intp)
    last = np.array(voxels.shape)[:, None] - 1
    corners = np.unique(voxels[tuple(slice(None, None, max(1, n - 1)) for n in voxels.shape)])
    tolerance = background_value(voxels)[1]
    i, j, k = places
    nearest = voxels[i, j, k]
    empty: BoolArray = np.abs(nearest[:, None] - corners).min(axis=1) <= tolerance
    for step in product((-1, 0, 1), repeat=3):
        i, j, k = np.clip(places + (reach * step)[:, None], 0, last)
        empty &= np.abs(voxels[i, j, k] - nearest) <= tolerance
    return empty
