from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from miliary_seg.detect import FEATURES, find
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Polarity, Sequence
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import GeometryError
from miliary_seg.settings import DetectSettings

BALLS = (((14.0, 20.0, 15.0), 3.0), ((30.3, 35.7, 22.4), 4.0), ((25.0, 18.0, 26.0), 6.0), ((20.0, 38.0, 14.0), 2.5))


def draw(scene, **kwargs):
    head = scene(**kwargs)
    for centre, diameter in BALLS:
        head.ball(centre, diameter)
    return head


def nearest(detection, centre_mm):
    return min(detection.lesions, key=lambda n: np.linalg.norm(np.array(n.centroid_ras_mm) - centre_mm))


def test_every_ball_is_found_once_where_it_is_and_as_large_as_it_is(scene):
    head = draw(scene)
    found = find(head.volume(), head.mask(), DetectSettings(sensitivity="high"))  # 2.5 mm is near the limit
    assert len(found.lesions) == len(BALLS)
    for centre, diameter in BALLS:
        lesion = nearest(found, centre)
        assert np.linalg.norm(np.array(lesion.centroid_ras_mm) - centre) < 0.6
        assert lesion.equivalent_diameter_mm == pytest.approx(diameter, rel=0.25)


def test_label_map_is_the_table(scene):
    head = draw(scene)
    found = find(head.volume(), head.mask(), DetectSettings())
    labels = found.lesion_labels.labels
    assert sorted(np.unique(labels)) == list(range(len(found.lesions) + 1))
    for lesion in found.lesions:
        region = labels == lesion.id
        assert lesion.volume_mm3 == pytest.approx(region.sum())
        assert lesion.slices == tuple(np.flatnonzero(region.any(axis=(0, 1))))
        assert region[tuple(np.rint(lesion.centroid_ijk).astype(int))]


def test_candidates_carry_every_documented_feature_and_rejections_name_their_rule(scene):
    head = draw(scene)
    found = find(head.volume(), head.mask(), DetectSettings())
    assert all(set(c.features) == set(FEATURES) for c in found.candidates)
    assert [c.id for c in found.candidates] == list(range(1, len(found.candidates) + 1))
    assert {r.rule for r in found.rejections} <= {"probability", "overlap", "contrast", "ordinary"}
    accepted = {n.candidate_id for n in found.lesions}
    rejected = {r.candidate.id for r in found.rejections}
    assert accepted.isdisjoint(rejected)
    assert accepted | rejected == {c.id for c in found.candidates}


def test_a_tube_and_a_sheet_are_no_lesions(scene):
    head = scene().tube((30.0, 28.0, 20.0), (0.1, 1.0, 0.3), 2.5).sheet(12.0, 2.0)
    found = find(head.volume(), head.mask(), DetectSettings())
    assert len(found.lesions) == 0


def test_nothing_in_pure_noise(scene):
    head = scene()
    assert find(head.volume(), head.mask(), DetectSettings()).lesions == ()


@pytest.mark.parametrize(("scale", "offset"), [(1e12, 0.0), (1e-9, 0.0), (3.0, -4000.0), (0.5, 1e4)])
def test_units_and_offsets_change_nothing(scene, volume_of, scale, offset):
    head = draw(scene)
    reference = find(head.volume(), head.mask(), DetectSettings())
    voxels = head.voxels().astype(np.float64) * scale + offset
    found = find(volume_of(voxels), head.mask(), DetectSettings())
    assert len(found.lesions) == len(reference.lesions)
    assert found.noise_sigma == pytest.approx(reference.noise_sigma * scale, rel=1e-2)
    places = [
        np.array([n.centroid_ijk for n in sorted(d.lesions, key=lambda n: n.centroid_ijk)]) for d in (found, reference)
    ]
    assert np.abs(places[0] - places[1]).max() < 0.05


def test_all_48_orientations_give_the_same_lesions(scene):
    head = draw(scene, spacing=(1.0, 0.9, 1.5), shape=(44, 52, 30))
    voxels, mask, spacing = head.voxels(), head.mask(), head.spacing
    reference = find(head.volume(), mask, DetectSettings())
    assert len(reference.lesions) > 0
    expected = sorted(n.centroid_ras_mm for n in reference.lesions)
    for axes in permutations(range(3)):
        for flips in product((1, -1), repeat=3):
            turned = [a.transpose(axes)[tuple(slice(None, None, f) for f in flips)] for a in (voxels, mask)]
            affine = np.eye(4)
            affine[:3, :3] = 0
            for new, (old, flip) in enumerate(zip(axes, flips, strict=True)):
                affine[old, new] = flip * spacing[old]
                affine[old, 3] = 0 if flip > 0 else spacing[old] * (voxels.shape[old] - 1)
            grid = Grid(shape=turned[0].shape, affine=affine)
            found = find(Volume(voxels=turned[0], grid=grid, slice_axis=axes.index(2)), turned[1], DetectSettings())
            places = sorted(n.centroid_ras_mm for n in found.lesions)
            assert np.allclose(places, expected, atol=1e-6), (axes, flips)
            assert sorted(n.slices for n in found.lesions if flips[axes.index(2)] > 0) in (
                [],
                sorted(n.slices for n in reference.lesions),
            )


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        (Sequence.T1C, Polarity.BRIGHT),
        (Sequence.UNKNOWN, Polarity.BRIGHT),
        (Sequence.SWI, Polarity.DARK),
        (Sequence.T2STAR, Polarity.DARK),
        (Sequence.ADC, Polarity.DARK),
    ],
)
def test_polarity_follows_the_sequence(scene, sequence, expected):
    head = scene(shape=(40, 40, 30)).ball((20, 14, 15), 4.0, 200.0).ball((20, 26, 15), 4.0, -200.0)
    found = find(head.volume(sequence=sequence), head.mask(), DetectSettings())
    assert found.polarity is expected
    y = 14 if expected is Polarity.BRIGHT else 26
    assert [round(n.centroid_ras_mm[1]) for n in found.lesions] == [y]


def test_polarity_can_be_set(scene):
    head = scene(shape=(40, 40, 30)).ball((20, 14, 15), 4.0, 200.0).ball((20, 26, 15), 4.0, -200.0)
    found = find(head.volume(), head.mask(), DetectSettings(polarity="both"))
    assert {(round(n.centroid_ras_mm[1]), n.polarity) for n in found.lesions} == {
        (14, Polarity.BRIGHT),
        (26, Polarity.DARK),
    }


def test_a_large_mass_is_not_lost(scene):
    head = scene(shape=(64, 64, 60)).ball((32, 32, 30), 24.0)
    found = find(head.volume(), head.mask(), DetectSettings())
    assert len(found.lesions) == 1
    assert found.lesions[0].equivalent_diameter_mm == pytest.approx(24.0, rel=0.2)


def test_touching_lesions_are_two(scene):
    head = scene().ball((22, 28, 20), 4.0).ball((26.5, 28, 20), 4.0)
    found = find(head.volume(), head.mask(), DetectSettings())
    assert len(found.lesions) == 2
    assert sorted(n.centroid_ras_mm[0] for n in found.lesions) == pytest.approx([22.0, 26.5], abs=0.6)


def test_a_ring_is_one_mass(scene):
    head = scene(shape=(64, 64, 56), noise=5.0).ball((30, 30, 28), 14.0, 150.0).ball((30, 30, 28), 8.0, -120.0)
    found = find(head.volume(), head.mask(), DetectSettings())
    assert len(found.lesions) == 1
    assert found.lesions[0].centroid_ras_mm == pytest.approx((30, 30, 28), abs=2)
    assert found.lesions[0].max_diameter_mm == pytest.approx(14, rel=0.25)


def test_a_small_blob_on_a_large_one_is_a_candidate_of_its_own(scene):
    """Scales do not compete for a place: the broad bump answers more strongly, and hides nothing."""
    head = scene(shape=(64, 64, 40), noise=3.0).ball((30, 30, 20), 12.0, 150.0).ball((30, 33, 20), 3.0, 60.0)
    found = find(head.volume(), head.mask(), DetectSettings())
    near = [c for c in found.candidates if np.linalg.norm(np.array(c.centroid_ras_mm) - (30, 33, 20)) < 1]
    assert any(c.diameter_mm < 4 for c in near)


def test_thick_slices(scene):
    head = scene(shape=(64, 72, 14), spacing=(0.8, 0.8, 5.0))
    head.ball((20.0, 30.0, 30.0), 6.0).ball((32.0, 22.0, 41.0), 5.0)
    found = find(head.volume(), head.mask(), DetectSettings())
    assert len(found.lesions) == 2
    for lesion, slices in ((nearest(found, (20, 30, 30)), {6}), (nearest(found, (32, 22, 41)), {8})):
        assert slices <= set(lesion.slices)
        assert len(lesion.slices) <= 2


def test_a_bright_skull_beside_the_mask_is_no_lesion(scene):
    head = scene()
    voxels, mask = head.voxels(), head.mask()
    voxels[~mask] = 3000
    volume = Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=np.eye(4)))
    assert find(volume, mask, DetectSettings()).lesions == ()


def test_operating_points_are_nested(scene):
    head = draw(scene, noise=60.0)
    counts = [
        len(find(head.volume(), head.mask(), DetectSettings(sensitivity=s)).lesions)
        for s in ("specific", "balanced", "high")
    ]
    assert counts == sorted(counts)


def test_the_same_scan_gives_the_same_result(scene):
    head = draw(scene)
    a, b = (find(head.volume(), head.mask(), DetectSettings()) for _ in range(2))
    assert a == b
    assert np.array_equal(a.lesion_labels.labels, b.lesion_labels.labels)


def test_a_mask_of_another_shape_is_refused(scene):
    head = scene()
    with pytest.raises(GeometryError, match="mask"):
        find(head.volume(), head.mask()[:-1], DetectSettings())
