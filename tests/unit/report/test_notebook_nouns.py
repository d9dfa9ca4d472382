"""The nouns in a notebook: cards, data frames, figures, the viewer; and what is said where a library is missing."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.errors import MissingLibraryError, UsageError
from miliary_seg.report import tables
from miliary_seg.report.notebook.plots import lesion_compartments

pandas = pytest.importorskip("pandas")
matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

HOSTILE = "<script>alert(1)</script>\" onload='x' \x1b[31m"


class Tags(HTMLParser):
    """Tags, attributes and text of a card; complains of what is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def nouns(case):
    study = ms.Study(case=case.case, volumes=(case.series[0].volume,), caveats=case.caveats, unreadable_series=("x",))
    return study, study.volumes[0], case, case.series[0], case.decision, case.series[0].decision


def test_every_noun_shows_itself_small_and_inert(make_case):
    for noun in nouns(make_case(text=HOSTILE, case="a<b>&c")):
        html = noun._repr_html_()
        card = Tags(html)
        assert card.tags <= {"div", "b", "table", "tr", "th", "td", "ul", "li", "code", "img"}
        assert card.attributes <= {"class", "style", "src", "alt"}
        assert "\x1b" not in html
        assert "http" not in html
        assert "DOE^JANE" not in html, "no path of a file"
        assert len(html) < 100_000


def test_cards_say_the_answer_the_reasons_and_research_use(case):
    card = Tags(case._repr_html_())
    assert "NOT_MET : the pattern does not meet the proposed criteria." in card.text
    assert "Research use only" in card.text
    series = Tags(case.series[0]._repr_html_()).text
    assert "left supratentorial" in series
    assert f"{len(case.series[0].lesions)} lesions" in series
    decision = Tags(case.series[0].decision._repr_html_()).text
    assert "-15 (20 asked for)" in decision
    assert "1 of 2" in decision, "readings with another answer"


def test_long_lists_of_remarks_are_cut_and_say_so(case):
    many = tuple(ms.domain.reason.Reason(code=f"c{n}", text="t") for n in range(20))
    assert "and 12 more" in replace(case, caveats=many)._repr_html_()


def test_frames_have_the_columns_values_and_units_of_the_files(case):
    series = case.series[0]
    pairs = (
        (series.lesions_frame(), tables.lesions_table(series)),
        (series.slices_frame(), tables.slices_table(series, identified=True)),
        (series.candidates_frame(), tables.candidates_table(series)),
    )
    for frame, table in pairs:
        file = pandas.read_csv(io.StringIO(table.csv()))
        assert list(frame.columns) == list(file.columns)
        assert len(frame) == len(file) > 0
        assert frame.attrs["units"] == {column.name: column.unit for column in table.columns}
        for name in frame.select_dtypes("number").columns:
            np.testing.assert_allclose(frame[name].astype(float), file[name].astype(float), rtol=1e-9)
    assert pairs[0][0]["side"].tolist() == [str(place.side) for place in series.assignments]
    assert pairs[1][0]["n_lesions"].sum() == sum(len(lesion.slices) for lesion in series.lesions)


def test_a_missing_library_names_the_extra(case, monkeypatch):
    for name, call in (("pandas", case.series[0].lesions_frame), ("matplotlib.pyplot", case.plot_counts)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(
            MissingLibraryError, match=r"not installed; pip install 'miliary-seg\[notebook\]'"
        ) as caught:
            call()
        assert isinstance(caught.value, ImportError)


def test_the_count_plot_draws_every_slice_the_threshold_and_the_evidence(case):
    series = case.series[0]
    ax = case.plot_counts()
    assert [bar.get_height() for bar in ax.patches] == list(series.decision.slice_counts)
    dark = [n for n, bar in enumerate(ax.patches) if bar.get_facecolor() != ax.patches[0].get_facecolor()]
    assert dark == [e.index for e in series.decision.evidence_slices]
    assert any(set(line.get_ydata()) == {20} for line in ax.lines)
    assert series.plot_counts(ax) is ax


def test_slices_are_drawn_with_and_without_marks(case):
    marked, bare = case.plot_slices([10, 12]), case.plot_slices([10, 12], marked=False)
    assert [ax.get_title().split(":")[0] for ax in marked] == ["slice 10", "slice 12"]
    assert marked[0].images[0].get_array().ndim == 3, "colour"
    assert bare[0].images[0].get_array().ndim == 2, "grey"
    assert len(case.plot_slices()) == 1, "the evidence slice"
    for wrong in ([], [-1], [10_000]):
        with pytest.raises(UsageError, match="name slices from 0"):
            case.plot_slices(wrong)


def test_planes_go_through_the_point(case):
    series = case.series[0]
    lesion = series.lesions[2]
    axes = series.plot_planes(lesion.centroid_ras_mm)
    i, j, k = (round(x) for x in lesion.centroid_ijk)
    assert [ax.get_title().split(" (")[0] for ax in axes] == [f"axial {k}", f"coronal {j}", f"sagittal {i}"]
    assert all(ax.images[1].get_array()[..., 3].any() for ax in axes), "the lesion is marked on all three"
    with pytest.raises(UsageError, match="outside"):
        series.plot_planes((1e4, 0, 0))


def test_planes_without_lesions_go_through_the_middle_of_the_brain(make_case):
    series = make_case(blobs=((30.0, 0.0, 20.0, 4.0),)).series[0]
    empty = replace(series, detection=replace(series.detection, lesions=()), assignments=())
    middle = [round(float(x)) for x in np.argwhere(series.location.brain_mask).mean(axis=0)]
    assert empty.plot_planes()[0].get_title().startswith(f"axial {middle[2]} ")


def test_without_ipyniivue_the_view_is_three_planes(case, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    assert len(case.view()) == 3


def test_the_viewer_gets_scan_and_lesions_on_the_scan_s_grid(make_case):
    pytest.importorskip("ipyniivue")
    series = make_case(orientation="LPS").series[0]
    scan, marks = series.view().volumes
    for layer in (scan, marks):
        image = nib.Nifti1Image.from_bytes(__import__("gzip").decompress(layer.data))
        np.testing.assert_allclose(image.affine, series.volume.grid.affine, atol=1e-5)
        assert image.shape == series.volume.grid.shape
    voxels = np.asarray(image.dataobj)
    for place in series.assignments:
        inside = series.detection.lesion_labels.labels == place.lesion_id
        assert set(np.unique(voxels[inside])) == {int(place.compartment)}
    assert not voxels[series.detection.lesion_labels.labels == 0].any()
    assert marks.colormap_label.lut[:4] == [0, 0, 0, 0], "background is clear"


def test_the_viewer_names_no_side_that_is_not_known(make_case):
    pytest.importorskip("ipyniivue")
    named = [make_case(**choices).series[0].view() for choices in ({}, {"orientation_known": False})]
    assert [widget.opts.is_orientation_text_visible for widget in named] == [True, False]


def test_lesions_of_unknown_compartment_have_a_value_of_their_own(case):
    series = case.series[0]
    unknown = replace(series, assignments=(replace(series.assignments[0], side=None), *series.assignments[1:]))
    first = series.detection.lesion_labels.labels == series.assignments[0].lesion_id
    assert set(np.unique(lesion_compartments(unknown)[first])) == {5}


def test_the_series_of_a_case_is_the_deciding_one_or_the_one_named(case):
    assert case.series_of() is case.series[0]
    assert case.series_of(case.series[0].id) is case.series[0]
    with pytest.raises(UsageError, match="no series 'flair'"):
        case.series_of("flair")
