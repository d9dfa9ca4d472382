"""Hooks of the documentation site (mkdocs.yml): notebooks as pages, generated pages, and a nav that misses no page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

MORE = "More"
"""Section of pages that mkdocs.yml does not list yet."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    listed = set(re.findall(r"[\w/.-]+\.md", repr(config.nav)))
    found = (page.relative_to(config.docs_dir).as_posix() for page in Path(config.docs_dir).rglob("*.*"))
    pages = {_page_of(name) for name in found if name.endswith((".md", ".ipynb"))}
    if strays := sorted(pages - listed):
        config.nav = [*config.nav, {MORE: strays}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from miliary_seg import report, settings
    from miliary_seg.cli import app
    from miliary_seg.cli.reference import reference
    from miliary_seg.lab.bench import document as bench

    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        text = markdown_of(nbformat.read(notebook.abs_src_path, as_version=4))
        files.append(File.generated(config, _page_of(notebook.src_uri), content=text))
        files.remove(notebook)
    files.append(File.generated(config, "cli.md", content=CLI_HEAD + reference(app)))
    for name, made in {"result": report.schema, "bench": bench.schema, "settings": settings.schema}.items():
        files.append(File.generated(config, f"schema/{name}.schema.json", content=json.dumps(made(), indent=1)))
    return files


CLI_HEAD = """# Command line

`miliary-seg VERB --help` says the same in the terminal. Results go to stdout, everything else to stderr. Exit codes:
0 done, whatever the verdict; 1 some cases failed, the others are done; 2 usage; 3 unreadable or unsuitable input;
4 geometry; 5 settings; 6 output.

"""


def markdown_of(notebook: Any) -> str:
    """An executed notebook as Markdown with its outputs inside."""
    return "\n\n".join(part for cell in notebook.cells for part in _cell(cell)) + "\n"


def _cell(cell: Any) -> list[str]:
    if cell.cell_type != "code":
        return [cell.source]
    return [f"```python\n{cell.source}\n```", *(_output(output) for output in cell.outputs)]


def _output(output: Any) -> str:
    if output.output_type == "stream":
        return _text(output.text)
    data = output.data
    if "text/html" in data:
        # a blank line would end the HTML block in Markdown
        html = "\n".join(line.strip() for line in str(data["text/html"]).splitlines() if line.strip())
        return f'<div class="notebook-output">\n{html}\n</div>'
    if "image/png" in data:
        picture = str(data["image/png"]).replace("\n", "")
        return f'<img alt="figure made by the cell above" src="data:image/png;base64,{picture}">'
    return _text(data.get("text/plain", ""))


def _text(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _page_of(name: str) -> str:
    return name.removesuffix(".ipynb") + ".md" if name.endswith(".ipynb") else name


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Why a block is not run is for the tests (tests/docs), not for readers."""
    return re.sub(r"^(```\w+) no-run:.*$", r"\1", markdown, flags=re.MULTILINE)
