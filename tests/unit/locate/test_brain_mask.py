"""The mask's refinement on drawn heads, and the intensities it rests on."""

from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.locate.brain_mask import (
    BONE_HU,
    HOLE_MM2,
    TissueValues,
    _small_holes,
    refined_mask,
    stripped_mask,
    tissue_values,
)
from miliary_seg.locate.deform import no_deformation

RADIUS_MM = 40.0


@pytest.fixture(scope="module", params=[(1.0, 1.0, 1.0), (0.8, 0.8, 4.0)])
def drawn(request):
    """Affine, and the distance of every voxel from the surface of a ball of brain."""
    spacing = np.array(request.param)
    shape = tuple(int(n) for n in np.ceil(2 * (RADIUS_MM + 12) / spacing))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    ijk = np.indices(shape, dtype=np.float32)
    place = [affine[a, a] * ijk[a] + affine[a, 3] for a in range(3)]
    return affine, (np.sqrt(sum(p**2 for p in place)) - RADIUS_MM).astype(np.float32)


def head(outside, *, brain, fluid, skull=20.0):
    """Grey values: brain, 3 mm of fluid, 4 mm of skull, scalp, air; noise of 5 % of the brain."""
    rng = np.random.default_rng(1)
    parts = [outside < 0, outside < 3, outside < 7, outside < 11]
    return (
        np.select(parts, [brain, fluid, skull, 1.5 * brain], 0) + rng.normal(0, 0.05 * brain, outside.shape)
    ).astype(np.float32)


@pytest.mark.parametrize(("spacing", "across"), [((1.0, 1.0, 1.0), 2), ((0.8, 0.8, 4.0), 2), ((5.0, 0.9, 0.9), 0)])
def test_small_gaps_within_a_slice_are_holes_and_large_ones_and_the_outside_are_not(spacing, across):
    spacing = np.array(spacing)
    mask = np.ones((44, 44, 44), bool)
    mask[0], mask[:, 0], mask[:, :, 0] = False, False, False
    planes = np.moveaxis(mask, across, 0)
    pixel = np.prod(np.delete(spacing, across))
    small, large = (int(np.sqrt(HOLE_MM2 / pixel) + change) for change in (-1, 2))
    planes[5:30, 5 : 5 + small, 5 : 5 + small] = False  # a tunnel through many slices
    planes[5:30, 25 : 25 + large, 25 : 25 + large] = False
    expected = np.zeros_like(mask)
    np.moveaxis(expected, across, 0)[5:30, 5 : 5 + small, 5 : 5 + small] = True
    assert np.array_equal(_small_holes(mask, spacing), expected)


@pytest.mark.parametrize(("fluid", "modality"), [(30.0, "MR"), (250.0, "MR"), (8.0, "CT")])
@pytest.mark.parametrize("fit_error_mm", [-2.0, 0.0, 2.0])
def test_the_surface_is_found_although_the_fit_is_off(drawn, fluid, modality, fit_error_mm):
    affine, outside = drawn
    is_ct = modality == "CT"
    brain = 35.0 if is_ct else 100.0
    voxels = head(outside, brain=brain, fluid=fluid, skull=900.0 if is_ct else 20.0)
    values = None if is_ct else TissueValues(grey=brain, white=brain, fluid=fluid)
    mask = refined_mask(voxels, affine, outside + fit_error_mm, is_ct=is_ct, values=values)
    rim = (outside < 0) & (outside > -3)
    assert np.mean(~mask[rim]) < 0.03
    assert np.mean(mask[outside >= 0.9]) == pytest.approx(0, abs=0.02)
    assert not mask[outside > 3.0].any()


@pytest.mark.parametrize("shift", [0.0, -300.0])
def test_a_coil_that_makes_the_rim_bright_moves_no_surface(drawn, shift):
    affine, outside = drawn
    depth = np.clip(-outside / RADIUS_MM, -0.3, 1)
    voxels = head(outside, brain=100.0, fluid=40.0, skull=40.0) * np.exp(1.0 - depth).astype(np.float32)
    assert voxels[(outside > 3) & (outside < 7)].mean() > 0.6 * np.median(voxels[outside < -8]), "skull like tissue"
    mask = refined_mask(voxels + np.float32(shift), affine, outside - 2.0, is_ct=False, values=None)
    assert np.mean(~mask[(outside < 0) & (outside > -3)]) < 0.03
    assert np.mean(mask[outside >= 0.9]) == pytest.approx(0, abs=0.02)


def test_bright_fluid_is_told_from_brain_by_the_scans_own_values(drawn):
    affine, outside = drawn
    voxels = head(outside, brain=100.0, fluid=136.0)
    white = (outside < 0) & (np.random.default_rng(2).random(outside.shape) < 0.5)
    voxels[white] -= 30  # two tissues widen what counts as the brain's own intensities
    fluid = (outside > 1.5) & (outside < 2.5)
    told = refined_mask(voxels, affine, outside, is_ct=False, values=TissueValues(grey=100, white=70, fluid=136))
    untold = refined_mask(voxels, affine, outside, is_ct=False, values=None)
    assert told[fluid].mean() < 0.05
    assert untold[fluid].mean() > told[fluid].mean() + 0.1


@pytest.mark.parametrize(("gain", "shift"), [(0.02, -1.2), (0.02, -2.4), (5.0, -500.0)])
def test_standardised_grey_values_give_the_same_mask(drawn, gain, shift):
    affine, outside = drawn
    voxels = head(outside, brain=100.0, fluid=30.0)
    expected = refined_mask(
        voxels, affine, outside + 2, is_ct=False, values=TissueValues(grey=100, white=100, fluid=30)
    )
    values = TissueValues(grey=gain * 100 + shift, white=gain * 100 + shift, fluid=gain * 30 + shift)
    moved = (gain * voxels + shift).astype(np.float32)
    found = refined_mask(moved, affine, outside + 2, is_ct=False, values=values)
    assert np.mean(found != expected) < 1e-4


def test_values_are_read_where_the_template_says(make_head, axial_affine, turned):
    shape = (70, 84, 64)
    moved = turned(12, 5, -8, (3, 4, -6))
    volume = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)), moved)
    values = tissue_values(volume.voxels, volume.grid.affine, moved, no_deformation())
    assert values is not None
    assert values.fluid < 0.7 * values.grey < values.grey < 0.9 * values.white
    away = np.diag([1.0, 1, 1, 1])
    away[:3, 3] = 500
    assert tissue_values(volume.voxels, volume.grid.affine, away, no_deformation()) is None


@pytest.mark.parametrize("slice_mm", [1.0, 4.0])
def test_ct_masks_hold_no_bone_but_calcifications(slice_mm):
    spacing = np.array([1.0, 1.0, slice_mm])
    shape = tuple(int(n) for n in np.ceil(100 / spacing))
    affine = np.diag([*spacing, 1.0])
    place = (np.indices(shape).T * spacing).T - 50
    outside = (np.sqrt((place**2).sum(axis=0)) - 40).astype(np.float32)
    scan = np.select([outside < 0, outside < 6], [35.0, 800.0], -1000.0).astype(np.float32)
    spur = (np.abs(place[1]) < 3) & (np.abs(place[2]) < 5) & (place[0] > 33) & (place[0] < 42)
    calcified = (place**2).sum(axis=0) < 16
    scan[spur], scan[calcified] = 600.0, 300.0
    mask = refined_mask(scan, affine, outside, is_ct=True, values=None)
    assert mask[calcified].all()
    assert not mask[(scan > BONE_HU) & ~calcified].any()
    assert mask[outside < -8].all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0)])
def test_debris_leaves_the_mask_of_a_stripped_head_and_missed_brain_stays(spacing):
    spacing = np.array(spacing)
    shape = tuple(int(n) for n in np.ceil(110 / spacing))
    place = (np.indices(shape).T * spacing).T - 55
    outside = (np.sqrt((place**2).sum(axis=0)) - 38).astype(np.float32)

    def ball(x, y, z, radius):
        return np.sqrt((place[0] - x) ** 2 + (place[1] - y) ** 2 + (place[2] - z) ** 2) < radius

    missed = ball(0, 26, 0, 20)  # a lobe that the fit left out by 8 mm
    bridge = (np.abs(place[1]) < 1.6) & (np.abs(place[2]) < 1.6) & (place[0] > 0) & (place[0] < 48)
    hanging, apart = ball(46, 0, 0, 4.2), ball(0, -46.5, 0, 4.2)
    scan = np.where((outside < 0) | missed | bridge | hanging | apart, 100.0, 0.0).astype(np.float32)
    mask = stripped_mask(scan, outside, float(np.prod(spacing)))
    assert mask[(outside < 0) | missed].all()
    assert not mask[hanging | apart].any()


def places(affine, shape):
    ijk = np.indices(shape, dtype=np.float32)
    return [affine[axis, axis] * ijk[axis] + affine[axis, 3] for axis in range(3)]


@pytest.mark.parametrize(("fluid", "kept"), [(30.0, True), (250.0, False)])
def test_bright_lesions_of_the_cortex_stay_where_fluid_is_dark(drawn, fluid, kept):
    affine, outside = drawn
    x, y, z = places(affine, outside.shape)
    lesion = ((x - RADIUS_MM + 1) ** 2 + y**2 + z**2 < 7.0**2) & (outside < 0)  # at the surface, cut by it
    voxels = np.where(lesion, 250.0, head(outside, brain=100.0, fluid=fluid)).astype(np.float32)
    values = TissueValues(grey=100.0, white=100.0, fluid=fluid)
    mask = refined_mask(voxels, affine, outside, is_ct=False, values=values)
    assert bool(mask[lesion].mean() > 0.95) is kept


def test_bright_scalp_that_a_loose_fit_takes_for_brain_stays_out(drawn):
    affine, outside = drawn
    x, _, _ = places(affine, outside.shape)
    scalp = (x > RADIUS_MM - 3) & (outside > -3)  # pressed in on one side, below the fitted surface
    voxels = np.where(scalp, 400.0, head(outside, brain=100.0, fluid=30.0)).astype(np.float32)
    values = TissueValues(grey=100.0, white=100.0, fluid=30.0)
    mask = refined_mask(voxels, affine, outside, is_ct=False, values=values)
    assert mask[scalp & (outside > -1.5)].mean() < 0.5


@pytest.mark.parametrize("joined", [True, False], ids=["crown of a gyrus", "dura beyond fluid"])
def test_crowns_of_thin_gyri_are_brain_and_dura_beyond_fluid_is_not(drawn, joined):
    affine, outside = drawn
    x, *_ = places(affine, outside.shape)
    thin = (np.abs(x) < 1.7) & (outside > (-0.5 if joined else 1.4)) & (outside < (1.9 if joined else 2.9))
    voxels = np.where(thin, 100.0, head(outside, brain=100.0, fluid=30.0)).astype(np.float32)
    values = TissueValues(grey=100.0, white=100.0, fluid=30.0)
    mask = refined_mask(voxels, affine, outside, is_ct=False, values=values)
    core = thin & (outside > 0.3) & (outside < (1.2 if joined else 3.0))
    assert bool(mask[core].mean() > 0.75) is joined
    assert mask[(np.abs(x) > 6) & (outside > 1.0)].mean() < 0.02
