"""The page over many cases: inert text, no host, what is first, what is left out."""

from __future__ import annotations

import base64
import hashlib
import io
import re

import pytest
from PIL import Image

from miliary_seg.cohort.pages import cases as module
from miliary_seg.cohort.pages.cases import PageCase, cases_page, deciding_row, in_order
from miliary_seg.report import case_rows
from miliary_seg.report.html.pictures import HEIGHT_PX, thumbnail


def one(name: str, status: str, row=None, **other) -> PageCase:
    return PageCase(case=name, status=status, row=row or {}, **other)


@pytest.fixture
def row(case):
    (row,) = case_rows(case)
    return row


def shown(html: str) -> list[str]:
    return re.findall(r'<tr data-status="\w+" data-case="([^"]*)"', html)


def test_what_a_reader_looks_at_first_stands_first(row) -> None:
    cases = [
        one("b", "NOT_MET", row),
        one("a", "failed", cause="torn"),
        one("z", "MET", row),
        one("y", "INDETERMINATE", row),
    ]
    html = cases_page(cases, {}, digest="ab12", versions=["0.1.0"], n_unreadable=2)
    assert shown(html) == ["z", "y", "a", "b"]
    assert "torn" in html
    assert "2 inputs of the last run could not be read" in html
    assert "<h1>4 cases</h1>" in html
    assert "could not be read" not in cases_page(cases, {}, digest="ab12", versions=["0.1.0"])


def test_names_and_causes_are_inert_and_nothing_is_fetched(row) -> None:
    evil = '"><script>alert(1)</script>'
    html = cases_page(
        [one(evil, "failed", cause=evil), one("a", "MET", {**row, "sequence": evil})], {}, digest="", versions=[evil]
    )
    assert html.count("<script>") == 1
    assert not re.search(r"(?:src|href)=\"(?!data:)[a-z]+:", html)
    script = html.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_limits_of_the_page(row, monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    html = cases_page([one(f"c{n}", "NOT_MET", row) for n in range(5)], {}, digest="", versions=[])
    assert shown(html) == ["c0", "c1", "c2"]
    assert "2 more cases are in cases.csv" in html


def test_remarks_say_what_else_to_look_at(row) -> None:
    doubtful = {**row, "borderline": True, "readings_disagree": True, "reasons": "thick_slices;low_coverage"}
    assert one("a", "MET", doubtful).remarks == ["borderline", "readings differ"]
    assert one("a", "INDETERMINATE", doubtful).remarks[2:] == ["thick_slices", "low_coverage"]
    html = cases_page([one("a", "INDETERMINATE", doubtful)], {}, digest="", versions=[])
    assert "borderline; readings differ; thick slices; low coverage" in html


def test_the_row_that_decided() -> None:
    rows = [
        {"study_verdict": "MET", "verdict": "NOT_MET", "probability": 0.9, "series": "a"},
        {"study_verdict": "MET", "verdict": "MET", "probability": 0.6, "series": "b"},
        {"study_verdict": "MET", "verdict": "MET", "probability": 0.8, "series": "c"},
    ]
    assert deciding_row(rows)["series"] == "c"
    assert deciding_row([]) == {}
    assert [case.case for case in in_order([one("b", "other"), one("a", "MET")])] == ["a", "b"]


def test_pictures(case, row) -> None:
    png = thumbnail(case)
    assert png == thumbnail(case)
    picture = Image.open(io.BytesIO(png))
    assert picture.height == HEIGHT_PX
    assert picture.info == {} or "dpi" not in picture.info
    assert len(png) < 20_000
    html = cases_page([one("a", "MET", row, report="a/report.html")], {"a": png}, digest="", versions=[])
    assert base64.b64encode(png).decode() in html
    assert '<a href="a/report.html">a</a>' in html
