"""Each piece of the registration against an independent computation."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage as ndi

from miliary_seg.domain.grid import Grid
from miliary_seg.locate import deform
from miliary_seg.locate.affine_fit import fit_affine
from miliary_seg.locate.atlas import load_atlas, template_points
from miliary_seg.locate.bias_field import bias_corrected
from miliary_seg.locate.brain_mask import dilated, eroded
from miliary_seg.locate.mutual_information import (
    mutual_information,
    mutual_information_slope,
    normalized_mutual_information,
    unbiased_information,
)
from miliary_seg.locate.pyramid import (
    BRAIN_WINDOW_HU,
    N_BINS,
    BlockMeans,
    blurred,
    ct_grey_scale,
    linear_weights,
    mr_grey_scale,
    tensor_product,
    upsampled,
    upsampled_above,
)
from miliary_seg.locate.reorient import CanonicalView
from miliary_seg.locate.transform import (
    CENTRE_MNI_MM,
    affine_jacobian,
    affine_matrix,
    distance_mm,
    from_pose,
    rotation,
    size_penalty,
    tilt_deg,
)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def scan(rng):
    smooth = ndi.gaussian_filter(rng.standard_normal((14, 17, 12)), 1.5)
    voxels = ((smooth - smooth.min()) / np.ptp(smooth) * 100).astype(np.float32)
    affine = np.array([[3.0, 0.2, 0, -20], [0, 2.5, 0.4, -22], [0.1, 0, 4.0, -20], [0, 0, 0, 1]])
    return ct_grey_scale((0.0, 100.0)).scan(BlockMeans(voxels=voxels, affine=affine))


def test_sampling_agrees_with_scipy_and_its_gradient_with_differences(scan, rng):
    ijk = rng.uniform(0.2, 0.95, (3, 200)) * (np.array(scan.shape)[:, None] - 1)
    world = scan.affine[:3, :3] @ ijk + scan.affine[:3, 3:]
    expected = ndi.map_coordinates(scan.levels, ijk, order=1)
    assert_allclose(scan.sample(world), expected, atol=1e-4)
    value, gradient = scan.sample_with_gradient(world)
    assert_allclose(value, expected, atol=1e-4)
    for axis in range(3):
        h = np.zeros((3, 1))
        h[axis] = 1e-3
        rise = [
            ndi.map_coordinates(
                scan.levels.astype(float), scan.inverse[:3, :3] @ (world + d) + scan.inverse[:3, 3:], order=1
            )
            for d in (h, -h)
        ]
        slope = (rise[0] - rise[1]) / 2e-3
        assert np.quantile(np.abs(slope - gradient[axis]), 0.95) < 1e-2  # a cell border may lie between the two


def test_edge_continues_outside(scan):
    corner = scan.affine @ np.array([-5.0, -5, -5, 1])
    assert scan.sample(corner[:3, None])[0] == pytest.approx(scan.levels[0, 0, 0])
    assert not scan.contains(scan.to_ijk(corner[:3, None]))[0]


def test_block_means(rng):
    voxels = rng.random((9, 8, 5)).astype(np.float32)
    affine = np.diag([1.0, 2.0, 5.0, 1.0])
    blocks = BlockMeans(voxels=voxels, affine=affine).coarser(4.0)
    assert blocks.voxels.shape == (2, 4, 5)
    assert_allclose(blocks.voxels[1, 2, 3], voxels[4:8, 4:6, 3].mean(), rtol=1e-5)
    assert_allclose(blocks.affine @ [0, 0, 0, 1], [1.5, 1, 0, 1])
    assert_allclose(blocks.spacing_mm, [4, 4, 5])


def test_shading_is_flattened(rng):
    truth = (ndi.gaussian_filter(rng.standard_normal((40, 40, 30)), 2) > 0) * 300.0 + 300
    truth[:, :, :4] = truth[:, :6] = 0  # air
    shading = np.linspace(0.6, 1.5, 40)[:, None, None]
    blocks = BlockMeans(voxels=(truth * shading).astype(np.float32), affine=np.diag([4.0, 4, 4, 1]))
    levels = mr_grey_scale(blocks).scan(blocks).levels
    dark = [levels[part][truth[part] == 300].mean() for part in (np.s_[:10], np.s_[30:])]
    raw = [(truth * shading)[part][truth[part] == 300].mean() for part in (np.s_[:10], np.s_[30:])]
    assert abs(dark[1] / dark[0] - 1) < 0.5 * abs(raw[1] / raw[0] - 1)
    assert levels.max() <= N_BINS - 1
    assert levels.min() >= 0


def as_scan(voxels, step_mm):
    """Grey levels as they are, MNI mm as world."""
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    affine[:3, 3] = load_atlas().affine[:3, 3]
    return ct_grey_scale((0.0, N_BINS - 1.0)).scan(BlockMeans(voxels=voxels.astype(np.float32), affine=affine))


def test_shading_within_the_brain_is_taken_out_and_its_levels_spread():
    atlas = load_atlas()
    shading = np.linspace(0.7, 1.4, atlas.t1.shape[0])[:, None, None]
    dim = (4 + 6 * atlas.t1) * atlas.brain * shading
    flat = bias_corrected(as_scan(dim, 2.0), as_scan(dim[::2, ::2, ::2], 4.0), np.eye(4))
    deep = atlas.outside_mm < -6
    white = deep & (atlas.t1 > 0.85)
    left, right = white & (np.arange(len(dim)) < 30)[:, None, None], white & (np.arange(len(dim)) > 48)[:, None, None]
    before, after = ((x[right].mean() - x[left].mean()) / x[deep].std() for x in (dim, flat.levels))
    assert abs(after) < 0.5 * abs(before)
    span = np.ptp(np.percentile(flat.levels[deep], [3, 97]))
    assert span > 1.5 * np.ptp(np.percentile(dim[deep], [3, 97]))
    assert flat.levels.min() >= 0
    assert flat.levels.max() <= N_BINS - 1
    assert flat.shape == dim.shape


def test_a_scan_without_brain_in_view_keeps_its_levels():
    noise = as_scan(np.full((20, 20, 1), 7.0), 4.0)
    away = affine_matrix(np.array([900.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    assert bias_corrected(noise, noise, away) is noise


def test_bone_is_as_dark_as_air_within_the_brain_and_blood_is_not():
    blocks = BlockMeans(voxels=np.array([[[-900.0, 6, 30, 75, 300]]], np.float32), affine=np.eye(4))
    seen = blocks.without_bone().windowed(BRAIN_WINDOW_HU).voxels.ravel()
    assert seen.tolist() == [-5, 6, 30, 70, -5]


def test_the_affine_fit_reads_the_brain_in_its_own_grey_levels():
    atlas = load_atlas()
    levels = np.where(atlas.brain, 3 + 18 * atlas.t1, 0)[::2, ::2, ::2]
    brain, blank = as_scan(levels, 4.0), as_scan(np.zeros_like(levels), 4.0)
    points = template_points(4, 0.5)
    start = np.zeros(12)
    start[:3] = CENTRE_MNI_MM + 2.5
    fit = fit_affine(blank, brain, points, start)
    assert np.abs(fit.parameters[:3] - CENTRE_MNI_MM).max() < 0.6
    assert fit.head_information < 0.01
    assert fit.brain_information > 0.5


def test_grey_scale_of_nothing():
    blocks = BlockMeans(voxels=np.zeros((6, 6, 1), np.float32), affine=np.diag([4.0, 4, 4, 1]))
    scan = mr_grey_scale(blocks).scan(blocks)
    assert scan.levels.shape == (6, 6, 2)
    assert not scan.levels.any()


def test_tensor_product_is_linear_interpolation(rng):
    samples = rng.random((5, 4, 6)).astype(np.float32)
    places = [np.linspace(-1, n, 9) for n in samples.shape]
    got = tensor_product(samples, [linear_weights(p, n) for p, n in zip(places, samples.shape, strict=True)])
    at = np.stack(np.meshgrid(*places, indexing="ij")).reshape(3, -1)
    assert_allclose(got.ravel(), ndi.map_coordinates(samples, at, order=1, mode="nearest"), atol=1e-5)


def test_upsampling_in_slabs_is_the_tensor_product(rng):
    samples = rng.random((7, 5, 6)).astype(np.float32)
    places = (np.arange(45) / 7.5, np.arange(12) / 3, np.arange(21) / 4)  # neither a whole number of slabs nor of steps
    weights = [linear_weights(p, n) for p, n in zip(places, samples.shape, strict=True)]
    expected = tensor_product(samples, weights)
    assert_allclose(upsampled(samples, weights), expected, atol=1e-6)
    assert np.array_equal(upsampled_above(samples, weights, 0.5001), upsampled(samples, weights) > 0.5001)


def test_blurred_is_a_gaussian_filter(rng):
    samples = rng.random((9, 14, 11)).astype(np.float32)
    sigma = np.array([1.5, 3.0, 0.7])
    assert_allclose(blurred(samples, sigma), ndi.gaussian_filter(samples, sigma, truncate=3), atol=1e-5)


def test_mutual_information_of_equal_and_of_unrelated(rng):
    classes = rng.integers(0, 4, 20000)
    told = mutual_information((classes * 6.0).astype(np.float32), classes, 4)
    assert told == pytest.approx(np.log(4), abs=0.05)
    noise = rng.uniform(0, N_BINS - 1, 20000).astype(np.float32)
    assert mutual_information(noise, classes, 4) < 0.01
    few = slice(0, 400)
    assert abs(unbiased_information(noise[few], classes[few], 4)) < 0.03
    assert unbiased_information(noise[:50], classes[:50], 4) == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_slope_of_mutual_information_is_its_derivative(weighted, rng):
    classes = rng.integers(0, 5, 3000)
    levels = np.clip(classes * 4 + rng.normal(3, 1, 3000), 1, N_BINS - 3).astype(np.float32)
    levels = np.floor(levels) + 0.5  # well within a bin, so that a small step stays in it
    weights = rng.uniform(0.5, 3, 3000) if weighted else None
    value, slope = mutual_information_slope(levels, classes, 5, weights)
    for k in (0, 10, 77):
        moved = levels.copy()
        moved[k] += 0.25
        rise = mutual_information_slope(moved, classes, 5, weights)[0] - value
        assert rise == pytest.approx(slope[k] * 0.25, rel=0.05, abs=1e-8)


def test_normalized_mutual_information_needs_enough_in_view(scan):
    far = np.eye(4)
    far[:3, 3] = 1000
    assert normalized_mutual_information(scan, template_points(8), far) == 0


def test_the_brain_counts_as_often_as_asked(scan):
    small = np.diag([0.2, 0.2, 0.2, 1.0])  # the whole template inside the scan

    def match(weight):
        return normalized_mutual_information(scan, template_points(8), small, brain_weight=weight)

    brain = match(1.0) - match(0.0)
    assert brain > 0
    assert match(2.5) == pytest.approx(match(0.0) + 2.5 * brain)


def test_the_jacobian_is_the_central_difference_of_the_matrix_itself(rng):
    parameters = rng.normal(0, 5, 12)
    steps = np.eye(12) * 1e-3
    expected = [(affine_matrix(parameters + h) - affine_matrix(parameters - h))[:3] / 2e-3 for h in steps]
    assert_allclose(affine_jacobian(parameters), expected, rtol=0, atol=1e-10)
    assert_allclose(affine_matrix(parameters)[3], [0, 0, 0, 1])


def test_affine_matrix_by_parts():
    q = np.array([3.0, -2, 5, 4, -6, 8, 1, 2, -3, 0.5, 0.2, -0.4])
    matrix = affine_matrix(q)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(np.exp(0.02 * 0.0))
    pure = affine_matrix(np.concatenate([q[:6], np.zeros(6)]))
    assert_allclose(pure[:3, :3], rotation(0.08, -0.12, 0.16), atol=1e-12)
    assert_allclose(pure[:3, :3] @ pure[:3, :3].T, np.eye(3), atol=1e-12)
    step = affine_matrix(q + 0.01 * np.eye(12)[4]) - matrix
    assert_allclose(affine_jacobian(q)[4] * 0.01, step[:3], atol=1e-3)
    assert from_pose(np.arange(7.0)).tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6, 0, 0, 0]


def test_tilt_distance_and_size():
    q = np.zeros(12)
    assert tilt_deg(affine_matrix(q)) == pytest.approx(15)  # heads usually lie pitched by 15 degrees
    q[3] = np.radians(40) / 0.02
    assert tilt_deg(affine_matrix(q)) == pytest.approx(25)
    shifted = np.eye(4)
    shifted[:3, 3] = [3, 0, 4]
    assert distance_mm(np.eye(4), shifted) == pytest.approx(5)
    assert size_penalty(np.log([0.93] * 3))[0] == pytest.approx(0)
    assert size_penalty(np.log([0.93]) + 0.12)[0] == pytest.approx(4)


def test_splines_sum_to_one_and_the_adjoint_is_the_adjoint(rng):
    grid = deform.lattice()
    for spline in grid.splines:
        assert_allclose(spline.sum(axis=1), 1, atol=1e-6)
    c = rng.standard_normal((3, *grid.knots)).astype(np.float32)
    u = rng.standard_normal((3, *grid.used.shape)).astype(np.float32)
    assert (grid.field(c) * u).sum() == pytest.approx((c * grid.gathered(u)).sum(), rel=1e-3)


def test_roughness_gradient(rng):
    c = rng.standard_normal((3, 5, 4, 6))
    total, slope = deform._roughness(c)
    assert total > 0
    flat = np.ones((3, 5, 4, 6))
    assert deform._roughness(flat)[0] == pytest.approx(0.1 * flat.size)
    for at in ((0, 0, 0, 0), (1, 2, 3, 4), (2, 4, 1, 5)):
        h = np.zeros_like(c)
        h[at] = 1e-5
        rise = (deform._roughness(c + h)[0] - deform._roughness(c - h)[0]) / 2e-5
        assert slope[at] == pytest.approx(rise, rel=1e-5)


def test_inverse_of_the_deformation(rng):
    grid = deform.lattice()
    coefficients = ndi.gaussian_filter(rng.standard_normal((3, *grid.knots)), (0, 2, 2, 2)) * 30
    fitted = deform.Deformation(coefficients=coefficients.astype(np.float32))
    matrix = affine_matrix(np.array([5.0, 3, -8, 4, 2, -3, -3, -2, -4, 1, 0, 0]))
    start = rng.uniform(-40, 40, (3, 300)) + np.array([[0], [-20], [10]])
    field, affine = fitted.displacement()
    ijk = np.linalg.inv(affine)[:3, :3] @ start + np.linalg.inv(affine)[:3, 3:]
    shift = np.stack([ndi.map_coordinates(part, ijk, order=1, mode="nearest") for part in field])
    scan_mm = matrix[:3, :3] @ (start + shift) + matrix[:3, 3:]
    assert np.abs(shift).max() > 2
    assert np.abs(deform.to_template(scan_mm, matrix, fitted) - start).max() < 0.1


def test_nothing_in_view_is_not_deformed(scan):
    far = np.eye(4)
    far[:3, 3] = 5000
    assert not deform.fit_deformation(scan, far, 1e-6).coefficients.any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 1.3, 2.0)])
@pytest.mark.parametrize("radius", [2.5, 5.0])
def test_morphology_agrees_with_distance_transforms(spacing, radius, rng):
    mask = ndi.gaussian_filter(rng.standard_normal((40, 36, 20)), 3) > 0.02
    away = ndi.distance_transform_edt(~mask, sampling=spacing)
    grown = dilated(mask, radius, np.array(spacing))
    assert (grown & (away > radius + 1e-6)).sum() == 0
    # Repeated small balls are slightly angular.
    assert grown[away <= 0.8 * radius].mean() > 0.98
    assert np.array_equal(eroded(~mask, radius, np.array(spacing)), ~grown)


def test_all_48_orientations_give_the_same_view(rng):
    voxels = rng.random((4, 5, 6))
    affine = np.array([[2.0, 0.1, 0.2, -7], [0, 3.0, 0.3, 8], [-0.1, 0, 5.0, 9], [0, 0, 0, 1]])
    reference = CanonicalView.of(Grid(shape=voxels.shape, affine=affine))
    assert np.array_equal(reference.view(voxels), voxels)
    seen = set()
    for axes in permutations(range(3)):
        for flips in product((False, True), repeat=3):
            stored = voxels.transpose(axes)
            moved = affine[:, [*axes, 3]].copy()
            for a, flip in enumerate(flips):
                if flip:
                    stored = np.flip(stored, a)
                    moved[:3, 3] += moved[:3, a] * (stored.shape[a] - 1)
                    moved[:3, a] *= -1
            grid = Grid(shape=stored.shape, affine=moved)
            seen.add(grid.orientation)
            view = CanonicalView.of(grid)
            assert np.array_equal(view.view(stored), voxels)
            assert_allclose(view.affine, affine, atol=1e-12)
            assert view.shape == voxels.shape
            assert np.array_equal(view.back(voxels), stored)
            assert view.back(voxels).flags.c_contiguous
    assert len(seen) == 48


def test_template_points_are_classes_of_brain_and_rings():
    points = template_points(8)
    atlas = load_atlas()
    ijk = np.linalg.inv(atlas.affine)[:3, :3] @ points.positions_mm + np.linalg.inv(atlas.affine)[:3, 3:]
    i, j, k = np.round(ijk).astype(int)
    assert np.array_equal(points.in_brain, atlas.labels[i, j, k] > 0)
    assert points.classes.min() >= 0
    assert points.classes.max() == points.n_classes - 1
    skull = (points.classes == points.n_tissues + 1) & (points.positions_mm[2] > 20)
    assert ((atlas.outside_mm[i, j, k][skull] > 2.5) & (atlas.outside_mm[i, j, k][skull] <= 6)).all()
