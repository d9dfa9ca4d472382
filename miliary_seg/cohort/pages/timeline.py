"""Writes what became of lesions over time: ``timeline.json``, a page, and tables of patients, intervals and lesions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from miliary_seg.cohort.longitudinal.course import anchor, course_text, uncertain_causes
from miliary_seg.cohort.pages.crops import MOST, without_pictures
from miliary_seg.cohort.pages.tables import csv_of
from miliary_seg.report.html.environment import whole_page
from miliary_seg.report.json_document import CITATION, DISCLAIMER, PROPOSED_CRITERIA
from miliary_seg.report.write import document_text, install_folder

TIMELINE = "timeline.json"
PATIENTS = ("participant", "course", "course_why", "origin", "first_met", "n_scans")
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
    "n_grown",
    "n_stable",
    "n_shrunk",
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
    "size_change",
    "why",
    "earlier_id",
    "later_id",
    "centroid_r_mm",
    "centroid_a_mm",
    "centroid_s_mm",
    "distance_mm",
    "signal_ratio",
    "earlier_diameter_mm",
    "later_diameter_mm",
    "earlier_volume_mm3",
    "later_volume_mm3",
)
PLOT_WIDTH, PLOT_HEIGHT, LEFT = 640, 150, 60


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
            (draft / f"{name}.csv").write_text(csv_of(rows, header), "utf-8", newline="")
        (draft / "timeline.html").write_text(timeline_html(patients), "utf-8", newline="\n")
        (draft / TIMELINE).write_text(
            document_text({"patients": list(map(without_pictures, patients))}), "utf-8", newline="\n"
        )
    return folder


def timeline_html(patients: Sequence[Mapping[str, Any]]) -> str:
    """The page: one section a patient, deterministic, without script."""
    return whole_page(
        "timeline.html.j2",
        "miliary_seg.cohort.pages",
        sheets=("style.css", "timeline.css"),
        patients=[_shown(patient) for patient in patients],
        most=MOST,
        width=PLOT_WIDTH,
        height=PLOT_HEIGHT,
        citation=CITATION,
        disclaimer=DISCLAIMER,
        criteria_note=PROPOSED_CRITERIA,
    )


def _shown(patient: Mapping[str, Any]) -> dict[str, Any]:
    """A patient's record with what only the page says."""
    plot = _plot(patient["visits"])
    return {
        **patient,
        "anchor": anchor(patient["participant"]),
        "text": course_text(patient, len(patient["visits"])),
        "plot": plot,
        "tracks": _tracks(patient["intervals"], {visit["case"]: visit["x"] for visit in plot}),
        "intervals": [
            {"pairs": [], **interval, "causes": uncertain_causes(interval["fates"])}
            for interval in patient["intervals"]
        ],
    }


def _plot(visits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where each analysed visit lies in the plots of counts and volumes over time, in their pixels."""
    seen = [visit for visit in visits if visit["n_lesions"] is not None]
    if not seen:
        return []
    days = [date.fromisoformat(visit["date"]).toordinal() for visit in seen]
    span = max(days[-1] - days[0], 1)
    most = {name: max(visit[name] for visit in seen) for name in ("n_lesions", "volume_mm3")}
    return [
        {
            **visit,
            "x": round(LEFT + (PLOT_WIDTH - 2 * LEFT) * (day - days[0]) / span, 1),
            "count": {"y": _height(visit["n_lesions"], most["n_lesions"]), "text": str(visit["n_lesions"])},
            "volume": {
                "y": _height(visit["volume_mm3"], most["volume_mm3"]),
                "text": f"{visit['volume_mm3'] / 1000:.2g} mL",
            },
        }
        for visit, day in zip(seen, days, strict=True)
    ]


def _height(value: float, most: float) -> float:
    return round(PLOT_HEIGHT - 34 - (PLOT_HEIGHT - 70) * value / (most or 1), 1)


def _tracks(intervals: Sequence[Mapping[str, Any]], places: Mapping[str, float]) -> dict[str, Any] | None:
    """Diameters of lesions found in consecutive scans as lines, and the ends of their axis."""
    found = [
        (interval, fate)
        for interval in intervals
        for fate in interval["fates"]
        if fate["earlier_id"] is not None and fate["later_id"] is not None
    ]
    most = max((fate[f"{when}_diameter_mm"] for _, fate in found for when in ("earlier", "later")), default=None)
    if most is None:
        return None
    lines = [
        {
            "kind": fate["size_change"] or "",
            "points": " ".join(
                f"{places[interval[when]]},{_height(fate[f'{when}_diameter_mm'], most)}"
                for when in ("earlier", "later")
            ),
            "title": f"no. {fate['earlier_id']} to no. {fate['later_id']}: "
            f"{fate['earlier_diameter_mm']:.1f} to {fate['later_diameter_mm']:.1f} mm",
        }
        for interval, fate in found
    ]
    return {
        "lines": lines,
        "ticks": [{"y": _height(mm, most), "text": f"{mm:.1f} mm"} for mm in (0.0, most)],
    }


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
