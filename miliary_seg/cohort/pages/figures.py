"""Figures of a cohort, for papers: every one has its numbers in a table of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miliary_seg.report.figures import COLOURS, STYLES, blank_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def cohort_figures(document: Mapping[str, Any]) -> dict[str, Figure]:
    """Draw every figure that the document has numbers for.

    Parameters
    ----------
    document
        What ``miliary_seg.cohort.summarise`` returned.

    Returns
    -------
    dict
        Name of the file without its ending, and the figure.
    """
    figures = {"incidence": _incidence(document["incidence"])}
    if document["co_occurrence"]:
        rows = [(found["column"], found["among_met"]) for found in document["co_occurrence"]]
        figures["co_occurrence"] = _intervals(rows, "share of the patients who meet the criteria")
    for group in document["groups"]:
        rows = group_rows(group["comparisons"]["decided"], group["values"])
        if rows:
            figures[f"groups_{group['column']}"] = _intervals(rows, "share that meets the proposed criteria")
    if document["survival"]:
        figures[document["survival"]["kind"]] = _curves(document["survival"])
    return figures


def group_rows(tested: Mapping[str, Any] | None, names: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each group's name and proportion, whichever test was made."""
    if tested is None:
        return []
    if tested["kind"] == "two":
        return [(names[0], tested["first"]), (names[1], tested["second"])]
    return [(group["group"], group["comparison"]["first"]) for group in tested["groups"]]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = blank_figure(width, height)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _incidence(found: Mapping[str, Any]) -> Figure:
    rows = [
        ("all patients", found["screened"]),
        ("without indeterminate", found["decided"]),
        ("indeterminate as met", found["highest"]),
    ]
    return _intervals(rows, "share of patients who meet the proposed criteria")


def _intervals(rows: Sequence[tuple[str, Mapping[str, Any]]], label: str) -> Figure:
    """Points with intervals, one line a row, the counts beside them."""
    figure, axes = _figure(6.4, 1.0 + 0.42 * len(rows))
    for at, (_, share) in enumerate(rows):
        if share["estimate"] is None:
            continue
        percent = [100 * share[key] for key in ("low", "estimate", "high")]
        axes.plot([percent[0], percent[2]], [at, at], color=COLOURS[0], linewidth=2, solid_capstyle="butt")
        axes.plot(percent[1], at, "o", color=COLOURS[0], markersize=6)
        axes.annotate(
            f"{share['count']}/{share['total']}", (percent[2], at), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{label}, % (95 % interval)")
    return figure


def _curves(found: Mapping[str, Any]) -> Figure:
    """Steps with bands, marks where someone was censored, and who was at risk below."""
    survival = found["kind"] == "survival"
    figure, axes = _figure(6.4, 4.2 + 0.25 * len(found["curves"]))
    for index, curve in enumerate(found["curves"]):
        _draw_curve(axes, curve, COLOURS[index % len(COLOURS)], STYLES[index % len(STYLES)])
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.set_xticks(found["risk_times"])
    axes.set_ylabel("survival" if survival else "cumulative incidence")
    axes.set_xlabel(f"time, {found['time_unit']}")
    axes.legend(frameon=False, loc="upper right" if survival else "upper left")
    _write_at_risk(axes, found)
    return figure


def _draw_curve(axes: Axes, curve: Mapping[str, Any], colour: str, style: str) -> None:
    """One arm, drawn on to its last contact."""
    last = max((curve["times"][-1], *curve["censored_at"]))
    times = [*curve["times"], last]
    value, low, high = ([*curve[key], curve[key][-1]] for key in ("values", "low", "high"))
    low, high = ([float("nan") if x is None else x for x in edge] for edge in (low, high))  # no band there
    name = f"{curve['group'] or 'all'} (n = {curve['n']})"
    axes.step(times, value, where="post", color=colour, linestyle=style, label=name)
    axes.fill_between(times, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
    at = [[v for t, v in zip(times, value, strict=True) if t <= time][-1] for time in curve["censored_at"]]
    axes.plot(curve["censored_at"], at, "|", color=colour, markersize=7)


def _write_at_risk(axes: Axes, found: Mapping[str, Any]) -> None:
    """Numbers at risk under the ticks of the time axis."""
    place = axes.get_xaxis_transform()
    axes.text(0, -0.2, "at risk", transform=place, ha="left", fontsize=8)
    for row, (name, at_risk) in enumerate(found["at_risk"].items()):
        height = -0.255 - 0.055 * row
        axes.text(-0.02, height, name or "all", transform=axes.transAxes, ha="right", fontsize=8)
        for time, n in zip(found["risk_times"], at_risk, strict=True):
            axes.text(time, height, str(n), transform=place, ha="center", fontsize=8)
