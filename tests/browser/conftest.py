"""A headless Chromium with software WebGL, and pages opened in it with every request and message noted."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miliary_seg.report import write_case

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
NO_WEBGL = ("--disable-gpu", "--disable-3d-apis")
PATIENCE_MS = 300_000
"""Software WebGL on a busy machine is slow; no test waits for something that shall not come."""


@dataclass
class Opened:
    """One page, and what went on in it."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def hear(self, message: Any) -> None:
        if "GL Driver Message (OpenGL, Performance" not in message.text:  # a stall of the browser's own
            self.messages.append(f"{message.type}: {message.text}")

    def series(self, number: int = 0) -> Any:
        return self.page.locator(".series").nth(number)

    def told(self, name: str, number: int = 0) -> str:
        """A ``data-`` attribute of a series."""
        return str(self.series(number).get_attribute(f"data-{name}"))

    def ready(self, number: int = 0) -> Opened:
        viewer = self.series(number).locator(".viewer")
        viewer.scroll_into_view_if_needed()
        number_given = self.series(number).get_attribute("data-number")
        self.page.wait_for_selector(f".series[data-number='{number_given}'][data-state='ready']")
        return self

    def viewer_mm(self, number: int = 0) -> list[float]:
        """Where NiiVue's own crosshair is."""
        text = self.series(number).locator(".viewer").get_attribute("data-mm")
        return [float(x) for x in str(text).split()]

    def picture(self, selector: str = ".viewer", number: int = 0) -> np.ndarray:
        """What is drawn there, shape (rows, columns, 3)."""
        shot = self.series(number).locator(selector).first.screenshot()
        return np.array(Image.open(BytesIO(shot)).convert("RGB")).astype(int)


def _cases() -> ModuleType:
    """Builders of the report's unit tests: hand-made results in any orientation."""
    name = "report_cases_for_browser"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "unit" / "report" / "conftest.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Any]:
    cases = _cases()
    return lambda **choices: cases.build_case(cases.Recipe(**choices))


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright) -> Iterator[Any]:
    running = _launched(playwright, *SOFTWARE_WEBGL)
    yield running
    running.close()


@pytest.fixture(scope="session")
def browser_without_webgl(playwright) -> Iterator[Any]:
    running = _launched(playwright, *NO_WEBGL)
    yield running
    running.close()


def _launched(playwright: Any, *options: str) -> Any:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options], timeout=PATIENCE_MS)


def _open(browser: Any, folder: Path, case: Any, width: int = 1280, **choices: Any) -> Opened:
    written = write_case(case, folder, False)
    context = browser.new_context(viewport={"width": width, "height": 900}, **choices)
    context.set_default_timeout(PATIENCE_MS)
    seen = Opened(page=context.new_page())
    address = (written / "report.html").as_uri()

    def route(call: Any) -> None:
        if call.request.url.split("#")[0] == address:
            call.continue_()
        else:
            seen.requests.append(call.request.url)
            call.abort()

    context.route("**/*", route)
    seen.page.on("console", seen.hear)
    seen.page.on("pageerror", lambda error: seen.messages.append(f"error: {error}"))
    seen.page.goto(address)
    return seen


@pytest.fixture
def opened(browser, tmp_path) -> Iterator[Callable[..., Opened]]:
    """``opened(case, width=1280, ...)`` -> the case's page, written to disk and opened from there."""
    pages: list[Opened] = []

    def call(case: Any, within: Any = None, **choices: Any) -> Opened:
        pages.append(_open(within or browser, tmp_path / f"out{len(pages)}", case, **choices))
        return pages[-1]

    yield call
    for seen in pages:
        seen.page.context.close()


@pytest.fixture(scope="module")
def plain(browser, tmp_path_factory, make_case) -> Iterator[Opened]:
    """The plain case's page with its viewer running, shared: tests that leave it as they found it use this."""
    seen = _open(browser, tmp_path_factory.mktemp("plain"), make_case()).ready()
    yield seen
    seen.page.context.close()
