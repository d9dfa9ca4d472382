"""Figures of one series with matplotlib: counts per slice, marked slices, three planes through a point."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.result import SeriesResult
from miliary_seg.errors import UsageError
from miliary_seg.report.figures import COLOURS
from miliary_seg.report.html.pictures import Picture, SliceRenderer, shown_slices
from miliary_seg.report.html.views import COMPARTMENT_COLOURS, View, grey_window, to_grey
from miliary_seg.report.json_document import slice_counts
from miliary_seg.report.notebook import library

PANEL_INCHES = 4.0
COUNT_COLOUR, EVIDENCE_COLOUR, SLAB_COLOUR = COLOURS[5], COLOURS[0], "#999999"


def counts(series: SeriesResult, ax: Any = None) -> Any:
    """Lesions per slice with the threshold, what thick slices would have shown, and the evidence slices.

    Parameters
    ----------
    series
        One analysed series.
    ax
        matplotlib axes to draw on; None = new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    MissingLibraryError
        If matplotlib is not installed.
    """
    pyplot = library("matplotlib.pyplot")
    ax = ax if ax is not None else pyplot.subplots(figsize=(9, 3), layout="constrained")[1]
    decision, numbers = series.decision, slice_counts(series)
    evidence = {e.index for e in decision.evidence_slices}
    colours = [EVIDENCE_COLOUR if k in evidence else COUNT_COLOUR for k in range(len(numbers))]
    ax.bar(range(len(numbers)), numbers, color=colours, width=0.9, label="lesions on the slice (dark: evidence)")
    if decision.slab_counts:
        slabs = f"a {decision.slab_mm:g} mm slice starting here would show"
        ax.step(range(len(decision.slab_counts)), decision.slab_counts, where="mid", color=SLAB_COLOUR, label=slabs)
    ax.axhline(decision.threshold, color="black", linestyle="--", linewidth=1, label=f"{decision.threshold} asked for")
    ax.set_xlabel(f"{series.volume.plane} slice, from 0")
    ax.set_ylabel("lesions")
    ax.set_title(f"{series.id}: the pattern {decision.verdict.text}", fontsize="medium")
    ax.legend(fontsize="small", frameon=False)
    return ax


def slices(series: SeriesResult, indices: Sequence[int] | None = None, *, marked: bool = True) -> Any:
    """Slices with their lesions outlined in the colour of the compartment, or as acquired.

    Parameters
    ----------
    series
        One analysed series.
    indices
        Slices, from 0; None = the evidence slices, or the fullest ones where there is none.
    marked
        False leaves the outlines out.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        One a slice.

    Raises
    ------
    UsageError
        If a slice does not exist, or none is asked for.
    MissingLibraryError
        If matplotlib is not installed.
    """
    pyplot = library("matplotlib.pyplot")
    chosen = _checked(series, shown_slices(series) if indices is None else indices)
    painter = SliceRenderer(series)
    pictures = [painter.evidence(index)[int(marked)] for index in chosen]
    size = (PANEL_INCHES * len(pictures), PANEL_INCHES * pictures[0].height / pictures[0].width + 1.0)
    figure, axes = pyplot.subplots(1, len(pictures), figsize=size, layout="constrained", squeeze=False)
    for ax, picture in zip(axes[0], pictures, strict=True):
        ax.imshow(_pixels(picture), cmap="gray", vmin=0, vmax=255)
        ax.set_title(f"slice {picture.index}: {picture.n_lesions} counted", fontsize="medium")
        ax.set_axis_off()
    if marked:
        figure.legend(handles=_legend(), loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    return axes[0]


def planes(series: SeriesResult, at_ras_mm: Sequence[float] | None = None) -> Any:
    """Three planes through a point with every lesion coloured: the viewer where there is no ipyniivue.

    Parameters
    ----------
    series
        One analysed series.
    at_ras_mm
        Point in RAS+ mm; None = the most probable lesion, or the middle of the brain.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        Axial, coronal and sagittal (nearest).

    Raises
    ------
    UsageError
        If the point lies outside of the scan.
    MissingLibraryError
        If matplotlib is not installed.
    """
    pyplot = library("matplotlib.pyplot")
    volume, labels = series.volume, lesion_compartments(series)
    index = _index_of(series, at_ras_mm)
    window = grey_window(volume, series.location.brain_mask)
    figure, axes = pyplot.subplots(1, 3, figsize=(3 * PANEL_INCHES, PANEL_INCHES + 1.0), layout="constrained")
    palette = np.array([_rgba(COMPARTMENT_COLOURS[key]) for key in (*Compartment, None)])
    for ax, axis in zip(axes, sorted(range(3), key=lambda a: -volume.grid.world_axes[a]), strict=True):
        view = View.across(volume.grid, axis, orientation_known=series.orientation_known)
        aspect = view.row_mm / view.column_mm
        ax.imshow(to_grey(view.plane(volume.voxels, index[axis]), window), cmap="gray", aspect=aspect)
        marks = view.plane(labels, index[axis])
        overlay = np.zeros((*marks.shape, 4))
        overlay[marks > 0] = palette[marks[marks > 0] - 1]
        ax.imshow(overlay, aspect=aspect)
        ax.set_title(f"{view.name} {index[axis]}{_left_of(view)}", fontsize="medium")
        ax.set_axis_off()
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    return axes


def lesion_compartments(series: SeriesResult) -> Any:
    """Voxels of the lesions with the number of their compartment (1 to 4; 5 = unknown) on the scan's grid, uint8."""
    table = np.zeros(1 + int(series.detection.lesion_labels.labels.max(initial=0)), dtype=np.uint8)
    for place in series.assignments:
        if place.lesion_id < len(table):
            table[place.lesion_id] = 5 if place.compartment is None else int(place.compartment)
    return table[series.detection.lesion_labels.labels]


def _checked(series: SeriesResult, indices: Sequence[int]) -> list[int]:
    n = series.volume.n_slices
    chosen = [int(index) for index in indices]
    if not chosen or not all(0 <= index < n for index in chosen):
        raise UsageError(f"slices {chosen} of {n}", where=series.id, todo=f"name slices from 0 to {n - 1}")
    return chosen


def _index_of(series: SeriesResult, at_ras_mm: Sequence[float] | None) -> tuple[int, int, int]:
    grid = series.volume.grid
    if at_ras_mm is None and series.lesions:
        at_ras_mm = max(series.lesions, key=lambda lesion: lesion.probability).centroid_ras_mm
    if at_ras_mm is None:
        inside = np.argwhere(series.location.brain_mask)
        at_ras_mm = grid.to_ras_mm(inside.mean(axis=0) if inside.size else (np.array(grid.shape) - 1) / 2).tolist()
    i, j, k = (int(x) for x in np.rint(grid.to_ijk(at_ras_mm)))
    if not all(0 <= x < n for x, n in zip((i, j, k), grid.shape, strict=True)):
        raise UsageError(f"the point {tuple(at_ras_mm)} lies outside of the scan", where=series.id, todo="RAS+ mm")
    return i, j, k


def _left_of(view: View) -> str:
    """Which of the patient's directions lies on the left-hand side; nothing where that is unknown."""
    return f" ({view.letters[0]} on the left)" if view.letters[0] else ""


def _pixels(picture: Picture) -> Any:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))))


def _legend() -> list[Any]:
    patch = library("matplotlib.patches").Patch
    named = [(COMPARTMENT_COLOURS[c], c.text) for c in Compartment]
    return [patch(facecolor=colour, edgecolor="grey", label=text) for colour, text in named]


def _rgba(colour: str) -> tuple[float, ...]:
    rgba: tuple[float, ...] = library("matplotlib.colors").to_rgba(colour, alpha=0.75)
    return rgba
