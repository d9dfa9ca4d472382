"""index.html in a real browser: sorting, filtering, nothing fetched, and of use without script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from miliary_seg.cohort.pages.cases import PageCase, cases_page
from miliary_seg.report import case_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture
def shown(browser, tmp_path, make_case) -> Iterator[Callable[..., tuple[Any, list[str]]]]:
    (row,) = case_rows(make_case())
    figures = {"c10": ("MET", 31, 0.9), "c9": ("NOT_MET", 4, None), "c2": ("INDETERMINATE", 12, 0.4)}
    cases = [
        PageCase(case=name, status=status, row={**row, "n_lesions": n, "probability": probability})
        for name, (status, n, probability) in figures.items()
    ]
    cases.append(PageCase(case="<b>torn</b>", status="failed", row={}, cause="<img src=http://127.0.0.1:9/x>"))
    (tmp_path / "index.html").write_text(cases_page(cases, {}, digest="ab", versions=["1"]), "utf-8")
    pages = []

    def open_it(**options: Any) -> tuple[Any, list[str]]:
        page = browser.new_page(**options)
        pages.append(page)
        page.set_default_timeout(300_000)
        noted: list[str] = []
        page.on("console", lambda message: noted.append(message.text))
        page.on("pageerror", lambda error: noted.append(str(error)))
        page.on("request", lambda request: noted.append(request.url) if request.url.startswith("http") else None)
        page.goto((tmp_path / "index.html").as_uri())
        return page, noted

    yield open_it
    for page in pages:
        page.close()


def names(page: Any) -> list[str]:
    return page.locator("tbody tr:visible th").all_inner_texts()


def test_sorting_by_number_and_by_name(shown) -> None:
    page, noted = shown()
    assert names(page) == ["c10", "c2", "<b>torn</b>", "c9"]
    page.get_by_role("button", name="Lesions").click()
    assert names(page) == ["c10", "c2", "c9", "<b>torn</b>"], "largest first, unknown values below"
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Lesions")
    page.get_by_role("button", name="Lesions").click()
    assert names(page) == ["c9", "c2", "c10", "<b>torn</b>"], "unknown values stay below"
    page.get_by_role("button", name="Case").click()
    assert names(page)[1:] == ["c2", "c9", "c10"], "numbers within names count as numbers"
    assert noted == []


def test_filtering_by_answer_and_by_name(shown) -> None:
    page, noted = shown()
    page.get_by_role("checkbox", name="failed").uncheck()
    page.get_by_role("checkbox", name="NOT MET").uncheck()
    assert names(page) == ["c10", "c2"]
    assert page.locator("#shown").inner_text() == "2"
    page.get_by_role("searchbox").fill("C1")
    assert names(page) == ["c10"]
    assert noted == []


def test_without_script_everything_is_there(shown) -> None:
    page, noted = shown(java_script_enabled=False)
    assert names(page) == ["c10", "c2", "<b>torn</b>", "c9"]
    assert not page.locator("#controls").is_visible()
    assert noted == []
