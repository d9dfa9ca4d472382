"""Rejected candidates that deserve a second look: the likeliest ones that are no part of an accepted lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from miliary_seg.domain.lesion import Rejection
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.html.canvas import Canvas, cut_plane
from miliary_seg.report.html.pictures import Picture, SliceRenderer
from miliary_seg.report.html.views import Box, View, to_grey
from miliary_seg.report.sanitise import sanitise

MAX_LOOKS = 20
TILE_MM = 28.0
"""Side of a picture: the dot with what surrounds it."""
TILE_PX = 112
NEAR_MM = 1.5
"""A candidate this near to the edge of a lesion is a double of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondLook:
    """One rejected candidate and its picture."""

    id: int
    probability: float
    diameter_mm: float
    rule: str
    slice: int
    centroid_ras_mm: tuple[float, float, float]
    picture: Picture


def second_looks(series: SeriesResult, painter: SliceRenderer) -> list[SecondLook]:
    """The likeliest rejected candidates, doubles of lesions and of each other left out, most probable first."""
    chosen = likeliest(series)
    axis, last = series.volume.slice_axis, series.volume.n_slices - 1
    looks = []
    for rejection in chosen:
        candidate = rejection.candidate
        index = min(max(round(candidate.centroid_ijk[axis]), 0), last)
        looks.append(
            SecondLook(
                id=candidate.id,
                probability=candidate.probability,
                diameter_mm=candidate.diameter_mm,
                rule=sanitise(rejection.rule).replace("_", " "),
                slice=index,
                centroid_ras_mm=candidate.centroid_ras_mm,
                picture=_tile(series, painter, rejection, index),
            )
        )
    return looks


def likeliest(series: SeriesResult, most: int = MAX_LOOKS) -> list[Rejection]:
    """Rejections by probability without those that lie in or at a lesion, or at one already chosen."""
    ordered = sorted(series.detection.rejections, key=lambda r: (-r.candidate.probability, r.candidate.id))
    places = [lesion.centroid_ras_mm for lesion in series.lesions]
    radii = [lesion.equivalent_diameter_mm / 2 + NEAR_MM for lesion in series.lesions]
    chosen: list[Rejection] = []
    for rejection in ordered:
        if len(chosen) == most:
            break
        candidate = rejection.candidate
        apart = np.asarray(places, dtype=np.float64).reshape(-1, 3) - candidate.centroid_ras_mm
        if rejection.rule == "overlap" or (np.sqrt((apart**2).sum(axis=1)) < np.asarray(radii)).any():
            continue
        chosen.append(rejection)
        places.append(candidate.centroid_ras_mm)
        radii.append(candidate.diameter_mm / 2 + NEAR_MM)
    return chosen


def _tile(series: SeriesResult, painter: SliceRenderer, rejection: Rejection, index: int) -> Picture:
    view = painter.view
    box = _around(rejection.candidate.centroid_ijk, view, series.volume.grid.shape)
    grey = to_grey(cut_plane(series.volume.voxels, view, box, index).astype(np.float32), painter.window)
    canvas = Canvas(grey, view, TILE_PX)
    width, height = canvas.size
    alt = f"candidate {rejection.candidate.id} in the middle of {TILE_MM:.0f} mm of slice {index}"
    return Picture(uri=canvas.data_uri(), width=width, height=height, alt=alt, index=index)


def _around(ijk: tuple[float, float, float], view: View, shape: tuple[int, int, int]) -> Box:
    """A square of ``TILE_MM`` around a place, moved inwards at the border of the picture."""
    top, bottom = _span(ijk[view.row_axis], view.row_mm, shape[view.row_axis], flipped=view.flip_rows)
    left, right = _span(ijk[view.column_axis], view.column_mm, shape[view.column_axis], flipped=view.flip_columns)
    return Box(top=top, bottom=bottom, left=left, right=right)


def _span(centre: float, step_mm: float, count: int, *, flipped: bool) -> tuple[int, int]:
    wide = min(count, max(3, round(TILE_MM / step_mm)))
    middle = count - 1 - centre if flipped else centre
    start = min(max(round(middle - wide / 2), 0), count - wide)
    return start, start + wide
