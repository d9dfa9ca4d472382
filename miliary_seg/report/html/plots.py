"""Geometry of the page's vector plots; the template draws them, so that every text passes its escaping."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.html.views import Box, View
from miliary_seg.report.json_document import slice_counts
from miliary_seg.report.sanitise import lesions

PLOT_WIDTH, PLOT_HEIGHT = 1080, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 18, 44
"""Room around the plotting area for ticks and titles."""

BIN_MM = 0.5
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 520, 240
MAX_BINS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar, in plot units."""

    x: float
    y: float
    width: float
    height: float
    title: str
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars over a horizontal axis, with an optional curve and a guiding line."""

    width: int
    height: int
    left: int
    right: int
    base: float
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    title: str
    curve: str = ""
    """SVG path data."""
    line_at: float | None = None
    line_label: str = ""
    x_ends: tuple[str, str] = ("", "")
    step: float = 0.0
    """Distance of neighbouring bars where each stands for a slice that a click jumps to; 0 = no such bars."""


def count_plot(series: SeriesResult) -> Plot:
    """Lesions per slice, the slab's curve, and the threshold."""
    decision, counts = series.decision, slice_counts(series)
    slabs = decision.slab_counts if len(decision.slab_counts) == len(counts) else ()
    top = _round_up(max([*counts, *slabs, decision.threshold]) * 1.08)
    base, step = PLOT_HEIGHT - BOTTOM, (PLOT_WIDTH - LEFT - RIGHT) / max(1, len(counts))
    evidence = {e.index for e in decision.evidence_slices}

    def height(n: float) -> float:
        return round((base - TOP) * n / top, 2)

    bars = tuple(
        Bar(
            x=round(LEFT + k * step, 2),
            y=round(base - height(n), 2),
            width=round(max(0.6, step * 0.86), 2),
            height=height(n),
            title=f"slice {k}: {lesions(n)}" + (f", slab {slabs[k]}" if slabs else ""),
            marked=k in evidence,
        )
        for k, n in enumerate(counts)
    )
    points = [f"{LEFT + (k + 0.43) * step:.1f},{base - height(n):.1f}" for k, n in enumerate(slabs)]
    marks = _nice_steps(len(counts) - 1, 12)
    return Plot(
        width=PLOT_WIDTH,
        height=PLOT_HEIGHT,
        left=LEFT,
        right=PLOT_WIDTH - RIGHT,
        base=base,
        bars=bars,
        curve="M" + " L".join(points) if points else "",
        x_ticks=tuple(Tick(at=round(LEFT + (k + 0.43) * step, 2), label=str(k)) for k in marks),
        y_ticks=tuple(Tick(at=round(base - height(n), 2), label=str(n)) for n in _nice_steps(top, 6)),
        line_at=round(base - height(decision.threshold), 2),
        line_label=f"threshold {decision.threshold}",
        title=f"Lesions per slice; most {max(counts, default=0)}, threshold {decision.threshold}",
        x_ends=slice_ends(series),
        step=step,
    )


def slice_ends(series: SeriesResult) -> tuple[str, str]:
    """What lies at the first and at the last slice, in words; empty where the file states no orientation."""
    volume = series.volume
    if not series.orientation_known:
        return "", ""
    words = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
    world = volume.grid.world_axes[volume.slice_axis]
    low, high = words[world]
    return (low, high) if volume.grid.directions[world, volume.slice_axis] > 0 else (high, low)


def size_histogram(series: SeriesResult) -> Plot | None:
    """Equivalent diameters in steps of 0.5 mm, with the smallest size that can be found; None without lesions."""
    diameters = np.array([lesion.equivalent_diameter_mm for lesion in series.lesions])
    if not diameters.size:
        return None
    floor = series.detection.detectable_diameter_mm
    reach = max(float(diameters.max()), floor or 0.0, 4.0)
    step_mm = BIN_MM * max(1, math.ceil(reach / BIN_MM / MAX_BINS))
    n_bins = math.ceil((reach + 1e-9) / step_mm)
    counts, _ = np.histogram(diameters, bins=n_bins, range=(0.0, n_bins * step_mm))
    base, wide = HISTOGRAM_HEIGHT - BOTTOM, (HISTOGRAM_WIDTH - LEFT - RIGHT) / n_bins
    top = _round_up(float(counts.max()) * 1.08)
    bars = tuple(
        Bar(
            x=round(LEFT + k * wide, 2),
            y=round(base - (base - TOP) * int(n) / top, 2),
            width=round(wide * 0.92, 2),
            height=round((base - TOP) * int(n) / top, 2),
            title=f"{k * step_mm:g} to {(k + 1) * step_mm:g} mm: {lesions(int(n))}",
        )
        for k, n in enumerate(counts)
    )
    marks = _nice_steps(int(n_bins * step_mm), 10)
    return Plot(
        width=HISTOGRAM_WIDTH,
        height=HISTOGRAM_HEIGHT,
        left=LEFT,
        right=HISTOGRAM_WIDTH - RIGHT,
        base=base,
        bars=bars,
        x_ticks=tuple(Tick(at=round(LEFT + mm / step_mm * wide, 2), label=str(mm)) for mm in marks),
        y_ticks=tuple(Tick(at=round(base - (base - TOP) * n / top, 2), label=str(n)) for n in _nice_steps(top, 5)),
        line_at=None if floor is None else round(LEFT + floor / step_mm * wide, 2),
        line_label="" if floor is None else f"smallest reliably found: {floor:.1f} mm",
        title=f"Sizes of {lesions(diameters.size)}, equivalent diameter in mm",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One lesion on a projection, in mm from the upper left corner of the picture."""

    x: float
    y: float
    radius: float
    colour_class: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """All lesions seen through the brain along one axis."""

    name: str
    width: float
    height: float
    outline: str
    """SVG path data of the brain's shadow."""
    dots: tuple[Dot, ...]
    letters: tuple[str, str, str, str]


def projections(series: SeriesResult) -> list[Projection]:
    """Axial, coronal and sagittal projections of the lesions over the brain's shadow."""
    grid = series.volume.grid
    return [_projection(series, axis) for axis in sorted(range(3), key=lambda a: -grid.world_axes[a])]


def _projection(series: SeriesResult, axis: int) -> Projection:
    from miliary_seg.report.html.canvas import contours

    volume = series.volume
    view = View.across(volume.grid, axis, orientation_known=series.orientation_known)
    box = Box.around(series.location.brain_mask, view, margin_mm=2.0)
    shadow = view.turned(np.asarray(series.location.brain_mask.any(axis=axis)))
    rows, columns = shadow.shape
    paths = [
        "M" + " L".join(f"{(c + 0.5) * view.column_mm:.1f},{(r + 0.5) * view.row_mm:.1f}" for r, c in line[::2]) + " Z"
        for line in contours(box.cut(shadow))
    ]
    places = series.compartment_of
    dots = []
    for lesion in series.lesions:
        row, column = lesion.centroid_ijk[view.row_axis], lesion.centroid_ijk[view.column_axis]
        row = rows - 1 - row if view.flip_rows else row
        column = columns - 1 - column if view.flip_columns else column
        place = places[lesion.id]
        dots.append(
            Dot(
                x=round((column - box.left + 0.5) * view.column_mm, 2),
                y=round((row - box.top + 0.5) * view.row_mm, 2),
                radius=round(max(0.8, lesion.equivalent_diameter_mm / 2), 2),
                colour_class="unassigned" if place is None else place.name.lower(),
                title=f"lesion {lesion.id}: {lesion.equivalent_diameter_mm:.1f} mm",
            )
        )
    return Projection(
        name=view.name,
        width=round((box.right - box.left) * view.column_mm, 2),
        height=round((box.bottom - box.top) * view.row_mm, 2),
        outline=" ".join(paths),
        dots=tuple(dots),
        letters=view.letters,
    )


def _round_up(value: float) -> int:
    """Next whole number that the ticks of an axis end on."""
    step = _step(value, 5)
    return max(1, math.ceil(value / step) * step)


def _nice_steps(last: float, n: int) -> list[int]:
    """Whole numbers from 0 to ``last`` at steps of 1, 2 or 5 times a power of ten: at most about ``n``.

    Examples
    --------
    >>> _nice_steps(23, 6)
    [0, 5, 10, 15, 20]
    """
    return list(range(0, int(last) + 1, _step(last, n)))


def _step(last: float, n: int) -> int:
    wanted = max(1.0, last / max(1, n))
    power = 10 ** math.floor(math.log10(wanted))
    return int(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= wanted))
