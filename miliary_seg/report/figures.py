"""Pictures of a series: evidence slices with and without marks, an overview, and the fitted compartments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.canvas import Canvas, Path2D, Stroke, contours, cut_plane, png_data_uri
from miliary_seg.report.document import slice_counts
from miliary_seg.report.palette import BRAIN_COLOUR, COMPARTMENT_COLOURS, MIDLINE_COLOUR, TENTORIUM_COLOUR
from miliary_seg.report.plain_text import lesions
from miliary_seg.report.views import Box, View, grey_window, to_grey

EVIDENCE_HEIGHT_PX, PANEL_HEIGHT_PX, TILE_HEIGHT_PX = 720, 420, 210
MARGIN_MM = 12.0
"""Skull and scalp stay in view: a reader judges from them whether a bright dot is a vessel."""

MAX_EVIDENCE = 4
TILES = (5, 4)
"""Columns and rows of the overview."""

OUTSET_PX = 2.5
"""Marks stay this far outside a lesion's edge, so that they do not hide it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture for the page."""

    uri: str
    width: int
    height: int
    alt: str
    index: int = -1
    n_lesions: int = 0


class Painter:
    """Draws the pictures of one series; the window and the frame are the same on all of them."""

    def __init__(self, series: SeriesResult) -> None:
        volume = series.volume
        self.series = series
        self.mask = series.location.brain_mask
        self.window = grey_window(volume, self.mask)
        self.view = View.across(volume.grid, volume.slice_axis, orientation_known=series.orientation_known)
        self.box = Box.around(self.mask, self.view, MARGIN_MM)
        self.colours = _lesion_colours(series)
        self.counts = slice_counts(series)

    def evidence(self, index: int) -> tuple[Picture, Picture]:
        """One slice without and with marks."""
        what = f"{self.view.name} slice {index}"
        bare = self._slice(index, EVIDENCE_HEIGHT_PX)
        bare.letter(f"slice {index}")
        marked = self._slice(index, EVIDENCE_HEIGHT_PX)
        marked.draw(self._marks(index, EVIDENCE_HEIGHT_PX))
        marked.letter(f"slice {index}: {self.counts[index]}")
        n = self.counts[index]
        return (
            self._picture(bare, f"{what} without marks", index),
            self._picture(marked, f"{what} with {lesions(n)} outlined", index),
        )

    def overview(self) -> Picture:
        """Evenly spaced slices through the brain with their marks and counts, as one picture."""
        columns, rows = TILES
        chosen = evenly_spaced(self._slices_with_brain(), columns * rows)
        rows = -(-len(chosen) // columns)
        tiles = []
        for index in chosen:
            canvas = self._slice(index, TILE_HEIGHT_PX)
            canvas.draw(self._marks(index, TILE_HEIGHT_PX))
            canvas.letter(f"{index}: {self.counts[index]}")
            tiles.append(canvas.image)
        width, height = tiles[0].size
        sheet = Image.new("RGB", (columns * width, rows * height))
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (number % columns * width, number // columns * height))
        alt = f"{len(chosen)} {self.view.name} slices from {chosen[0]} to {chosen[-1]} with lesions outlined"
        return Picture(uri=png_data_uri(sheet), width=sheet.width, height=sheet.height, alt=alt)

    def location(self) -> list[Picture]:
        """Brain outline, midline and tentorium on an axial, a coronal and a sagittal plane."""
        return [self._located(axis) for axis in sorted(range(3), key=self._plane_order)]

    def _plane_order(self, axis: int) -> int:
        return -self.series.volume.grid.world_axes[axis]

    def _located(self, axis: int) -> Picture:
        volume, location = self.series.volume, self.series.location
        view = View.across(volume.grid, axis, orientation_known=self.series.orientation_known)
        index = self._telling_plane(axis)
        inside = view.plane(self.mask, index)
        canvas = Canvas(to_grey(view.plane(volume.voxels, index), self.window), view, PANEL_HEIGHT_PX)
        canvas.draw(_strokes(contours(inside), BRAIN_COLOUR))
        lines = ((location.midline_distance_mm, MIDLINE_COLOUR), (location.tentorium_distance_mm, TENTORIUM_COLOUR))
        for distances, colour in lines:
            canvas.draw(_strokes(contours(view.plane(distances, index), 0.0, within=inside), colour))
        canvas.letter(f"{view.name} {index}")
        return self._picture(canvas, f"{view.name} plane {index} with brain outline, midline and tentorium", index)

    def _telling_plane(self, axis: int) -> int:
        """The plane that shows most: through the cerebellum, off the midline, through the middle of the brain."""
        labels = self.series.location.compartments.labels
        world = self.series.volume.grid.world_axes[axis]
        shown = self.mask
        if world == 1:  # coronal: through the middle of what lies below the tentorium
            below = labels >= Compartment.LEFT_INFRATENTORIAL
            shown = below if below.any() else self.mask
        if world == 0:  # sagittal: through one half, where tentorium and cerebellum are in view
            left = (labels == Compartment.LEFT_SUPRATENTORIAL) | (labels == Compartment.LEFT_INFRATENTORIAL)
            shown = left if left.any() else self.mask
        area = np.flatnonzero(shown.any(axis=tuple(a for a in range(3) if a != axis)))
        return int(area[len(area) // 2]) if area.size else shown.shape[axis] // 2

    def _slice(self, index: int, height_px: int) -> Canvas:
        plane = cut_plane(self.series.volume.voxels, self.view, self.box, index)
        return Canvas(to_grey(plane.astype(np.float32), self.window), self.view, height_px)

    def _marks(self, index: int, height_px: int) -> list[Stroke]:
        """Outlines of the lesions on a slice; those that are not counted on it are thin and grey."""
        labels = cut_plane(self.series.detection.lesion_labels.labels, self.view, self.box, index)
        outset = OUTSET_PX * labels.shape[0] / height_px
        strokes = []
        for number, line in _outlines(labels, outset):
            colour, slices = self.colours.get(number, ("#FFFFFF", frozenset()))
            counted = index in slices
            wide = 2 if height_px > TILE_HEIGHT_PX else 1
            strokes.append(Stroke(points=line, colour=colour if counted else "#9A9A9A", width=wide if counted else 1))
        return strokes

    def _slices_with_brain(self) -> list[int]:
        others = tuple(a for a in range(3) if a != self.series.volume.slice_axis)
        found = np.flatnonzero(self.mask.any(axis=others))
        return [int(k) for k in found] or list(range(self.series.volume.n_slices))

    def _picture(self, canvas: Canvas, alt: str, index: int) -> Picture:
        width, height = canvas.size
        count = self.counts[index] if 0 <= index < len(self.counts) else 0
        return Picture(uri=canvas.data_uri(), width=width, height=height, alt=alt, index=index, n_lesions=count)


def shown_slices(series: SeriesResult) -> list[int]:
    """Slices to picture: the evidence, or the two fullest slices that are not neighbours where there is none."""
    evidence = [e.index for e in series.decision.evidence_slices][:MAX_EVIDENCE]
    if evidence:
        return sorted(set(evidence))
    counts = slice_counts(series)
    order = sorted(range(len(counts)), key=lambda k: (-counts[k], abs(k - len(counts) // 2)))
    first = order[0]
    second = next((k for k in order[1:] if abs(k - first) > 1 and counts[k] > 0), None)
    return sorted({first, first if second is None else second})


def evenly_spaced(items: list[int], n: int) -> list[int]:
    """At most ``n`` items from the first to the last at even steps.

    Examples
    --------
    >>> evenly_spaced([3, 4, 5, 6, 7], 3)
    [3, 5, 7]
    """
    if len(items) <= n:
        return items
    return [items[round(position)] for position in np.linspace(0, len(items) - 1, n)]


def _lesion_colours(series: SeriesResult) -> dict[int, tuple[str, frozenset[int]]]:
    places = {a.lesion_id: a.compartment for a in series.assignments}
    return {
        lesion.id: (COMPARTMENT_COLOURS[places.get(lesion.id)], frozenset(lesion.slices)) for lesion in series.lesions
    }


def _outlines(labels: NDArray[Any], outset: float) -> list[tuple[int, Path2D]]:
    """Outline of every label on a picture, moved outwards by ``outset`` pixels of the picture."""
    from scipy.ndimage import find_objects

    compact, values = _compact(labels)
    return [
        (int(values[number]), _moved_outwards(line + np.array([part[0].start, part[1].start]), outset))
        for number, part in enumerate(find_objects(compact), start=1)
        for line in contours(compact[part] == number)
    ]


def _compact(labels: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels of a picture renumbered from 1 without gaps, and the old numbers by the new."""
    values, inverse = np.unique(np.concatenate([[0], labels.ravel()]), return_inverse=True)
    return inverse[1:].reshape(labels.shape).astype(np.int32), values


def _moved_outwards(line: Path2D, outset: float) -> Path2D:
    centre = line[:-1].mean(axis=0)
    spokes = line - centre
    radius = float(np.sqrt((spokes**2).sum(axis=1)).mean())
    moved: Path2D = centre + spokes * (1.0 + outset / max(radius, 0.5))
    return moved


def _strokes(lines: list[Path2D], colour: str) -> list[Stroke]:
    return [Stroke(points=line, colour=colour) for line in lines if len(line) > 1]
