"""Rendered lesions against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from miliary_seg.domain.grid import Grid
from miliary_seg.lab.phantom.render import RING_CORE, RING_CORE_SIGNAL, Optics, lesion_patch, splat

STRAIGHT = np.eye(3)


def optics(*, spacing=(0.8, 0.8, 3.0), thickness=3.0, psf=0.9, profile="box", turn=STRAIGHT, n=41, axis=2) -> Optics:
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, (n - 1) / 2)
    grid = Grid(shape=(n, n, n), affine=affine)
    return Optics(
        grid=grid, slice_axis=axis, thickness_mm=thickness, slice_spacing_mm=spacing[axis], psf_mm=psf, profile=profile
    )


def oblique() -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]


@pytest.mark.parametrize("diameter", [1.0, 2.5, 6.0])
@pytest.mark.parametrize("turn", [np.eye(3), oblique()], ids=["straight", "oblique"])
def test_the_total_signal_is_the_volume(diameter, turn):
    scan = optics(turn=turn)
    centre = np.array([0.31, -0.17, 0.6])
    patch = lesion_patch(scan, centre, np.eye(3) * diameter / 2, "solid")
    assert patch.coverage.sum() * scan.grid.voxel_volume_mm3 == pytest.approx(np.pi / 6 * diameter**3, rel=2e-3)


def test_an_ellipsoid_has_its_volume_and_its_centre_of_mass():
    scan = optics(spacing=(0.7, 0.7, 1.0), thickness=1.0)
    axes = oblique() * np.array([1.2, 2.0, 3.1])
    centre = np.array([1.0, 2.0, -0.4])
    patch = lesion_patch(scan, centre, axes, "solid")
    assert patch.coverage.sum() * scan.grid.voxel_volume_mm3 == pytest.approx(4 / 3 * np.pi * 1.2 * 2.0 * 3.1, rel=3e-3)
    index = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in patch.where], indexing="ij"), axis=-1)
    mean = (scan.grid.to_ras_mm(index) * patch.coverage[..., None]).sum(axis=(0, 1, 2)) / patch.coverage.sum()
    assert mean == pytest.approx(centre, abs=0.02)


def test_a_ball_through_an_isotropic_gaussian_follows_the_closed_form():
    sigma = 0.8
    width = sigma * 2.35482
    scan = optics(spacing=(0.5, 0.5, 0.5), thickness=width, psf=width, profile="gaussian", n=61)
    radius = 2.3
    patch = lesion_patch(scan, np.zeros(3), np.eye(3) * radius, "solid")
    j, k = -patch.where[1].start + 30, -patch.where[2].start + 30
    x = 0.5 * (np.arange(patch.where[0].start, patch.where[0].stop) - 30)
    rho = np.maximum(np.abs(x), 1e-6)
    q = np.sqrt(2) * sigma
    expected = 0.5 * (erf((radius - rho) / q) + erf((radius + rho) / q)) - sigma / (rho * np.sqrt(2 * np.pi)) * (
        np.exp(-(((radius - rho) / q) ** 2)) - np.exp(-(((radius + rho) / q) ** 2))
    )
    assert patch.coverage[:, j, k] == pytest.approx(expected, abs=4e-3)


def test_a_thick_slice_dilutes_a_small_ball_by_its_share_of_the_thickness():
    """Middle of a ball, no in-plane blur to speak of: the slice shows diameter / thickness."""
    scan = optics(spacing=(0.5, 0.5, 6.0), thickness=6.0, psf=0.02)
    patch = lesion_patch(scan, np.zeros(3), np.eye(3) * 1.5, "solid")
    assert patch.coverage.max() == pytest.approx(3.0 / 6.0, rel=0.02)


def test_nothing_of_a_lesion_in_the_gap_is_seen():
    scan = optics(spacing=(0.8, 0.8, 6.0), thickness=2.0)
    patch = lesion_patch(scan, np.array([0.0, 0.0, 3.0]), np.eye(3) * 1.0, "solid")
    assert patch is None or patch.coverage.max() < 1e-6


def test_a_lesion_outside_the_field_of_view_is_none():
    assert lesion_patch(optics(), np.array([500.0, 0.0, 0.0]), np.eye(3), "solid") is None


def test_a_ring_has_a_dark_core_inside_a_full_outline():
    scan = optics(spacing=(0.4, 0.4, 0.4), thickness=0.4, psf=0.05, n=61)
    patch = lesion_patch(scan, np.zeros(3), np.eye(3) * 6.0, "ring")
    i, j, k = (30 - s.start for s in patch.where)
    assert patch.signal[i, j, k] == pytest.approx(RING_CORE_SIGNAL, abs=0.02)
    assert patch.signal[i + 12, j, k] == pytest.approx(1.0, abs=0.02)
    assert 6 * RING_CORE < 12 * 0.4
    assert patch.coverage[i, j, k] == pytest.approx(1.0, abs=0.02)


def test_a_soft_lesion_is_at_half_its_peak_on_its_radius():
    scan = optics(spacing=(0.5, 0.5, 0.5), thickness=0.5, psf=0.02, n=61)
    patch = lesion_patch(scan, np.zeros(3), np.eye(3) * 3.0, "soft")
    i, j, k = (30 - s.start for s in patch.where)
    assert patch.signal[i + 6, j, k] / patch.signal[i, j, k] == pytest.approx(0.5, abs=0.02)


def test_splat_keeps_mass_and_saturates():
    scan = optics(spacing=(1.0, 1.0, 2.0), thickness=2.0)
    points = np.random.default_rng(0).uniform(-8, 8, (50, 3))
    image = splat(scan, points, np.full(50, 0.01), 0.5)
    assert image.sum() * scan.grid.voxel_volume_mm3 == pytest.approx(0.5, rel=0.02)
    assert splat(scan, points[:1], np.array([1e4]), 0.5).max() == 1.0
