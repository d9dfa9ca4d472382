"""The rim of the mask: what the network is told of a voxel, and cortex that shares its voxels with fluid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.domain.sequence import Sequence
from miliary_seg.lab.phantom import LesionSpec, PhantomSpec, ScannerSpec, make
from miliary_seg.locate import brain_mask, locate, rim
from miliary_seg.locate.brain_mask import TissueLevels, TissueValues, refined_mask, rough_mask
from miliary_seg.locate.rim import FEATURES, NearScan, rim_features, with_rim

RADIUS_MM, FOLD_MM = 36.0, 2.5
GREY, WHITE, BONE = 560.0, 760.0, 70.0
FLUID = 190.0
FINE = 3
"""Points a voxel along each axis."""


@pytest.fixture(scope="module", params=[1.0, 4.0], ids=lambda p: f"{p:g} mm")
def folded(request):
    """Grey values and affine of a folded brain, distance outside the fitted (smooth) surface, cortex near the surface,
    and the brain with its folds filled. Voxels hold the mean of what lies in them."""
    spacing = np.array([1.0, 1.0, request.param])
    shape = np.ceil(2 * (RADIUS_MM + 10) / spacing).astype(int)
    x, y, z = (
        (((np.arange(n * FINE) + 0.5) / FINE - n / 2) * s).astype(np.float32)
        for n, s in zip(shape, spacing, strict=True)
    )
    x, y, z = np.meshgrid(x, y, z, indexing="ij", sparse=True)
    radius = np.sqrt(x**2 + y**2 + z**2)
    fold = FOLD_MM * np.cos(0.8 * x) * np.cos(0.8 * y) * np.cos(0.5 * z)
    outside = radius - RADIUS_MM - np.minimum(fold, 0.6 * FOLD_MM)
    inside = [outside < -3, outside < 0, radius < RADIUS_MM + 3.5, radius < RADIUS_MM + 7]
    fine = np.select(inside, [WHITE, GREY, FLUID, BONE], 0.0).astype(np.float32)
    parts = [n for size in shape for n in (size, FINE)]

    def mean(a):
        return a.reshape(parts).mean(axis=(1, 3, 5), dtype=np.float32)

    rng = np.random.default_rng(1)
    voxels = np.hypot(*(base + rng.normal(0, 20, shape) for base in (mean(fine), 0.0))).astype(np.float32)
    tissue = mean((outside < 0).astype(np.float32)) > 0.5
    brain = ndi.binary_closing(tissue, iterations=4)
    depth = ndi.distance_transform_edt(brain, sampling=spacing)
    affine = np.diag([*spacing, 1.0])
    values = TissueValues(grey=GREY, white=WHITE, fluid=FLUID)
    return voxels, affine, (mean(radius) - RADIUS_MM).astype(np.float32), tissue & (depth <= 2.5), brain, values


def near_scan(voxels, outside, spacing):
    return NearScan(signal=voxels, outside_mm=outside, spacing_mm=spacing, white=WHITE)


def rough(voxels, outside, spacing, values):
    """The mask by grey values alone: half-way to fluid."""
    half = (values.grey + values.fluid) / 2
    return rough_mask(voxels, outside, spacing, TissueLevels(0.55 * WHITE, 3 * WHITE, half)).mask


@pytest.mark.slow
@pytest.mark.parametrize(("sequence", "slice_mm"), [(Sequence.T1, 5.0), (Sequence.T1C, 5.0)])
def test_more_of_a_drawn_brain_is_kept_and_hardly_more_let_in(monkeypatch, sequence: Sequence, slice_mm: float) -> None:
    scanner = ScannerSpec(pixel_mm=1.5, thickness_mm=slice_mm)
    drawn = make(PhantomSpec(sequence=sequence, lesions=LesionSpec(count=0), scanner=scanner), seed=11)
    brain, spacing = drawn.brain_mask, np.array(drawn.volume.grid.spacing_mm)
    depth = ndi.distance_transform_edt(np.pad(brain, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    outer = brain & (depth <= 3)
    with_network = locate(drawn.volume).brain_mask
    monkeypatch.setattr(brain_mask, "with_rim", lambda mask, scan: mask)
    masks = locate(drawn.volume).brain_mask, with_network
    lost = [float((outer & ~mask).sum() / outer.sum()) for mask in masks]
    let_in = [float((mask & ~brain).sum() / brain.sum()) for mask in masks]
    assert lost[1] < 0.9 * lost[0]
    assert let_in[1] < let_in[0] + 0.03


def test_cortex_that_shares_its_voxels_with_fluid_is_kept(folded):
    voxels, affine, outside, cortex, brain, values = folded
    by_level = rough(voxels, outside, np.diag(affine)[:3], values)
    found = refined_mask(voxels, affine, outside, is_ct=False, values=values)
    lost = [float((cortex & ~mask).sum() / cortex.sum()) for mask in (by_level, found)]
    let_in = [float((mask & ~brain).sum() / brain.sum()) for mask in (by_level, found)]
    assert lost[1] < 0.8 * lost[0]
    assert let_in[1] < let_in[0] + 0.02


def test_features_do_not_depend_on_the_unit_of_grey_values(folded):
    voxels, affine, outside, _, _, values = folded
    spacing = np.diag(affine)[:3]
    mask = rough(voxels, outside, spacing, values)
    scan = near_scan(voxels, outside, spacing)
    at, table = rim_features(mask, scan)
    other = NearScan(signal=7 * voxels, outside_mm=outside, spacing_mm=spacing, white=7 * WHITE)
    again, moved = rim_features(mask, other)
    assert np.array_equal(at, again)
    assert table.shape == (len(FEATURES), at.size)
    assert np.allclose(table, moved, rtol=1e-4, atol=1e-4)


def test_outward_is_fluid_and_inward_is_tissue_on_every_side(folded):
    voxels, affine, outside, _, _, values = folded
    spacing = np.diag(affine)[:3]
    at, table = rim_features(rough(voxels, outside, spacing, values), near_scan(voxels, outside, spacing))
    told = dict(zip(FEATURES, table, strict=True))
    edge = np.abs(outside.reshape(-1)[at]) < 0.8
    side = np.unravel_index(at, outside.shape)
    for axis in range(3):
        for half in (side[axis] < 0.3 * outside.shape[axis], side[axis] > 0.7 * outside.shape[axis]):
            here = edge & half
            assert told["outward 4"][here].mean() < told["outward 2"][here].mean() < told["inward 2"][here].mean()
            letter = "ijk"[axis]
            assert told[f"next outward {letter}"][here].mean() < told[f"next inward {letter}"][here].mean()
    assert np.allclose(told["grey value"] * told["tissue below"], voxels.reshape(-1)[at] / WHITE, atol=0.02)


def test_the_network_is_its_layers(folded):
    voxels, affine, outside, _, _, values = folded
    spacing = np.diag(affine)[:3]
    _, table = rim_features(rough(voxels, outside, spacing, values), near_scan(voxels, outside, spacing))
    network = rim._network()
    x = np.clip((table[:, ::997].T.astype(float) - network.mean) / network.scale, -rim.INPUT_LIMIT, rim.INPUT_LIMIT)
    for n, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        x = x @ weight.T.astype(float) + bias
        x = np.maximum(x, 0) if n < len(network.weights) - 1 else x
    assert np.allclose(network.log_odds(table)[::997], x[:, 0], atol=1e-3)


def test_only_voxels_near_the_surface_of_the_mask_change(folded, monkeypatch):
    voxels, affine, outside, _, _, values = folded
    spacing = np.diag(affine)[:3]
    mask = rough(voxels, outside, spacing, values)
    depth = ndi.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    beyond = ndi.distance_transform_edt(~mask, sampling=spacing)
    for odds in (9.0, -9.0):
        always = np.float32(odds)
        monkeypatch.setattr(rim._Network, "log_odds", lambda self, table, o=always: np.full(table.shape[1], o))
        changed = with_rim(mask, near_scan(voxels, outside, spacing)) != mask
        assert changed.any()
        assert not changed[(depth > 5) | (beyond > 5) | (outside > rim.FURTHEST_MM + 1.5 * spacing.max())].any()


def test_what_the_mask_holds_is_given_up_only_where_the_network_is_surer(folded, monkeypatch):
    voxels, affine, outside, _, _, values = folded
    spacing = np.diag(affine)[:3]
    mask = rough(voxels, outside, spacing, values)
    between = np.float32((rim.JOINS + rim.LEAVES) / 2)
    monkeypatch.setattr(rim._Network, "log_odds", lambda self, table: np.full(table.shape[1], between))
    assert np.array_equal(with_rim(mask, near_scan(voxels, outside, spacing)), mask)


def test_a_scan_without_signal_in_the_brain_keeps_its_mask(folded):
    voxels, affine, outside, _, _, values = folded
    spacing = np.diag(affine)[:3]
    mask = rough(voxels, outside, spacing, values)
    assert with_rim(mask, near_scan(np.zeros_like(voxels), outside, spacing)) is mask


@pytest.mark.parametrize(
    ("is_ct", "values"),
    [
        (True, None),
        (False, None),
        (False, TissueValues(grey=640, white=520, fluid=700)),
        (False, TissueValues(grey=500, white=450, fluid=590)),
        (False, TissueValues(grey=500, white=600, fluid=550)),
        (False, TissueValues(grey=560, white=480, fluid=1100)),
    ],
    ids=["CT", "levels unknown", "PD", "SWI", "fluid between", "T2"],
)
def test_scans_that_the_network_does_not_know_keep_the_mask_by_grey_values(folded, monkeypatch, is_ct, values):
    voxels, affine, outside, *_ = folded
    monkeypatch.setattr(brain_mask, "with_rim", lambda *_: pytest.fail("the network was asked"))
    refined_mask(voxels, affine, outside, is_ct=is_ct, values=values)


def test_a_voxel_more_or_less_around_the_brain_shifts_no_block():
    spacing, shape = np.array([0.95, 0.95, 3.0]), (176, 228, 52)
    boxes = [(slice(4 + n, 168 - n), slice(5, 223 - n), slice(0, 52)) for n in (0, 1)]
    first, second = (rim.whole_blocks(box, spacing, shape) for box in boxes)
    assert first == second
    assert all(a.start <= b.start and a.stop >= b.stop for a, b in zip(first, boxes[0], strict=True))
    assert first[2] == slice(0, 52)
