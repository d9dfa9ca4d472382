from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.detect import FEATURES, find
from miliary_seg.detect.context import edge_distance_mm
from miliary_seg.detect.features import _sphere
from miliary_seg.settings import DetectSettings


def features_at(detection, centre_mm, within_mm=1.0):
    """Features of the candidate nearest to a place."""
    near = min(detection.candidates, key=lambda c: np.linalg.norm(np.array(c.centroid_ras_mm) - centre_mm))
    assert np.linalg.norm(np.array(near.centroid_ras_mm) - centre_mm) < within_mm
    return near.features


def test_every_feature_says_what_it_is():
    for name, feature in FEATURES.items():
        assert feature.unit, name
        assert len(feature.meaning) > 20, name


def test_a_ball_stands_alone_and_a_bead_on_a_tube_does_not(scene):
    ball = scene(noise=3.0).ball((24, 28, 20), 5.0)
    tube = scene(noise=3.0).tube((24, 28, 20), (1.0, 0.0, 0.0), 3.0).ball((24, 28, 20), 5.0, 150.0)
    one, other = (features_at(find(s.volume(), s.mask(), DetectSettings()), (24, 28, 20)) for s in (ball, tube))
    for name in ("isolation", "tube_isolation", "eigen_ratio"):
        assert one[name] > 0.7, name
        assert other[name] < one[name] - 0.15, name
    assert one["rim_spread"] < other["rim_spread"]
    assert one["elongation"] < other["elongation"]


def test_contrast_is_in_units_of_the_noise(scene):
    head = scene(noise=8.0).ball((24, 28, 20), 8.0, 160.0)
    found = features_at(find(head.volume(), head.mask(), DetectSettings()), (24, 28, 20))
    # The shell 1 mm outside still holds some of the blurred ball: the figure is 0.7 to 1 of the true 160 / 8.
    assert 0.7 * 160 / 8 < found["contrast_to_noise"] < 1.02 * 160 / 8
    assert np.exp(found["log_radius"]) == pytest.approx(4.0, rel=0.15)


def test_a_vessel_across_thick_slices_goes_through(scene):
    spot = scene(shape=(64, 64, 12), spacing=(0.9, 0.9, 5.0), noise=3.0).ball((28, 28, 30), 5.0)
    vessel = scene(shape=(64, 64, 12), spacing=(0.9, 0.9, 5.0), noise=3.0).tube((28, 28, 30), (0, 0, 1), 4.0)
    one, other = (features_at(find(s.volume(), s.mask(), DetectSettings()), (28, 28, 30), 6.0) for s in (spot, vessel))
    assert one["through"] < 0.3
    assert other["through"] > 0.7
    assert one["persistence"] <= other["persistence"] + 0.3


def test_values_are_judged_beside_the_brain_around(scene):
    head = scene(noise=5.0).ball((24, 28, 20), 5.0, 100.0)
    found = features_at(find(head.volume(), head.mask(), DetectSettings()), (24, 28, 20))
    assert found["outlierness"] > 3
    assert abs(found["surround_outlierness"]) < 1


def test_directions_cover_the_sphere_evenly():
    directions = _sphere(42)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(np.ones(42))
    assert (directions**2).mean(axis=0) == pytest.approx(np.full(3, 1 / 3), abs=0.01)
    assert directions.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)


def test_edge_distance():
    mask = np.zeros((20, 40, 40), bool)
    mask[:, 10:30, 10:30] = True
    index = np.array([[10.0, 20.0, 20.0], [0.0, 12.0, 20.0], [10.0, 10.0, 10.0], [10.0, 8.0, 20.0]])
    distance = edge_distance_mm(mask, (3.0, 1.0, 1.0), index)
    # Voxel 10 is the rim itself; slices end with the scan, which is no edge; beyond the mask distances are negative.
    assert distance == pytest.approx([9.0, 2.0, 0.0, -2.0], abs=1e-6)
    assert edge_distance_mm(np.ones((4, 4, 4), bool), (1, 1, 1), index).tolist() == [20.0] * 4
    assert edge_distance_mm(mask, (1, 1, 1), np.zeros((0, 3))).shape == (0,)
