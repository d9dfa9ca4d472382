"""Masks as they are found are trusted, spoiled ones are not, and the reasons say what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from miliary_seg.domain.sequence import Modality
from miliary_seg.lab.bench.masks import WRONG, MaskRun, judged, mask_sections, spoiled, write_masks
from miliary_seg.locate import locate
from miliary_seg.locate.mask_trust import (
    CODES,
    N_SECTORS,
    TEXTS,
    WEIGHTS,
    assess_mask,
    departures,
    directions,
    mask_figures,
    sectors_of,
)
from miliary_seg.locate.pipeline import view_of_mask
from miliary_seg.settings import LocateSettings, Settings

SHAPE, SPACING = (104, 120, 100), (1.8, 1.8, 1.8)
THRESHOLD = LocateSettings().mask_trust_threshold


@pytest.fixture(scope="module")
def volume(make_head, axial_affine, turned):
    return make_head(SHAPE, axial_affine(SPACING, SHAPE, (0, -12, -4)), turned(8, 3, -4, (3, 2, -4)))


@pytest.fixture(scope="module")
def located(volume):
    return locate(volume)


@pytest.fixture(scope="module")
def view(volume, located):
    return view_of_mask(volume, located)


def codes(mask, view):
    return [reason.code for reason in assess_mask(mask_figures(view.with_mask(mask)), THRESHOLD).reasons]


def test_a_mask_as_it_is_found_is_trusted_without_remark(located):
    assert located.mask_trust.trusted
    assert located.mask_trust.trust > 0.8
    assert located.mask_trust.reasons == ()
    assert located.mask_trust.figures["volume_ratio"] == pytest.approx(1.0, abs=0.12)


def test_no_spoiled_mask_is_trusted_that_lets_in_or_loses_more_than_a_tenth(view):
    runs = list(judged("drawn", view, view.mask, Settings(), fit_trusted=True))
    wrong = [run for run in runs if run.wrong]
    assert len(wrong) > 15
    assert [run.kind for run in wrong if run.trusted] == []
    assert all(run.reasons for run in wrong), "a refused mask says why"
    assert runs[0].trusted
    assert runs[0].let_in == runs[0].lost == 0


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("scalp", "mask_beyond_brain"),
        ("cut off 50%", "mask_incomplete"),
        ("cerebellum lost", "mask_unbalanced"),
        ("shrunk 5 mm", "mask_incomplete"),
        ("hole", "mask_incomplete"),
    ],
)
def test_the_reasons_say_what_is_wrong(view, kind, code):
    assert code in codes(dict(spoiled("drawn", view))[kind], view)


def test_bone_inside_the_mask_is_told_where_fluid_is_bright_and_nothing_else_is_dark(view):
    bright = replace(view, fluid=2.0, tissue=(0.8, 1.1))
    inner = (
        view.mask & (view.outside_mm > -7) & (view.outside_mm < -3) & (view.sectors == view.sectors[view.mask].max())
    )
    for level, name in ((0.1, "bone_inside_fraction_worst"), (0.6, "rim_partly_bone_fraction_worst")):
        held = np.where(inner, np.float32(level), np.maximum(view.grey_values, np.float32(0.9)))
        with_bone = mask_figures(replace(bright, grey_values=held))
        without = mask_figures(replace(bright, grey_values=np.maximum(view.grey_values, np.float32(0.9))))
        assert with_bone[name] > 0.08
        assert without[name] == 0
        refused = assess_mask(without | {name: 1.0}, THRESHOLD)
        assert not refused.trusted
        assert "mask_holds_bone" in [reason.code for reason in refused.reasons]
        dark_fluid = mask_figures(replace(view, fluid=0.2, tissue=(0.8, 1.1), grey_values=held))
        assert dark_fluid[name] == 0


def test_an_empty_mask_and_a_users_half_mask_are_not_trusted(volume, located, view):
    assert codes(np.zeros_like(view.mask), view) == ["mask_empty"]
    half = located.brain_mask.copy()
    half[half.shape[0] // 2 :] = False
    given = locate(volume, mask=half)
    assert given.registration.trusted
    assert not given.mask_trust.trusted
    assert "mask_unbalanced" in [reason.code for reason in given.mask_trust.reasons]
    assert locate(volume, LocateSettings(mask_trust_threshold=0.0), mask=half).mask_trust.trusted


def test_fluid_that_looks_like_brain_takes_the_trust(view):
    low, _ = view.tissue
    unclear = replace(view, fluid=low * 0.95)
    assert codes(view.mask, unclear) == ["fluid_like_brain"]
    assert codes(view.mask, replace(view, fluid=float("nan"))) == []


def test_every_departure_costs_and_every_code_has_a_sentence(view):
    figures = mask_figures(view)
    assert set(WEIGHTS) == set(CODES) <= set(departures(figures))
    assert set(CODES.values()) <= set(TEXTS)
    assert all(weight > 0 for weight in WEIGHTS.values())
    for text in TEXTS.values():
        assert text.format(**figures)


def test_the_view_is_the_same_however_voxels_are_stored(volume, located, view):
    axes = (2, 0, 1)
    affine = volume.grid.affine[:, [*axes, 3]]
    grid = replace(volume.grid, shape=tuple(volume.grid.shape[a] for a in axes), affine=affine)
    other = replace(volume, voxels=np.ascontiguousarray(volume.voxels.transpose(axes)), grid=grid)
    moved = replace(located, brain_mask=located.brain_mask.transpose(axes))
    assert mask_figures(view_of_mask(other, moved)) == mask_figures(view)


def test_each_place_lies_in_the_direction_it_points_to():
    rays = 30 * directions().T + np.array([[0.0], [-18.0], [10.0]])
    places = [axis.astype(np.float32).reshape(-1, 2, 3) for axis in rays]
    assert_array_equal(sectors_of(places).ravel(), np.arange(N_SECTORS))


def test_the_bench_counts_what_was_judged_wrongly(tmp_path, view):
    run = MaskRun(
        head="a", kind="hole", let_in=0, lost=2 * WRONG, trust=0.9, trusted=True, fit_trusted=True, reasons=""
    )
    found = replace(run, kind="as found", lost=0.0)
    table, odd = mask_sections([found, run, replace(run, head="b", fit_trusted=False)])
    assert table.rows == (("as found", "1", "0", "0", "0"), ("hole", "1", "1", "1", "0"))
    assert [row[:2] for row in odd.rows] == [("a", "hole")]
    figures = mask_figures(view)
    page = write_masks([replace(found, figures=figures), replace(run, figures=figures)], ["c: no brain"], tmp_path)
    assert "c: no brain" in page.read_text()
    assert "volume_ratio" in (tmp_path / "masks.csv").read_text()


def test_modality_of_the_view(make_head, axial_affine):
    shape = (70, 84, 64)
    scan = make_head(shape, axial_affine((2.6, 2.6, 3.0), shape, (0, -18, 5)), modality=Modality.CT)
    assert view_of_mask(scan, locate(scan)).is_ct
