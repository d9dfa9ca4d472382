"""report.html in a real browser: the scan is drawn, and table, plot and scan follow each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary_seg.domain.decision import Verdict

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

ORANGE, SKY, YELLOW, PINK = (230, 159, 0), (86, 180, 233), (240, 228, 66), (204, 121, 167)
"""Rings of left and right lesions above the tentorium, then below (miliary_seg/report/html/views.py)."""


def where(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(row, column) of pixels of one colour."""
    return np.argwhere(np.abs(picture - colour).max(axis=2) < 24)


def acquired_tile(picture: np.ndarray) -> np.ndarray:
    return picture[:, : int(0.58 * picture.shape[1])]


def quiet(page) -> bool:
    return page.messages == [] and page.requests == []


def test_the_scan_is_drawn_and_nothing_is_asked_for(plain):
    page = plain
    picture = page.picture()
    bright = picture.min(axis=2) > 80
    assert 0.15 < bright.mean() < 0.9
    assert all(half.mean() > 0.1 for half in (bright[:, : bright.shape[1] // 2], bright[:, bright.shape[1] // 2 :]))
    assert len(np.unique(picture.mean(axis=2))) > 20
    assert quiet(page)
    policy = page.page.locator("meta[http-equiv]").get_attribute("content")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_row_moves_the_crosshair_and_its_ring_is_on_the_right_side(plain, make_case):
    case = make_case()
    page = plain
    lesion = case.series[0].lesions[2]  # left, infratentorial
    page.page.locator("tr[data-lesion='3']").click()
    assert np.allclose(page.viewer_mm(), lesion.centroid_ras_mm, atol=0.02)
    assert page.told("lesion") == "3"
    assert int(page.told("slice")) in lesion.slices
    assert page.page.locator("tr[aria-selected='true']").get_attribute("data-lesion") == "3"
    assert "left infratentorial" in page.page.locator(".status").inner_text()
    tile = acquired_tile(page.picture())
    yellow, pink = where(tile, YELLOW), where(tile, PINK)
    assert len(yellow) > 30
    assert len(pink) > 30
    assert yellow[:, 1].mean() > tile.shape[1] / 2 > pink[:, 1].mean()  # the patient's left is on the right-hand side
    assert yellow[:, 0].mean() > tile.shape[0] / 2  # posterior is below
    assert len(where(tile, ORANGE)) == len(where(tile, SKY)) == 0  # those lie on other slices


OBLIQUE = np.array([[1, 0, 0, 0], [0, 0.906, -0.423, 0], [0, 0.423, 0.906, 0], [0, 0, 0, 1]])  # 25 degrees
GANTRY_TILT = np.array([[1, 0, 0, 0], [0, 1, 0.36, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # 20 degrees


@pytest.mark.parametrize(
    ("code", "plane", "change"),
    [("RPI", "axial", np.eye(4)), ("PIR", "sagittal", OBLIQUE), ("LAS", "axial", GANTRY_TILT)],
)
def test_rings_lie_on_lesions_in_any_orientation(opened, make_case, code, plane, change):
    """The lesion is brighter than the brain: what is inside of its ring is bright, and nothing outside of it is."""
    case = make_case(orientation=code, plane=plane, affine_change=change, blobs=((-36.0, 10.0, 30.0, 7.0),))
    page = opened(case).ready()
    page.page.locator("tr[data-lesion='1']").click()
    assert np.allclose(page.viewer_mm(), case.series[0].lesions[0].centroid_ras_mm, atol=0.02)
    page.page.locator("[data-layout='axial']").click()
    picture = page.picture()
    ring = where(picture, ORANGE)
    row, column = ring.mean(axis=0)
    assert column > picture.shape[1] / 2  # left on the right-hand side
    picture[:20] = picture[-20:] = 0  # letters at the edges are bright too
    bright = np.argwhere(picture.min(axis=2) > 225)
    assert len(bright) > 50
    assert np.hypot(*(bright.mean(axis=0) - (row, column))) < 0.15 * np.ptp(ring[:, 1])


def test_a_bar_moves_the_slice(plain, make_case):
    case = make_case()
    page = plain
    page.page.locator("svg.counts [data-slice='17']").click()
    assert page.told("slice") == "17"
    centre = case.series[0].volume.slice_centres_ras_mm[17]
    assert page.viewer_mm()[2] == pytest.approx(centre[2], abs=0.02)
    assert "slice 17" in page.page.locator(".status").inner_text()
    line = page.page.locator("svg.counts .cursor").bounding_box()
    bar = page.page.locator("svg.counts [data-slice='17']").bounding_box()
    assert bar["x"] <= line["x"] + line["width"] / 2 <= bar["x"] + bar["width"]
    page.page.locator("svg.counts").press("ArrowRight")
    assert page.told("slice") == "18"
    page.page.locator("svg.counts").press("Home")
    assert page.told("slice") == "0"
    assert quiet(page)


def test_a_click_in_the_scan_tells_table_and_plot(plain, make_case):
    case = make_case()
    page = plain
    page.page.locator("tr[data-lesion='4']").click()
    tile = acquired_tile(page.picture())
    row, column = where(tile, YELLOW).mean(axis=0)  # ring of lesion 3, on the same slice
    page.page.locator("canvas.scan").click(position={"x": float(column), "y": float(row)})
    page.page.wait_for_function("document.querySelector('.series').dataset.lesion === '3'")
    assert page.page.locator("tr[aria-selected='true']").get_attribute("data-lesion") == "3"
    assert np.allclose(page.viewer_mm(), case.series[0].lesions[2].centroid_ras_mm, atol=4.5)  # voxels of 3 x 3 x 4 mm


def test_sorting_by_a_click_on_a_heading(plain):
    page = plain
    size = page.page.locator("table.lesions thead button", has_text="mm")
    size.click()
    assert page.page.locator("table.lesions tbody tr").first.get_attribute("data-lesion") == "5"  # the largest
    assert page.page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    size.click()
    assert page.page.locator("table.lesions tbody tr").last.get_attribute("data-lesion") == "5"
    page.page.locator("table.lesions thead button", has_text="Where").click()
    places = page.page.locator("table.lesions tbody td:nth-child(2)").all_inner_texts()
    assert places == sorted(places)
    page.page.locator("table.lesions tbody tr").first.click()
    assert page.told("lesion") == "3"
    page.page.locator("table.lesions thead button", has_text="No.").click()
    assert page.page.locator("table.lesions tbody tr").first.get_attribute("data-lesion") == "1"


def test_arrow_keys_go_from_lesion_to_lesion(plain):
    page = plain
    box = page.page.locator(".scrollbox")
    box.press("End")
    assert page.told("lesion") == "5"
    box.press("ArrowUp")
    assert page.told("lesion") == "4"
    box.press("Home")
    assert page.told("lesion") == "1"


def test_toggles_change_what_is_drawn(plain):
    page = plain
    page.page.locator("tr[data-lesion='3']").click()
    with_rings = page.picture()
    page.page.locator("[data-show='marks']").click()
    bare = page.picture()
    assert len(where(acquired_tile(bare), YELLOW)) == 0 < len(where(acquired_tile(with_rings), YELLOW))
    page.page.locator("[data-show='compartments']").click()
    tinted = page.picture()
    colourful = np.ptp(tinted, axis=2) > 30
    assert colourful.mean() > 0.1 + (np.ptp(bare, axis=2) > 30).mean()
    page.page.locator("[data-show='compartments']").click()
    page.page.locator("[data-show='fill']").click()
    assert np.abs(page.picture() - bare).max() > 40
    page.page.locator("[data-layout='coronal']").click()
    assert where(page.picture(), YELLOW).size == 0  # rings are off
    for button in ("[data-show='fill']", "[data-show='marks']", "[data-layout='all']", "[data-reset]"):
        page.page.locator(button).click()
    assert np.array_equal(page.picture(), with_rings)
    assert quiet(page)


def test_every_candidate_can_be_searched(plain):
    page = plain
    part = page.page.locator("details.candidates")
    part.locator("summary").click()
    assert part.locator(".found").inner_text() == "1–1 of 1"  # the rejected one
    part.locator("select").select_option("")
    assert part.locator(".found").inner_text() == "1–6 of 6"
    part.locator("select").select_option("probability")
    assert part.locator("tbody tr").count() == 1
    part.locator("tbody tr").click()
    assert np.allclose(page.viewer_mm(), (-1.0, -2.0, -3.0), atol=0.02)
    part.locator("input").fill("no such rule")
    assert part.locator(".found").inner_text() == "none found"


def test_two_series_have_two_viewers(opened, make_case):
    one, two = make_case(series_id="aaa"), make_case(series_id="bbb", orientation="RPI", verdict=Verdict.MET)
    page = opened(replace(two, series=(*one.series, *two.series)))
    page.ready(0).ready(1)
    before = page.viewer_mm(0)
    page.series(1).locator("tr[data-lesion='5']").click()
    assert np.allclose(page.viewer_mm(1), one.series[0].lesions[4].centroid_ras_mm, atol=0.02)
    assert page.viewer_mm(0) == before
    assert quiet(page)


def test_an_indeterminate_scan_without_lesions(opened, make_case):
    page = opened(make_case(blobs=(), verdict=Verdict.INDETERMINATE)).ready()
    assert "is indeterminate for the proposed criteria" in page.page.locator(".verdict").inner_text()
    assert page.page.locator("table.lesions").count() == 0
    assert page.page.locator(".side").inner_text().startswith("No lesion was found")
    page.page.locator("svg.counts [data-slice='5']").click()
    assert page.told("slice") == "5"
    assert quiet(page)


def test_no_side_is_named_where_the_file_states_none(opened, make_case):
    page = opened(make_case(orientation_known=False)).ready()
    assert page.page.locator("[data-show='compartments']").count() == 0
    page.page.locator("[data-show='fill']").click()
    page.page.locator("tr[data-lesion='1']").click()
    assert page.page.locator(".status").inner_text().startswith("-36.0, 10.5, 30.0 mm")
