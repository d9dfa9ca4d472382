"""Each bad input is one line that says what, where and what to do, with its exit code, and nothing is half-written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    nib.save(image, path)
    return path


def missing(folder: Path) -> Path:
    return folder / "nowhere.nii.gz"


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def text_named_nifti(folder: Path) -> Path:
    path = folder / "scan.nii.gz"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    return path


def truncated(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    whole = save(folder / "whole.nii.gz", rng.normal(size=(40, 40, 40)).astype(np.float32))
    path = folder / "truncated.nii.gz"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    return path


def corrupt_checksum(folder: Path) -> Path:
    whole = save(folder / "scan.nii.gz", np.zeros((20, 20, 20), np.float32))
    data = bytearray(whole.read_bytes())
    data[-6] ^= 0xFF
    whole.write_bytes(bytes(data))
    return whole


def four_dimensional(folder: Path) -> Path:
    return save(folder / "bold.nii.gz", np.zeros((8, 8, 8, 5), np.int16))


def colour(folder: Path) -> Path:
    rgb = np.zeros((8, 8, 8), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    return save(folder / "colour.nii.gz", rgb)


def without_orientation(folder: Path) -> Path:
    path = save(folder / "scan.nii.gz", np.random.default_rng(0).normal(100, 5, (40, 40, 40)).astype(np.float32))
    image = nib.load(path)
    data = np.asanyarray(image.dataobj)
    bare = nib.Nifti1Image(data, None)
    bare.header.set_sform(None, code=0)
    bare.header.set_qform(None, code=0)
    nib.save(bare, path)
    return path


def knee(folder: Path) -> Path:
    """Two condyles of bone in a tube of soft tissue: a limb, not a head."""
    i, j, k = np.indices((90, 90, 120)).astype(float)
    limb = (i - 45) ** 2 + (j - 45) ** 2 < 40**2
    bone = ((i - 33) ** 2 + (j - 45) ** 2 < 12**2) | ((i - 57) ** 2 + (j - 45) ** 2 < 12**2)
    image = np.where(limb, 500.0, 10.0) + np.where(bone & (np.abs(k - 60) > 4), 400.0, 0.0)
    return save(
        folder / "knee.nii.gz", (image + np.random.default_rng(0).normal(0, 15, image.shape)).astype(np.float32)
    )


def water_phantom(folder: Path) -> Path:
    distance = np.linalg.norm(np.indices((90, 90, 90)) - 45.0, axis=0)
    image = np.where(distance < 40, 600.0, 5.0) + np.random.default_rng(0).normal(0, 10, distance.shape)
    return save(folder / "sphere.nii.gz", image.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


def constant(folder: Path) -> Path:
    return save(folder / "constant.nii.gz", np.full((60, 60, 60), 7, np.int16))


CASES = [
    (missing, 3),
    (empty_folder, 3),
    (text_named_nifti, 3),
    (truncated, 3),
    (corrupt_checksum, 3),
    (four_dimensional, 3),
    (colour, 3),
    (without_orientation, 4),
    pytest.param(knee, 3, marks=pytest.mark.slow),
    pytest.param(water_phantom, 3, marks=pytest.mark.slow),
    (constant, 3),
]


@pytest.mark.parametrize(("make", "code"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_one_line_and_exit_code(make: Callable[[Path], Path], code: int, tmp_path: Path, cli) -> None:
    path = make(tmp_path)
    output = tmp_path / "out"
    finished = cli("run", path, "--output", output)
    assert finished.code == code, finished.err
    assert finished.out == ""
    lines = finished.err.strip().splitlines()
    assert len(lines) == 1, finished.err
    assert path.name in lines[0]
    assert ";" in lines[0], "what to do is missing"
    assert not output.exists(), "nothing was written, so there is no folder"


def test_output_that_cannot_be_written(tmp_path: Path, cli, sample_data: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    finished = cli("run", sample_data, "--output", blocked / "out")
    assert finished.code == 6
    assert "cannot write" in finished.err


def test_unknown_setting_names_the_nearest(tmp_path: Path, cli) -> None:
    finished = cli("run", tmp_path, "--output", tmp_path / "out", "--set", "decide.bilatral=quadrants")
    assert finished.code == 5
    assert "decide.bilateral" in finished.err


def test_usage_error_is_two(tmp_path: Path, cli) -> None:
    assert cli("run", tmp_path).code == 2


def test_text_inside_gzip_is_refused(tmp_path: Path, cli) -> None:
    path = tmp_path / "scan.nii.gz"
    with gzip.open(path, "wt") as file:
        file.write("<html>404</html>" * 100)
    assert cli("run", path, "--output", tmp_path / "out").code == 3
