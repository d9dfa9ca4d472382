"""Pictures of a series: evidence slices with and without marks, an overview, and the fitted compartments."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miliary_seg.domain.arrays import BoolArray, Int32Array, Int64Array
from miliary_seg.domain.grid import other_axes
from miliary_seg.domain.result import CaseResult, PossibleMass, SeriesResult
from miliary_seg.report.html.canvas import Canvas, Path2D, Stroke, contours, cut_plane, png_data_uri, sheet
from miliary_seg.report.html.views import (
    BRAIN_COLOUR,
    COMPARTMENT_COLOURS,
    MIDLINE_COLOUR,
    TENTORIUM_COLOUR,
    Box,
    View,
    grey_window,
    to_grey,
)
from miliary_seg.report.json_document import slice_counts
from miliary_seg.report.sanitise import lesions

HEIGHT_PX = 160
COLOURS = 64
"""Of the palette: grey and the four outlines; a quarter of the size of true colour."""


def thumbnail(result: CaseResult) -> bytes:
    """PNG of the fullest evidence slice of a deciding series, with the lesions outlined; deterministic."""
    deciding = set(result.decision.deciding_series)
    series = next((s for s in result.series if s.id in deciding), result.series[0])
    painter = SliceRenderer(series)
    index = max(shown_slices(series), key=lambda k: painter.counts[k])
    picture = painter.marked(index, HEIGHT_PX).image.convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


EVIDENCE_HEIGHT_PX, TILE_HEIGHT_PX, SUMMARY_HEIGHT_PX = 720, 210, 440

STRIP_PLANES, STRIP_WIDTH_PX, STRIP_HEIGHT_PX = 5, 1500, 420
"""Planes, width and greatest height of a strip that shows where the brain was found."""

STRIP_MARGIN_MM = 8.0
MARGIN_MM = 12.0
"""Skull and scalp stay in view: a reader judges from them whether a bright dot is a vessel."""

MAX_EVIDENCE = 4
TILES = (5, 4)
"""Columns and rows of the overview."""

MASS_COLOUR, MASS_OUTSET_MM = "#FFFFFF", 4.0
"""Of the circle around a place that may be a mass."""

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


class SliceRenderer:
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
        marked = self.marked(index, EVIDENCE_HEIGHT_PX)
        marked.letter(f"slice {index}: {self.counts[index]}")
        n = self.counts[index]
        return (
            _picture(bare.image, f"{what} without marks", index, n),
            _picture(marked.image, f"{what} with {lesions(n)} outlined", index, n),
        )

    def possible_mass(self, mass: PossibleMass) -> tuple[Picture, Picture]:
        """The middle slice of a place that may be a mass, without and with a circle around it."""
        index = round(mass.centroid_ijk[self.view.axis])
        bare, circled = (self._slice(index, EVIDENCE_HEIGHT_PX) for _ in range(2))
        circled.draw(_strokes(contours(self._disc(mass)), MASS_COLOUR))
        for canvas in (bare, circled):
            canvas.letter(f"slice {index}")
        what = f"{self.view.name} slice {index}"
        return (
            _picture(bare.image, f"{what} without a mark", index),
            _picture(circled.image, f"{what} with a circle where a mass may be", index),
        )

    def _disc(self, mass: PossibleMass) -> BoolArray:
        """A disc somewhat larger than the mass, on its middle slice as pictured."""
        grid = self.series.volume.grid
        first, second = (
            (np.arange(grid.shape[axis]) - mass.centroid_ijk[axis]) * grid.spacing_mm[axis]
            for axis in other_axes(self.view.axis)
        )
        disc = np.hypot(first[:, None], second[None]) <= mass.diameter_mm / 2 + MASS_OUTSET_MM
        return self.box.cut(self.view.turned(disc))

    def summary(self, index: int) -> Picture:
        """One slice with its lesions outlined in few colours, for the summary at the top."""
        canvas = self.marked(index, SUMMARY_HEIGHT_PX)
        n = self.counts[index]
        canvas.letter(lesions(n))
        small = canvas.image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        return _picture(small, f"{self.view.name} slice {index} with {lesions(n)} outlined", index, n)

    def marked(self, index: int, height_px: int) -> Canvas:
        """One slice with its lesions outlined, without letters."""
        canvas = self._slice(index, height_px)
        canvas.draw(self._marks(index, height_px))
        return canvas

    def overview(self) -> Picture:
        """Evenly spaced slices through the brain with their marks and counts, as one picture."""
        columns, rows = TILES
        chosen = evenly_spaced(self._slices_with_brain(), columns * rows)
        tiles = []
        for index in chosen:
            canvas = self.marked(index, TILE_HEIGHT_PX)
            canvas.letter(f"{index}: {self.counts[index]}")
            tiles.append(canvas.image)
        alt = f"{len(chosen)} {self.view.name} slices from {chosen[0]} to {chosen[-1]} with lesions outlined"
        return _picture(sheet(tiles, min(columns, len(tiles))), alt)

    def location(self) -> list[Picture]:
        """Brain outline, midline and tentorium: a strip of axial, one of coronal and one of sagittal planes."""
        return [self._strip(axis) for axis in sorted(range(3), key=self._plane_order)]

    def _plane_order(self, axis: int) -> int:
        return -self.series.volume.grid.world_axes[axis]

    def _strip(self, axis: int) -> Picture:
        """Planes across one axis, evenly spaced through the brain, all drawn on one scale."""
        volume = self.series.volume
        view = View.across(volume.grid, axis, orientation_known=self.series.orientation_known)
        box = Box.around(self.mask, view, STRIP_MARGIN_MM)
        chosen = planes_through(self.mask, axis, STRIP_PLANES)
        aspect = (box.right - box.left) * view.column_mm / ((box.bottom - box.top) * view.row_mm)
        height = min(STRIP_HEIGHT_PX, round(STRIP_WIDTH_PX / len(chosen) / aspect))
        tiles = [self._located(view, box, index, height) for index in chosen]
        drawn = "brain outline and tentorium" if view.name == "sagittal" else "brain outline, midline and tentorium"
        alt = f"{view.name} planes {', '.join(map(str, chosen))} with {drawn}"
        return _picture(sheet(tiles, len(tiles)), alt)

    def _located(self, view: View, box: Box, index: int, height_px: int) -> Image.Image:
        volume, location = self.series.volume, self.series.location
        canvas = Canvas(to_grey(cut_plane(volume.voxels, view, box, index), self.window), view, height_px)
        inside = cut_plane(self.mask, view, box, index)
        canvas.draw(_strokes(contours(inside), BRAIN_COLOUR))
        lines = [(location.tentorium_distance_mm, TENTORIUM_COLOUR)]
        if view.name != "sagittal":  # there the midline lies in the plane and wanders over it
            lines.append((location.midline_distance_mm, MIDLINE_COLOUR))
        for distances, colour in lines:
            canvas.draw(_strokes(contours(cut_plane(distances, view, box, index), 0.0, within=inside), colour))
        canvas.letter(f"{view.name} {index}")
        return canvas.image

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
        found = np.flatnonzero(self.mask.any(axis=self.series.volume.in_plane_axes))
        return [int(k) for k in found] or list(range(self.series.volume.n_slices))


def planes_through(mask: BoolArray, axis: int, n: int) -> list[int]:
    """At most ``n`` planes across an axis at even steps through a mask, its outermost parts left out.

    The planes through the middle of the brain, where midline and tentorium are, are always among them.
    """
    inside = np.flatnonzero(mask.any(axis=other_axes(axis)))
    first, last = (int(inside[0]), int(inside[-1])) if inside.size else (0, mask.shape[axis] - 1)
    steps = (np.arange(n) + 0.5) / n if n > 1 else np.array([0.5])
    return sorted({round(first + step * (last - first)) for step in steps.tolist()})


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


def _picture(image: Image.Image, alt: str, index: int = -1, n_lesions: int = 0) -> Picture:
    uri = png_data_uri(image)
    return Picture(uri=uri, width=image.width, height=image.height, alt=alt, index=index, n_lesions=n_lesions)


def _lesion_colours(series: SeriesResult) -> dict[int, tuple[str, frozenset[int]]]:
    places = series.compartment_of
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


def _compact(labels: NDArray[Any]) -> tuple[Int32Array, Int64Array]:
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
