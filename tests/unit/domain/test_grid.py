from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.errors import GeometryError

POSITIVE, NEGATIVE = "RAS", "LPI"
ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def affine_of(
    axes: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...] = (1.0, 1.5, 4.0)
) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, (world_axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[world_axis, voxel_axis] = sign * spacing[voxel_axis]
    affine[:3, 3] = (-10.0, 20.0, 30.0)
    return affine


def turned(degrees: float, axis: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [x for x in range(3) if x != axis]
    matrix = np.eye(4)
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = c, -s, s, c
    return matrix


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_every_one_of_the_48_orientations_is_named(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    grid = Grid(shape=(5, 6, 7), affine=affine_of(axes, signs))
    expected = "".join((POSITIVE if s > 0 else NEGATIVE)[w] for w, s in zip(axes, signs, strict=True))
    assert grid.orientation == expected
    assert grid.world_axes == axes
    assert grid.spacing_mm == (1.0, 1.5, 4.0)
    assert grid.voxel_volume_mm3 == pytest.approx(6.0)
    assert grid.oblique_deg == pytest.approx(0.0, abs=1e-6)
    assert not grid.is_sheared
    # The letter says which way the world coordinate grows: walk one voxel along each axis and look.
    for voxel_axis, letter in enumerate(grid.orientation):
        step = grid.to_ras_mm(np.eye(3)[voxel_axis]) - grid.to_ras_mm([0, 0, 0])
        world = int(np.argmax(np.abs(step)))
        assert letter == (POSITIVE if step[world] > 0 else NEGATIVE)[world]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0.5, 12.0, 44.0, -30.0])
def test_oblique_grids_keep_their_nearest_code_and_tell_the_angle(axis: int, degrees: float) -> None:
    grid = Grid(shape=(5, 6, 7), affine=turned(degrees, axis) @ affine_of((0, 1, 2), (1, 1, 1)))
    assert grid.orientation == "RAS"
    assert grid.oblique_deg == pytest.approx(abs(degrees), abs=1e-5)
    assert not grid.is_sheared
    assert grid.voxel_volume_mm3 == pytest.approx(6.0)


def test_beyond_45_degrees_the_next_axis_is_nearest() -> None:
    grid = Grid(shape=(2, 2, 2), affine=turned(60.0, 2) @ np.eye(4))
    assert grid.orientation == "ALS"
    assert grid.oblique_deg == pytest.approx(30.0)


def test_two_voxel_axes_never_share_a_world_axis() -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1.0, 0.9, 0.0], [0.0, 0.436, 0.0], [0.0, 0.0, 1.0]])  # both i and j lean to x
    assert sorted(Grid(shape=(2, 2, 2), affine=affine).world_axes) == [0, 1, 2]


def test_gantry_tilt_is_a_shear_and_its_volume_is_the_determinant() -> None:
    tilt = np.radians(20.0)
    affine = np.diag([0.5, 0.5, 1.0, 1.0])
    affine[:3, 2] = (0.0, 5 * np.sin(tilt), 5 * np.cos(tilt))
    grid = Grid(shape=(4, 4, 4), affine=affine)
    assert grid.is_sheared
    assert grid.spacing_mm[2] == pytest.approx(5.0)
    assert grid.voxel_volume_mm3 == pytest.approx(0.25 * 5 * np.cos(tilt))
    assert grid.orientation == "RAS"
    assert grid.oblique_deg == pytest.approx(20.0)


def test_indices_go_to_the_world_and_back() -> None:
    grid = Grid(shape=(5, 6, 7), affine=turned(33.0, 1) @ affine_of((2, 0, 1), (-1, 1, -1)))
    points = np.random.default_rng(0).uniform(-3, 9, (4, 5, 3))
    assert np.allclose(grid.to_ijk(grid.to_ras_mm(points)), points)
    assert np.allclose(grid.to_ras_mm([1, 2, 3]), (grid.affine @ [1, 2, 3, 1])[:3])


def test_grids_are_compared_by_value_and_by_place() -> None:
    affine = affine_of((0, 1, 2), (1, 1, 1))
    grid, twin = Grid(shape=(5, 6, 7), affine=affine), Grid(shape=(5, 6, 7), affine=affine)
    moved = affine.copy()
    moved[0, 3] += 5e-4
    far = affine.copy()
    far[0, 0] += 1e-3  # 4 voxels away it is 4e-3 mm off
    assert grid == twin
    assert hash(grid) == hash(twin)
    assert grid != Grid(shape=(5, 6, 7), affine=moved)
    assert grid != "grid"
    assert grid.same_as(Grid(shape=(5, 6, 7), affine=moved))
    assert not grid.same_as(Grid(shape=(5, 6, 7), affine=far))
    assert grid.same_as(Grid(shape=(5, 6, 7), affine=far), atol_mm=0.01)
    assert not grid.same_as(Grid(shape=(5, 6, 8), affine=affine))


def test_a_grid_is_frozen_and_does_not_hold_on_to_its_input() -> None:
    affine = affine_of((0, 1, 2), (1, 1, 1))
    grid = Grid(shape=np.array([5, 6, 7]), affine=affine)  # type: ignore[arg-type]
    affine[0, 0] = 99
    assert grid.affine[0, 0] == 1
    assert grid.shape == (5, 6, 7)
    assert all(type(n) is int for n in grid.shape)
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7, 8), (0, 6, 7), (5, -1, 7)])
def test_a_shape_needs_three_positive_numbers(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeometryError, match="three positive dimensions"):
        Grid(shape=shape, affine=np.eye(4))  # type: ignore[arg-type]


@pytest.mark.parametrize("affine", [np.eye(3), np.full((4, 4), np.nan), np.diag([np.inf, 1, 1, 1])])
def test_an_affine_is_finite_and_4_by_4(affine: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="finite 4 x 4"):
        Grid(shape=(2, 2, 2), affine=affine)


@pytest.mark.parametrize(
    "columns", [np.diag([0.0, 1, 1]), np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]), np.zeros((3, 3))]
)
def test_axes_that_do_not_span_space_are_refused(columns: np.ndarray) -> None:
    affine = np.eye(4)
    affine[:3, :3] = columns
    with pytest.raises(GeometryError, match="singular"):
        Grid(shape=(2, 2, 2), affine=affine)


def test_tiny_voxels_are_not_singular() -> None:
    assert Grid(shape=(2, 2, 2), affine=np.diag([1e-3, 1e-3, 1e-3, 1.0])).voxel_volume_mm3 == pytest.approx(1e-9)


@pytest.mark.parametrize(("axis", "order"), [(0, (0, 1, 2)), (1, (1, 0, 2)), (2, (2, 0, 1))])
def test_slice_wise_work_puts_the_slice_axis_first(axis: int, order: tuple[int, ...]) -> None:
    assert Grid(shape=(2, 3, 4), affine=np.eye(4)).axis_permutation(axis) == order
