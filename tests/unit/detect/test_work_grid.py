from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from miliary_seg.detect.normalise import dilated, fill_outside, noise_sigma, prepare, quantisation_step
from miliary_seg.detect.pipeline import rim_reach_mm
from miliary_seg.detect.work_grid import block_mean, work_grid
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume


def test_an_index_leads_back_to_its_voxel():
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=(20, 30, 12)).astype(np.float32)
    affine = np.array([[0, 0.0, -1.0, 9], [-0.3, 0, 0, 4], [0, 0.3, 0, 1], [0, 0, 0, 1.0]])
    volume = Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=affine), slice_axis=2)
    mask = np.zeros(voxels.shape, bool)
    mask[4:16, 3:28, 2:10] = True
    grid = work_grid(volume, mask)
    assert grid.block == (1, 2, 2)
    cropped = grid.cropped(voxels)
    work = block_mean(cropped, grid.block)
    for index in ((0, 0, 0), (3, 4, 5), tuple(n - 1 for n in work.shape)):
        ijk = grid.to_ijk(np.array([index], float))[0]
        corners = [np.unique([np.floor(v), np.ceil(v)]).astype(int) for v in ijk]
        assert work[index] == pytest.approx(voxels[np.ix_(*corners)].mean(), abs=1e-5)


def test_blocks_average_and_leave_out_the_rest():
    array = np.arange(2 * 5 * 4).reshape(2, 5, 4)
    mean = block_mean(array, (1, 2, 2))
    assert mean.shape == (2, 2, 2)
    assert mean[1, 1, 0] == pytest.approx(array[1, 2:4, 0:2].mean())
    assert block_mean(array > 3, (1, 5, 4))[0, 0, 0] == pytest.approx(16 / 20)


def test_noise_is_measured_on_a_slope_with_an_edge():
    y, x = np.mgrid[:128, :128]
    field = np.broadcast_to(3.0 * x + 2.0 * y + 500 * (x > 64), (12, 128, 128))
    noisy = (field + np.random.default_rng(0).normal(0, 7.0, field.shape)).astype(np.float32)
    assert noise_sigma(noisy, np.ones(noisy.shape, bool)) == pytest.approx(7.0, rel=0.05)
    assert noise_sigma(noisy[:, :1], np.ones((12, 1, 128), bool)) == 0
    assert noise_sigma(noisy, np.zeros(noisy.shape, bool)) == 0


def test_quantisation_step():
    assert quantisation_step(np.array([0, 4, 8, 20], np.float32)) == 4
    assert quantisation_step(np.array([0.5, 4.0], np.float32)) == 0
    assert quantisation_step(np.array([3, 3], np.float32)) == 0


def test_filling_keeps_the_inside_and_continues_it():
    x, y, z = np.mgrid[:40, :40, :40].astype(np.float32)
    mask = (x - 20) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < 14**2
    values = np.where(mask, 100 + x, 5000).astype(np.float32)
    filled = values.copy()
    fill_outside(filled, mask, mask, (1.0, 1.0, 1.0))
    assert np.array_equal(filled[mask], values[mask])
    assert filled.max() < 140
    near = ~mask & ((x - 20) ** 2 + (y - 20) ** 2 + (z - 20) ** 2 < 16**2)
    assert np.abs(filled[near] - (100 + x[near])).max() < 6


def test_released_voxels_are_made_again_the_same(scene):
    """Detection lets go of them while the finest scale space exists; who asks later gets the same numbers."""
    head = scene(shape=(50, 52, 12), spacing=(0.3, 0.3, 2.0)).ball((7, 8, 10), 4.0)
    voxels, mask = head.voxels(), head.mask(1.0)
    voxels[20, 20, 5] = np.nan
    volume = head.volume()
    work = prepare(voxels, mask, work_grid(volume, mask))
    first = work.release()
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(work.voxels, kept)
    assert work.voxels is work.voxels
    assert np.isfinite(kept).all()
    assert kept.shape == work.mask.shape


def _plate(value: float, spacing=(1.0, 1.0, 1.0)) -> tuple[Volume, np.ndarray]:
    """A brain of grain 100 +- 5, and beyond the face of its mask two planes of a value, then air."""
    voxels = np.zeros((40, 40, 40), np.float32)
    voxels[5:30] = np.random.default_rng(1).normal(100, 5, (25, 40, 40))
    voxels[30:32] = value
    mask = np.zeros(voxels.shape, bool)
    mask[5:30] = True
    return Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=np.diag([*spacing, 1.0])), slice_axis=2), mask


def test_what_is_bright_just_beyond_the_mask_is_searched_too():
    volume, mask = _plate(150)
    work = prepare(volume.voxels, mask, work_grid(volume, mask))
    assert work.brain.sum() == mask.sum()
    assert (
        work.mask.sum() == mask.sum() + 40 * 40
    )  # one plane of 1 mm: the second lies 2 mm beyond the last of the brain
    at = work.mask & ~work.brain
    assert work.voxels[at].min() > 1


@pytest.mark.parametrize("value", [60, 0, np.nan])
def test_what_is_dark_or_unknown_beyond_the_mask_is_filled(value):
    volume, mask = _plate(value)
    work = prepare(volume.voxels, mask, work_grid(volume, mask))
    assert np.array_equal(work.mask, work.brain)
    assert np.abs(work.voxels[~work.mask]).max() < 0.5


def test_nothing_beyond_the_mask_is_searched_where_bone_lies_there():
    volume, mask = _plate(1000)
    work = prepare(volume.voxels, mask, work_grid(volume, mask), rim_reach_mm(Modality.CT))
    assert np.array_equal(work.mask, work.brain)
    assert rim_reach_mm(Modality.MR) > 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.7, 0.7), (6.5, 0.9, 0.9)])
def test_dilation_is_by_distance(spacing):
    mask = np.random.default_rng(0).random((9, 20, 21)) > 0.995
    mask[4, 10, 10] = True
    expected = distance_transform_edt(~mask, spacing) <= 1.5
    assert np.array_equal(dilated(mask, spacing, 1.5), expected)
    assert np.array_equal(dilated(mask, spacing, 0.0), mask)
