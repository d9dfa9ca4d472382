"""Masses in drawn heads of 2 mm: found as one object, in place of the marks inside it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.detect import find_masses, masses, with_masses
from miliary_seg.detect.mass_map import mass_map
from miliary_seg.detect.mass_regions import FEATURES, mass_regions, measured
from miliary_seg.detect.masses import SURE, WEIGHTS, Mass
from miliary_seg.domain.compartment import Coverage, Registration, TemplateMap
from miliary_seg.domain.lesion import Candidate, Lesion, Rejection
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import Detection, Location, OperatingPoint
from miliary_seg.domain.sequence import Polarity, Sequence
from miliary_seg.domain.volume import LabelMap, Volume

SHAPE, PITCH_MM = (72, 88, 70), 2.0
CORNER_MM = -PITCH_MM * (np.array(SHAPE) - 1) / 2
RING_MM = np.array([26.0, 8.0, 14.0])
RIGHT_MM, FRONT_MM = np.array([12.0, 0.0, 0.0]), np.array([0.0, 12.0, 0.0])


def positions_mm():
    """x, y, z of every voxel: the head lies as the atlas does."""
    axes = [CORNER_MM[a] + PITCH_MM * np.arange(n) for a, n in enumerate(SHAPE)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def brain():
    x, y, z = positions_mm()
    return (x / 66) ** 2 + (y / 82) ** 2 + (z / 64) ** 2 <= 1


def head(seed=3):
    """White matter inside, a folded rim of grey matter, fluid in the middle, texture; like a T1 after contrast."""
    rng = np.random.default_rng(seed)
    x, y, z = positions_mm()
    inside = brain()
    depth = ndi.distance_transform_edt(inside, sampling=PITCH_MM)
    folds = ndi.gaussian_filter(rng.standard_normal(SHAPE), 2.0)
    folds = folds + folds[::-1]  # the two halves of a head are alike
    grey = depth < 7 + 3 * folds / folds.std()
    fluid = (np.abs(np.abs(x) - 9) < 5) & (np.abs(y) < 26) & (np.abs(z - 4) < 9)
    voxels = np.select([fluid, grey], [250.0, 620.0], 820.0)
    voxels = ndi.gaussian_filter(voxels, 0.5) + rng.normal(0, 18, SHAPE)
    return np.where(inside, voxels, 40.0).astype(np.float32)


def ring(voxels, centre=RING_MM, diameter=30.0, lift=500.0, core=350.0):
    away = np.sqrt(((positions_mm() - np.asarray(centre)[:, None, None, None]) ** 2).sum(axis=0))
    rim = (away <= diameter / 2) & (away > diameter / 2 - 5)
    within = away <= diameter / 2 - 5
    return np.where(rim, 820 + lift, np.where(within, core, voxels)).astype(np.float32), away <= diameter / 2


def volume_and_template(voxels, sequence="t1c", order=(0, 1, 2), flips=(1, 1, 1)):
    """A volume whose voxel axes run in any order and direction, with the atlas fitted to it."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag([PITCH_MM] * 3)
    affine[:3, 3] = CORNER_MM
    turned = voxels.transpose(order)
    matrix = affine[:, [*order, 3]]
    for axis, flip in enumerate(flips):
        if flip < 0:
            turned = np.flip(turned, axis)
            matrix[:3, 3] += matrix[:3, axis] * (turned.shape[axis] - 1)
            matrix[:3, axis] *= -1
    volume = Volume.from_array(np.ascontiguousarray(turned), matrix, sequence=sequence)
    corners = np.stack(np.meshgrid(*([np.linspace(-100, 100, 21)] * 3), indexing="ij"))
    lattice = np.eye(4)
    lattice[:3, :3] *= 10
    lattice[:3, 3] = -100
    return volume, TemplateMap(positions_mm=corners.astype(np.float32), affine=lattice)


def turned(mask, order, flips):
    result = mask.transpose(order)
    for axis, flip in enumerate(flips):
        result = np.flip(result, axis) if flip < 0 else result
    return np.ascontiguousarray(result)


def location_of(volume, template):
    none = np.zeros(volume.grid.shape, np.float32)
    labels = np.where(brain(), 2, 0).astype(np.uint8)
    whole = {f"{side}_{level}tentorial": 1.0 for side in ("left", "right") for level in ("supra", "infra")}
    return Location(
        brain_mask=brain(),
        compartments=LabelMap(labels=labels, grid=volume.grid),
        midline_distance_mm=none,
        tentorium_distance_mm=none,
        coverage=Coverage(**whole),
        registration=Registration(trusted=True, trust=1.0),
        template=template,
    )


def marks(volume, places):
    """A detection with a lesion of 27 voxels at each place, and a doubtful candidate beside the first."""
    labels = np.zeros(volume.grid.shape, np.int32)
    candidates, lesions = [], []
    for number, place in enumerate([*places, np.asarray(places[0]) - RIGHT_MM / 3], start=1):
        ijk = tuple(float(v) for v in volume.grid.to_ijk(np.asarray(place, float)))
        at = tuple(round(v) for v in ijk)
        common = {"centroid_ijk": ijk, "centroid_ras_mm": tuple(float(v) for v in place), "polarity": Polarity.BRIGHT}
        chance = 0.9 - 0.1 * number
        candidates.append(Candidate(id=number, diameter_mm=6.0, contrast=9.0, probability=chance, **common))
        if number <= len(places):
            labels[tuple(slice(v - 1, v + 2) for v in at)] = number
            size = {"volume_mm3": 27 * PITCH_MM**3, "equivalent_diameter_mm": 7.4, "slices": (at[2],)}
            about = {"id": number, "candidate_id": number, "contrast": 9.0, "probability": chance}
            lesions.append(Lesion(**about, **size, **common))
    labels.setflags(write=False)
    doubtful = Rejection(candidate=candidates[-1], rule="probability", reason="improbable")
    return Detection(
        candidates=tuple(candidates),
        rejections=(doubtful,),
        lesions=tuple(lesions),
        lesion_labels=LabelMap(labels=labels, grid=volume.grid),
        polarity=Polarity.BRIGHT,
        noise_sigma=18.0,
        operating_point=OperatingPoint(name="balanced", probability_threshold=0.24),
    )


@pytest.mark.parametrize("diameter", [20.0, 30.0, 44.0])
def test_a_ring_is_one_mass_with_its_core(diameter):
    voxels, truth = ring(head(), diameter=diameter)
    volume, template = volume_and_template(voxels)
    found = find_masses(volume, brain(), template)
    assert len(found) == 1
    assert found[0].probability >= SURE
    assert (found[0].region & truth).sum() >= 0.9 * truth.sum()
    assert found[0].diameter_mm == pytest.approx(diameter, rel=0.2)


def test_a_core_that_the_brain_mask_leaves_out_belongs_to_the_mass():
    voxels, truth = ring(head())
    volume, template = volume_and_template(voxels)
    away = np.sqrt(((positions_mm() - RING_MM[:, None, None, None]) ** 2).sum(axis=0))
    (found,) = find_masses(volume, brain() & (away > 6), template)
    assert (found.region & truth).sum() >= 0.9 * truth.sum()


def test_a_head_without_a_mass_has_none():
    volume, template = volume_and_template(head())
    assert find_masses(volume, brain(), template) == []


def test_a_mass_lies_where_it_lies_however_the_axes_run():
    voxels, truth = ring(head())
    for order in permutations(range(3)):
        for flips in ((1, 1, 1), (-1, 1, -1)):
            volume, template = volume_and_template(voxels, order=order, flips=flips)
            found = find_masses(volume, turned(brain(), order, flips), template)
            assert len(found) == 1, (order, flips)
            there = turned(truth, order, flips)
            assert (found[0].region & there).sum() >= 0.9 * there.sum()


def test_marks_in_a_mass_become_one_lesion_and_others_stay():
    voxels, truth = ring(head())
    volume, template = volume_and_template(voxels)
    far = (-30.0, -40.0, 10.0)
    before = marks(volume, [RING_MM + RIGHT_MM, far, RING_MM - RIGHT_MM])
    after = with_masses(before, volume, location_of(volume, template))
    assert [lesion.id for lesion in after.lesions] == [1, 2]
    other, mass = after.lesions
    assert (other.centroid_ras_mm, other.slices, other.flags) == (far, before.lesions[1].slices, ())
    assert mass.flags == ("mass",)
    assert mass.candidate_id == 1
    assert mass.probability >= before.lesions[0].probability
    assert set(np.flatnonzero(truth.any(axis=(0, 1)))) <= set(mass.slices)
    labels = after.lesion_labels.labels
    assert int((labels == 2).sum()) * PITCH_MM**3 == pytest.approx(mass.volume_mm3)
    assert np.array_equal(labels == 1, before.lesion_labels.labels == 2)
    assert after.candidates is before.candidates
    assert {one.candidate.id: one.rule for one in after.rejections} == {3: "mass", 4: "mass"}


def test_no_slice_counts_more_than_one_for_a_mass():
    voxels, _ = ring(head())
    volume, template = volume_and_template(voxels)
    before = marks(volume, [RING_MM + RIGHT_MM, RING_MM - RIGHT_MM, RING_MM + FRONT_MM])
    after = with_masses(before, volume, location_of(volume, template))
    assert len(after.lesions) == 1


def test_without_a_mass_the_very_same_detection_comes_back():
    volume, template = volume_and_template(head())
    before = marks(volume, [(20.0, 10.0, 10.0)])
    assert with_masses(before, volume, location_of(volume, template)) is before


@pytest.mark.parametrize(
    "change", [{"sequence": "t1"}, {"sequence": "swi"}, {"template": None}, {"polarity": Polarity.DARK}]
)
def test_where_masses_are_not_sought_nothing_changes(change):
    voxels, _ = ring(head())
    volume, template = volume_and_template(voxels, sequence=change.get("sequence", "t1c"))
    before = replace(marks(volume, [RING_MM]), polarity=change.get("polarity", Polarity.BRIGHT))
    place = location_of(volume, change.get("template", template))
    assert with_masses(before, volume, place) is before


def test_a_mass_that_is_not_sure_is_told_and_not_counted(monkeypatch):
    volume, template = volume_and_template(head())
    region = np.zeros(SHAPE, bool)
    region[50:58, 40:48, 30:38] = True
    unsure = Mass(probability=SURE - 0.1, diameter_mm=20.0, region=region, contrast=100.0)
    monkeypatch.setattr(masses, "find_masses", lambda *_: [unsure])
    before = marks(volume, [RING_MM])
    after = with_masses(before, volume, location_of(volume, template))
    assert after.lesions is before.lesions
    (told,) = after.caveats
    assert isinstance(told, Reason)
    assert told.code == "possible_mass"
    for words in ("right supratentorial", "20 mm", "slices 30 to 37", "not counted"):
        assert words in told.text
    (place,) = after.possible_masses
    assert place.slices == (30, 37)
    assert place.centroid_ijk == (53.5, 43.5, 33.5)


def test_noise_and_flat_and_empty_brains_have_no_mass():
    rng = np.random.default_rng(0)
    for voxels in (np.full(SHAPE, 5.0, np.float32), rng.normal(500, 40, SHAPE).astype(np.float32)):
        volume, template = volume_and_template(voxels)
        assert find_masses(volume, brain(), template) == []
    assert find_masses(volume, np.zeros(SHAPE, bool), template) == []


def test_voxels_that_are_not_finite_do_no_harm():
    voxels, truth = ring(head())
    voxels[5:8] = np.nan
    voxels[40, 40, 40] = np.inf
    volume, template = volume_and_template(voxels)
    found = find_masses(volume, brain(), template)
    assert len(found) == 1
    assert np.isfinite(found[0].contrast)
    assert (found[0].region & truth).sum() >= 0.9 * truth.sum()


def test_every_feature_has_a_weight_and_a_number():
    voxels, _ = ring(head())
    volume, template = volume_and_template(voxels)
    scene = mass_map(volume, brain(), template)
    table = np.array([measured(scene, region) for region in mass_regions(scene)])
    assert np.isfinite(table).all()
    assert table.shape[1] == len(FEATURES)
    assert {len(weights) for weights in WEIGHTS.values()} == {len(FEATURES) + 1}


def test_what_has_no_twin_is_asymmetric():
    voxels, truth = ring(head(), lift=500.0, core=1320.0)
    both, _ = ring(voxels, centre=RING_MM * (-1, 1, 1), lift=500.0, core=1320.0)
    one_sided, two_sided = (
        mass_map(*(volume_and_template(v)[0], brain(), volume_and_template(v)[1])) for v in (voxels, both)
    )
    where = ndi.binary_erosion(truth, iterations=3)[
        tuple(
            slice(f, f + n)
            for f, n in zip(
                np.array(one_sided.first)[np.argsort(one_sided.axes)],
                np.array(one_sided.brain.shape)[np.argsort(one_sided.axes)],
                strict=True,
            )
        )
    ]
    inside = where.transpose(one_sided.axes)
    assert one_sided.asymmetry[inside].mean() > 2
    assert abs(two_sided.asymmetry[inside].mean()) < 0.5


def test_families_cover_all_sequences():
    assert {masses.family(sequence) for sequence in Sequence} <= set(WEIGHTS)
