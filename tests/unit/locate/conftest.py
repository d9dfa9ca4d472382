"""Heads made of the shipped template under known transforms, with a skull and scalp drawn around the brain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage as ndi

import miliary_seg
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume

DATA = Path(miliary_seg.__file__).parent / "atlas_data"
HeadMaker = Callable[..., Volume]


@pytest.fixture(scope="session")
def template() -> dict[str, np.ndarray]:
    with np.load(DATA / "compartments.npz") as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="session")
def head_mni(template: dict[str, np.ndarray]) -> np.ndarray:
    """A T1-like head on the template's grid: air 0, skull dark, scalp bright."""
    outside = ndi.distance_transform_edt(template["labels"] == 0) * 2.0
    head = template["t1"].astype(np.float32) * 3
    head[(outside > 0) & (outside <= 3)] = 120
    head[(outside > 3) & (outside <= 8)] = 40
    head[(outside > 8) & (outside <= 14)] = 700
    z = np.arange(head.shape[2]) * 2 + template["affine"][2, 3]
    head[:, :, z < -74] = 0
    return head


@pytest.fixture(scope="session")
def make_head(template: dict[str, np.ndarray], head_mni: np.ndarray) -> HeadMaker:
    def make(
        shape: tuple[int, int, int],
        affine: np.ndarray,
        mni_to_scan: np.ndarray | None = None,
        *,
        skull: bool = True,
        modality: Modality = Modality.MR,
        orientation_known: bool = True,
    ) -> Volume:
        source = head_mni if skull else template["t1"].astype(np.float32) * 3
        moved = np.eye(4) if mni_to_scan is None else mni_to_scan
        pull = np.linalg.inv(template["affine"]) @ np.linalg.inv(moved) @ affine
        voxels = ndi.affine_transform(source, pull[:3, :3], pull[:3, 3], shape, order=1)
        noise = np.random.default_rng(0).normal(0, 8, voxels.shape) * (voxels > 0 if not skull else 1)
        grid = Grid(shape=shape, affine=affine)
        scan = np.abs(voxels + noise)
        if modality is Modality.CT:
            scan = np.where(voxels < 20, -1000, np.where(voxels >= 700, 900, 20 + voxels / 30)) + noise / 4
        return Volume(voxels=scan, grid=grid, modality=modality, orientation_known=orientation_known)

    return make


@pytest.fixture(scope="session")
def true_labels(template: dict[str, np.ndarray]) -> Callable[[Grid, np.ndarray], np.ndarray]:
    """Labels 0 to 4 of every voxel of a grid under a known transform: side from x, level by nearest neighbour."""

    def labels(grid: Grid, mni_to_scan: np.ndarray) -> np.ndarray:
        to_mni = np.linalg.inv(mni_to_scan) @ grid.affine
        pull = np.linalg.inv(template["affine"]) @ to_mni
        stored = ndi.affine_transform(template["labels"], pull[:3, :3], pull[:3, 3], grid.shape, order=0)
        i, j, k = np.ogrid[tuple(slice(0, n) for n in grid.shape)]
        right = to_mni[0, 0] * i + to_mni[0, 1] * j + to_mni[0, 2] * k + to_mni[0, 3] > 0
        return np.where(stored > 0, np.where(stored > 2, 3, 1) + right, 0)

    return labels


def turned(pitch: float, roll: float, yaw: float, shift: tuple[float, float, float], scale: float = 0.93) -> np.ndarray:
    """MNI to scan: a rotation (degrees), a size and a shift in mm, written out on its own."""
    x, y, z = np.radians([pitch, roll, yaw])
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rx @ ry @ rz
    matrix[:3, 3] = shift
    return matrix


@pytest.fixture(scope="session", name="turned")
def turned_fixture() -> Callable[..., np.ndarray]:
    return turned


def axial_affine(
    spacing: tuple[float, float, float], shape: tuple[int, int, int], centre: tuple[float, ...]
) -> np.ndarray:
    """RAS affine of a grid centred on a point."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.array(centre) - np.array(spacing) * (np.array(shape) - 1) / 2
    return affine


@pytest.fixture(scope="session", name="axial_affine")
def axial_affine_fixture() -> Callable[..., np.ndarray]:
    return axial_affine
