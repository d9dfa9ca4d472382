"""What is not a whole head: refused or untrusted, with the reason. Everything is drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import locate
from miliary_seg.settings import LocateSettings

SHAPE, SPACING = (90, 110, 80), (2.2, 2.0, 2.2)


@pytest.fixture(scope="module")
def whole(make_head, axial_affine) -> Volume:
    return make_head(SHAPE, axial_affine(SPACING, SHAPE, (0, -18, 8)))


def cut(volume: Volume, first: int, last: int) -> Volume:
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * first
    voxels = volume.voxels[:, :, first:last]
    return Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=affine))


def scaled(volume: Volume, factor: float) -> Volume:
    affine = np.diag([factor, factor, factor, 1.0]) @ volume.grid.affine
    return Volume(voxels=volume.voxels, grid=Grid(shape=volume.grid.shape, affine=affine))


def knee(_: Volume) -> Volume:
    i, j, k = (np.arange(n) - n / 2 for n in (100, 100, 60))
    i, j, k = np.meshgrid(i * 1.6, j * 1.6, k * 2.5, indexing="ij")
    limb = np.hypot(i, j) < 62 + 0.1 * np.abs(k)
    bone = (np.hypot(i - 3, j + 8) < 24 + 0.15 * np.abs(k)) & (np.abs(k) > 4)
    voxels = 500.0 * limb - 350 * (np.hypot(i, j) < 52) + 400 * bone + 250 * (np.hypot(i - 20, j - 40) < 9)
    noise = np.random.default_rng(0).normal(0, 12, voxels.shape)
    return Volume(voxels=np.abs(voxels + noise), grid=Grid(shape=voxels.shape, affine=np.diag([1.6, 1.6, 2.5, 1.0])))


def mouse(volume: Volume) -> Volume:
    return scaled(volume, 0.1)


def one_slice(volume: Volume) -> Volume:
    return cut(volume, 40, 41)


def two_slices(volume: Volume) -> Volume:
    return cut(volume, 40, 42)


def vertex(volume: Volume) -> Volume:
    top = np.flatnonzero((volume.voxels > 300).any(axis=(0, 1)))[-1]
    return cut(volume, top - 10, top - 5)


@pytest.mark.parametrize("make", [knee, mouse, one_slice, two_slices, vertex])
def test_is_never_trusted_and_says_why(make: Callable[[Volume], Volume], whole):
    fit = locate(make(whole), LocateSettings()).registration
    assert not fit.trusted
    assert not fit.reoriented
    assert fit.reasons
    assert all(reason.code and len(reason.text) > 20 for reason in fit.reasons)
    assert fit.trust < 0.5


def test_the_whole_head_is_trusted(whole):
    assert locate(whole, LocateSettings()).registration.trusted
