"""Whole phantoms on a ball-shaped host: truth against voxels."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from threadpoolctl import threadpool_info, threadpool_limits

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality, Polarity, Sequence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, NoBrainError, UsageError
from miliary_seg.lab.phantom import (
    Head,
    LesionSpec,
    MimicSpec,
    PhantomSpec,
    ScannerSpec,
    head_from_labels,
    head_from_volume,
    make,
)
from miliary_seg.lab.phantom.spec import ORIENTATIONS

THIN = ScannerSpec(pixel_mm=1.0, thickness_mm=1.0, noise=0.01, bias=0.0, margin_mm=3.0)
PLAIN = PhantomSpec(lesions=LesionSpec(count=60, diameter_mm=(3.0, 6.0)), scanner=THIN, skull=False)


def with_lesions(spec: PhantomSpec, **changes) -> PhantomSpec:
    return replace(spec, lesions=replace(spec.lesions, **changes))


def with_scanner(spec: PhantomSpec, **changes) -> PhantomSpec:
    return replace(spec, scanner=replace(spec.scanner, **changes))


@pytest.fixture(scope="module")
def plain(ball: Head):
    return make(PLAIN, ball, seed=11)


def test_equal_seeds_give_equal_phantoms(ball, plain):
    again = make(PLAIN, ball, seed=11)
    assert np.array_equal(again.volume.voxels, plain.volume.voxels)
    assert again.truth == plain.truth
    assert again.volume.source.sha256 == plain.volume.source.sha256
    other = make(PLAIN, ball, seed=12)
    assert other.truth.lesions != plain.truth.lesions


def test_phantoms_do_not_depend_on_the_threads_of_matrix_products(ball, monkeypatch):
    module = sys.modules["miliary_seg.lab.phantom.make"]
    threads: list[int] = []
    made = module._made

    def watched(*args):
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return made(*args)

    monkeypatch.setattr(module, "_made", watched)
    with threadpool_limits(limits=2):
        make(PLAIN, ball, seed=3)
    assert set(threads) == {1}


def test_noise_leaves_places_and_contrast_units_as_they_were(ball, plain):
    louder = make(with_scanner(PLAIN, noise=0.05), ball, seed=11)
    assert [one.centre_ras_mm for one in louder.truth.lesions] == [one.centre_ras_mm for one in plain.truth.lesions]
    assert [one.contrast_noise for one in louder.truth.lesions] == pytest.approx(
        [one.contrast_noise for one in plain.truth.lesions]
    )


def test_hard_core_gaps_are_kept(plain):
    centres = np.array([one.centre_ras_mm for one in plain.truth.lesions])
    radii = np.array([one.diameter_mm for one in plain.truth.lesions]) / 2
    gaps = squareform(pdist(centres)) - radii[:, None] - radii[None, :]
    assert len(centres) == 60
    assert gaps[np.triu_indices(60, 1)].min() >= PLAIN.lesions.gap_mm - 1e-4


def test_lesions_keep_off_the_surface_of_the_brain(plain):
    outermost = max(np.linalg.norm(one.centre_ras_mm) + one.diameter_mm / 2 for one in plain.truth.lesions)
    assert outermost < 42.0 + 1.5


def test_labels_lie_on_the_lesions_and_have_their_volume(plain):
    voxel = plain.labels.grid.voxel_volume_mm3
    for one in plain.truth.lesions:
        where = np.argwhere(plain.labels.labels == one.id)
        centroid = plain.labels.grid.to_ras_mm(where).mean(axis=0)
        assert np.linalg.norm(centroid - one.centre_ras_mm) < 0.5
        assert len(where) * voxel == pytest.approx(one.volume_mm3, rel=0.45)


def test_counts_on_slices_agree_between_geometry_and_labels(plain):
    """On thin slices the rule says: the centre plane cuts the ball. Labels are an independent witness."""
    labels = plain.labels.labels
    differences = []
    for one in plain.truth.lesions:
        half = one.diameter_mm / 2
        cut = {s for s, z in enumerate(plain.truth.slice_positions_mm) if abs(z - one.centre_ras_mm[2]) < half - 1e-6}
        assert set(one.slices) == cut
        seen = set(np.flatnonzero((labels == one.id).any(axis=(0, 1))).tolist())
        differences.append(len(cut ^ seen))
    assert max(differences) <= 2
    assert np.mean(differences) < 0.8


def test_sides_and_levels_are_those_of_the_world(plain):
    for one in plain.truth.lesions:
        assert one.side == ("left" if one.centre_ras_mm[0] < 0 else "right")
        assert one.level == ("infratentorial" if one.centre_ras_mm[2] < -10 else "supratentorial")
    assert all(n > 0 for name, n in plain.truth.compartment_counts().items() if name != "unassigned")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_sides_survive_all_48_orientations(ball, orientation):
    spec = with_scanner(PLAIN, orientation=orientation, pixel_mm=2.0, thickness_mm=2.0, noise=0.0)
    spec = with_lesions(spec, count=6, diameter_mm=(5.0, 7.0), side="left")
    made = make(spec, ball, seed=4)
    assert made.volume.grid.orientation == orientation
    assert made.volume.plane == "axial"
    assert len(made.truth.lesions) == 6
    for one in made.truth.lesions:
        centroid = made.volume.grid.to_ras_mm(np.argwhere(made.labels.labels == one.id)).mean(axis=0)
        assert centroid == pytest.approx(one.centre_ras_mm, abs=1.0)
        assert centroid[0] < 0
        assert one.side == "left"


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_every_plane_counts_along_its_own_normal(ball, plane):
    spec = with_scanner(PLAIN, plane=plane, thickness_mm=4.0, gap_mm=1.0, pixel_mm=1.5)
    made = make(with_lesions(spec, count=20), ball, seed=2)
    world = ("sagittal", "coronal", "axial").index(plane)
    assert made.volume.plane == plane
    assert made.volume.gap_mm == pytest.approx(1.0)
    for one in made.truth.lesions:
        for s in one.slices:
            assert (
                abs(abs(made.truth.slice_positions_mm[s]) - abs(one.centre_ras_mm[world])) <= one.diameter_mm / 2 + 2.0
            )


def test_an_oblique_scan_finds_lesions_where_the_truth_says(ball):
    made = make(with_scanner(with_lesions(PLAIN, count=12), rotation_deg=(12.0, -8.0, 20.0)), ball, seed=6)
    assert made.volume.grid.oblique_deg > 10
    for one in made.truth.lesions:
        index = np.rint(made.volume.grid.to_ijk(one.centre_ras_mm)).astype(int)
        assert made.labels.labels[tuple(index)] == one.id


@pytest.mark.parametrize(("side", "level"), list(product(["left", "right"], ["supratentorial", "infratentorial"])))
def test_switches_for_side_and_level(ball, side, level):
    made = make(with_lesions(PLAIN, count=8, side=side, level=level), ball, seed=1)
    assert {(one.side, one.level) for one in made.truth.lesions} == {(side, level)}


@pytest.mark.parametrize("wanted", [0, 5, 10, 15, 18, 20])
def test_wanted_counts_on_wanted_slices_are_exact(ball, wanted):
    spec = with_scanner(PLAIN, thickness_mm=3.0)
    spec = with_lesions(
        spec, count=2 * wanted + 10, diameter_mm=(2.5, 4.0), gap_mm=1.0, slice_targets=((12, wanted), (16, wanted))
    )
    made = make(spec, ball, seed=9)
    assert made.truth.slice_counts[12] == wanted
    assert made.truth.slice_counts[16] == wanted
    assert len(made.truth.lesions) == 2 * wanted + 10


def test_no_other_slice_exceeds_the_cap(ball):
    spec = with_lesions(with_scanner(PLAIN, thickness_mm=3.0), count=60, slice_targets=((12, 9),), max_per_slice=7)
    counts = make(spec, ball, seed=9).truth.slice_counts
    assert counts[12] == 9
    assert max(n for s, n in enumerate(counts) if s not in (11, 12, 13)) <= 7


def test_contrast_in_units_of_noise_is_what_the_voxels_show(ball):
    """A large lesion in a homogeneous brain: mean of its core minus mean around it, over the noise."""
    spec = with_lesions(PLAIN, count=5, diameter_mm=(12.0, 14.0), contrast=(8.0, 8.0))
    quiet = replace(ball, voxels=np.where(ball.brain, 100.0, 0.0).astype(np.float32))
    made = make(with_scanner(spec, noise=0.02), quiet, seed=3)
    assert made.truth.noise_sigma == pytest.approx(2.0, rel=1e-3)
    for one in made.truth.lesions:
        value = _around(made, one, 0.0, 3.0).mean() - _around(made, one, 9.0, 11.0).mean()
        assert value / 2.0 == pytest.approx(8.0, abs=0.8)
        assert one.contrast_noise == pytest.approx(8.0)
        assert one.peak_contrast == pytest.approx(8.0, rel=0.02)


def test_contrast_in_units_of_the_surroundings(ball):
    """On a textured host one local unit is what a reader measures around the lesion: texture and noise together."""
    rng = np.random.default_rng(8)
    rough = replace(
        ball, voxels=(ball.voxels + 10 * rng.standard_normal(ball.voxels.shape)).astype(np.float32) * ball.brain
    )
    spec = with_lesions(PLAIN, count=5, diameter_mm=(8.0, 9.0), contrast=(6.0, 6.0), contrast_unit="local")
    kept = replace(spec, scanner=ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0))
    for one in make(kept, rough, seed=3).truth.lesions:
        assert one.contrast_local == pytest.approx(6.0)
        assert one.amplitude / 6.0 == pytest.approx(np.hypot(10, 2), rel=0.25)


def _around(made, one, low, high):
    index = np.stack(np.meshgrid(*[np.arange(n) for n in made.volume.grid.shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm(made.volume.grid.to_ras_mm(index) - one.centre_ras_mm, axis=-1)
    inside = (distance >= low) & (distance <= high) & made.brain_mask
    return made.volume.voxels[inside & ((made.labels.labels == 0) | (made.labels.labels == one.id))]


def test_dark_and_mixed_polarity(ball):
    dark = make(with_lesions(PLAIN, count=6, polarity=Polarity.DARK, contrast=(20.0, 30.0)), ball, seed=3)
    for one in dark.truth.lesions:
        assert one.amplitude < 0
        assert one.polarity == "dark"
        assert dark.volume.voxels[dark.labels.labels == one.id].mean() < 90
    both = make(with_lesions(PLAIN, count=20, polarity=Polarity.BOTH), ball, seed=3)
    assert {one.polarity for one in both.truth.lesions} == {"bright", "dark"}


def test_shapes(ball):
    spec = with_lesions(PLAIN, count=20, diameter_mm=(6.0, 7.0), elongation=2.0, ring_fraction=0.5, soft_fraction=0.5)
    made = make(spec, ball, seed=3)
    assert {one.kind for one in made.truth.lesions} == {"ring", "soft", "solid"}
    for one in made.truth.lesions:
        assert np.prod(one.semi_axes_mm) == pytest.approx((one.diameter_mm / 2) ** 3, rel=1e-4)
        assert one.semi_axes_mm[0] <= one.semi_axes_mm[2] <= 2.0001 * one.semi_axes_mm[0]
        assert 2 * one.semi_axes_mm[0] - 1e-6 <= one.extent_mm <= 2 * one.semi_axes_mm[2] + 1e-6


def test_a_faint_cross_section_does_not_count(ball):
    spec = with_lesions(with_scanner(PLAIN, thickness_mm=8.0), count=10, diameter_mm=(2.0, 2.0), contrast=(4.0, 4.0))
    assert sum(make(spec, ball, seed=3).truth.slice_counts) == 0
    assert sum(make(replace(spec, visible_contrast=0.0), ball, seed=3).truth.slice_counts) >= 8


def test_a_real_scan_keeps_its_voxels_away_from_lesions(ball):
    spec = with_lesions(replace(PLAIN, scanner=ScannerSpec(on_host_grid=True, noise=0.0, bias=0.0)), count=10)
    made = make(spec, ball, seed=3)
    assert made.volume.grid == ball.grid
    untouched = np.abs(made.volume.voxels - np.maximum(ball.voxels, 0)) < 1e-6
    assert untouched.mean() > 0.97
    assert made.truth.noise_sigma == pytest.approx(2.0, rel=0.1)
    assert make(with_lesions(spec, count=0), ball, seed=3).truth.lesions == ()


def test_artefacts_change_the_picture_and_not_the_truth(ball, plain):
    for change in ({"ringing": 0.3}, {"motion_mm": 3.0}, {"bias": 0.4}, {"profile": "gaussian"}):
        made = make(with_scanner(PLAIN, **change), ball, seed=11)
        assert [one.centre_ras_mm for one in made.truth.lesions] == [one.centre_ras_mm for one in plain.truth.lesions]
        assert np.abs(made.volume.voxels - plain.volume.voxels).max() > plain.truth.noise_sigma


def test_noise_in_air_is_rician_and_on_ct_gaussian(ball):
    spec = with_scanner(with_lesions(PLAIN, count=0), noise=0.04, margin_mm=12.0)
    air = make(spec, ball, seed=2).volume.voxels[:8, :8]
    assert air.mean() == pytest.approx(4.0 * np.sqrt(np.pi / 2), rel=0.03)
    ct = Volume(voxels=ball.voxels, grid=ball.grid, modality=Modality.CT)
    host = head_from_volume(ct, ball.brain)
    made = make(with_scanner(replace(spec, sequence=Sequence.CT), noise=5.0), host, seed=2)
    outside = made.volume.voxels[:5, :5]
    assert made.volume.modality is Modality.CT
    assert outside.std() == pytest.approx(5.0, rel=0.1)
    assert outside.mean() == pytest.approx(-1000, abs=2)


def test_partial_coverage_leaves_slices_out(ball):
    whole = make(with_lesions(PLAIN, count=0), ball, seed=2)
    upper = make(with_scanner(with_lesions(PLAIN, count=12), coverage=(0.5, 1.0)), ball, seed=2)
    assert upper.volume.n_slices == pytest.approx(whole.volume.n_slices / 2, abs=1)
    assert min(upper.truth.slice_positions_mm) > -2
    assert all(one.centre_ras_mm[2] > -2 for one in upper.truth.lesions)


def test_mimics_are_recorded_and_kept_apart_from_lesions(ball):
    spec = replace(PLAIN, mimics=MimicSpec(vessels=12, sheets=3, dots=6, choroid=2))
    made = make(spec, ball, seed=5)
    kinds = [one.kind for one in made.truth.mimics]
    assert kinds.count("vessel") == 12
    assert kinds.count("sheet") == 3
    assert kinds.count("dot") == 6
    assert "choroid" not in kinds  # the ball knows no fluid
    bare = make(PLAIN, ball, seed=5)
    assert made.volume.voxels.max() > bare.volume.voxels.max()
    dark = make(replace(spec, sequence=Sequence.SWI), ball, seed=5)
    assert dark.volume.voxels[made.brain_mask].mean() < made.volume.voxels[made.brain_mask].mean()


def test_truth_is_plain_json(plain):
    document = json.loads(json.dumps(plain.truth.as_dict()))
    assert document["n_lesions"] == 60
    assert len(document["slices"]) == plain.volume.n_slices


def test_a_label_map_becomes_a_head(ball):
    codes = np.where(ball.brain, np.where(ball.compartments % 2 == 1, 2, 41), 0).astype(np.int32)
    codes[30:34, 30:34, 30:34] = 4
    host = head_from_labels(
        LabelMap(labels=codes, grid=ball.grid),
        {2: 300.0, 41: 300.0, 4: 900.0},
        regions={2: "white", 41: "white"},
        compartments={2: 1, 41: 2},
        fluid=(4,),
    )
    assert host.white_level == 300.0
    assert host.fluid.sum() == 64
    made = make(replace(PLAIN, mimics=MimicSpec(choroid=2, vessels=2, dots=2)), host, seed=5)
    assert {one.region for one in made.truth.lesions} == {"white"}
    assert {one.kind for one in made.truth.mimics} == {"vessel", "dot", "choroid"}
    assert {one.side for one in made.truth.lesions} == {"left", "right"}
    with pytest.raises(UsageError, match="liver"):
        head_from_labels(LabelMap(labels=codes, grid=ball.grid), {}, regions={2: "liver"})


def test_a_brain_only_scan_imaged_anew_gets_a_skull(ball):
    bare = make(with_scanner(with_lesions(PLAIN, count=0), margin_mm=15.0), ball, seed=2)
    skull = make(with_scanner(with_lesions(replace(PLAIN, skull=True), count=0), margin_mm=15.0), ball, seed=2)
    outside = ~skull.brain_mask
    assert (skull.volume.voxels[outside] > 60).sum() > 1000 + (bare.volume.voxels[outside] > 60).sum()


def test_wishes_that_cannot_be_granted_are_refused(ball, ball_grid):
    unknown = replace(ball, compartments=None)
    with pytest.raises(UsageError, match="compartments"):
        make(with_lesions(PLAIN, side="left"), unknown)
    assert make(with_lesions(PLAIN, count=2), unknown).truth.compartment_counts()["unassigned"] == 2
    with pytest.raises(UsageError, match="no room"):
        make(with_lesions(PLAIN, count=200, diameter_mm=(12.0, 12.0)), ball)
    with pytest.raises(UsageError, match="outside"):
        make(with_lesions(PLAIN, slice_targets=((400, 3),)), ball)
    with pytest.raises(UsageError, match="count"):
        make(with_lesions(PLAIN, count=3, slice_targets=((40, 4),)), ball)
    with pytest.raises(UsageError, match="left for lesions"):
        make(with_lesions(PLAIN, diameter_mm=(60.0, 60.0), margin_mm=20.0), ball)
    with pytest.raises(UsageError, match="host"):
        make(replace(PLAIN, scanner=ScannerSpec(on_host_grid=True)))
    volume = Volume(voxels=ball.voxels, grid=ball_grid)
    with pytest.raises(NoBrainError):
        head_from_volume(volume, np.zeros(ball_grid.shape, dtype=bool))
    with pytest.raises(GeometryError):
        head_from_volume(volume, np.ones((3, 3, 3), dtype=bool))
    other = Grid(shape=ball_grid.shape, affine=np.eye(4))
    with pytest.raises(GeometryError):
        head_from_volume(volume, ball.brain, regions=LabelMap(labels=np.ones(other.shape, np.uint8), grid=other))
    with pytest.raises(NoBrainError):
        replace(ball, brain=np.zeros(ball_grid.shape, dtype=bool))
    with pytest.raises(GeometryError):
        replace(ball, regions=np.zeros((2, 2, 2), dtype=np.uint8))
