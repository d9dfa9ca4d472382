"""Whatever the voxels hold, the answer is a detection, perhaps with a doubt; never an exception from inside."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.detect import find
from miliary_seg.settings import DetectSettings


def codes(detection):
    return {d.code for d in detection.doubts}


def answered(volume, mask):
    found = find(volume, mask, DetectSettings(polarity="both"))
    assert found.lesion_labels.labels.shape == volume.grid.shape
    assert np.isfinite(found.noise_sigma)
    for lesion in found.lesions:
        assert np.isfinite([*lesion.centroid_ras_mm, lesion.volume_mm3, lesion.contrast, lesion.probability]).all()
    return found


def test_empty_mask(scene):
    head = scene()
    found = answered(head.volume(), np.zeros(head.shape, bool))
    assert found.lesions == ()
    assert codes(found) == {"empty_mask"}


def test_all_nan(volume_of):
    found = answered(volume_of(np.full((12, 12, 12), np.nan)), np.ones((12, 12, 12), bool))
    assert codes(found) == {"no_finite_voxels"}


@pytest.mark.parametrize("value", [0.0, -1000.0, 3.0e38])
def test_constant(volume_of, value):
    found = answered(volume_of(np.full((12, 12, 12), value)), np.ones((12, 12, 12), bool))
    assert codes(found) == {"flat_brain"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.0e38])
def test_a_spoilt_voxel_hides_no_lesion_and_makes_none(scene, volume_of, bad):
    head = scene().ball((24, 28, 20), 4.0)
    voxels = head.voxels()
    voxels[10:12, 28, 20] = bad
    found = answered(volume_of(voxels), head.mask())
    assert any(np.linalg.norm(np.array(n.centroid_ras_mm) - (24, 28, 20)) < 1 for n in found.lesions)
    if not np.isfinite(bad):
        assert len(found.lesions) == 1


def test_saturated(scene, volume_of):
    head = scene().ball((24, 28, 20), 4.0)
    voxels = np.minimum(head.voxels(), 505)
    assert "saturated" in codes(answered(volume_of(voxels), head.mask()))


def test_eight_bit(scene, volume_of):
    head = scene(tissue=60.0, noise=1.0).ball((24, 28, 20), 4.0, 30.0)
    found = answered(volume_of(np.rint(head.voxels()).astype(np.uint8)), head.mask())
    assert len(found.lesions) == 1


def test_negative_hounsfield_units(scene, volume_of):
    head = scene(tissue=30.0, noise=4.0).ball((24, 28, 20), 4.0, 60.0)
    voxels, mask = head.voxels(), head.mask()
    voxels[~mask] = -1000
    assert len(answered(volume_of(np.rint(voxels).astype(np.int16)), mask).lesions) == 1
    answered(volume_of(voxels), np.ones(mask.shape, bool))


def test_pixels_of_a_fifth_of_a_millimetre(scene):
    head = scene(shape=(120, 120, 20), spacing=(0.2, 0.2, 1.0)).ball((12, 12, 10), 4.0)
    found = answered(head.volume(), head.mask(1.0))
    assert len(found.lesions) == 1
    assert found.lesions[0].equivalent_diameter_mm == pytest.approx(4.0, rel=0.25)


def test_eight_millimetre_slices(scene):
    head = scene(shape=(64, 64, 8), spacing=(0.9, 0.9, 8.0)).ball((28, 28, 32), 8.0)
    assert len(answered(head.volume(), head.mask()).lesions) == 1


def test_one_slice(scene):
    head = scene(shape=(64, 64, 1)).ball((30, 30, 0), 5.0)
    found = answered(head.volume(), np.ones(head.shape, bool))
    assert [n.slices for n in found.lesions] == [(0,)]


@pytest.mark.parametrize(
    "shape", [(1, 40, 1), (40, 1, 1), (1, 1, 40), (2, 2, 2), (1, 1, 1), (30, 30, 2), (1, 30, 30), (3, 3, 3)]
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_degenerate_shapes(volume_of, shape, axis):
    voxels = np.random.default_rng(1).normal(size=shape)
    answered(volume_of(voxels, slice_axis=axis), np.ones(shape, bool))


def test_single_voxel_mask(scene):
    head = scene()
    mask = np.zeros(head.shape, bool)
    mask[20, 20, 20] = True
    answered(head.volume(), mask)


def test_mask_thinner_than_a_work_pixel(scene):
    head = scene(shape=(80, 80, 10), spacing=(0.2, 0.2, 1.0))
    mask = np.zeros(head.shape, bool)
    mask[40, 40, 5] = mask[40, 41, 5] = True
    assert answered(head.volume(), mask).lesions == ()


def test_slices_that_are_not_the_coarsest_axis(scene):
    head = scene(shape=(16, 64, 60), spacing=(5.0, 0.9, 0.9)).ball((40, 28, 26), 6.0)
    assert len(answered(head.volume(), head.mask()).lesions) == 1


def test_noise_that_hides_everything_is_said(volume_of):
    rng = np.random.default_rng(0)
    assert "noise" in codes(answered(volume_of(rng.normal(size=(40, 40, 30))), np.ones((40, 40, 30), bool)))


def test_ringing_makes_no_lesions(volume_of):
    x, y, _ = np.mgrid[:48, :48, :40].astype(float)
    radius = np.sqrt((x - 24) ** 2 + (y - 24) ** 2)
    voxels = (
        500
        + 60 * np.cos(2 * np.pi * radius / 4) * np.exp(-radius / 30)
        + np.random.default_rng(0).normal(0, 5, x.shape)
    )
    assert len(answered(volume_of(voxels), np.ones(x.shape, bool)).lesions) <= 2


@pytest.mark.parametrize("edge", [0.0, 250.0, 800.0])
def test_skull_stripped_with_a_halo(scene, volume_of, edge):
    """Zeros around the brain, and a rim of half-emptied or of far too bright voxels that the mask still holds."""
    head = scene(shape=(60, 64, 48)).ball((30, 32, 24), 4.0)
    voxels, mask = head.voxels(), head.mask()
    voxels[~mask] = 0
    voxels[mask & ~ndi.binary_erosion(mask)] = edge
    found = answered(volume_of(voxels), mask)
    inner = [n for n in found.lesions if np.linalg.norm(np.array(n.centroid_ras_mm) - (30, 32, 24)) < 1]
    assert len(inner) == 1
    assert len(found.lesions) <= 5


NOISE = np.random.default_rng(0).normal(size=(24, 26, 20))
BALL = ((np.indices(NOISE.shape) - np.array([12, 12, 10])[:, None, None, None]) ** 2).sum(axis=0) < 16


@pytest.mark.parametrize(
    "voxels",
    [
        NOISE * 1e37,
        np.clip(NOISE, -3, 3) * 1e38,
        NOISE * 1e-42,
        NOISE * 1e200,
        NOISE + 1e30,
        np.where(NOISE > 2.5, 1.0, 0.0),
        BALL,
        np.indices(NOISE.shape).sum(axis=0) % 2,
        np.full(NOISE.shape, 2**64 - 1, dtype=np.uint64),
        np.rint(20 * NOISE).clip(-128, 127).astype(np.int8),
        np.where(np.indices(NOISE.shape)[2] % 2, NOISE, np.nan),
        np.where(np.indices(NOISE.shape)[0] == 12, NOISE, np.inf),
        np.where(NOISE > 2, 3e38, np.where(NOISE < -2, -3e38, NOISE)),
    ],
    ids=range(13),
)
def test_values_of_any_size_and_kind_are_answered(volume_of, voxels):
    found = answered(volume_of(voxels), np.ones(NOISE.shape, bool))
    assert found.doubts or found.detectable_diameter_mm is not None


@pytest.mark.parametrize("spacing", [(0.05, 0.05, 20.0), (30.0, 30.0, 30.0), (8.0, 0.2, 0.2), (0.9, 0.9, 0.01)])
def test_spacings_of_any_kind_are_answered(volume_of, spacing):
    answered(volume_of(NOISE, spacing), np.ones(NOISE.shape, bool))


@pytest.mark.parametrize("where", ["scattered", "one slice", "corners", "edge"])
def test_masks_of_any_kind_are_answered(volume_of, where):
    index = np.indices(NOISE.shape)
    mask = {
        "scattered": np.random.default_rng(1).random(NOISE.shape) < 0.01,
        "one slice": index[2] == 5,
        "corners": np.isin(index[0], (0, 23)) & np.isin(index[1], (0, 25)) & np.isin(index[2], (0, 19)),
        "edge": index[0] < 2,
    }[where]
    outside = np.where(mask, NOISE, 1e30)
    assert all(mask[tuple(np.rint(n.centroid_ijk).astype(int))] for n in answered(volume_of(outside), mask).lesions)
