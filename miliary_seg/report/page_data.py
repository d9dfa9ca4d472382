"""Values that the page's script reads: one JSON block a series for the viewer, one for all its candidates."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.figures import shown_slices
from miliary_seg.report.palette import COMPARTMENT_COLOURS
from miliary_seg.report.plain_text import plain
from miliary_seg.report.viewer_volumes import UNKNOWN

Json = dict[str, Any]

COMPLETE = "Everything else on this page is complete without it."
NO_WEBGL = f"This browser offers no WebGL 2, which the viewer needs. {COMPLETE}"
VIEWER_FAILED = f"The viewer could not start. {COMPLETE}"

MAX_DRAWN_REJECTIONS = 2000
"""Rejected candidates that the viewer can mark, most probable first: more would hide the scan."""


def json_block(value: Json) -> str:
    r"""JSON for a ``<script type="application/json">``: nothing in it can end the element or start markup.

    Examples
    --------
    >>> json_block({"a": "</script>&"})
    '{"a":"\\u003c/script\\u003e\\u0026"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_values() -> Json:
    """What is the same for all series of a page."""
    colours = {int(c): COMPARTMENT_COLOURS[c] for c in Compartment} | {UNKNOWN: COMPARTMENT_COLOURS[None]}
    return {"colours": colours, "no_webgl": NO_WEBGL, "viewer_failed": VIEWER_FAILED}


def viewer_values(series: SeriesResult, values: Json, volumes: str, window: tuple[float, float]) -> Json:
    """Geometry, counts and lesions of a series for the viewer, the table and the plot.

    Parameters
    ----------
    series
        One analysed series.
    values
        Its part of the document.
    volumes
        Prefix of the ids of the blocks that hold its volumes.
    window
        Intensities shown as black and white.
    """
    volume = series.volume
    axis = volume.slice_axis
    start = np.array(volume.slice_centres_ras_mm[shown_slices(series)[-1]])
    return {
        "volumes": volumes,
        "plane": volume.plane,
        "orientation_known": series.orientation_known,
        "window": [float(x) for x in window],
        "n_slices": volume.n_slices,
        "counts": [row["n_lesions"] for row in values["slices"]],
        "ras_to_slice": [float(x) for x in np.linalg.inv(volume.grid.affine)[axis]],
        "slice_step_ras_mm": [float(x) for x in volume.grid.affine[:3, axis]],
        "start_ras_mm": [round(float(x), 3) for x in start],
        "lesions": [_lesion(row) for row in values["lesions"]],
        "rejected": [_place(r.candidate.centroid_ras_mm) for r in _by_probability(series)[:MAX_DRAWN_REJECTIONS]],
    }


def candidate_values(series: SeriesResult) -> Json:
    """Every candidate as a short row, most probable first, and the rules in words."""
    accepted = {lesion.candidate_id: lesion.id for lesion in series.lesions}
    found = {c.id: ("accepted", c) for c in series.detection.candidates}
    rules = {"accepted": {"name": "accepted", "text": "accepted as a lesion"}}
    for rejection in series.detection.rejections:
        rule = plain(rejection.rule)
        found[rejection.candidate.id] = (rule, rejection.candidate)
        words = rule.replace("_", " ")
        rules.setdefault(rule, {"name": words, "text": f"{words} {plain(rejection.reason)}"})
    ordered = sorted(found.values(), key=lambda pair: (-pair[1].probability, pair[1].id))
    rows = [
        [
            candidate.id,
            rule,
            _short(candidate.probability, 3),
            *_place(candidate.centroid_ras_mm),
            _short(candidate.diameter_mm),
            _short(candidate.contrast),
            accepted.get(candidate.id),
        ]
        for rule, candidate in ordered
    ]
    return {"rules": rules, "rows": rows}


def _by_probability(series: SeriesResult) -> list[Any]:
    return sorted(series.detection.rejections, key=lambda r: (-r.candidate.probability, r.candidate.id))


def _lesion(row: Json) -> list[Any]:
    """Number, place, diameter, label of the compartment, first and last slice (-1 where it is counted on none)."""
    label = UNKNOWN if row["compartment"] is None else int(Compartment[row["compartment"].upper()])
    first, last = (row["slices"][0], row["slices"][-1]) if row["slices"] else (-1, -1)
    return [row["id"], *_place(row["centroid_ras_mm"]), _short(row["equivalent_diameter_mm"]), label, first, last]


def _place(ras_mm: Any) -> list[float | None]:
    return [_short(x) for x in ras_mm]


def _short(value: Any, digits: int = 2) -> float | None:
    return round(float(value), digits) + 0.0 if value is not None and np.isfinite(value) else None
