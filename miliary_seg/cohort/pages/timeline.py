"""Writes what became of lesions over time: ``timeline.json``, a page, and tables of patients, intervals and lesions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from miliary_seg.report.html.environment import page
from miliary_seg.report.json_document import CITATION, DISCLAIMER, PROPOSED_CRITERIA
from miliary_seg.report.sanitise import csv_cell, csv_text
from miliary_seg.report.write import document_text, install_folder

TIMELINE = "timeline.json"
PATIENTS = ("participant", "course", "origin", "first_met", "n_scans")
INTERVALS = (
    "participant",
    "earlier",
    "later",
    "days",
    "earlier_series",
    "later_series",
    "same_sequence",
    "n_earlier",
    "n_later",
    "change",
    "n_persisting",
    "n_new",
    "n_resolved",
    "n_uncertain",
    "aligned",
    "agreement_mm",
    "overlap_fraction",
)
FATES = (
    "participant",
    "earlier",
    "later",
    "fate",
    "why",
    "earlier_id",
    "later_id",
    "centroid_r_mm",
    "centroid_a_mm",
    "centroid_s_mm",
    "distance_mm",
    "signal_ratio",
)
PLOT_WIDTH, PLOT_HEIGHT = 640, 150


def write_timelines(patients: Sequence[Mapping[str, Any]], folder: Path, force: bool = False) -> Path:
    """Write the timelines of a cohort under ``folder``, in one atomic step.

    Parameters
    ----------
    patients
        What ``miliary_seg.cohort.timelines`` yielded.
    folder
        Made where it is missing.
    force
        Replace earlier timelines; only a folder that holds a ``timeline.json`` is ever replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        If something is there already, or cannot be written.
    """
    tables = {"patients": _patients(patients), "intervals": _intervals(patients), "fates": _fates(patients)}
    with install_folder(folder, TIMELINE, force) as draft:
        for name, (header, rows) in tables.items():
            (draft / f"{name}.csv").write_text(_csv(header, rows), "utf-8", newline="")
        (draft / "timeline.html").write_text(timeline_html(patients), "utf-8", newline="\n")
        (draft / TIMELINE).write_text(document_text({"patients": list(patients)}), "utf-8", newline="\n")
    return folder


def timeline_html(patients: Sequence[Mapping[str, Any]]) -> str:
    """The page: one section a patient, deterministic, without script."""
    shown = [{**patient, "plot": _plot(patient["visits"])} for patient in patients]
    return page(
        "timeline.html.j2",
        package="miliary_seg.cohort.pages",
        patients=shown,
        width=PLOT_WIDTH,
        height=PLOT_HEIGHT,
        citation=CITATION,
        disclaimer=DISCLAIMER,
        criteria_note=PROPOSED_CRITERIA,
    )


def _plot(visits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where each analysed visit lies in the plot of counts over time, in its pixels."""
    from datetime import date

    seen = [visit for visit in visits if visit["n_lesions"] is not None]
    if not seen:
        return []
    days = [date.fromisoformat(visit["date"]).toordinal() for visit in seen]
    span, most = max(days[-1] - days[0], 1), max(1, *(visit["n_lesions"] for visit in seen))
    return [
        {
            **visit,
            "x": round(60 + (PLOT_WIDTH - 120) * (day - days[0]) / span, 1),
            "y": round(PLOT_HEIGHT - 34 - (PLOT_HEIGHT - 70) * visit["n_lesions"] / most, 1),
        }
        for visit, day in zip(seen, days, strict=True)
    ]


def _patients(patients: Iterable[Mapping[str, Any]]) -> tuple[Sequence[str], list[Mapping[str, Any]]]:
    return PATIENTS, [{**patient, "n_scans": len(patient["visits"])} for patient in patients]


def _intervals(patients: Iterable[Mapping[str, Any]]) -> tuple[Sequence[str], list[Mapping[str, Any]]]:
    return INTERVALS, [
        {
            **interval,
            "participant": patient["participant"],
            "aligned": interval["alignment"]["trusted"],
            "agreement_mm": interval["alignment"]["agreement_mm"],
            "overlap_fraction": interval["alignment"]["overlap_fraction"],
        }
        for patient in patients
        for interval in patient["intervals"]
    ]


def _fates(patients: Iterable[Mapping[str, Any]]) -> tuple[Sequence[str], list[Mapping[str, Any]]]:
    axes = ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm")
    return FATES, [
        {
            **fate,
            **dict(zip(axes, fate["centroid_ras_mm"], strict=True)),
            "participant": patient["participant"],
            "earlier": interval["earlier"],
            "later": interval["later"],
        }
        for patient in patients
        for interval in patient["intervals"]
        for fate in interval["fates"]
    ]


def _csv(header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    return csv_text(header, ([csv_cell(row.get(name)) for name in header] for row in rows))
