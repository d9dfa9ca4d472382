from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.detect import find
from miliary_seg.detect.context import LOCAL_SIGMA_MM
from miliary_seg.detect.rejection import broken_rules, least_outlierness, stands_out
from miliary_seg.settings import DetectSettings

RADIUS = np.array([16.0])
COMPACT = {
    "isolation": 0.7,
    "leak": 0.0,
    "eigen_ratio": 0.7,
    "through": 0.9,
    "centre_rank": 0.99,
    "outlierness": 0.5,
    "contrast_to_noise": 12.0,
}


def columns(**changes):
    return {name: np.array([value]) for name, value in (COMPACT | changes).items()}


@pytest.mark.parametrize("radius", [3.0, 8.0, 12.0, 18.0])
def test_the_share_of_a_ball_in_its_own_window_is_taken_out(radius):
    """A ball that is one standard deviation of its surroundings high, measured with scipy's Gaussian."""
    pitch = 2.0
    axis = np.arange(-30, 31) * pitch
    ball = (sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")) <= radius**2).astype(float)
    width = LOCAL_SIGMA_MM / pitch
    mean, square = (ndi.gaussian_filter(values, width)[30, 30, 30] for values in (ball, ball))
    measured = (1 - mean) / np.sqrt(1.0 + square - mean**2)
    assert least_outlierness(np.array([radius]))[0] == pytest.approx(measured, abs=0.03)


def test_a_compact_mass_is_not_ordinary():
    assert stands_out(RADIUS, columns()).tolist() == [True]
    assert broken_rules(RADIUS, columns(), np.array([0.9]), 0.5).tolist() == [""]


@pytest.mark.parametrize(
    "change",
    [
        {"isolation": 0.2},
        {"leak": 0.1},
        {"eigen_ratio": 0.3},
        {"through": 0.0},
        {"centre_rank": 0.9},
        {"outlierness": 0.1},
    ],
)
def test_what_is_not_compact_or_not_rare_stays_ordinary(change):
    assert stands_out(RADIUS, columns(**change)).tolist() == [False]
    assert broken_rules(RADIUS, columns(**change), np.array([0.9]), 0.5).tolist() == ["ordinary"]


def test_smaller_objects_and_improbable_ones_are_judged_as_before():
    assert broken_rules(np.array([6.0]), columns(), np.array([0.9]), 0.5).tolist() == ["ordinary"]
    assert broken_rules(RADIUS, columns(), np.array([0.4]), 0.5).tolist() == ["probability"]


def test_a_mass_of_32_mm_is_listed_once_on_each_of_its_slices(volume_of):
    shape, centre, radius = (96, 108, 84), (40.0, 60.0, 44.0), 16.0
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    mask = sum(((a - (n - 1) / 2) / ((n - 1) / 2 - 3)) ** 2 for a, n in zip(axes, shape, strict=True)) <= 1
    rng = np.random.default_rng(1)
    voxels = 500 + 40 * ndi.zoom(rng.normal(size=(16, 18, 14)), 6, order=1, mode="nearest", grid_mode=True)
    ball = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) <= radius**2
    voxels += 200 * ndi.gaussian_filter(ball.astype(float), 0.5) + rng.normal(0, 10, shape)
    found = find(volume_of(voxels.astype(np.float32)), mask, DetectSettings())
    large = [lesion for lesion in found.lesions if lesion.equivalent_diameter_mm > 10]
    assert len(large) == 1
    assert large[0].equivalent_diameter_mm == pytest.approx(32.0, rel=0.15)
    assert set(range(30, 59)) <= set(large[0].slices)
