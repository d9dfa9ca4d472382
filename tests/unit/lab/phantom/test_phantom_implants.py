"""Lesions that replace their tissue: level, mixture, places, counts, and the same lesions over slice thicknesses."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality, Polarity, Sequence, SequenceEvidence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import SettingsError, UsageError
from miliary_seg.lab.phantom import (
    Head,
    LesionSpec,
    PhantomSpec,
    ScannerSpec,
    head_from_volume,
    implanted_series,
    make,
    preset,
)
from miliary_seg.lab.phantom.tissue import GREY, WHITE, tissue_of

VOXEL_MM = 1.5
RADIUS_MM = 42.0
LEVELS = {Sequence.T1C: (100.0, 70.0, 25.0), Sequence.FLAIR: (100.0, 128.0, 26.0), Sequence.CT: (29.0, 37.0, 6.0)}
KEPT = ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0, profile="box")
LESIONS = LesionSpec(
    count=80, diameter_mm=(3.0, 7.0), enhancement=(0.2, 1.5), irregularity=0.2, ring_fraction=0.3, soft_fraction=0.3
)
SPEC = PhantomSpec(lesions=LESIONS, scanner=KEPT, visible_contrast=0.0)


def brain_of(sequence: Sequence, *, noise: float = 0.0, shading: float = 0.0, tube: float = 0.0) -> Head:
    """White matter in the middle, a shell of cortex, fluid around it, one vessel; left = x < 0, below = z < -10."""
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = -VOXEL_MM * 31.5
    grid = Grid(shape=(64, 64, 64), affine=affine)
    at = grid.to_ras_mm(np.stack(np.meshgrid(*[np.arange(64)] * 3, indexing="ij"), axis=-1))
    depth = RADIUS_MM - np.linalg.norm(at, axis=-1)
    brain = depth > 0
    white, grey, fluid = LEVELS[sequence]
    voxels = np.select([depth > 9, depth > 2, brain], [white, grey, fluid], -1000.0 if sequence == "ct" else 0.0)
    if tube:
        voxels[np.hypot(at[..., 0] - 15, at[..., 1]) < 1.6] = tube
    voxels = voxels * np.exp(shading * at[..., 0] / RADIUS_MM)
    voxels += noise * np.random.default_rng(2).standard_normal(brain.shape) * brain
    codes = (np.where(at[..., 0] < 0, 1, 2) + 2 * (at[..., 2] < -10)) * brain
    modality = Modality.CT if sequence is Sequence.CT else Modality.MR
    evidence = SequenceEvidence(sequence=sequence, confidence="user")
    volume = Volume(voxels=voxels.astype(np.float32), grid=grid, id="brain", modality=modality, sequence=evidence)
    return head_from_volume(volume, brain, compartments=LabelMap(labels=codes.astype(np.uint8), grid=grid))


@pytest.fixture(scope="module")
def brain() -> Head:
    return brain_of(Sequence.T1C)


@pytest.fixture(scope="module")
def even(ball: Head) -> Head:
    """The ball without noise: all of it is white matter of 100."""
    volume = replace(ball.volume, voxels=np.where(ball.brain, 100.0, 0.0))
    return head_from_volume(volume, ball.brain, compartments=LabelMap(labels=ball.compartments, grid=ball.grid))


def with_lesions(spec: PhantomSpec, **changes) -> PhantomSpec:
    return replace(spec, lesions=replace(spec.lesions, **changes))


def second_best(counts) -> int:
    """By trying every pair."""
    return max((min(counts[a], counts[b]) for a, b in combinations(range(len(counts)), 2) if b - a >= 2), default=0)


@pytest.mark.parametrize(("polarity", "sign"), [(Polarity.BRIGHT, 1), (Polarity.DARK, -1)])
def test_the_middle_of_a_large_lesion_has_the_level_that_was_asked(brain, polarity, sign):
    spec = with_lesions(SPEC, count=4, diameter_mm=(12, 14), enhancement=(0.3, 0.9), polarity=polarity)
    spec = with_lesions(spec, ring_fraction=0, soft_fraction=0, irregularity=0, places=(("deep", 1.0),))
    made = make(spec, brain, seed=1)
    for one in made.truth.lesions:
        assert one.white_level == pytest.approx(100, rel=0.01)
        assert np.sign(one.enhancement) == sign
        centre = tuple(np.rint(made.volume.grid.to_ijk(one.centre_ras_mm)).astype(int))
        assert made.volume.voxels[centre] == pytest.approx(100 * (1 + one.enhancement), rel=0.02)
        assert one.peak_enhancement == pytest.approx(abs(one.enhancement), rel=0.02)


def test_a_lesion_in_cortex_reaches_the_same_level_as_one_in_white_matter(brain):
    """An added lesion would be darker there by the difference of the tissues."""
    spec = with_lesions(SPEC, count=6, diameter_mm=(6, 6), enhancement=(0.5, 0.5), ring_fraction=0, soft_fraction=0)
    spec = with_lesions(spec, irregularity=0, places=(("cortex", 1.0),))
    made = make(spec, brain, seed=3)
    for one in made.truth.lesions:
        assert made.volume.voxels[made.labels.labels == one.id].max() == pytest.approx(150, rel=0.03)


def test_ct_is_told_in_hounsfield_units():
    host = brain_of(Sequence.CT)
    spec = with_lesions(SPEC, count=5, diameter_mm=(8, 8), enhancement=(20, 40), soft_fraction=0, ring_fraction=0)
    made = make(with_lesions(spec, places=(("deep", 1.0),), irregularity=0), host, seed=2)
    for one in made.truth.lesions:
        centre = tuple(np.rint(made.volume.grid.to_ijk(one.centre_ras_mm)).astype(int))
        assert 20 <= one.enhancement <= 40
        assert made.volume.voxels[centre] == pytest.approx(29 + one.enhancement, abs=1.0)
        assert one.peak_enhancement == pytest.approx(one.enhancement, rel=0.05)


def test_the_signal_of_a_lesion_is_its_volume_times_its_enhancement(even):
    spec = with_lesions(SPEC, count=30, soft_fraction=0, ring_fraction=0, places=(("deep", 1.0),))
    made = make(spec, even, seed=4)
    gained = (made.volume.voxels - even.voxels).sum() * made.volume.grid.voxel_volume_mm3
    asked = sum(100 * one.enhancement * one.volume_mm3 for one in made.truth.lesions)
    assert gained == pytest.approx(asked, rel=0.01)


def test_the_signal_is_the_same_on_thick_slices(even):
    spec = with_lesions(replace(SPEC, scanner=replace(KEPT, profile="trapezoid")), count=30, places=(("deep", 1.0),))
    thin, thick = implanted_series(even, spec, (None, 4.5), seed=4)
    bare = implanted_series(even, with_lesions(spec, count=0), (None, 4.5), seed=4)
    gained = [
        float((made.volume.voxels - without.volume.voxels).sum()) * made.volume.grid.voxel_volume_mm3
        for made, without in zip((thin, thick), bare, strict=True)
    ]
    assert gained[0] > 1000
    assert gained[1] == pytest.approx(gained[0], rel=0.01)


def test_thick_slices_are_means_of_the_hosts_own(brain):
    thin, thick = implanted_series(brain, SPEC, (None, 4.5), seed=6)
    assert thick.volume.grid.shape == (64, 64, 21)
    means = thin.volume.voxels[:, :, :63].reshape(64, 64, 21, 3).mean(axis=3)
    assert thick.volume.voxels == pytest.approx(means, abs=1e-3)
    assert thick.volume.grid.to_ras_mm([0, 0, 0]) == pytest.approx(thin.volume.grid.to_ras_mm([0, 0, 1]))


def test_slices_with_gaps(brain):
    (made,) = implanted_series(brain, SPEC, ((4.5, 1.5),), seed=6)
    assert made.volume.thickness_mm == 4.5
    assert made.volume.gap_mm == pytest.approx(1.5)
    assert np.diff(made.truth.slice_positions_mm) == pytest.approx(6.0)


def test_counts_equal_a_recount_from_voxels_and_geometry(even):
    """In a head that is white matter throughout, what a lesion shows can be read off the voxels (soft ones overlap)."""
    spec = replace(with_lesions(SPEC, irregularity=0.0, gap_mm=5.0, count=40, diameter_mm=(2.0, 6.0), soft_fraction=0))
    for made in implanted_series(even, spec, (None, 4.5), seed=8):
        (bare,) = implanted_series(even, with_lesions(spec, count=0), (made.truth.thickness_mm,), seed=8)
        shown = (made.volume.voxels - bare.volume.voxels) / 100
        thickness, positions = made.truth.thickness_mm, np.array(made.truth.slice_positions_mm)
        counts = np.zeros(len(positions), dtype=int)
        index = np.stack(np.meshgrid(*[np.arange(n) for n in shown.shape], indexing="ij"), axis=-1)
        at = made.volume.grid.to_ras_mm(index)
        for one in made.truth.lesions:
            centre, half = np.array(one.centre_ras_mm), one.diameter_mm / 2
            overlap = np.minimum(positions + thickness / 2, centre[2] + half)
            overlap = overlap - np.maximum(positions - thickness / 2, centre[2] - half)
            mine = (np.linalg.norm(at[..., :2] - centre[:2], axis=-1) < half + 2) & brain_mask(bare)
            mine &= np.abs(at[..., 2] - centre[2]) < half + thickness / 2 + 0.1
            peaks = np.where(mine, shown, -1).max(axis=(0, 1))
            counts += (overlap >= 0.5 * min(thickness, 2 * half)) & (peaks >= 0.1)
        assert sum(counts) > 20
        assert made.truth.slice_counts == tuple(counts)


def brain_mask(made) -> np.ndarray:
    """Voxels that lie in the brain throughout their thickness."""
    return made.volume.voxels > 99.9


def test_lesions_are_the_same_on_every_thickness(brain):
    made = implanted_series(brain, SPEC, (None, 3.0, 4.5), seed=9)
    one, *others = (
        [(m.id, m.centre_ras_mm, m.diameter_mm, m.enhancement, m.place) for m in p.truth.lesions] for p in made
    )
    assert len(one) == 80
    assert all(other == one for other in others)
    peaks = [[m.peak_enhancement for m in p.truth.lesions] for p in made]
    assert np.mean(peaks[2]) < np.mean(peaks[1]) < np.mean(peaks[0])


def test_equal_seeds_give_equal_lesions_and_more_add_to_fewer(brain):
    first, again = (implanted_series(brain, SPEC, (None,), seed=5)[0] for _ in range(2))
    assert np.array_equal(first.volume.voxels, again.volume.voxels)
    assert first.truth == again.truth
    other = implanted_series(brain, SPEC, (None,), seed=6)[0]
    assert other.truth.lesions[0].centre_ras_mm != first.truth.lesions[0].centre_ras_mm
    fewer = implanted_series(brain, with_lesions(SPEC, count=30), (None,), seed=5)[0]
    assert fewer.truth.lesions == first.truth.lesions[:30]


@pytest.mark.parametrize("count_on", [0, 1])
@pytest.mark.parametrize("wanted", [0, 1, 5, 9])
def test_the_second_best_slice_has_exactly_the_count_that_was_asked(brain, wanted, count_on):
    spec = with_lesions(SPEC, count=400, second_best=wanted)
    made = implanted_series(brain, spec, (None, 4.5), seed=3, count_on=count_on)
    assert second_best(made[count_on].truth.slice_counts) == wanted
    assert made[count_on].truth.second_best == wanted


@pytest.mark.parametrize(("side", "level"), [("left", "both"), ("both", "infratentorial")])
def test_side_and_level_are_kept(brain, side, level):
    (made,) = implanted_series(brain, with_lesions(SPEC, count=400, second_best=4, side=side, level=level), (None,))
    assert second_best(made.truth.slice_counts) == 4
    assert {one.side for one in made.truth.lesions} == ({"left"} if side == "left" else {"left", "right"})
    if level == "infratentorial":
        assert {one.level for one in made.truth.lesions} == {level}
        assert max(one.centre_ras_mm[2] for one in made.truth.lesions) < -10


def test_targets_count_what_is_visible(brain):
    spec = with_lesions(SPEC, count=60, slice_targets=((8, 6), (12, 6)), max_per_slice=5, diameter_mm=(2.0, 5.0))
    made = implanted_series(brain, spec, (None, 4.5), seed=2, count_on=1)[1]
    counts = made.truth.slice_counts
    assert (counts[8], counts[12]) == (6, 6)
    assert max(n for s, n in enumerate(counts) if s not in (8, 12)) <= 5
    assert len(made.truth.lesions) == 60


def test_slabs_are_what_thick_slices_show(brain):
    """A slab that starts at a slice is the mean of the slices within it."""
    spec = replace(SPEC, slab_mm=4.5)
    thin, thick = implanted_series(brain, spec, (None, 4.5), seed=11)
    near_edge = np.array(thick.truth.slice_positions_mm) - 1.5
    starts = [int(np.argmin(np.abs(np.array(thin.truth.slice_positions_mm) - z))) for z in near_edge]
    slabs = np.array(thin.truth.slab_counts)[starts]
    assert sum(slabs) > 40
    assert np.abs(slabs - np.array(thick.truth.slice_counts)).max() <= 1
    assert np.mean(slabs != np.array(thick.truth.slice_counts)) < 0.2
    assert thick.truth.slab_counts == thick.truth.slice_counts


def test_lesions_lie_where_their_place_says():
    host = brain_of(Sequence.T1C, tube=220.0)
    made = make(with_lesions(SPEC, count=150, diameter_mm=(2.0, 4.0), gap_mm=1.0), host, seed=7)
    tissue = tissue_of(host, Sequence.T1C)
    found = {place: [one for one in made.truth.lesions if one.place == place] for place, _ in LESIONS.places}
    shares = {place: len(ones) / 150 for place, ones in found.items()}
    for place, weight in LESIONS.places:
        assert shares[place] == pytest.approx(weight, abs=0.1)

    def depths(place: str) -> np.ndarray:
        return RADIUS_MM - np.linalg.norm([one.centre_ras_mm for one in found[place]], axis=1)

    assert np.all((depths("cortex") > 1) & (depths("cortex") < 10.5))
    assert np.all((depths("junction") > 6) & (depths("junction") < 12))
    assert depths("deep").min() > 15
    assert depths("sulcal").max() < 6
    assert {one.level for one in found["infratentorial"]} == {"infratentorial"}
    for one in found["vessel"]:
        x, y, _ = one.centre_ras_mm
        assert abs(np.hypot(x - 15, y) - 1.6 - one.diameter_mm / 2) < 2.5
    classes = tissue.classes[host.brain]
    assert (classes == WHITE).any()
    assert (classes == GREY).any()


def test_nothing_lies_where_it_may_not(brain):
    avoid = np.zeros(brain.grid.shape, dtype=bool)
    avoid[32:] = True
    made = make(SPEC, replace(brain, avoid=avoid), seed=1)
    assert max(one.centre_ras_mm[0] for one in made.truth.lesions) < VOXEL_MM


def test_lesions_keep_their_distance(brain):
    made = make(SPEC, brain, seed=13)
    centres = np.array([one.centre_ras_mm for one in made.truth.lesions])
    radii = np.array([one.diameter_mm for one in made.truth.lesions]) / 2
    gaps = cdist(centres, centres) - radii[:, None] - radii
    assert gaps[np.triu_indices(len(radii), 1)].min() >= LESIONS.gap_mm


@pytest.mark.parametrize("sequence", list(LEVELS))
@pytest.mark.parametrize("shading", [0.0, 0.15])
def test_the_level_of_white_matter_is_found(sequence, shading):
    shading = 0.0 if sequence is Sequence.CT else shading
    host = brain_of(sequence, noise=2.0, shading=shading)
    x = np.array([-25.0, -10.0, 0.0, 10.0, 25.0])
    points = np.stack([x, 0 * x + 5, 0 * x + 3], axis=1)
    expected = LEVELS[sequence][0] * np.exp(shading * x / RADIUS_MM)
    assert tissue_of(host, sequence).white_at(points) == pytest.approx(expected, rel=0.03)


def test_noise_of_the_host_is_not_taken_for_a_lesion():
    """Hardly any lesion that lost all but a trace of its enhancement counts, however noisy the host."""
    host = brain_of(Sequence.T1C, noise=4.0)
    spec = with_lesions(replace(SPEC, visible_contrast=0.0), enhancement=(0.02, 0.04), count=60)
    made = make(spec, host, seed=3)
    assert sum(bool(one.slices) for one in made.truth.lesions) <= 3


def test_the_template_takes_them_too():
    spec = with_lesions(preset("metastases"), count=40)
    spec = replace(spec, scanner=replace(spec.scanner, pixel_mm=2.0, thickness_mm=4.0))
    made = make(spec, seed=3)
    assert len(made.truth.lesions) == 40
    assert {one.place for one in made.truth.lesions} >= {"junction", "cortex", "deep", "infratentorial"}
    assert max(made.truth.slice_counts) > 0
    assert made.truth.as_dict()["lesions"][0]["place"] is not None
    for one in made.truth.lesions:
        assert len(one.slice_enhancement) == len(one.slices_touched)
        if one.place == "infratentorial":
            assert one.level == "infratentorial"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (LesionSpec, {"enhancement": (1.5, 0.2)}),
        (LesionSpec, {"enhancement": (0.0, 0.2)}),
        (LesionSpec, {"places": (("moon", 1.0),)}),
        (LesionSpec, {"places": (("deep", 0.0),)}),
        (LesionSpec, {"irregularity": 0.9}),
        (LesionSpec, {"second_best": 5}),
        (LesionSpec, {"second_best": -1, "enhancement": (0.2, 1.5)}),
        (LesionSpec, {"second_best": 5, "enhancement": (0.2, 1.5), "slice_targets": ((3, 2),)}),
        (ScannerSpec, {"host_thickness_mm": 5.0}),
        (ScannerSpec, {"host_thickness_mm": 50.0, "on_host_grid": True}),
        (PhantomSpec, {"visible_enhancement": -0.1}),
    ],
)
def test_settings_out_of_range_are_refused(kind, values):
    with pytest.raises(SettingsError, match="phantom setting"):
        kind(**values)


def test_what_cannot_be_made_is_refused(brain):
    with pytest.raises(UsageError, match="cannot be made"):
        implanted_series(brain, SPEC, (1.0,))
    with pytest.raises(UsageError, match="second-best"):
        implanted_series(brain, with_lesions(SPEC, count=5, second_best=20), (None,))
    with pytest.raises(UsageError, match="enhancement"):
        implanted_series(brain, with_lesions(SPEC, enhancement=None), (None,))
    with pytest.raises(UsageError, match="count_on"):
        implanted_series(brain, SPEC, (None,), count_on=1)
    with pytest.raises(UsageError, match="places"):
        make(with_lesions(SPEC, places=(("vessel", 1.0),)), brain)
    with pytest.raises(UsageError, match="outside"):
        make(with_lesions(SPEC, slice_targets=((99, 2),)), brain)
