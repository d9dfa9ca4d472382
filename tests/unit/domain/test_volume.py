from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap, Source, Study, Volume
from miliary_seg.errors import GeometryError, UnsuitableImageError


def grid(shape: tuple[int, int, int] = (3, 4, 5), affine: np.ndarray | None = None) -> Grid:
    return Grid(shape=shape, affine=np.diag([1.0, 2.0, 6.0, 1.0]) if affine is None else affine)


def volume(**changes: object) -> Volume:
    return Volume(**({"voxels": np.zeros((3, 4, 5)), "grid": grid()} | changes))  # type: ignore[arg-type]


def test_voxels_are_copied_to_read_only_float32() -> None:
    given = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    held = volume(voxels=given)
    given[:] = -1
    assert held.voxels.dtype == np.float32
    assert held.voxels[2, 3, 4] == 59
    with pytest.raises(ValueError, match="read-only"):
        held.voxels[0, 0, 0] = 1
    assert held != volume()  # array carriers have identity, not value


def test_a_volume_has_three_dimensions_that_fit_its_grid() -> None:
    with pytest.raises(UnsuitableImageError, match="3 dimensions, got 4"):
        volume(voxels=np.zeros((3, 4, 5, 2)))
    with pytest.raises(GeometryError, match="the grid is"):
        volume(voxels=np.zeros((3, 4, 6)))
    with pytest.raises(GeometryError, match="slice_axis"):
        volume(slice_axis=3)


@pytest.mark.parametrize(
    ("axis", "n", "spacing", "plane"), [(0, 3, 1.0, "sagittal"), (1, 4, 2.0, "coronal"), (2, 5, 6.0, "axial")]
)
def test_slices_lie_across_the_slice_axis(axis: int, n: int, spacing: float, plane: str) -> None:
    held = volume(slice_axis=axis)
    assert (held.n_slices, held.slice_spacing_mm, held.plane) == (n, pytest.approx(spacing), plane)
    assert np.allclose(held.slice_normal, np.eye(3)[axis])


def test_slice_centres_follow_the_slice_axis() -> None:
    held = volume(slice_axis=1)  # 3 x 4 x 5 voxels of 1, 2 and 6 mm: the middle of i is 1 mm, of k 12 mm
    assert held.slice_centres_ras_mm.tolist() == [[1, 0, 12], [1, 2, 12], [1, 4, 12], [1, 6, 12]]


def test_thickness_falls_back_on_the_spacing_and_tells_the_gap() -> None:
    assert (volume().thickness_mm, volume().gap_mm) == (6.0, 0.0)
    assert volume(slice_thickness_mm=5.0).gap_mm == pytest.approx(1.0)
    assert volume(slice_thickness_mm=8.0).gap_mm == 0.0  # overlapping slices leave none


def test_the_normal_points_to_growing_indices_and_ignores_the_tilt() -> None:
    affine = np.diag([1.0, 1.0, -5.0, 1.0])
    affine[1, 2] = 5 * np.tan(np.radians(20.0))
    tilted = volume(grid=grid(affine=affine))
    assert np.allclose(tilted.slice_normal, (0, 0, -1))
    assert tilted.slice_spacing_mm == pytest.approx(5.0)
    assert tilted.plane == "axial"


def test_defaults_of_a_volume_and_a_study() -> None:
    held = volume()
    assert (held.source, held.orientation_known, held.missing_slices) == (Source(format="array"), True, ())
    assert Study(case="c", volumes=(held,)).volumes[0] is held


def test_labels_are_integers_on_their_grid() -> None:
    given = np.zeros((3, 4, 5), dtype=np.uint8)
    held = LabelMap(labels=given, grid=grid(), names={1: "left"})
    given[:] = 1
    assert held.labels.max() == 0
    assert held.labels.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        held.labels[0, 0, 0] = 1
    with pytest.raises(UnsuitableImageError, match="integers"):
        LabelMap(labels=np.zeros((3, 4, 5)), grid=grid())
    with pytest.raises(UnsuitableImageError, match="integers"):
        LabelMap(labels=np.zeros((3, 4, 5), dtype=bool), grid=grid())
    with pytest.raises(GeometryError, match="the grid is"):
        LabelMap(labels=np.zeros((3, 4, 6), dtype=int), grid=grid())
