"""Smooth deformation on top of the affine fit: a cubic B-spline displacement of MNI space.

A point p of the template lies at M (p + u(p)) in the scan; u is a tensor product of cubic B-splines.

References
----------
Rueckert D et al. Nonrigid registration using free-form deformations. IEEE Trans Med Imaging 1999;18:712.
doi:10.1109/42.796284
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.locate.affine_fit import descend
from miliary_seg.locate.atlas import RIM_MM, TemplatePoints, grid_points, load_atlas, tissue_classes
from miliary_seg.locate.mutual_information import mutual_information_slope
from miliary_seg.locate.pyramid import WorkingScan, tensor_product
from miliary_seg.locate.transform import apply, inverse

KNOT_MM = 18.0
SURFACE_WEIGHT = 6.0
"""Points near midline and tentorium count this many times (docs/measurements/compartments.md, "Constants ...")."""
NEAR_TENTORIUM_MM = 12.0
NEAR_MIDLINE_MM = 10.0
LATTICE_MM = 4
BENDING_WEIGHT = {"MR": 1e-6, "CT": 1.5e-6}
"""Nats per mm² of second difference (results are flat from 4e-7 to 3e-6; CT is noisier)."""
SIZE_SHARE = 0.1
"""The displacement itself is penalised by this share of the bending weight: keeps what is out of view in place."""
N_TISSUE_CLASSES = 16
TISSUE_RANGE = (0.3, 0.95)
FLUID_MM = 3.0
ITERATIONS = 60
MIN_POINTS = 500
INVERSE_STEPS = 5
REACH_MM = 16.0
"""Further than this from the box around the brain the affine fit alone is used."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lattice:
    """Template points on a regular lattice around the brain and the splines over it."""

    points: TemplatePoints
    used: BoolArray
    """Lattice positions that are points, shape (i, j, k)."""
    affine: Float64Array
    splines: tuple[Float32Array, Float32Array, Float32Array]
    """Per axis, shape (n, knots): value of each knot's spline at each lattice position."""

    @property
    def knots(self) -> tuple[int, int, int]:
        """Number of knots along each axis."""
        a, b, c = (spline.shape[1] for spline in self.splines)
        return a, b, c

    def field(self, coefficients: Float32Array) -> Float32Array:
        """Displacement in MNI mm, shape (3, i, j, k), of coefficients (3, *knots)."""
        return np.stack([tensor_product(part, list(self.splines)) for part in coefficients])

    def gathered(self, field: Float32Array) -> Float32Array:
        """The adjoint of ``field``: from (3, i, j, k) to (3, *knots)."""
        back = [spline.T for spline in self.splines]
        return np.stack([tensor_product(part, back) for part in field])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deformation:
    """Spline coefficients (3, *knots), all zero where nothing was fitted."""

    coefficients: Float32Array
    information_after: float = 0.0

    def displacement(self) -> tuple[Float32Array, Float64Array]:
        """Displacement u on the lattice, shape (3, i, j, k), in MNI mm, and the lattice's affine."""
        return lattice().field(self.coefficients), lattice().affine

    @property
    def midline_deformation_mm(self) -> float:
        """Largest sideways displacement of the template's midline plane within the brain, in MNI mm.

        No midline shift as a reader measures it: heads without one have 3.5 mm in the median.
        """
        grid = lattice()
        middle = round(float(-grid.affine[0, 3] / grid.affine[0, 0]))
        sideways = np.abs(grid.field(self.coefficients)[0, middle])[grid.used[middle]]
        return float(sideways.max()) if sideways.size else 0.0


def no_deformation() -> Deformation:
    """The identity."""
    return Deformation(coefficients=np.zeros((3, *lattice().knots), np.float32))


@lru_cache(maxsize=1)
def lattice() -> Lattice:
    """The lattice of the shipped atlas (once a process)."""
    atlas = load_atlas()
    every = round(LATTICE_MM / atlas.spacing_mm)
    keep = atlas.outside_mm <= RIM_MM
    found = ndi.find_objects(keep.astype(np.int8))[0]
    box = tuple(slice(s.start, s.stop, every) for s in found)
    affine = atlas.affine @ np.diag([every, every, every, 1.0])
    affine[:3, 3] = atlas.affine[:3, :3] @ np.array([s.start for s in found]) + atlas.affine[:3, 3]
    used = keep[box]
    outside = atlas.outside_mm[box][used]
    classes = tissue_classes(ndi.gaussian_filter(atlas.t1, 0.8)[box][used], N_TISSUE_CLASSES, TISSUE_RANGE)
    classes[outside > 0] = N_TISSUE_CLASSES
    classes[outside > FLUID_MM] = N_TISSUE_CLASSES + 1
    positions = grid_points(used.shape, affine)[:, used.ravel()]
    near = (np.abs(atlas.tentorium_mm[box][used]) < NEAR_TENTORIUM_MM) | (np.abs(positions[0]) < NEAR_MIDLINE_MM)
    points = TemplatePoints(
        positions_mm=positions,
        classes=classes,
        n_tissues=N_TISSUE_CLASSES,
        n_classes=N_TISSUE_CLASSES + 2,
        weights=np.where(near, SURFACE_WEIGHT, 1.0),
    )
    i, j, k = (_splines(n, float(affine[a, a])) for a, n in enumerate(used.shape))
    return Lattice(points=points, used=used, affine=affine, splines=(i, j, k))


@lru_cache(maxsize=1)
def atlas_at_lattice() -> tuple[Float32Array, Float32Array]:
    """Distance outside the brain and to the tentorium in mm at the lattice's points, each of shape (n,)."""
    atlas = load_atlas()
    ijk = apply(inverse(atlas.affine), lattice().points.positions_mm)
    outside, tentorium = (
        ndi.map_coordinates(values, ijk, order=1, mode="nearest") for values in (atlas.outside_mm, atlas.tentorium_mm)
    )
    return outside, tentorium


def _splines(n: int, step_mm: float) -> Float32Array:
    """Cubic B-splines centred on knots that reach one knot beyond ``n`` positions, shape (n, knots)."""
    knots = int(np.ceil((n - 1) * step_mm / KNOT_MM)) + 3
    place = (np.arange(n)[:, None] - (n - 1) / 2) * step_mm / KNOT_MM
    u = np.abs(place - (np.arange(knots) - (knots - 1) / 2))
    value = np.where(u < 1, (4 - 6 * u**2 + 3 * u**3) / 6, np.where(u < 2, (2 - u) ** 3 / 6, 0))
    return value.astype(np.float32)


def fit_deformation(scan: WorkingScan, matrix: Float64Array, bending_weight: float) -> Deformation:
    """Deformation that raises mutual information within the brain and a rim; identity where too little is in view."""
    grid = lattice()
    start = apply(matrix, grid.points.positions_mm)
    inside = scan.contains(scan.to_ijk(start))
    if inside.sum() < MIN_POINTS:
        return no_deformation()
    start, points = start[:, inside], grid.points.only(inside)
    used = np.flatnonzero(grid.used)[inside]
    linear = matrix[:3, :3]
    shape = (3, *grid.knots)

    def cost(flat: Float64Array) -> tuple[float, Float64Array]:
        coefficients = flat.reshape(shape).astype(np.float32)
        moved = start + linear @ grid.field(coefficients).reshape(3, -1).take(used, axis=1)
        levels, gradient = scan.sample_with_gradient(moved)
        information, slope = mutual_information_slope(levels, points.classes, points.n_classes, points.weights)
        force = np.zeros((3, grid.used.size), np.float32)
        force[:, used] = linear.T @ (gradient * slope)
        penalty, penalty_slope = _roughness(flat.reshape(shape))
        total = bending_weight * penalty - information
        return total, (bending_weight * penalty_slope - grid.gathered(force.reshape(3, *grid.used.shape))).ravel()

    flat_start = np.zeros(int(np.prod(shape)))
    best, value = descend(cost, flat_start, iterations=ITERATIONS, line_steps=12)
    return Deformation(
        coefficients=best.reshape(shape).astype(np.float32),
        information_after=-value,
    )


def _roughness(coefficients: Float64Array) -> tuple[float, Float64Array]:
    """Sum of squared second differences and a share of the squared size, and the gradient of the sum."""
    total = SIZE_SHARE * float((coefficients**2).sum())
    slope = 2 * SIZE_SHARE * coefficients
    for axis in (1, 2, 3):
        second = np.diff(coefficients, 2, axis=axis)
        total += float((second**2).sum())
        along = np.moveaxis(slope, axis, 0)
        bend = 2 * np.moveaxis(second, axis, 0)
        along[:-2] += bend
        along[1:-1] -= 2 * bend
        along[2:] += bend
    return total, slope


def to_template(positions_mm: Float64Array, matrix: Float64Array, deformation: Deformation) -> Float64Array:
    """MNI positions, shape (3, n), of scan positions: the inverse of p -> M (p + u(p)) by fixed-point steps."""
    target = apply(inverse(matrix), positions_mm)
    if not deformation.coefficients.any():
        return target
    field, affine = deformation.displacement()
    to_lattice = inverse(affine)
    reach = np.array(field.shape[1:])[:, None] - 1 + REACH_MM / LATTICE_MM
    ijk = apply(to_lattice, target)
    near = ((ijk > -REACH_MM / LATTICE_MM) & (ijk < reach)).all(axis=0)
    goal = target[:, near]
    place = goal.copy()
    for _ in range(INVERSE_STEPS):
        ijk = apply(to_lattice, place)
        for axis in range(3):
            shift = ndi.map_coordinates(field[axis], ijk, order=1, mode="nearest")
            place[axis] = goal[axis] - shift
    target[:, near] = place
    return target
