from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError
from miliary_seg.load import read_mask

AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])
GRID = Grid(shape=(6, 5, 4), affine=AFFINE)


def saved(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def test_voxels_above_zero_are_brain(tmp_path: Path) -> None:
    values = np.zeros(GRID.shape, np.uint8)
    values[2, 3, 1] = 7
    mask = read_mask(saved(tmp_path / "mask.nii.gz", values), GRID)
    assert mask.dtype == bool
    assert np.argwhere(mask).tolist() == [[2, 3, 1]]


def test_one_volume_in_four_dimensions(tmp_path: Path) -> None:
    assert read_mask(saved(tmp_path / "mask.nii", np.ones((*GRID.shape, 1), np.uint8)), GRID).all()


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAL", "PIR"])
def test_the_same_voxels_in_another_order_are_turned(tmp_path: Path, orientation: str) -> None:
    truth = np.random.default_rng(3).random(GRID.shape) > 0.5
    image = nib.Nifti1Image(truth.astype(np.uint8), AFFINE)
    codes = nib.orientations.axcodes2ornt(orientation)
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(AFFINE), codes)
    nib.save(image.as_reoriented(turn), tmp_path / "mask.nii.gz")
    assert np.array_equal(read_mask(tmp_path / "mask.nii.gz", GRID), truth)


@pytest.mark.parametrize(
    ("values", "affine", "error"),
    [
        (np.ones((6, 5, 5), np.uint8), AFFINE, GeometryError),
        (np.ones((6, 5, 4), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]), GeometryError),
        (np.ones((6, 5, 4, 2), np.uint8), AFFINE, GeometryError),
        (np.ones((6, 5, 4), np.uint8), np.diag([-1.0, 1.0, 2.2, 1.0]), GeometryError),
        (np.zeros((6, 5, 4), np.uint8), AFFINE, InputError),
    ],
    ids=["other shape", "mirrored", "two volumes", "other spacing", "empty"],
)
def test_unsuitable_masks(tmp_path: Path, values: np.ndarray, affine: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_mask(saved(tmp_path / "mask.nii", values, affine), GRID)


def test_not_an_image(tmp_path: Path) -> None:
    path = tmp_path / "mask.nii.gz"
    path.write_text("no image")
    with pytest.raises(UnreadableFileError):
        read_mask(path, GRID)
