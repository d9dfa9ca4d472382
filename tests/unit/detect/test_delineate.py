from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.detect.delineate import Seeds, label_lesions, measure_labels, true_radius_mm
from miliary_seg.detect.rejection import same_object


def seeds(*rows, sign=1):
    index, radius = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], float)
    return Seeds(index=index, radius_mm=radius, sign=np.full(len(rows), sign))


def labelled(values, spacing, chosen):
    labels = np.zeros(values.shape, np.int32)
    label_lesions(values, spacing, chosen, labels)
    return labels


@pytest.mark.parametrize("diameter", [3.0, 4.0, 6.0, 8.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_ball_is_outlined(scene, diameter, sign):
    centre = (24.2, 27.8, 20.1)
    head = scene(noise=8.0).ball(centre, diameter, 200.0 * sign)
    radius = np.sqrt((diameter / 2) ** 2 + 2 * 0.5**2)
    found = labelled(head.voxels(), (1.0, 1.0, 1.0), seeds((centre, radius), sign=sign)) == 1
    x = np.indices(head.shape)
    truth = sum((a - c) ** 2 for a, c in zip(x, centre, strict=True)) <= (diameter / 2) ** 2
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > (0.7 if diameter < 4 else 0.8)


def test_a_lesion_on_a_vessel_does_not_leak_along_it(scene):
    head = scene(noise=5.0).ball((24, 28, 20), 5.0).tube((24, 28, 20), (1, 0, 0), 2.5)
    found = np.argwhere(labelled(head.voxels(), (1.0, 1.0, 1.0), seeds(((24, 28, 20), 2.6))) == 1)
    assert np.abs(found - (24, 28, 20)).max() <= 4


def test_touching_lesions_are_split_between_their_centres(scene):
    head = scene(noise=3.0).ball((22, 28, 20), 5.0).ball((27, 28, 20), 5.0)
    labels = labelled(head.voxels(), (1.0, 1.0, 1.0), seeds(((22, 28, 20), 2.6), ((27, 28, 20), 2.6)))
    assert np.argwhere(labels == 1)[:, 0].max() <= 25
    assert np.argwhere(labels == 2)[:, 0].min() >= 24
    assert (labels == 1).sum() == pytest.approx((labels == 2).sum(), rel=0.35)


def test_two_seeds_in_one_voxel_leave_the_surer_one(scene, volume_of):
    head = scene().ball((24, 28, 20), 1.5)
    labels = labelled(head.voxels(), (1.0, 1.0, 1.0), seeds(((24, 28, 20), 0.8), ((24.2, 28, 20), 0.7)))
    sizes = measure_labels(labels, volume_of(head.voxels()), 2)
    assert sizes[0] is not None


def test_spoilt_voxels_do_not_spoil_the_outline(scene):
    head = scene().ball((24, 28, 20), 5.0)
    voxels = head.voxels()
    voxels[24, 28, 22] = np.nan
    assert (labelled(voxels, (1.0, 1.0, 1.0), seeds(((24, 28, 20), 2.6))) == 1).sum() > 30
    assert (labelled(np.full((9, 9, 9), np.nan), (1.0, 1.0, 1.0), seeds(((4, 4, 4), 2.0))) == 1).any()


def test_a_seed_beside_the_peak_finds_it():
    values = np.zeros((15, 15, 15))
    values[7, 7, 9:12] = 10
    labels = labelled(values, (1.0, 1.0, 1.0), seeds(((7, 7, 7), 3.0)))
    assert labels[7, 7, 9] == 1


def test_sizes_on_an_anisotropic_grid(volume_of):
    labels = np.zeros((20, 20, 8), np.int32)
    labels[5:9, 5:7, 2:4] = 1
    labels[12, 12, 5] = 3
    sizes = measure_labels(labels, volume_of(labels.astype(float), (0.5, 1.0, 4.0)), 3)
    assert sizes[1] is None
    first, _, third = sizes
    assert first.volume_mm3 == pytest.approx(16 * 2.0)
    assert first.equivalent_diameter_mm == pytest.approx((6 * 32 / np.pi) ** (1 / 3))
    assert first.slices == (2, 3)
    assert first.max_diameter_mm == pytest.approx(np.hypot(3 * 0.5, 1.0) + np.sqrt(0.5), rel=0.01)
    assert third.slices == (5,)
    assert third.max_diameter_mm == pytest.approx(np.sqrt(0.5))


def test_blur_is_taken_off_a_radius_but_never_too_much():
    radius = true_radius_mm(np.array([0.6, 2.0, 5.0]), 1.0)
    assert radius[1] == pytest.approx(np.sqrt(4 - 0.5))
    assert radius[0] == pytest.approx(0.36)
    assert np.all(radius < [0.6, 2.0, 5.0])


def test_of_overlapping_candidates_the_strongest_stands_for_all():
    place = np.array([[0.0, 0, 0], [0, 0, 0.9], [0, 0, 1.8], [0, 9, 0], [0, 10.9, 0]])
    owner = same_object(place, np.array([1.0, 1.0, 1.0, 3.0, 1.0]))
    assert owner.tolist() == [0, 0, 2, 3, 3]
    assert same_object(place[:1], np.ones(1)).tolist() == [0]
    # A part lies within the ball of the stronger one; a neighbour that touches it does not.
    pair = np.array([[0.0, 0, 0], [0, 0, 2.6], [0, 0, 3.4]])
    assert same_object(pair, np.array([3.0, 1.0, 1.0])).tolist() == [0, 0, 2]
