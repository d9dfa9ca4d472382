"""The page and its pictures: orientation, inert text, wording, and nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.result import PossibleMass
from miliary_seg.domain.sequence import Modality
from miliary_seg.report import case_document, report_html
from miliary_seg.report.html.canvas import Canvas
from miliary_seg.report.html.pictures import SliceRenderer, shown_slices
from miliary_seg.report.html.plots import count_plot, projections, size_histogram, slice_ends
from miliary_seg.report.html.views import Box, View, grey_window, to_grey

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\u202e\x1b[31m"


SIDE_SENTENCES = (
    "the patient's right is on the left-hand side",
    "Anterior is on the left-hand side",
    "which side of the pictures is left is unknown",
)


class Page(HTMLParser):
    """Tags, attributes and visible text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.values, self.text, self.programs, self.blocks = [], [], [], [], {}
        self.inside = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [(tag, name, value or "") for name, value in attrs]
        self.inside = (tag, dict(attrs)) if tag in {"script", "style"} else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        """Text that people see; programs and styles; blocks of data by their id."""
        if self.inside is None:
            self.text.append(data)
        elif "type" in self.inside[1]:
            self.blocks[self.inside[1]["id"]] = self.blocks.get(self.inside[1]["id"], "") + data
        else:
            self.programs.append((self.inside[0], data))


def page_of(case):
    return report_html(case, case_document(case))


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"), dtype=int)


def bright_half(picture, axis):
    """-1 where the brightest blob lies in the first half of a picture axis, +1 in the second."""
    mass = (picture.min(axis=2) > 245).astype(float)
    profile = mass.sum(axis=1 - axis)
    assert profile.sum() > 20
    return 1 if (profile * np.arange(profile.size)).sum() / profile.sum() > (profile.size - 1) / 2 else -1


@pytest.mark.parametrize("code", ["LAS", "RAS", "LPS", "RPI", "ASL", "PIR", "SAL"])
def test_left_is_right_and_anterior_is_up_on_axial_pictures(make_case, code):
    case = make_case(orientation=code, plane="axial", blobs=((-36.0, 30.0, 10.0, 9.0),))
    painter = SliceRenderer(case.series[0])
    fullest = int(np.argmax(case.series[0].decision.slice_counts))
    bare = decoded(painter.evidence(fullest)[0].uri)
    assert bright_half(bare, axis=1) == 1
    assert bright_half(bare, axis=0) == -1
    assert painter.view.letters == ("R", "L", "A", "P")


@pytest.mark.parametrize("code", ["LAS", "RPI", "ASL"])
def test_coronal_pictures(make_case, code):
    case = make_case(orientation=code, plane="coronal", blobs=((36.0, 0.0, -30.0, 9.0),))
    painter = SliceRenderer(case.series[0])
    bare = decoded(painter.evidence(int(np.argmax(case.series[0].decision.slice_counts)))[0].uri)
    assert bright_half(bare, axis=1) == -1
    assert bright_half(bare, axis=0) == 1
    assert painter.view.letters == ("R", "L", "S", "I")


@pytest.mark.parametrize("code", ["PIR", "ASL", "RAS"])
def test_sagittal_pictures_have_anterior_on_the_left(make_case, code):
    case = make_case(orientation=code, plane="sagittal", blobs=((6.0, 36.0, 30.0, 9.0),))
    painter = SliceRenderer(case.series[0])
    bare = decoded(painter.evidence(int(np.argmax(case.series[0].decision.slice_counts)))[0].uri)
    assert bright_half(bare, axis=1) == -1
    assert bright_half(bare, axis=0) == -1
    assert painter.view.letters == ("A", "P", "S", "I")


def test_every_orientation_gives_the_same_picture(make_case, all_orientations):
    """The head looks the same however its voxels are stored."""
    pictures = []
    for code in all_orientations:
        series = make_case(orientation=code).series[0]
        view = View.across(series.volume.grid, series.volume.slice_axis)
        k = 10 if code[series.volume.slice_axis] == "S" else 29
        pictures.append(np.array(view.plane(series.detection.lesion_labels.labels, k)))
    assert len(pictures) == 48
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    rows, columns = np.nonzero(pictures[0] == 3)
    assert columns.mean() > pictures[0].shape[1] / 2  # left on the right-hand side
    assert rows.mean() > pictures[0].shape[0] / 2  # posterior below


def test_projections_place_dots_as_pictures_do(make_case):
    for code in ("LAS", "RPI", "SLA"):
        axial, coronal, sagittal = projections(make_case(orientation=code).series[0])
        dot = axial.dots[2]  # left, posterior, inferior
        assert dot.x > axial.width / 2
        assert dot.y > axial.height / 2
        assert dot.colour_class == "left_infratentorial"
        assert coronal.dots[2].x > coronal.width / 2
        assert coronal.dots[2].y > coronal.height / 2
        assert sagittal.dots[2].x > sagittal.width / 2
        assert all(0 < d.x < p.width and 0 < d.y < p.height for p in (axial, coronal, sagittal) for d in p.dots)


def test_proportions_are_true(make_case):
    coronal = make_case(plane="coronal").series[0]
    view = View.across(coronal.volume.grid, coronal.volume.slice_axis)
    canvas = Canvas(np.zeros((40, 48), np.uint8), view, 400)  # 160 mm high, 144 mm wide
    assert canvas.size == (360, 400)


def test_marks_are_around_the_lesion_and_coloured_by_compartment(case):
    painter = SliceRenderer(case.series[0])
    bare, marked = (decoded(picture.uri) for picture in painter.evidence(10))
    changed = np.abs(marked - bare).max(axis=2) > 40
    for colour, left_half in (("#F0E442", False), ("#CC79A7", True)):  # left infratentorial is drawn on the right
        rgb = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        hit = changed & (np.abs(marked - rgb).max(axis=2) < 12)
        assert hit.sum() > 60
        assert bool(np.nonzero(hit)[1].mean() < marked.shape[1] / 2) is left_half
    inside = bare.min(axis=2) > 250
    assert (changed & inside)[100:-100, 100:-100].mean() < 0.01  # marks do not hide the lesion


def test_nothing_is_loaded_and_only_known_scripts_run(case):
    text = page_of(case)
    page = Page(text)
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert all(not name.startswith("on") and name != "style" for _, name, _ in page.values)
    for _, name, value in page.values:
        if name in {"src", "href"}:
            assert value.startswith(("data:image/png;base64,", "#"))
    policy = next(v for t, n, v in page.values if t == "meta" and n == "content" and "default-src" in v)
    for part in ("default-src 'none'", "img-src data: blob:", "base-uri 'none'", "form-action 'none'"):
        assert part in policy.split("; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert [tag for tag, _ in page.programs] == ["style", "script", "script"]
    for _, program in page.programs:
        digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "url(" not in page.programs[0][1]
    assert len(text) < 25_000_000


def test_every_other_script_element_is_data(case):
    page = Page(page_of(case))
    assert page.tags.count("script") == 2 + len(page.blocks)
    kinds = {v for t, n, v in page.values if t == "script" and n == "type"}
    assert kinds == {"application/json", "application/gzip;base64"}
    for name, block in page.blocks.items():
        assert "<" not in block
        if name.startswith("volumes"):
            assert gzip.decompress(base64.b64decode(block))[344:348] == b"n+1\0"
        else:
            json.loads(block)


def test_hostile_text_is_inert_everywhere(make_case):
    case = make_case(text=HOSTILE, case=HOSTILE, series_id=HOSTILE)
    case = replace(case, software={"name": HOSTILE, "version": HOSTILE})
    text = page_of(case)
    page = Page(text)
    assert len(page.programs) == 3
    assert page.tags.count("script") == 2 + len(page.blocks)
    assert json.loads(page.blocks["candidates-1"])["rules"]["probability"]["text"].endswith("{{7*7}} [31m")
    assert all(not name.startswith("on") for _, name, _ in page.values)
    assert all(value.startswith("data:") for tag, name, value in page.values if tag == "img" and name == "src")
    assert "alert(1)" in "".join(page.text)  # shown, not run
    assert "{{7*7}}" in "".join(page.text)
    assert ">49<" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_page_keeps_identity_out(case, make_case):
    text = page_of(case)
    for secret in ("DOE^", "/archive", "1.2.826"):
        assert secret not in text
    assert "/archive/DOE^JANE/im0.dcm" in page_of(make_case(identified=True))


def test_pictures_hold_no_text_chunk(case):
    for picture in (*SliceRenderer(case.series[0]).evidence(10), SliceRenderer(case.series[0]).overview()):
        raw = base64.b64decode(picture.uri.split(",")[1])
        assert raw.startswith(b"\x89PNG")
        assert not re.search(rb"tEXt|zTXt|iTXt|tIME|eXIf", raw)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_wording(make_case, verdict):
    page = Page(page_of(make_case(verdict=verdict)))
    text = " ".join(
        "".join([*page.text, *(v for _, n, v in page.values if n in {"title", "alt", "aria-label"})]).split()
    )
    assert f"The pattern {verdict.text} of miliary brain metastasis" in text
    for words in ("Research use only", "proposed", "doi:10.1038/s41416-020-1008-2", "not externally validated"):
        assert words in text
    for word in ("diagnos", "confirmed", "prognos"):
        assert word not in text.lower()


def test_every_picture_is_described_and_captioned(case):
    text = page_of(case)
    page = Page(text)
    images = text.count("<img ")
    assert images >= 6
    assert sum(1 for tag, name, value in page.values if tag == "img" and name == "alt" and value) == images
    assert text.count("<figure") == text.count("<figcaption>")
    assert sum(1 for tag, name, _ in page.values if tag == "svg" and name == "aria-label") >= 3


def test_page_without_lesions_and_without_orientation(make_case):
    text = page_of(make_case(blobs=(), orientation_known=False, modality=Modality.CT))
    assert "No lesion was found" in text
    assert "left and right are unknown" in text
    assert "Window 0 to 80 HU" in text
    assert SliceRenderer(make_case(orientation_known=False).series[0]).view.letters == ("", "", "", "")


def test_page_of_two_series_puts_the_deciding_one_first(make_case):
    one, two = make_case(series_id="aaa"), make_case(series_id="bbb", verdict=Verdict.MET)
    both = replace(two, series=(*one.series, *two.series))
    text = page_of(both)
    assert text.index('id="series-1">bbb') < text.index('id="series-2">aaa')
    assert "Each series is decided alone" in text


def test_slices_shown_without_evidence(case):
    series = case.series[0]
    series = replace(series, decision=replace(series.decision, evidence_slices=()))
    first, second = shown_slices(series)
    assert second - first > 1
    assert min(series.decision.slice_counts[first], series.decision.slice_counts[second]) > 0


def test_count_plot_by_hand(case):
    plot = count_plot(case.series[0])
    assert len(plot.bars) == 40
    assert plot.bars[0].height == 0
    two, one = plot.bars[10], next(b for b in plot.bars if "1 lesion," in b.title)
    assert two.height == pytest.approx(2 * one.height, abs=0.05)
    assert plot.line_at is not None
    ratio = (plot.base - plot.line_at) / two.height
    assert ratio == pytest.approx(10, rel=0.02)  # threshold 20 against 2 lesions
    assert [bar.marked for bar in plot.bars].count(True) == 1
    assert plot.x_ends == ("inferior", "superior")


def test_slice_ends_follow_the_affine(make_case):
    assert slice_ends(make_case(orientation="RPI").series[0]) == ("superior", "inferior")
    assert slice_ends(make_case(orientation="PIR", plane="sagittal").series[0]) == ("left", "right")
    assert slice_ends(make_case(orientation_known=False).series[0]) == ("", "")


def test_size_histogram_counts_every_lesion(case, make_case):
    plot = size_histogram(case.series[0])
    assert plot is not None
    assert sum(int(bar.title.split(": ")[1].split()[0]) for bar in plot.bars) == 5
    assert size_histogram(make_case(blobs=()).series[0]) is None


def test_windows(case, make_case):
    volume = case.series[0].volume
    mask = case.series[0].location.brain_mask
    low, high = grey_window(volume, mask)
    assert (low, high) == (0.0, pytest.approx(1000.0, abs=200.0))
    nothing = np.zeros_like(mask)
    assert grey_window(replace(volume, voxels=np.full(volume.grid.shape, np.nan)), nothing) == (0.0, 1.0)
    grey = to_grey(np.array([[np.nan, -5.0, 40.0, 80.0, np.inf]], np.float32), (0.0, 80.0))
    assert grey.tolist() == [[0, 0, 128, 255, 255]]


def test_box_of_an_empty_mask_is_the_whole_picture(case):
    volume = case.series[0].volume
    view = View.across(volume.grid, 2)
    box = Box.around(np.zeros(volume.grid.shape, bool), view, 10.0)
    assert (box.top, box.bottom, box.left, box.right) == (0, 56, 0, 48)


def test_brain_not_found_still_gives_a_page(case):
    series = case.series[0]
    location = replace(series.location, brain_mask=np.zeros(series.volume.grid.shape, bool))
    text = page_of(replace(case, series=(replace(series, location=location),)))
    assert "<figure>" in text


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({}, "the patient's right is on the left-hand side"),
        ({"plane": "sagittal"}, "Anterior is on the left-hand side"),
        ({"orientation_known": False}, "which side of the pictures is left is unknown"),
    ],
)
def test_the_page_claims_no_side_that_it_does_not_know(make_case, choices, sentence):
    text = " ".join(Page(page_of(make_case(**choices))).text)
    shown = {s for s in SIDE_SENTENCES if s in text}
    assert shown == {sentence}


@pytest.mark.parametrize(
    ("unusable", "orientation"),
    [
        ({"orientation_known": False}, "not stated: left and right are unknown"),
        ({"reoriented": True}, "contradicted by the head: left and right are unknown"),
        ({"trusted": False}, "stated by the file"),
    ],
)
def test_where_no_side_may_be_used_no_compartment_is_offered(case, unusable, orientation):
    assert "volumes-1-compartments" in Page(page_of(case)).blocks
    series = case.series[0]
    location = replace(series.location, registration=replace(series.location.registration, **unusable))
    html = page_of(replace(case, series=(replace(series, location=location),)))
    page = Page(html)
    assert "volumes-1-lesions" in page.blocks
    assert "volumes-1-compartments" not in page.blocks
    assert 'data-show="compartments"' not in html
    assert not re.search(r'<ul class="legend"[^>]*>\s*<li><i class="key [a-z_]+(left|right)', html)
    assert orientation in " ".join(page.text)


@pytest.mark.parametrize("unusable", [{"orientation_known": False}, {"reoriented": True}, {"trusted": False}])
def test_where_no_side_may_be_used_no_coverage_of_a_side_is_told(case, unusable):
    assert "100 % in view" in page_of(case)
    series = case.series[0]
    location = replace(series.location, registration=replace(series.location.registration, **unusable))
    places = tuple(replace(place, side=None) for place in series.assignments)
    html = page_of(replace(case, series=(replace(series, location=location, assignments=places),)))
    assert "% in view" not in html
    assert html.count("coverage unknown") == 4
    coverage = html.split("part of each compartment in view")[1].split("</table>")[0]
    assert "%" not in coverage
    assert coverage.count("unknown") == 4


def test_a_page_without_viewer_holds_neither_scan_nor_library(case):
    settings = {**case.settings, "report": {**case.settings["report"], "viewer": False}}
    page = Page(page_of(replace(case, settings=settings)))
    assert [tag for tag, _ in page.programs] == ["style", "script"]
    assert sorted(page.blocks) == ["candidates-1", "page-data", "viewer-1"]
    assert "canvas" not in page.tags
    assert "L supra" in "".join(page.text)


def possible_mass(series, ras_mm):
    """A case's place that may be a mass, 24 mm across."""
    centre = series.volume.grid.to_ijk(np.array([ras_mm]))[0]
    k = round(centre[series.volume.slice_axis])
    return PossibleMass(
        centroid_ijk=tuple(centre.tolist()),
        centroid_ras_mm=ras_mm,
        diameter_mm=24.0,
        slices=(k - 2, k + 2),
        probability=0.55,
    )


def with_possible_mass(result, ras_mm=(25.0, 20.0, 0.0)):
    series = result.series[0]
    middle = series.volume.grid.to_ras_mm([(n - 1) / 2 for n in series.volume.grid.shape])
    mass = possible_mass(series, tuple((middle + np.array(ras_mm)).tolist()))
    detection = replace(series.detection, possible_masses=(mass,))
    return replace(result, series=(replace(series, detection=detection), *result.series[1:])), mass


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LIA", "PSR", "ASL"])
def test_a_possible_mass_is_circled_where_it_lies(make_case, orientation):
    """Right of the middle is left on axial and coronal pictures, anterior is up or left, superior is up."""
    result, mass = with_possible_mass(make_case(orientation=orientation), (25.0, 20.0, 18.0))
    painter = SliceRenderer(result.series[0])
    bare, circled = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(p.uri.partition(",")[2]))).convert("L"), float)
        for p in painter.possible_mass(mass)
    )
    rows, columns = np.nonzero(circled != bare)
    assert len(rows) > 50
    row, column = rows.mean() / bare.shape[0], columns.mean() / bare.shape[1]
    assert row < 0.5
    assert column < 0.5
    height = (rows.max() - rows.min()) / bare.shape[0] * (painter.box.bottom - painter.box.top) * painter.view.row_mm
    assert height == pytest.approx(24 + 2 * 4, abs=8)


def test_a_possible_mass_is_shown_and_told(make_case):
    plain = make_case()
    assert "Where a mass may be" not in report_html(plain, case_document(plain))
    result, mass = with_possible_mass(plain)
    document = case_document(result)
    (told,) = document["series"][0]["detection"]["possible_masses"]
    assert told["probability"] == mass.probability
    assert told["slices"] == list(mass.slices)
    text = " ".join(" ".join(Page(report_html(result, document)).text).split())
    assert "Where a mass may be" in text
    assert "about 24 mm across" in text
    assert "It is in no count" in text
