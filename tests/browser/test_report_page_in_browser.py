"""report.html in a real browser: hostile text, no WebGL, no script, both colour schemes, narrow screens, print."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

HOSTILE = (
    "</title></style></script><script>document.title='RUN'</script>\"'>"
    "<img src=http://127.0.0.1:9/x onerror=\"document.title='RUN'\"><svg/onload=\"document.title='RUN'\">"
    "<!--<script> {{ 7*7 }} ${document.title='RUN'} \x1b[31m =HYPERLINK(1) ../../etc/passwd C:\\x \u202e"
)


def without_viewer(case):
    settings = {**case.settings, "report": {**case.settings["report"], "viewer": False}}
    return replace(case, settings=settings)


def test_hostile_text_runs_nothing_and_asks_for_nothing(opened, make_case):
    page = opened(make_case(text=HOSTILE, case=HOSTILE, series_id=HOSTILE)).ready()
    page.page.locator("tr[data-lesion='1']").click()
    page.page.locator("details.candidates summary").click()
    page.page.locator("details.candidates select").select_option("probability")
    page.page.wait_for_timeout(200)
    assert page.page.title() != "RUN"
    assert "<script>" in page.page.title()
    assert (page.messages, page.requests) == ([], [])
    assert page.page.locator("img:not([src^='data:image/png'])").count() == 0
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "49" not in page.page.locator(".series").inner_text().split()


def test_injected_script_is_refused_by_the_policy(opened, make_case):
    page = opened(without_viewer(make_case()))
    title = page.page.title()
    refused = page.page.evaluate(
        """() => new Promise((resolve) => {
            const refused = [];
            document.addEventListener("securitypolicyviolation", (event) => {
                refused.push(event.effectiveDirective);
                if (refused.length === 2) resolve(refused.sort());
            });
            const script = document.createElement("script");
            script.textContent = "document.title = 1";
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:9/x";
            document.body.append(script, image);
        })"""
    )
    assert refused == ["img-src", "script-src-elem"]
    assert page.page.title() == title
    assert page.requests == []


def test_without_webgl_the_page_says_so_and_works(opened, browser_without_webgl, make_case):
    page = opened(make_case(), within=browser_without_webgl)
    page.page.wait_for_selector("[data-state='no-webgl']")
    assert "offers no WebGL 2" in page.page.locator(".viewer").inner_text()
    assert "complete without it" in page.page.locator(".viewer").inner_text()
    page.page.locator("tr[data-lesion='3']").click()
    assert page.told("lesion") == "3"
    page.page.locator("svg.counts [data-slice='17']").click()
    assert page.told("slice") == "17"
    assert page.page.locator("figure img").count() >= 6
    assert page.page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert (page.messages, page.requests) == ([], [])


def test_a_page_without_viewer_still_moves(opened, make_case):
    page = opened(without_viewer(make_case()))
    page.page.locator("tr[data-lesion='3']").click()
    assert page.told("lesion") == "3"
    assert "left infratentorial" in page.page.locator(".status").inner_text()
    assert (page.messages, page.requests) == ([], [])


def test_without_script_the_page_is_complete(opened, make_case):
    page = opened(make_case(), java_script_enabled=False)
    text = page.page.locator("body").inner_text()
    for words in ("does not meet the proposed criteria", "needs JavaScript and WebGL 2", "L infra"):
        assert words in text
    assert page.page.locator("figure img").count() >= 6
    assert page.page.locator(".tools").is_hidden()
    assert page.page.locator("button.theme").is_hidden()


def test_both_colour_schemes_and_the_button(opened, make_case):
    page = opened(without_viewer(make_case()))

    def bright() -> bool:
        colour = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return float(np.mean([int(x) for x in re.findall(r"\d+", colour)[:3]])) > 200

    button = page.page.locator("button.theme")
    for scheme in ("light", "dark"):
        page.page.emulate_media(color_scheme=scheme)
        assert bright() is (scheme == "light")
        button.click()
        assert (button.inner_text(), bright()) == ("Colours: light", True)
        button.click()
        assert (button.inner_text(), bright()) == ("Colours: dark", False)
        button.click()
        assert (button.inner_text(), bright()) == ("Colours: auto", scheme == "light")


def test_narrow_screens_do_not_scroll_sideways(opened, make_case):
    page = opened(make_case(text="a" * 200, case="c" * 120), width=820)
    for width in (820, 400):
        page.page.set_viewport_size({"width": width, "height": 900})
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.page.locator(".viewer").bounding_box()["width"] > 0.85 * width


def test_print_shows_every_row_of_a_short_table_and_neither_viewer_nor_folded_parts(opened, make_case):
    page = opened(make_case())
    page.page.emulate_media(media="print")
    assert page.page.locator(".viewer").is_hidden()
    assert page.page.locator("table.lesions tbody tr").last.is_visible()
    assert not any(part.is_visible() for part in page.page.locator("details").all())
    assert page.page.get_by_text("Every reading of the rule and every setting: result.json.").is_visible()
    assert len(page.page.pdf()) > 50_000
