"""``report.html``: one self-contained page with a viewer, complete without network, script or WebGL."""

from __future__ import annotations

from typing import Any

from miliary_seg.domain.disk_backed import release_pages
from miliary_seg.domain.lesion import Rejection
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.report import headline
from miliary_seg.report.html.environment import asset, number, whole_page
from miliary_seg.report.html.pictures import SliceRenderer, shown_slices
from miliary_seg.report.html.plots import count_plot, projections, size_histogram
from miliary_seg.report.html.second_look import second_looks
from miliary_seg.report.html.viewer import (
    MAX_VOXELS,
    candidate_values,
    json_block,
    page_values,
    viewer_values,
    viewer_volumes,
)
from miliary_seg.report.json_document import FACE_NOTE, RULE
from miliary_seg.report.sanitise import sanitise

TEMPLATE = "report.html.j2"
VIEWER, SCRIPT = "vendor/niivue.js", "templates/report.js"

COURSE_KINDS = {
    "new": "not there before",
    "grown": "by 20 % and a voxel",
    "stable": "found in both scans",
    "shrunk": "by 30 % and a voxel",
    "size not compared": "there in both scans",
    "gone": "no longer there",
    "uncertain": "cannot be told",
}
"""What became of lesions since the earlier scan, with what it means."""

MAX_REJECTIONS = 40
"""Rejected candidates in the page's static table, most probable first; its script pages through all that are listed."""


def report_html(result: CaseResult, document: dict[str, Any]) -> str:
    """The page of one case.

    Parameters
    ----------
    result
        One analysed case.
    document
        What ``case_document`` made of it: the page prints these values, so that page and JSON cannot differ.

    Returns
    -------
    str
        HTML with every picture inline; deterministic.
    """
    viewer = bool(result.settings.get("report", {}).get("viewer", True))
    budget = MAX_VOXELS // max(1, len(result.series)) if viewer else 0
    panels = [
        _panel(series, values, number, budget)
        for number, (series, values) in enumerate(zip(result.series, document["series"], strict=True), start=1)
    ]
    deciding = set(document["deciding_series"])
    panels.sort(key=lambda panel: panel["values"]["id"] not in deciding)  # stable: deciding series first
    return whole_page(
        TEMPLATE,
        scripts=[asset(name) for name in (VIEWER, SCRIPT) if viewer or name == SCRIPT],
        document=document,
        sentence=headline.sentence(result.decision.verdict),
        panels=panels,
        rule=RULE,
        face_note=FACE_NOTE,
        document_course=result.course,
        course_kinds=COURSE_KINDS,
        page_values=json_block(page_values()),
    )


def _panel(series: SeriesResult, values: dict[str, Any], number: int, max_voxels: int) -> dict[str, Any]:
    """All that the template needs for one series beyond the document."""
    release_pages()
    painter = SliceRenderer(series)
    return {
        "number": number,
        "values": values,
        "viewer": json_block(viewer_values(series, values, f"volumes-{number}", painter.window)),
        "volumes": viewer_volumes(series, painter.window, max_voxels) if max_voxels else None,
        "sides_usable": series.location.registration.sides_usable,
        "candidates": json_block(candidate_values(series, values["candidates_from_probability"])),
        "evidence": [painter.evidence(index) for index in shown_slices(series)],
        "summary": [painter.summary(index) for index in shown_slices(series)[:2]],
        "looks": second_looks(series, painter),
        "lines": headline.lines(series),
        "slice_answers": headline.slice_answers(series),
        "exact": headline.taken_as_exact(series),
        "no_probability": headline.why_no_probability(series),
        "brief": _brief(series, values),
        "masses": [painter.possible_mass(mass) for mass in series.detection.possible_masses],
        "overview": painter.overview(),
        "location": painter.location(),
        "window": painter.window,
        "counts": count_plot(series),
        "sizes": size_histogram(series),
        "projections": projections(series),
        "readings": _readings(values["decision"]),
        "rejections": [_rejection(r) for r in _most_probable(series)],
    }


def _brief(series: SeriesResult, values: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Figures under the headline: name, figure, and what it is of."""
    sizes, n_slices = values["lesion_sizes"], values["geometry"]["n_slices"]
    found = [("Lesions found", str(len(series.lesions)), f"on {n_slices} {values['geometry']['plane']} slices")]
    if not series.lesions:
        return found
    doubtful = sizes["n"] - sizes["n_sure"]
    largest = number(sizes["largest_mm"])
    return [
        *found,
        ("Total volume", f"{sizes['total_volume_mm3'] / 1000:.2g} mL", "of all lesions"),
        ("Below 5 mm", f"{sizes['n_below_5_mm']}", f"{sizes['n_below_3_mm']} of them below 3 mm"),
        ("5 to 10 mm / above", f"{sizes['n_5_to_10_mm']} / {sizes['n_above_10_mm']}", "by equivalent diameter"),
        ("Largest sure lesion", f"{largest} mm", f"{doubtful} doubtful left aside"),
        ("RANO-BM measurable", f"{sizes['n_measurable']}", "10 x 5 mm or more on two slices"),
    ]


def _readings(decision: dict[str, Any]) -> dict[str, Any]:
    """Readings grouped by answer, and which of them disagree with the answer given."""
    readings = decision["readings"]
    groups = {v: [r["name"] for r in readings if r["verdict"] == v] for v in ("MET", "NOT_MET", "INDETERMINATE")}
    return {
        "n": len(readings),
        "groups": {verdict: names for verdict, names in groups.items() if names},
        "disagreeing": [r for r in readings if r["verdict"] != decision["verdict"]],
        "points": _open_points(readings),
    }


def _open_points(readings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often each choice at each open point of the rule goes with each answer."""
    default: dict[str, str] = next((r["choices"] for r in readings if r["is_default"]), {})
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for reading in readings:
        for pair in reading["choices"].items():
            tally = rows.setdefault(pair, {"MET": 0, "NOT_MET": 0, "INDETERMINATE": 0})
            tally[reading["verdict"]] += 1
    order = list(dict.fromkeys(point for point, _ in rows))
    return [
        {"point": point, "choice": choice, "chosen": default.get(point) == choice, "tally": tally}
        for (point, choice), tally in sorted(rows.items(), key=lambda row: order.index(row[0][0]))
    ]


def _most_probable(series: SeriesResult) -> list[Rejection]:
    ordered = sorted(series.detection.rejections, key=lambda r: (-r.candidate.probability, r.candidate.id))
    return ordered[:MAX_REJECTIONS]


def _rejection(rejection: Rejection) -> dict[str, Any]:
    candidate = rejection.candidate
    return {
        "id": candidate.id,
        "rule": sanitise(rejection.rule),
        "reason": sanitise(rejection.reason),
        "probability": candidate.probability,
        "diameter_mm": candidate.diameter_mm,
        "contrast": candidate.contrast,
        "centroid_ras_mm": candidate.centroid_ras_mm,
    }
