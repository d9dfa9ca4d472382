"""Writes the summary of a cohort: ``cohort.json``, a page, tables, figures and a text of methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from miliary_seg.cohort.pages.figures import cohort_figures, group_rows
from miliary_seg.cohort.pages.tables import csv_of
from miliary_seg.report.figures import rendered
from miliary_seg.report.html.environment import data_uri, whole_page
from miliary_seg.report.json_document import CITATION, DISCLAIMER, PROPOSED_CRITERIA
from miliary_seg.report.sanitise import safe_name
from miliary_seg.report.write import document_text, install_folder

SUMMARY = "cohort.json"
SHARE = ("count", "total", "estimate", "low", "high")


def write_cohort_summary(document: Mapping[str, Any], folder: Path, force: bool = False) -> Path:
    """Write everything under ``folder``, in one atomic step.

    Parameters
    ----------
    document
        What ``miliary_seg.cohort.summarise`` returned.
    folder
        Made where it is missing.
    force
        Replace an earlier summary; only a folder that holds a ``cohort.json`` is ever replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        If something is there already, or cannot be written.
    """
    with install_folder(folder, SUMMARY, force) as draft:
        figures = {safe_name(name): figure for name, figure in cohort_figures(document).items()}
        pictures = {name: rendered(figure, "svg") for name, figure in figures.items()}
        for name, figure in figures.items():
            (draft / f"{name}.svg").write_bytes(pictures[name])
            (draft / f"{name}.png").write_bytes(rendered(figure, "png"))
        for name, rows in _tables(document).items():
            (draft / f"{safe_name(name)}.csv").write_text(csv_of(rows), "utf-8", newline="")
        (draft / "methods.md").write_text("\n\n".join(document["methods"]) + "\n", "utf-8", newline="\n")
        (draft / "cohort.html").write_text(_page(document, pictures), "utf-8", newline="\n")
        (draft / SUMMARY).write_text(document_text(dict(document)), "utf-8", newline="\n")
    return folder


def _page(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    images = {name: data_uri(svg, "image/svg+xml") for name, svg in pictures.items()}
    groups = [
        (g, group_rows(g["comparisons"]["decided"], g["values"]), f"groups_{safe_name(g['column'])}")
        for g in document["groups"]
    ]
    return whole_page(
        "cohort.html.j2",
        "miliary_seg.cohort.pages",
        sheets=("style.css", "cohort.css"),
        document=document,
        images=images,
        groups=groups,
        citation=CITATION,
        disclaimer=DISCLAIMER,
        criteria_note=PROPOSED_CRITERIA,
    )


def _tables(document: Mapping[str, Any]) -> dict[str, Iterable[Mapping[str, Any]]]:
    """Rows of every table, by the name of its file."""
    tables: dict[str, Iterable[Mapping[str, Any]]] = {
        "patients": [{**p, "cases": ";".join(p["cases"])} for p in document["patients"]],
        "incidence": [{"counted": name, **document["incidence"][name]} for name in ("screened", "decided", "highest")],
    }
    if document["co_occurrence"]:
        tables["co_occurrence"] = [
            {"finding": f["column"], **f["among_met"], "unknown": f["n_unknown"]} for f in document["co_occurrence"]
        ]
    for group in document["groups"]:
        tables[f"groups_{group['column']}"] = list(_comparisons(group))
    if document["survival"]:
        tables[document["survival"]["kind"]] = list(_steps(document["survival"]))
        tables[f"{document['survival']['kind']}_arms"] = list(_arms(document["survival"]))
    return tables


def _comparisons(group: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, tested in group["comparisons"].items():
        if tested is None:
            continue
        several = tested["kind"] == "several"
        pairs = tested["groups"] if several else [{"group": group["values"][0], "comparison": tested, "p_holm": None}]
        for pair in pairs:
            two = pair["comparison"]
            yield {
                "patients": name,
                "group": pair["group"],
                "against": "all others" if several else group["values"][1],
                **{f"first_{key}": two["first"][key] for key in SHARE},
                **{f"second_{key}": two["second"][key] for key in SHARE},
                **{key: two[key] for key in ("difference", "difference_low", "difference_high")},
                **{key: two[key] for key in ("ratio", "ratio_low", "ratio_high")},
                "p_fisher": two["p_value"],
                "p_holm": pair["p_holm"],
                "p_overall": tested["p_value"],
            }


def _steps(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for curve in found["curves"]:
        for time, value, low, high in zip(*(curve[key] for key in ("times", "values", "low", "high")), strict=True):
            yield {
                "group": curve["group"],
                f"time_{found['time_unit']}": time,
                "value": value,
                "low": low,
                "high": high,
            }


def _arms(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for curve in found["curves"]:
        at_risk = zip(found["risk_times"], found["at_risk"][curve["group"]], strict=True)
        yield {
            **{key: curve[key] for key in ("group", "n", "n_events", "median", "median_low", "median_high")},
            "p_log_rank": found["p_value"],
            **{f"at_risk_{time:g}": n for time, n in at_risk},
        }
