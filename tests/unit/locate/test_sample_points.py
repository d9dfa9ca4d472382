"""Random places of a mask: inside it, even over its volume, the same for the same seed."""

from __future__ import annotations

import numpy as np

from miliary_seg.domain.grid import Grid
from miliary_seg.locate import sample_points

AFFINE = np.array([[-0.9, 0.0, 0.4, 30.0], [0.0, 1.1, 0.3, -40.0], [0.2, 0.0, 3.0, -20.0], [0.0, 0.0, 0.0, 1.0]])


def test_places_lie_in_the_mask_and_fill_its_voxels_evenly():
    grid = Grid(shape=(6, 5, 4), affine=AFFINE)
    mask = np.zeros(grid.shape, bool)
    mask[1:4, 2:4, 1:3] = True
    places = sample_points(mask, grid, 24_000)
    ijk = grid.to_ijk(places)
    voxels = np.rint(ijk).astype(int)
    assert mask[tuple(voxels.T)].all()
    counts = np.unique(voxels, axis=0, return_counts=True)[1]
    assert len(counts) == mask.sum()
    assert np.abs(counts - 2000).max() < 6 * np.sqrt(2000)
    within = ijk - voxels
    assert np.abs(within.mean(axis=0)).max() < 0.01
    assert np.allclose(within.std(axis=0), np.sqrt(1 / 12), atol=0.01)


def test_seeds_and_empty_masks():
    grid = Grid(shape=(6, 5, 4), affine=AFFINE)
    everything = np.ones(grid.shape, bool)
    assert np.array_equal(sample_points(everything, grid, 9), sample_points(everything, grid, 9))
    assert not np.array_equal(sample_points(everything, grid, 9), sample_points(everything, grid, 9, seed=1))
    assert sample_points(~everything, grid, 9).shape == (0, 3)
    assert sample_points(everything, grid, 0).shape == (0, 3)
