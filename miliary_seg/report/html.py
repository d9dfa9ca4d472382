"""``report.html``: one self-contained page, readable without network, script or WebGL."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.lesion import Rejection
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.report.figures import Painter, shown_slices
from miliary_seg.report.palette import BRAIN_COLOUR, COMPARTMENT_COLOURS, MIDLINE_COLOUR, TENTORIUM_COLOUR
from miliary_seg.report.plain_text import lesions, plain
from miliary_seg.report.plots import count_plot, projections, size_histogram
from miliary_seg.report.statements import FACE_NOTE, RULE

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "report.html.j2"
MAX_REJECTIONS = 40
"""Rejected candidates listed on the page, most probable first; all of them are in candidates.csv."""


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
    panels = [_panel(series, values) for series, values in zip(result.series, document["series"], strict=True)]
    deciding = set(document["deciding_series"])
    panels.sort(key=lambda panel: panel["values"]["id"] not in deciding)  # stable: deciding series first
    return page(
        TEMPLATE,
        document=document,
        panels=panels,
        rule=RULE,
        face_note=FACE_NOTE,
        compartments=[{"key": c.name.lower(), "text": c.text, "colour": COMPARTMENT_COLOURS[c]} for c in Compartment],
        colours={"brain": BRAIN_COLOUR, "midline": MIDLINE_COLOUR, "tentorium": TENTORIUM_COLOUR},
    )


def _panel(series: SeriesResult, values: dict[str, Any]) -> dict[str, Any]:
    """All that the template needs for one series beyond the document."""
    painter = Painter(series)
    return {
        "values": values,
        "evidence": [painter.evidence(index) for index in shown_slices(series)],
        "overview": painter.overview(),
        "location": painter.location(),
        "window": painter.window,
        "counts": count_plot(series),
        "sizes": size_histogram(series),
        "projections": projections(series),
        "readings": _readings(values["decision"]),
        "rejections": [_rejection(r) for r in _most_probable(series)],
    }


def _readings(decision: dict[str, Any]) -> dict[str, Any]:
    """Readings grouped by answer, and which of them disagree with the answer given."""
    readings = decision["readings"]
    groups = {v: [r["name"] for r in readings if r["verdict"] == v] for v in ("MET", "NOT_MET", "INDETERMINATE")}
    return {
        "n": len(readings),
        "groups": {verdict: names for verdict, names in groups.items() if names},
        "disagreeing": [r for r in readings if r["verdict"] != decision["verdict"]],
    }


def _most_probable(series: SeriesResult) -> list[Rejection]:
    ordered = sorted(series.detection.rejections, key=lambda r: (-r.candidate.probability, r.candidate.id))
    return ordered[:MAX_REJECTIONS]


def _rejection(rejection: Rejection) -> dict[str, Any]:
    candidate = rejection.candidate
    return {
        "id": candidate.id,
        "rule": plain(rejection.rule),
        "reason": plain(rejection.reason),
        "probability": candidate.probability,
        "diameter_mm": candidate.diameter_mm,
        "contrast": candidate.contrast,
        "centroid_ras_mm": candidate.centroid_ras_mm,
    }


def page(template: str, **values: Any) -> str:
    """Any page of the package, with the same escaping and filters.

    Parameters
    ----------
    template
        Name of a file in ``report/templates``.
    values
        What it shows.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("miliary_seg.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    environment.filters["chance"] = chance
    environment.filters["lesions"] = lesions
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    return environment


def number(value: Any, digits: int = 1) -> str:
    """A number for people; a dash where it is unknown.

    Examples
    --------
    >>> number(2.345), number(None), number(-0.04)
    ('2.3', '–', '0.0')
    """
    if value is None:
        return "–"
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def chance(value: Any) -> str:
    """A probability in percent that never claims certainty.

    Examples
    --------
    >>> chance(1.0), chance(0.0), chance(0.5)
    ('> 99 %', '< 1 %', '50 %')
    """
    return percent(None if value is None else min(max(float(value), 1e-9), 1 - 1e-9))


def percent(value: Any) -> str:
    """A fraction in percent, without rounding up to 100 or down to 0 what is neither.

    Examples
    --------
    >>> percent(0.9996), percent(1.0), percent(0.0004), percent(0.423)
    ('> 99 %', '100 %', '< 1 %', '42 %')
    """
    if value is None:
        return "–"
    fraction = float(value)
    if 0.99 < fraction < 1:
        return "> 99 %"
    if 0 < fraction < 0.01:
        return "< 1 %"
    return f"{100 * fraction:.0f} %"
