from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import GeometryError, NoBrainError
from miliary_seg.locate import locate
from miliary_seg.locate.pyramid import BlockMeans
from miliary_seg.locate.register import (
    completed,
    fit_affine_multistart,
    fit_from_smaller,
    fit_small_head,
    resolutions,
)
from miliary_seg.locate.transform import UNIT, affine_jacobian, affine_matrix, distance_mm
from miliary_seg.settings import LocateSettings

SETTINGS = LocateSettings()
L_SUPRA, R_SUPRA, L_INFRA, R_INFRA = Compartment
# Places in MNI mm whose compartment any anatomy text gives.
PLACES = {
    (-12, -20, 8): L_SUPRA,  # left thalamus
    (14, -90, 4): R_SUPRA,  # right calcarine cortex
    (-30, -40, -14): L_SUPRA,  # left fusiform gyrus, just above the tentorium
    (40, 30, 20): R_SUPRA,  # right middle frontal gyrus
    (-26, -62, -40): L_INFRA,  # left cerebellar hemisphere
    (26, -62, -40): R_INFRA,
    (6, -28, -36): R_INFRA,  # pons, right half
    (-6, -38, -52): L_INFRA,  # medulla, left half
}
SHAPES = {
    "isotropic": ((96, 112, 96), (2.0, 2.0, 2.0)),
    "thick axial": ((128, 128, 32), (1.6, 1.6, 5.5)),
    "thick sagittal": ((36, 100, 96), (5.0, 2.0, 2.0)),
    "thick coronal": ((96, 40, 96), (2.0, 5.0, 2.0)),
}


def wrong_percent(location, truth):
    scored = (truth > 0) & location.brain_mask
    return 100 * float((location.compartments.labels[scored] != truth[scored]).mean())


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("name", SHAPES)
def test_turned_and_shifted_head_is_labelled_in_any_acquisition(name, make_head, true_labels, turned, axial_affine):
    shape, spacing = SHAPES[name]
    moved = turned(14, -8, 18, (12, 30, -25))
    affine = axial_affine(spacing, shape, (12, 10, -20))
    volume = make_head(shape, affine, moved)
    location = locate(volume, SETTINGS)
    truth = true_labels(volume.grid, moved)
    assert location.registration.trusted
    assert location.registration.brain_found
    assert wrong_percent(location, truth) < 1.0
    assert dice(location.brain_mask, truth > 0) > 0.93
    for place, compartment in PLACES.items():
        ijk = np.linalg.inv(affine) @ moved @ np.array([*place, 1.0])
        i, j, k = (round(float(v)) for v in ijk[:3])
        assert location.compartments.labels[i, j, k] == compartment, place


@pytest.mark.parametrize("skull", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_same_answer_however_voxels_are_stored(skull, make_head, axial_affine):
    shape = (70, 84, 64)
    volume = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)), skull=skull)
    stored = volume.voxels.transpose(2, 0, 1)[::-1, :, ::-1]
    affine = volume.grid.affine[:, [2, 0, 1, 3]].copy()
    for axis, n in ((0, 64), (2, 84)):
        affine[:3, 3] += affine[:3, axis] * (n - 1)
        affine[:3, axis] *= -1
    other = Volume(voxels=stored, grid=dataclasses.replace(volume.grid, shape=stored.shape, affine=affine))
    first, second = locate(volume, SETTINGS), locate(other, SETTINGS)
    assert other.grid.orientation == "IRP"
    assert first.registration.skull_stripped is not skull
    assert first.registration == second.registration
    back = second.compartments.labels[::-1, :, ::-1].transpose(1, 2, 0)
    assert np.array_equal(first.compartments.labels, back)
    assert np.array_equal(first.brain_mask, second.brain_mask[::-1, :, ::-1].transpose(1, 2, 0))


def test_partial_coverage_is_measured(make_head, true_labels, turned, axial_affine):
    moved = turned(0, 0, 0, (0, 0, 0), 1.0)
    shape = (90, 106, 30)
    affine = axial_affine((2.0, 2.0, 3.0), shape, (0, -18, 25))  # from z = -18.5 to 68.5: most of the cerebellum is cut
    location = locate(make_head(shape, affine, moved), SETTINGS)
    bottom = -20.0  # lower face of the lowest slice
    with_atlas = true_labels(
        make_head((110, 130, 110), axial_affine((2, 2, 2), (110, 130, 110), (0, -18, 5))).grid, moved
    )
    z = -104 + 2.0 * np.arange(110)
    for compartment in (L_SUPRA, R_INFRA):
        inside = (with_atlas == compartment).sum(axis=(0, 1))
        expected = inside[(z > bottom) & (z < 70)].sum() / inside.sum()
        assert location.coverage.of(compartment) == pytest.approx(expected, abs=0.06)
    assert location.coverage.right_infratentorial < 0.6


def test_slices_padded_with_zeros_are_not_in_view(make_head, axial_affine):
    shape = (90, 106, 60)
    volume = make_head(shape, axial_affine((2.0, 2.0, 3.0), shape, (0, -18, 5)))
    bottom = 29  # below z = 5 mm nothing is left of the cerebellum
    padded = volume.voxels + 50  # as on real scans, the corners at the other end are not 0
    padded[:, :, :bottom] = 0
    full = locate(volume, SETTINGS).coverage
    cut = locate(dataclasses.replace(volume, voxels=padded), SETTINGS).coverage
    for compartment in Compartment:
        assert full.of(compartment) > 0.98
    assert max(cut.left_infratentorial, cut.right_infratentorial) < 0.1
    assert max(cut.left_supratentorial, cut.right_supratentorial) < 0.9


def test_brain_that_the_users_mask_leaves_out_is_not_in_view(make_head, axial_affine):
    shape = (80, 96, 80)
    volume = make_head(shape, axial_affine((2.2, 2.2, 2.2), shape, (0, -18, 5)))
    found = locate(volume, SETTINGS)
    right = found.brain_mask & (found.midline_distance_mm > 0)
    given = locate(volume, SETTINGS, mask=right).coverage
    assert min(given.right_supratentorial, given.right_infratentorial) > 0.9
    assert max(given.left_supratentorial, given.left_infratentorial) < 0.7


def test_distances_are_those_of_the_scan(make_head, turned, axial_affine):
    moved = turned(0, 0, 0, (5, 0, 0), 0.9)
    shape = (96, 112, 96)
    affine = axial_affine((2.0, 2.0, 2.0), shape, (0, -16, 5))
    location = locate(make_head(shape, affine, moved), SETTINGS)
    x = affine[0, 3] + 2.0 * np.arange(96)
    middle = location.midline_distance_mm[:, 50, 50]
    assert np.abs(middle - (x - 5)).max() < 3  # the midline lies at x = 5 mm, and a millimetre is a millimetre
    vermis = moved @ np.array([0.0, -62.0, -24.0, 1.0])
    lobe = moved @ np.array([20.0, -80.0, 10.0, 1.0])
    below, above = (
        location.tentorium_distance_mm[tuple(np.round((np.linalg.inv(affine) @ p)[:3]).astype(int))]
        for p in (vermis, lobe)
    )
    assert below > 5
    assert above < -10


def test_ct_in_hounsfield_units(make_head, true_labels, turned, axial_affine):
    moved = turned(10, 0, -6, (0, 5, 5))
    shape = (120, 120, 34)
    volume = make_head(shape, axial_affine((1.8, 1.8, 5.0), shape, (0, -10, 8)), moved, modality=Modality.CT)
    location = locate(volume, SETTINGS)
    assert wrong_percent(location, true_labels(volume.grid, moved)) < 1.5


def test_standardised_scan_without_skull_is_used_as_it_is(make_head, axial_affine):
    shape = (70, 84, 64)
    volume = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)), skull=False)
    tissue = volume.voxels > 0
    inner = volume.voxels[tissue]
    scores = np.where(tissue, (volume.voxels - inner.mean()) / inner.std(), 0)
    location = locate(Volume(voxels=scores, grid=volume.grid), SETTINGS)
    assert location.registration.trusted
    assert location.registration.skull_stripped
    assert dice(location.brain_mask, tissue) > 0.98


def test_mr_of_a_known_sequence_is_not_read_in_hu_however_negative(make_head, axial_affine):
    shape = (70, 84, 64)
    volume = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)))
    voxels = volume.voxels * (900.0 / float(volume.voxels.max())) - 500.0
    moved = Volume(voxels=voxels, grid=volume.grid, sequence=SequenceEvidence(sequence=Sequence.T1, confidence="user"))
    found, expected = locate(moved, SETTINGS), locate(volume, SETTINGS)
    assert found.registration.trusted
    assert dice(found.brain_mask, expected.brain_mask) > 0.99


def test_affine_only(make_head, axial_affine):
    shape = (70, 84, 64)
    volume = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)))
    location = locate(volume, dataclasses.replace(SETTINGS, deform=False))
    assert location.registration.trusted
    assert location.registration.figures["midline_deformation_mm"] == 0


def test_unknown_orientation_is_carried(make_head, axial_affine):
    shape = (70, 84, 64)
    affine = axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5))
    location = locate(make_head(shape, affine, orientation_known=False), SETTINGS)
    assert not location.registration.orientation_known


def test_own_mask_is_used_as_it_is(make_head, axial_affine):
    shape = (70, 84, 64)
    volume = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)))
    mask = np.zeros(shape, bool)
    mask[20:50, 20:60, 20:50] = True
    location = locate(volume, SETTINGS, mask=mask)
    assert np.array_equal(location.brain_mask, mask)
    assert np.array_equal(location.compartments.labels > 0, mask)
    with pytest.raises(GeometryError, match="mask"):
        locate(volume, SETTINGS, mask=mask[1:])


def test_gaps_in_the_numbers_do_no_harm(make_head, axial_affine):
    shape = (70, 84, 64)
    volume = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)))
    voxels = volume.voxels.copy()
    voxels[0, :, :] = np.nan
    voxels[30, 30, 30] = np.inf
    assert locate(Volume(voxels=voxels, grid=volume.grid), SETTINGS).registration.trusted


def shapes_without_a_brain():
    shape = (64, 64, 40)
    place = (
        np.stack(np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij"))
        * np.array([3, 3, 4])[:, None, None, None]
    )
    radius = np.sqrt((place**2).sum(axis=0))
    rng = np.random.default_rng(3)
    tubes = (np.hypot(place[0] - 20, place[1]) < 35) | (np.hypot(place[0] + 25, place[1] - 20) < 22)
    return {
        "noise": rng.random(shape) * 100,
        "sphere": np.where(radius < 80, 500, 5) + rng.normal(0, 5, shape),
        "shells": np.where(radius < 80, np.where(radius < 60, 300, 600), 5) + rng.normal(0, 5, shape),
        "limb": np.where(tubes, 400 + 2 * place[2], 5) + rng.normal(0, 5, shape),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", shapes_without_a_brain())
def test_what_is_not_a_brain_is_not_trusted(name):
    voxels = shapes_without_a_brain()[name].astype(np.float32)
    affine = np.diag([3.0, 3.0, 4.0, 1.0])
    location = locate(Volume(voxels=voxels, grid=_grid(voxels.shape, affine)), SETTINGS)
    assert not location.registration.trusted
    assert not location.registration.brain_found
    assert location.registration.reasons[0].code == "no_brain"


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_empty_scan_is_refused(value):
    voxels = np.full((20, 20, 10), value, np.float32)
    with pytest.raises(NoBrainError, match="empty"):
        locate(Volume(voxels=voxels, grid=_grid(voxels.shape, np.diag([5.0, 5, 5, 1]))), SETTINGS)


def test_one_bright_voxel_is_no_head():
    voxels = np.zeros((20, 20, 10), np.float32)
    voxels[5, 5, 5] = 1
    location = locate(Volume(voxels=voxels, grid=_grid(voxels.shape, np.diag([5.0, 5, 5, 1]))), SETTINGS)
    assert not location.registration.brain_found


def _grid(shape, affine):
    from miliary_seg.domain.grid import Grid

    return Grid(shape=shape, affine=affine)


def test_a_fit_that_was_stretched_to_the_scalp_falls_back_to_the_brain(make_head, turned, axial_affine):
    shape, spacing = SHAPES["isotropic"]
    volume = make_head(shape, axial_affine(spacing, shape, (0, -10, -10)), turned(6, 3, -4, (3, 4, -6)))
    scan = resolutions(BlockMeans(voxels=volume.voxels, affine=volume.grid.affine), is_ct=False)
    right = fit_affine_multistart(scan).best
    assert fit_from_smaller(scan, right) is None, "nothing better than the right one"
    stretched = right.parameters.copy()
    stretched[6:9] += np.log(1.16) / UNIT
    levels = {name: 0.5 * getattr(right, name) for name in ("score", "brain_information")}
    back = fit_from_smaller(scan, dataclasses.replace(right, parameters=stretched, **levels))
    assert distance_mm(back.matrix, right.matrix) < 4.0


@pytest.mark.parametrize(
    ("pitch_deg", "leads", "rated"),
    [(26, True, (0.0, 0.85)), (26, False, (1.0, 1.0)), (6, True, (0.0, 0.0))],
    ids=["a rival that matches worse", "a rival that led before", "the same answer"],
)
def test_near_ties_are_settled_by_deformation(make_head, turned, axial_affine, pitch_deg, leads, rated):
    shape, spacing = SHAPES["isotropic"]
    volume = make_head(shape, axial_affine(spacing, shape, (0, -10, -10)), turned(6, 3, -4, (3, 4, -6)))
    scan = resolutions(BlockMeans(voxels=volume.voxels, affine=volume.grid.affine), is_ct=False)
    aligned = fit_affine_multistart(scan)
    right = aligned.best
    pitched = right.parameters.copy()
    pitched[3] += np.radians(pitch_deg) / UNIT
    pitched[1] += 6.0
    other = dataclasses.replace(right, parameters=pitched, score=right.score * (0.98 if leads else 1.01))
    assert distance_mm(other.matrix, right.matrix) > 8.0
    tied = dataclasses.replace(aligned, fits=[right, other], best=right if leads else other)
    with threadpool_limits(limits=1):  # as in ``locate``
        fit = completed(scan, tied, deform=True)
    assert np.array_equal(fit.matrix, right.matrix), "what matches better after deformation"
    assert rated[0] <= fit.figures["runner_up_ratio"] <= rated[1]


def test_near_ties_of_a_scan_that_is_not_t1_weighted_are_left_as_they_are(make_head, turned, axial_affine):
    shape, spacing = SHAPES["isotropic"]
    volume = make_head(shape, axial_affine(spacing, shape, (0, -10, -10)), turned(6, 3, -4, (3, 4, -6)))
    voxels = volume.voxels
    inverse = np.where(voxels > 0.2 * np.percentile(voxels, 99), voxels.max() - voxels, voxels).astype(np.float32)
    fits, scans = {}, {}
    for name, grey_values in (("T1", voxels), ("inverse", inverse)):
        scan = resolutions(BlockMeans(voxels=grey_values, affine=volume.grid.affine), is_ct=False)
        aligned = fit_affine_multistart(scan)
        pitched = aligned.best.parameters.copy()
        pitched[3] += np.radians(14) / UNIT
        pitched[1] += 6.0
        other = dataclasses.replace(aligned.best, parameters=pitched, score=aligned.best.score * 0.98)
        scans[name] = dataclasses.replace(aligned, fits=[aligned.best, other])
        fits[name] = completed(scan, scans[name], deform=True)
    assert fits["T1"].figures["runner_up_ratio"] < 0.9
    assert fits["inverse"].figures["runner_up_ratio"] == pytest.approx(0.98)
    assert np.array_equal(fits["inverse"].matrix, scans["inverse"].best.matrix)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0.66, 0.72])
def test_a_small_head_is_fitted_and_never_masked_on_the_scalp(make_head, turned, axial_affine, true_labels, size):
    shape, spacing = SHAPES["isotropic"]
    affine, place = axial_affine(spacing, shape, (0, -10, -10)), turned(6, 3, -4, (3, 4, -6), size)
    volume = make_head(shape, affine, place)
    scan = resolutions(BlockMeans(voxels=volume.voxels, affine=affine), is_ct=False)
    assert np.exp(fit_affine_multistart(scan).best.parameters[6:9] * UNIT) == pytest.approx(size, rel=0.05)
    brain = (true_labels(volume.grid, place) > 0).sum()
    assert locate(volume).brain_mask.sum() / brain == pytest.approx(1.0, abs=0.12)


def test_a_usual_head_is_not_taken_for_a_small_one(make_head, turned, axial_affine):
    shape, spacing = SHAPES["isotropic"]
    volume = make_head(shape, axial_affine(spacing, shape, (0, -10, -10)), turned(6, 3, -4, (3, 4, -6)))
    scan = resolutions(BlockMeans(voxels=volume.voxels, affine=volume.grid.affine), is_ct=False)
    right = fit_affine_multistart(scan).best
    assert fit_small_head(scan, right) is None
    stretched = dataclasses.replace(
        right, parameters=right.parameters.copy(), head_information=0.0, brain_information=0.0
    )
    stretched.parameters[6:9] += np.log(1.3) / UNIT
    assert fit_small_head(scan, stretched) is not None


def test_no_step_of_a_line_search_overflows():
    far = affine_matrix(np.full(12, 1e6))
    assert np.isfinite(far).all()
    assert np.isfinite(affine_jacobian(np.full(12, 1e6))).all()
