"""A small ball of a brain with known sides and levels: quick, and easy to reason about."""

from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.lab.phantom import Head, head_from_volume

RADIUS_MM = 42.0


@pytest.fixture(scope="session")
def ball_grid() -> Grid:
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = -1.5 * 31.5
    return Grid(shape=(64, 64, 64), affine=affine)


@pytest.fixture(scope="session")
def ball(ball_grid: Grid) -> Head:
    """Brain of signal 100 in a void of 0; left = x < 0, infratentorial = z < -10."""
    centres = ball_grid.to_ras_mm(np.stack(np.meshgrid(*[np.arange(64)] * 3, indexing="ij"), axis=-1))
    brain = np.linalg.norm(centres, axis=-1) < RADIUS_MM
    codes = (np.where(centres[..., 0] < 0, 1, 2) + 2 * (centres[..., 2] < -10)) * brain
    rng = np.random.default_rng(5)
    voxels = np.where(brain, 100.0, 0.0) + 2.0 * rng.standard_normal(brain.shape) * brain
    return head_from_volume(
        Volume(voxels=voxels.astype(np.float32), grid=ball_grid, id="ball"),
        brain,
        compartments=LabelMap(labels=codes.astype(np.uint8), grid=ball_grid),
    )
