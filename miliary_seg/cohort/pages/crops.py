"""Registered pairs of pictures: one place of a head in the earlier and in the later scan, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage as ndi

from miliary_seg.cohort.longitudinal.course import in_words, what_became
from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.html.canvas import png_data_uri
from miliary_seg.report.html.views import grey_window, to_grey

SIDE_MM, SIDE_PX = 32.0, 104
KINDS = ("new", "grown", "shrunk", "gone", "uncertain")
"""What is shown, in this order; stable lesions are not."""
MOST = 60
"""Pairs of one kind in an interval, about 0.6 MB: the others stand in fates.csv."""


def pairs(
    earlier: SeriesResult, later: SeriesResult, fates: Sequence[Mapping[str, Any]], earlier_to_later: Float64Array
) -> list[dict[str, Any]]:
    """Pictures of the lesions that changed or are uncertain, the largest ones of each kind first.

    Parameters
    ----------
    earlier, later
        The two series.
    fates
        As in timeline.json.
    earlier_to_later
        RAS+ mm of the earlier scan to those of the later one, shape (4, 4).

    Returns
    -------
    list of dict
        A lesion's entry of ``fates``, what it ``became``, ``why_in_words``, and the pictures ``before`` and ``after``
        as data URIs; axial, the patient's right on the left-hand side.
    """
    windows = [grey_window(series.volume, series.location.brain_mask) for series in (earlier, later)]
    back: Float64Array = np.asarray(np.linalg.inv(earlier_to_later), dtype=np.float64)
    made = []
    for kind, fate in _chosen(fates):
        plane = _plane(np.asarray(fate["centroid_ras_mm"], dtype=np.float64))
        in_later = fate["later_id"] is not None
        before = _moved(plane, back) if in_later else plane
        after = plane if in_later else _moved(plane, earlier_to_later)
        made.append(
            {
                **fate,
                "became": kind,
                "why_in_words": in_words(fate),
                "before": _picture(earlier, before, windows[0]),
                "after": _picture(later, after, windows[1]),
            }
        )
    return made


def without_pictures(patient: Mapping[str, Any]) -> dict[str, Any]:
    """A patient's record as it goes into JSON: the pictures are for the page."""
    intervals = [{k: v for k, v in interval.items() if k != "pairs"} for interval in patient["intervals"]]
    return {**patient, "intervals": intervals}


def _chosen(fates: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in KINDS:
        alike = sorted((fate for fate in fates if what_became(fate) == kind), key=_size, reverse=True)
        yield from ((kind, fate) for fate in alike[:MOST])


def _size(fate: Mapping[str, Any]) -> float:
    return max(fate["earlier_diameter_mm"] or 0.0, fate["later_diameter_mm"] or 0.0)


def _plane(centre: Float64Array) -> Float64Array:
    """Places of an axial picture around a centre, shape (pixels, pixels, 3): right to left, anterior to posterior."""
    along = np.linspace(SIDE_MM / 2, -SIDE_MM / 2, SIDE_PX)
    places = np.empty((SIDE_PX, SIDE_PX, 3))
    places[..., 0] = centre[0] + along[None, :]
    places[..., 1] = centre[1] + along[:, None]
    places[..., 2] = centre[2]
    return places


def _moved(places: Float64Array, matrix: Float64Array) -> Float64Array:
    moved: Float64Array = places @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def _picture(series: SeriesResult, places: Float64Array, window: tuple[float, float]) -> str:
    ijk = series.volume.grid.to_ijk(places.reshape(-1, 3)).T
    values = ndi.map_coordinates(series.volume.voxels, ijk, order=1, mode="constant", cval=window[0])
    return png_data_uri(Image.fromarray(to_grey(values.reshape(SIDE_PX, SIDE_PX), window)))
