"""The documentation site builds strictly, holds every page in its nav, and loads nothing from the internet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    p.relative_to(REPOSITORY / "docs") for p in (REPOSITORY / "docs").rglob("*") if p.suffix in (".md", ".ipynb")
)
ALGORITHMS = ("loading", "compartments", "detection", "rejector", "criteria", "pattern", "phantoms")
LOADS = re.compile(r"""<(?:script|img|iframe|source|video|link)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^>]*>""")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for library in ("mkdocs", "material", "mkdocstrings", "nbformat"):
        pytest.importorskip(library)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_built_and_in_the_nav(site):
    home = (site / "index.html").read_text("utf-8")
    for page in [*PAGES, Path("cli.md")]:
        built = page.with_suffix(".html").as_posix()
        assert (site / built).is_file(), page
        assert f'href="{built}"' in home, f"{page} is not in the nav"


def test_a_page_is_listed_once():
    listed = re.findall(r": ([\w/-]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(set(listed)) == sorted(listed)


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loads = [tag for tag in LOADS.findall(page.read_text("utf-8")) if 'rel="canonical"' not in tag]
        assert not loads, f"{page.name}: {loads[:2]}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", sheet.read_text("utf-8")), sheet.name


@pytest.mark.slow
def test_generated_pages_and_notebooks_have_their_content(site):
    commands = (site / "cli.html").read_text("utf-8")
    for text in ("miliary-seg run INPUTS...", "--sequence", "miliary-seg phantom"):
        assert text in commands
    library = (site / "api.html").read_text("utf-8")
    for name in ("miliary_seg.pipeline.analyze", "miliary_seg.domain.result.CaseResult.write"):
        assert f'id="{name}"' in library
    notebook = (site / "notebooks" / "one_scan.html").read_text("utf-8")
    assert "data:image/png;base64," in notebook
    assert "the pattern meets the proposed criteria" in notebook
    assert "no-run" not in (site / "getting-started.html").read_text("utf-8")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_page_of_an_algorithm_has_the_parts_that_readers_look_for(name):
    text = (REPOSITORY / "docs" / f"{name}.md").read_text("utf-8")
    headings = " | ".join(re.findall(r"^##+ (.*)$", text, re.MULTILINE)).lower()
    for part in ("allowances and restrictions", "falls short|restrictions", "measured|accuracy|sensitive"):
        assert re.search(part, headings), f"docs/{name}.md lacks: {part}"
