"""One volume in two series: told, because neither half shows the whole brain.

Exports by halves and acquisitions in two packages make two series of one frame of reference, one sequence and one
geometry whose slices adjoin or interleave. They are not joined: two scans of one protocol, before and after contrast
agent and half a step apart, look the same in their headers.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.reason import Reason
from miliary_seg.load.dicom.source import DicomSource
from miliary_seg.load.inventory import SeriesInfo

STEP_TOLERANCE = 0.02
"""Share of the step by which the slices of two halves may be off one even line."""


def told_of_halves(series: list[SeriesInfo]) -> list[SeriesInfo]:
    """The series, with a warning on those that are halves of one volume."""
    halves: dict[int, str] = {}
    for (a, one), (b, other) in combinations(enumerate(series), 2):
        if _alike(one, other) and _one_line(one, other):
            halves[a], halves[b] = other.id, one.id
    return [
        replace(found, warnings=(*found.warnings, _told(halves[n]))) if n in halves else found
        for n, found in enumerate(series)
    ]


def _told(other: str) -> Reason:
    text = f"Its slices and those of series {other} make one volume: exported by halves? Neither shows the whole of it."
    return Reason(code="series_split", text=text)


def _alike(one: SeriesInfo, other: SeriesInfo) -> bool:
    """Whether two series have one frame of reference, sequence, matrix and thickness."""
    sources = one.source, other.source
    if not all(isinstance(source, DicomSource) and source.frame_of_reference_uid for source in sources):
        return False
    frames = {source.frame_of_reference_uid for source in sources}
    facts = [(s.sequence.sequence, s.shape[:2], s.plane, s.slice_thickness_mm, s.eligible) for s in (one, other)]
    several = all(source.placement is not None and len(source.placement.slice_index) > 1 for source in sources)
    return several and len(frames) == 1 and facts[0] == facts[1] and one.eligible


def _one_line(one: SeriesInfo, other: SeriesInfo) -> bool:
    """Whether the slices of both lie evenly on one line, each on a place of its own."""
    first, second = _places(one), _places(other)
    normal = np.cross(one.source.placement.affine[:3, 0], one.source.placement.affine[:3, 1])
    normal /= np.linalg.norm(normal)
    sideways = (second[0] - first[0]) - normal * float((second[0] - first[0]) @ normal)
    along = np.sort(np.concatenate([first, second]) @ normal)
    steps = np.diff(along)
    step = float(np.median(steps))
    even = step > 0 and float(np.abs(steps - step).max()) <= STEP_TOLERANCE * step
    own = min(float(np.abs(np.diff(places @ normal)).min()) for places in (first, second))
    return even and float(np.linalg.norm(sideways)) < step / 2 and own <= 2 * step * (1 + STEP_TOLERANCE)


def _places(series: SeriesInfo) -> Float64Array:
    """Corners of the slices in RAS mm, shape (n, 3)."""
    placement = series.source.placement
    index = np.asarray(placement.slice_index, dtype=np.float64)[:, None]
    corners: Float64Array = placement.affine[:3, 3] + index * placement.affine[:3, 2]
    return corners
