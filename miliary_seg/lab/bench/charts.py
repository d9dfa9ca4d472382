"""Figures as SVG, drawn by matplotlib (``pip install miliary-seg[figures]``); without it the tables stand alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from miliary_seg.lab.bench.scoring import Calibration, CaseScore, Estimate, Froc
from miliary_seg.lab.bench.scoring.pooled import BinRow
from miliary_seg.lab.bench.sections import span
from miliary_seg.report.figures import COLOURS, blank_figure, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def froc_chart(curves: Mapping[str, Froc], per_slice: bool = False) -> bytes:
    """Sensitivity against false marks a scan (or over slices), logarithmic, with the band over heads."""

    def draw(axes: Axes) -> None:
        for (name, curve), colour in zip(curves.items(), cycle(COLOURS), strict=False):
            rate = np.maximum(curve.per_slice if per_slice else curve.per_scan, 0.001 if per_slice else 0.1)
            axes.step(rate, curve.sensitivity, where="post", color=colour, label=name)
            axes.fill_between(rate, curve.low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
        axes.set_xscale("log")
        axes.set_ylim(0, 1)
        axes.set_xlabel("false marks / slices" if per_slice else "false marks a scan")
        axes.set_ylabel("sensitivity for lesions")
        axes.legend(loc="lower right")

    return _svg(draw)


def bins_chart(groups: Mapping[str, Sequence[BinRow]], unit: str) -> bytes:
    """Sensitivity in bins of size or contrast, with intervals over heads and the number of lesions."""

    def draw(axes: Axes) -> None:
        width = 0.8 / len(groups)
        for n, ((name, rows), colour) in enumerate(zip(groups.items(), cycle(COLOURS), strict=False)):
            places = np.arange(len(rows)) + width * (n - (len(groups) - 1) / 2)
            y, low, high = _ends([row.sensitivity for row in rows])
            axes.bar(places, y, width=0.95 * width, color=colour, alpha=0.8, label=name)
            axes.errorbar(places, y, yerr=[y - low, high - y], fmt="none", ecolor="0.2", capsize=3)
            for at, row in zip(places, rows, strict=True):
                axes.annotate(f"n {row.sensitivity.n}", (at, 0.01), ha="center", fontsize=6, color="white")
        names = [span(row.diameter_mm or row.contrast) for row in next(iter(groups.values()))]
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 1)
        axes.set_xlabel(unit)
        axes.set_ylabel("sensitivity for lesions")
        if len(groups) > 1:
            axes.legend(loc="upper left")

    return _svg(draw)


def counts_chart(groups: Mapping[str, Sequence[CaseScore]]) -> bytes:
    """Predicted against reference count of every slice."""

    def draw(axes: Axes) -> None:
        highest = 1
        for (name, scores), colour in zip(groups.items(), cycle(COLOURS), strict=False):
            reference, predicted = slice_counts(scores)
            highest = max(highest, int(reference.max(initial=0)), int(predicted.max(initial=0)))
            pairs, times = np.unique(np.stack([reference, predicted]), axis=1, return_counts=True)
            size = 6 + 60 * np.sqrt(times / times.max()) if times.size else 6.0
            axes.scatter(pairs[0], pairs[1], s=size, color=colour, alpha=0.4, linewidth=0, label=name)
        axes.plot([0, highest], [0, highest], color="0.4", linewidth=0.8)
        axes.set_xlabel("lesions on the slice, reference")
        axes.set_ylabel("lesions on the slice, predicted")
        axes.set_aspect("equal")
        if len(groups) > 1:
            axes.legend(loc="upper left")

    return _svg(draw, (4.2, 4.2))


def calibration_chart(curves: Mapping[str, Calibration], predicted: str, observed: str) -> bytes:
    """Observed fraction against the mean predicted probability of each bin, with Wilson intervals and numbers."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="0.4", linewidth=0.8)
        for (name, found), colour in zip(curves.items(), cycle(COLOURS), strict=False):
            x = [b.mean_predicted for b in found.bins]
            y, low, high = _ends([b.observed for b in found.bins])
            axes.errorbar(x, y, yerr=[y - low, high - y], fmt="o-", color=colour, capsize=2, label=name, linewidth=1)
            for at, height, b in zip(x, y, found.bins, strict=True):
                axes.annotate(str(b.observed.n), (at, height), (4, -10), textcoords="offset points", fontsize=7)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel(predicted)
        axes.set_ylabel(observed)
        axes.legend(loc="upper left")

    return _svg(draw, (4.6, 4.6))


def decision_chart(curves: Mapping[str, Mapping[int, Estimate]], threshold: int) -> bytes:
    """Share of scans answered MET against the true count on the deciding slices."""

    def draw(axes: Axes) -> None:
        for n, ((name, points), colour) in enumerate(zip(curves.items(), cycle(COLOURS), strict=False)):
            x = np.array(list(points)) + 0.25 * (n - (len(curves) - 1) / 2)
            y, low, high = _ends(list(points.values()))
            bars = [y - low, high - y]
            axes.errorbar(x, y, yerr=bars, fmt="o-", color=colour, capsize=2, label=name, linewidth=1, markersize=4)
        axes.axvline(threshold, color="0.4", linewidth=0.8, linestyle="--")
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("true lesions on each of two slices")
        axes.set_ylabel("scans answered MET")
        axes.legend(loc="upper left")

    return _svg(draw)


def slice_counts(scores: Sequence[CaseScore]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Reference and predicted counts of all slices whose counts are known."""
    reference, predicted = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for score in scores:
        n = score.given.n_slices
        if score.count_error is None or n is None:
            continue
        chosen = list(score.given.slices) if score.given.slices is not None else slice(None)
        for side, into in ((score.given.reference, reference), (score.given.predicted, predicted)):
            counts = side.slice_counts(n)
            if counts is not None:
                into.append(counts[chosen])
    return np.concatenate(reference), np.concatenate(predicted)


def _ends(values: Sequence[Estimate]) -> tuple[Any, Any, Any]:
    y = np.array([v.value if v.value is not None else np.nan for v in values])
    low = np.array([v.low if v.low is not None else v.value for v in values], dtype=np.float64)
    high = np.array([v.high if v.high is not None else v.value for v in values], dtype=np.float64)
    return y, np.minimum(low, y), np.maximum(high, y)


def _svg(draw: Any, size: tuple[float, float] = (6.0, 3.8)) -> bytes:
    """Draw on a figure of its own; equal input gives equal bytes (no date, fixed identifiers)."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = blank_figure(*size)
        draw(figure.add_subplot())
        return rendered(figure, "svg")
