"""Figures become files: bench.json, bench.html, bench.md, tables, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miliary_seg.errors import OutputError
from miliary_seg.lab.bench.agreement import Agreement
from miliary_seg.lab.bench.charts import bins_chart, counts_chart, froc_chart
from miliary_seg.lab.bench.document import agreement_document, document_text, lesion_rows
from miliary_seg.lab.bench.sections import Section, case_section, notes_sections, pooled_sections
from miliary_seg.report.figures import can_draw
from miliary_seg.report.sanitise import csv_cell, csv_text
from miliary_seg.report.volume_files import write_bytes

JSON, HTML, MARKDOWN = "bench.json", "bench.html", "bench.md"
NOTE = "Research use only. Figures hold for these scans and references; definitions: docs/bench.md."
NO_FIGURES = "Figures are drawn where matplotlib is installed (pip install miliary-seg[figures])."

Pages = tuple[str, str, Sequence[Section]]


def require_free(output: Path, force: bool, last: str = JSON) -> None:
    """Refuse an earlier bench, known by the file that is written last, before any work is spent.

    Raises
    ------
    OutputError
        If there is one (without ``force``), or the place is a file.
    """
    if output.is_file():
        raise OutputError("a file is in the way", where=output, todo="name a folder")
    if (output / last).exists() and not force:
        raise OutputError("a bench is here already", where=output, todo="add --force to replace it")


def agreement_sections(agreement: Agreement) -> list[Section]:
    """What is shown of predictions against references."""
    figures = set(_agreement_figures(agreement))
    pool = agreement.pooled
    sections = [
        *notes_sections(agreement.scores, agreement.left_out),
        *pooled_sections(
            pool,
            froc_figure="froc.svg" if "froc.svg" in figures else "",
            bins_figure="diameters.svg" if "diameters.svg" in figures else "",
        ),
    ]
    if "counts.svg" in figures:
        text = "Every slice; larger dots are more slices."
        sections.append(Section(title="Counts by slice", text=text, figure="counts.svg", on_terminal=False))
    return [*sections, case_section(agreement.scores)]


def write_agreement(agreement: Agreement, output: Path, *, force: bool = False) -> Path:
    """Write everything about predictions against references; bench.json last, so that it means completeness.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        If something is there already (without ``force``) or cannot be written.
    """
    require_free(output, force)
    document = agreement_document(agreement)
    rule = agreement.rule
    text = f"Matched one to one by {rule.kind}, centres within {rule.tolerance_mm:g} mm or the reference radius."
    page = ("Agreement of predictions with references", text, agreement_sections(agreement))
    rows = lesion_rows(agreement.scores)
    tables = {"bench_lesions.csv": rows, "bench_cases.csv": [dict(case) for case in document["cases"]]}
    return write_all(output, document, page, _agreement_figures(agreement), tables)


def write_all(
    output: Path,
    document: dict[str, Any],
    page: Pages,
    figures: Mapping[str, bytes],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write pictures, tables, both pages, and bench.json last.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    for name, picture in figures.items():
        write_bytes(output / "figures" / name, picture, force=True)
    for name, rows in tables.items():
        write_bytes(output / name, table_csv(rows).encode(), force=True)
    write_bytes(output / MARKDOWN, markdown(*page).encode(), force=True)
    write_bytes(output / HTML, html(*page, figures).encode(), force=True)
    write_bytes(output / JSON, document_text(document).encode(), force=True)
    return output / HTML


def write_page(output: Path, name: str, page: Pages, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """Write a page in Markdown and its tables, of which the last means completeness.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    write_bytes(output / name, markdown(*page).encode(), force=True)
    for table, rows in tables.items():
        write_bytes(output / table, table_csv(rows).encode(), force=True)
    return output / name


def markdown(title: str, text: str, sections: Sequence[Section], figures: str = "figures") -> str:
    """The page as Markdown; pictures are referred to below the folder ``figures``."""
    parts = [f"# {title}", text, NOTE]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [section.text] if section.text else []
        if section.rows:
            lines = [section.header, tuple("---" for _ in section.header), *section.rows]
            parts.append("\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines))
        parts += [f"![{section.title}]({figures}/{section.figure})"] if section.figure else []
    return "\n\n".join(parts) + "\n"


def html(title: str, text: str, sections: Sequence[Section], figures: Mapping[str, bytes]) -> str:
    """The page in one file, pictures included."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("miliary_seg.lab.bench", "templates"), autoescape=True, undefined=StrictUndefined
    )
    # Pictures come from matplotlib, which escapes every text in them.
    drawn = {name: Markup(picture[picture.index(b"<svg") :].decode()) for name, picture in figures.items()}  # noqa: S704
    note = NOTE if figures else f"{NOTE} {NO_FIGURES}"
    template = environment.get_template("bench.html.j2")
    return template.render(title=title, text=text, note=note, sections=sections, figures=drawn) + "\n"


def _agreement_figures(agreement: Agreement) -> dict[str, bytes]:
    pool = agreement.pooled
    if not can_draw():
        return {}
    figures = {}
    if pool.froc is not None:
        figures["froc.svg"] = froc_chart({"all scans": pool.froc})
    if pool.by_diameter:
        figures["diameters.svg"] = bins_chart({"all": pool.by_diameter}, "diameter in mm")
    if any(score.count_error is not None for score in agreement.scores):
        figures["counts.svg"] = counts_chart({"all": agreement.scores})
    return figures


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def table_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of plain values as CSV, the columns of the first one."""
    header = list(rows[0]) if rows else ["case"]
    cells = ([csv_cell(";".join(v) if isinstance(v, list) else v) for v in row.values()] for row in rows)
    return csv_text(header, cells)
