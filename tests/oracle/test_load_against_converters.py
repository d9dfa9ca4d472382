"""dcm2niix and highdicom as judges: on series they read right, voxels and every corner must be the same here.

Both are used in tests only. The series are our own phantom writer's, in all 48 orientations, so that the writer is
judged too.
"""

from __future__ import annotations

import subprocess
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.load import read_array
from miliary_seg.report.dicom.images import write_series
from miliary_seg.report.volume_files import write_label_map

SPACING = (0.8, 1.1, 2.5)
ORIENTATIONS = [
    (axes, signs) for axes in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]  # fmt: skip
CENTRE_RAS_MM = (7.0, -11.0, 19.0)


def volume(axes: tuple[int, ...], signs: tuple[float, ...], *, turned_deg: float = 7.0) -> Volume:
    """A block whose voxel axes run along the given world axes, turned out of them."""
    directions = np.zeros((3, 3))
    for a, (world, sign) in enumerate(zip(axes, signs, strict=True)):
        directions[world, a] = sign
    c, s = np.cos(np.radians(turned_deg)), np.sin(np.radians(turned_deg))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    shape = (12, 10, 8)
    affine = np.eye(4)
    affine[:3, :3] = turn @ directions * SPACING
    affine[:3, 3] = CENTRE_RAS_MM - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    voxels = np.random.default_rng(3).integers(1, 3000, shape).astype(np.float32)
    return Volume(voxels=voxels, grid=Grid(shape=shape, affine=affine), modality=Modality.MR)


def same_image(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> None:
    """Every voxel of theirs, found here by its place in the patient (axes may run in another order)."""
    (voxels, affine), (other, placed) = ours, theirs
    ijk = np.stack(np.indices(other.shape), axis=-1).reshape(-1, 3)
    world = ijk @ placed[:3, :3].T + placed[:3, 3]
    here = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    nearest = np.rint(here).astype(int)
    error = np.abs((here - nearest) @ affine[:3, :3].T).max()
    assert error < 0.01
    assert voxels.size == other.size
    np.testing.assert_allclose(voxels[tuple(nearest.T)], other.reshape(-1), atol=0.06)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_dicom_and_label_map_in_48_orientations(
    tmp_path: Path, axes: tuple[int, ...], signs: tuple[float, ...]
) -> None:
    made = volume(axes, signs)
    voxels, affine = read_array(write_series(made, tmp_path / "series"))
    same_image((voxels, affine), (np.asarray(made.voxels), made.grid.affine))
    labels = np.zeros(made.grid.shape, dtype=np.uint16)
    labels[2:5, 3:7, 1], labels[9, 1, 6] = 1, 2
    write_label_map(LabelMap(labels=labels, grid=made.grid), tmp_path / "labels.nii.gz")
    written = nib.load(tmp_path / "labels.nii.gz")
    for lesion in (1, 2):
        theirs = nib.affines.apply_affine(written.affine, np.argwhere(np.asarray(written.dataobj) == lesion))
        truth = nib.affines.apply_affine(affine, np.argwhere(_on(labels, made.grid.affine, voxels, affine) == lesion))
        assert np.abs(theirs.mean(axis=0) - truth.mean(axis=0)).max() < 0.01


def _on(labels: np.ndarray, affine: np.ndarray, voxels: np.ndarray, placed: np.ndarray) -> np.ndarray:
    """Labels carried to the grid that was read, through the patient."""
    ijk = np.stack(np.indices(voxels.shape), axis=-1).reshape(-1, 3)
    world = ijk @ placed[:3, :3].T + placed[:3, 3]
    back = np.rint((world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    carried: np.ndarray = labels[tuple(back.T)].reshape(voxels.shape)
    return carried


CASES = ORIENTATIONS[::7]


@pytest.mark.parametrize(("axes", "signs"), CASES)
def test_as_dcm2niix_reads_it(tmp_path: Path, axes: tuple[int, ...], signs: tuple[float, ...]) -> None:
    program: Any = pytest.importorskip("dcm2niix")
    if not Path(program.bin).is_file():
        pytest.skip("the binary of dcm2niix is absent")
    folder = write_series(volume(axes, signs), tmp_path / "series", compression="none")
    (tmp_path / "out").mkdir()
    command = [program.bin, "-z", "n", "-b", "n", "-f", "x", "-o", str(tmp_path / "out"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    image = nib.load(tmp_path / "out" / "x.nii")
    same_image(read_array(folder), (image.get_fdata(), image.affine))


@pytest.mark.parametrize(("axes", "signs"), CASES)
@pytest.mark.filterwarnings("ignore")
def test_as_highdicom_reads_it(tmp_path: Path, axes: tuple[int, ...], signs: tuple[float, ...]) -> None:
    highdicom: Any = pytest.importorskip("highdicom")
    import pydicom

    folder = write_series(volume(axes, signs), tmp_path / "series", compression="none")
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    theirs = highdicom.get_volume_from_series(slices)
    # highdicom counts in LPS.
    same_image(read_array(folder), (theirs.array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ theirs.affine))
