from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.detect.blur import Responses, discrete_gaussian, scale_space, threads


@pytest.mark.parametrize(("variance"), [0.01, 0.2, 0.9, 3.0, 12.0])
def test_kernel_sums_to_one_and_has_its_variance(variance):
    half = discrete_gaussian(variance, tail=1e-7).astype(float)
    n = np.arange(len(half))
    assert half[0] + 2 * half[1:].sum() == pytest.approx(1, abs=1e-6)
    assert 2 * (half * n**2).sum() == pytest.approx(variance, rel=1e-3)


def test_no_variance_is_no_blur():
    assert discrete_gaussian(0.0).tolist() == [1.0]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.75, 1.0)])
def test_agrees_with_the_continuous_laplacian_of_gaussian(spacing):
    """scipy's filter, which samples the continuous kernel, is an independent reference where sigma is well sampled."""
    rng = np.random.default_rng(3)
    array = ndi.gaussian_filter(rng.normal(size=(40, 48, 44)), 1.0)
    sigma = 3.0
    ours = scale_space(array, spacing, (1.8, sigma)).laplacian(1)
    widths = [sigma / q for q in spacing]
    reference = np.zeros_like(array)
    for axis, q in enumerate(spacing):
        order = [0, 0, 0]
        order[axis] = 2
        reference -= sigma**2 * ndi.gaussian_filter(array, widths, order=order) / q**2
    inner = (slice(12, -12),) * 3
    assert np.corrcoef(ours[inner].ravel(), reference[inner].ravel())[0, 1] > 0.995
    # Of three axes only the one that is differentiated is blurred by its difference (1/6 px^2): a few per cent.
    assert np.polyfit(reference[inner].ravel(), ours[inner].ravel(), 1)[0] == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize(("diameter", "expected"), [(4.0, 4.0 / 2 / np.sqrt(3)), (6.0, 6.0 / 2 / np.sqrt(3))])
def test_a_ball_answers_most_at_radius_over_root_three(diameter, expected):
    z, y, x = np.mgrid[-20:20:81j, -20:20:81j, -20:20:81j]
    ball = (z**2 + y**2 + x**2 <= (diameter / 2) ** 2).astype(float)
    sigmas = [expected * 2 ** (k / 4) for k in range(-3, 4)]
    space = scale_space(ball, (0.5, 0.5, 0.5), sigmas)
    centre = [space.laplacian(k)[40, 40, 40] for k in range(len(sigmas))]
    assert int(np.argmax(centre)) == 3


def test_slices_further_apart_than_the_blur_stay_apart():
    array = np.zeros((3, 32, 32))
    array[1, 16, 16] = 1
    space = scale_space(array, (8.0, 1.0, 1.0), (0.8, 1.2))
    assert np.abs(space.gaussians[1][0]).max() == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 9), (1, 7, 1), (2, 2, 2), (1, 30, 30)])
def test_a_constant_has_no_response_in_any_shape(shape):
    space = scale_space(np.full(shape, 7.0), (1, 1, 1), (0.6, 1.2, 2.4))
    for scale in range(3):
        assert np.abs(space.laplacian(scale)).max() < 1e-4
        assert space.gaussians[scale] == pytest.approx(np.full(shape, 7.0), rel=1e-6)


@pytest.mark.parametrize("shape", [(7, 9, 8), (1, 9, 8), (7, 1, 8), (7, 9, 1), (2, 2, 2), (1, 1, 5)])
def test_response_is_the_second_difference_with_edges_continued(shape):
    spacing = (1.5, 0.8, 1.1)
    space = scale_space(np.random.default_rng(1).normal(size=shape), spacing, (0.9, 1.4))
    g = space.gaussians[1].astype(float)
    padded = np.pad(g, 1, mode="edge")
    expected = np.zeros(shape)
    for axis, q in enumerate(spacing):
        low, high = (np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] for step in (1, -1))
        expected -= (1.4 / q) ** 2 * (low + high - 2 * g)
    assert np.abs(space.laplacian(1) - expected).max() < 2e-5
    responses = Responses(space, shape[0])
    for first in range(shape[0]):
        for stop in range(first + 1, shape[0] + 1):
            part = responses.of(1, (first, stop), -1)
            assert np.abs(part[:, 1:-1] + expected[first:stop]).max() < 2e-5
            assert np.isneginf(part[:, [0, -1]]).all()


def test_integers_are_taken_at_their_value():
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 60000, (6, 20, 20)).astype(np.uint16)
    assert np.array_equal(
        scale_space(stored, (1, 1, 1), (1.0,)).gaussians[0],
        scale_space(stored.astype(np.float64), (1, 1, 1), (1.0,)).gaussians[0],
    )


@pytest.mark.parametrize(
    ("shape", "spacing", "sigmas"),
    [
        ((4, 4), (1, 1, 1), (1.0,)),
        ((0, 4, 4), (1, 1, 1), (1.0,)),
        ((4, 4, 4), (1, 1), (1.0,)),
        ((4, 4, 4), (1, 0, 1), (1.0,)),
        ((4, 4, 4), (1, 1, np.nan), (1.0,)),
        ((4, 4, 4), (1, 1, 1), (2.0, 1.0)),
    ],
)
def test_nonsense_is_refused(shape, spacing, sigmas):
    with pytest.raises(ValueError, match=r"need|must"):
        scale_space(np.zeros(shape), spacing, sigmas)


def test_one_thread_gives_the_same_numbers(monkeypatch):
    array = np.random.default_rng(0).normal(size=(9, 20, 20))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    several = scale_space(array, (1, 1, 1), (1.0, 1.5))
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert threads() == 1
    single = scale_space(array, (1, 1, 1), (1.0, 1.5))
    assert all(np.array_equal(a, b) for a, b in zip(several.gaussians, single.gaussians, strict=True))
