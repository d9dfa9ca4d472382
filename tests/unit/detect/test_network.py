from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi
from scipy.special import expit

from miliary_seg.detect.classifier import (
    CONTEXT,
    LEAST,
    WITH_OWN_TREES,
    WITHOUT_NETWORK,
    Network,
    context,
    forest,
    looked_at,
    network,
    probability,
    rescore,
)
from miliary_seg.detect.feature_table import FEATURES
from miliary_seg.detect.normalise import prepare
from miliary_seg.detect.patches import PIXEL_MM, SIZE, PatchSites, pictures
from miliary_seg.detect.pipeline import search
from miliary_seg.detect.work_grid import work_grid
from miliary_seg.domain.sequence import Polarity, Sequence


def places_at(index, radius=2.0, level=0.0, contrast=1.0, sign=1):
    n = len(index)
    column = {"radius_mm": radius, "level": level, "contrast": contrast}
    columns = {name: np.full(n, float(value)) for name, value in column.items()}
    return PatchSites(index=np.array(index, float), sign=np.full(n, sign), **columns)


def field(shape, spacing, values):
    axes = [np.arange(n) * q for n, q in zip(shape, spacing, strict=True)]
    return values(*np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def test_a_slope_is_seen_at_its_place_and_in_mm():
    """Sections of a linear ramp are that ramp at the pixels' positions; its projection lies half a slab further up."""
    spacing = (1.5, 0.9, 0.6)
    grey = field((60, 60, 60), spacing, lambda z, y, x: 0.1 * z + 0.02 * y + 0.03 * x)
    place = places_at([[29.3, 30.6, 29.9]], level=0.1 * 29.3 * 1.5 + 0.02 * 30.6 * 0.9 + 0.03 * 29.9 * 0.6)
    shown = pictures(grey, spacing, place, PIXEL_MM, thick=False)
    assert shown.shape == (1, 3, SIZE, SIZE, 2)
    offset = (np.arange(SIZE) - (SIZE - 1) / 2) * PIXEL_MM
    inner = slice(3, -3)
    for plane, (rows, columns, across) in enumerate(((0.02, 0.03, 0.1), (0.1, 0.03, 0.02), (0.1, 0.02, 0.03))):
        expected = rows * offset[:, None] + columns * offset
        assert shown[0, plane, inner, inner, 0] == pytest.approx(expected[inner, inner], abs=0.02)
        higher = shown[0, plane, inner, inner, 1] - shown[0, plane, inner, inner, 0]
        assert higher == pytest.approx(np.full(higher.shape, across * 3.5 * PIXEL_MM), abs=0.02)


@pytest.mark.parametrize("sign", [1, -1])
def test_pictures_are_in_contrasts_whatever_the_polarity(sign):
    ball = field((40, 40, 40), (1, 1, 1), lambda z, y, x: (z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 16)
    grey = np.float32(5) + sign * np.float32(0.2) * ball
    shown = pictures(grey, (1.0, 1.0, 1.0), places_at([[20, 20, 20]], 4, sign * 5, 0.2, sign), PIXEL_MM, thick=False)
    assert shown[0, :, 11:13, 11:13] == pytest.approx(np.ones((3, 2, 2, 2)), abs=0.05)
    assert np.abs(shown[0, :, :2, :2]).max() < 0.05


def test_of_thick_slices_the_neighbours_are_shown_beside_the_slice():
    grey = np.zeros((9, 60, 60), np.float32)
    grey[4], grey[3], grey[5] = 1.0, 0.5, -0.5
    shown = pictures(grey, (5.0, 0.7, 0.7), places_at([[4.2, 30, 30], [0.0, 30, 30]]), PIXEL_MM, thick=True)
    assert shown.shape == (2, 1, SIZE, SIZE, 3)
    assert shown[0, 0, 12, 12] == pytest.approx([1.0, 0.5, -0.5], abs=1e-5)
    assert shown[1, 0, 12, 12] == pytest.approx([0.0, 0.0, 0.0], abs=1e-5)


def test_large_candidates_are_seen_at_a_larger_pixel_and_every_row_once():
    places = places_at(np.zeros((150, 3)))
    places.radius_mm[100:] = 9.6
    jobs = places.jobs()
    assert sorted(np.concatenate([rows for _, rows in jobs]).tolist()) == list(range(150))
    pixel = {int(row): mm for mm, rows in jobs for row in rows}
    assert pixel[0] == pytest.approx(PIXEL_MM)
    assert pixel[149] == pytest.approx(4 * PIXEL_MM)


def drawn(rng, channels=2, told=3):
    sizes, kernels, biases = ((5, 4), (3, 5), (3, 6)), [], []
    for size, out in sizes:
        kernels.append(rng.normal(0, 0.3, (size, size, channels, out)).astype(np.float32))
        biases.append(rng.normal(0, 0.1, out).astype(np.float32))
        channels = out
    hidden = rng.normal(0, 0.3, (4 * channels + told, 7)).astype(np.float32)
    one = np.ones(told, np.float32)
    rest = {"hidden_bias": np.zeros(7, np.float32), "output": rng.normal(0, 1, 7).astype(np.float32)}
    rest |= {"kernels": tuple(kernels), "biases": tuple(biases), "hidden": hidden}
    return Network(mean=0 * one, scale=one, output_bias=0.3, trees=0.8, **rest)


def slowly(net, picture, told):
    """The same by scipy's correlation, one candidate and plane at a time."""
    shown = []
    for plane in picture:
        x = np.moveaxis(plane, -1, 0)
        for n, (kernel, bias) in enumerate(zip(net.kernels, net.biases, strict=True)):
            maps = [
                sum(ndi.correlate(x[c], kernel[:, :, c, k], mode="constant") for c in range(len(x)))
                for k in range(len(bias))
            ]
            x = np.maximum(np.stack(maps) + bias[:, None, None], 0)
            if n == 0:
                x = x[:, ::2, ::2]
            elif n == 1:
                x = np.stack([ndi.maximum_filter(q, 2, origin=-1)[::2, ::2] for q in x])
        shown.append(np.concatenate([x.mean(axis=(1, 2)), x[:, 2:4, 2:4].mean(axis=(1, 2))]))
    joined = np.concatenate([np.mean(shown, axis=0), np.max(shown, axis=0), np.clip(told, -4, 4)])
    return net.trees * told[0] + np.maximum(joined @ net.hidden + net.hidden_bias, 0) @ net.output + net.output_bias


def test_the_network_is_evaluated_as_drawn():
    rng = np.random.default_rng(5)
    net = drawn(rng)
    picture = rng.normal(0, 1, (4, 3, SIZE, SIZE, 2)).astype(np.float32)
    told = rng.normal(0, 3, (4, 3)).astype(np.float32)
    expected = [slowly(net, p.astype(float), t.astype(float)) for p, t in zip(picture, told, strict=True)]
    assert net.log_odds(picture, told) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    # turning planes into each other changes nothing
    assert net.log_odds(picture[:, ::-1], told) == pytest.approx(net.log_odds(picture, told), abs=1e-5)


@pytest.mark.parametrize("thick", [False, True])
def test_the_weights_that_ship_fit_what_is_shown_and_told(thick):
    net = network(thick)
    told = context({name: np.array([1.0, 0.0]) for name in CONTEXT}, np.array([0.0, 1.0]))
    assert told.shape[1] == len(net.mean) == len(net.scale)
    picture = np.zeros((2, 1 if thick else 3, SIZE, SIZE, 3 if thick else 2), np.float32)
    assert np.isfinite(net.log_odds(picture, told)).all()
    assert set(CONTEXT) <= set(FEATURES)


def test_what_the_trees_rule_out_is_not_looked_at(scene):
    head = scene(noise=5.0).ball((24, 28, 20), 5.0)
    volume, mask = head.volume(), head.mask()
    work = prepare(volume.voxels, mask, work_grid(volume, mask))
    n = 3
    features = {name: np.full(n, 0.5) for name in FEATURES}
    before = np.array([LEAST[False], 0.5, 1.0])
    after = rescore(work, places_at(np.full((n, 3), 20.0)), features, before)
    assert after[0] == before[0]
    assert (after[1:] != before[1:]).all()
    assert ((after > 0) & (after < 1)).all()
    none = rescore(work, places_at(np.zeros((0, 3))), {k: v[:0] for k, v in features.items()}, before[:0])
    assert none.shape == (0,)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0)])
def test_bright_lesions_of_t2_are_judged_by_trees_of_their_own(scene, spacing):
    head = scene(noise=5.0, spacing=spacing).ball((24, 28, 20), 5.0)
    volume, mask = head.volume(), head.mask()
    work = prepare(volume.voxels, mask, work_grid(volume, mask))
    found = {
        (sequence, polarity): search(work, polarity, sequence).probability
        for sequence in (Sequence.T1C, Sequence.T2, Sequence.UNKNOWN)
        for polarity in (Polarity.BRIGHT, Polarity.DARK)
    }
    features = search(work, Polarity.BRIGHT).features
    alone = np.sort(probability(features, work.thick, "t2"))[::-1]
    assert found[Sequence.T2, Polarity.BRIGHT] == pytest.approx(alone, abs=1e-6)
    assert (found[Sequence.T1C, Polarity.BRIGHT] == found[Sequence.UNKNOWN, Polarity.BRIGHT]).all()
    assert (found[Sequence.T2, Polarity.BRIGHT] != found[Sequence.UNKNOWN, Polarity.BRIGHT]).any()
    assert (found[Sequence.T2, Polarity.DARK] == found[Sequence.UNKNOWN, Polarity.DARK]).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0)])
def test_dark_lesions_of_swi_t2star_and_adc_are_judged_by_trees_and_network_of_their_own(scene, spacing):
    head = scene(noise=5.0, spacing=spacing).ball((24, 28, 20), 5.0, -200.0)
    volume, mask = head.volume(), head.mask()
    work = prepare(volume.voxels, mask, work_grid(volume, mask))
    of_all = {polarity: search(work, polarity).probability for polarity in Polarity}
    own = search(work, Polarity.DARK, Sequence.SWI)
    assert (own.probability != of_all[Polarity.DARK]).any()
    trees = probability(own.features, work.thick, "dark")
    seen = looked_at(trees, work.thick)
    assert len(seen)
    assert (own.probability[seen] != trees[seen]).all()
    for sequence in (Sequence.T2STAR, Sequence.ADC):
        assert (search(work, Polarity.DARK, sequence).probability == own.probability).all()
    for polarity in (Polarity.BRIGHT, Polarity.BOTH):
        assert (search(work, polarity, Sequence.SWI).probability == of_all[polarity]).all()
    assert (search(work, Polarity.DARK, Sequence.T1C).probability == of_all[Polarity.DARK]).all()


@pytest.mark.parametrize("thick", [False, True])
@pytest.mark.parametrize("kind", sorted(WITH_OWN_TREES - WITHOUT_NETWORK))
def test_networks_of_one_kind_are_stored_whole(kind, thick):
    of_kind, of_all = network(thick, kind), network(thick)
    assert of_kind.hidden.shape == of_all.hidden.shape
    assert not np.array_equal(of_kind.hidden, of_all.hidden)


@pytest.mark.parametrize("thick", [False, True])
@pytest.mark.parametrize("kind", sorted(WITH_OWN_TREES))
def test_trees_of_one_kind_are_stored_whole(kind, thick):
    trees = forest(thick, kind)
    assert set(trees.names) <= set(FEATURES)
    assert np.isfinite(trees.log_odds(np.zeros((3, len(trees.names)), np.float32))).all()


def test_context_is_logarithmic_where_it_says_so():
    features = {name: np.array([100.0]) for name in CONTEXT}
    told = context(features, np.array([-1.5]))[0]
    assert told[0] == -1.5
    for value, (_, most) in zip(told[1:], CONTEXT.items(), strict=True):
        assert value == pytest.approx(100.0 if most is None else np.log(most))
    assert expit(told[0]) < 0.5


def test_only_the_likeliest_are_looked_at_where_there_are_very_many(monkeypatch):
    chance = np.array([0.9, 0.01, 0.3, 0.5, 0.3, 0.021])
    assert looked_at(chance, thick=False).tolist() == [0, 2, 3, 4, 5]
    monkeypatch.setattr("miliary_seg.detect.classifier.MOST", 3)
    assert looked_at(chance, thick=False).tolist() == [0, 2, 3]


@pytest.mark.parametrize("mm", [0.3, 0.9])
def test_beyond_the_scan_its_last_voxels_go_on(mm):
    grey = np.random.default_rng(2).normal(size=(30, 40, 50)).astype(np.float32)
    places = places_at([[1.3, 20, 25], [15, 39, 2.5], [15, 20, 25]])
    shown = pictures(grey, (mm, mm, mm), places, PIXEL_MM, thick=False)
    wide = np.pad(grey, 60, mode="edge")
    inside = pictures(wide, (mm, mm, mm), places_at(places.index + 60), PIXEL_MM, thick=False)
    assert np.array_equal(shown, inside)
