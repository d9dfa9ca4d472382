"""What the page's viewer shows: the scan around the brain in 8 bits and two label maps, as gzipped NIfTI."""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.arrays import Float64Array, UInt8Array
from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.grid import Grid, other_axes
from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.volume import Volume
from miliary_seg.report.html.pictures import shown_slices
from miliary_seg.report.html.views import COMPARTMENT_COLOURS, to_grey
from miliary_seg.report.sanitise import sanitise

Json = dict[str, Any]

COMPLETE = "Everything else on this page is complete without it."
NO_WEBGL = f"This browser offers no WebGL 2, which the viewer needs. {COMPLETE}"
VIEWER_FAILED = f"The viewer could not start. {COMPLETE}"

MAX_DRAWN_REJECTIONS = 2000
"""Rejected candidates that the viewer can mark, most probable first: more would hide the scan."""


def json_block(value: Json) -> str:
    r"""JSON for a ``<script type="application/json">``: nothing in it can end the element or start markup.

    Examples
    --------
    >>> json_block({"a": "</script>&"})
    '{"a":"\\u003c/script\\u003e\\u0026"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_values() -> Json:
    """What is the same for all series of a page."""
    colours = {int(c): COMPARTMENT_COLOURS[c] for c in Compartment} | {UNKNOWN: COMPARTMENT_COLOURS[None]}
    return {"colours": colours, "no_webgl": NO_WEBGL, "viewer_failed": VIEWER_FAILED}


def viewer_values(series: SeriesResult, values: Json, volumes: str, window: tuple[float, float]) -> Json:
    """Geometry, counts and lesions of a series for the viewer, the table and the plot.

    Parameters
    ----------
    series
        One analysed series.
    values
        Its part of the document.
    volumes
        Prefix of the ids of the blocks that hold its volumes.
    window
        Intensities shown as black and white.
    """
    volume = series.volume
    axis = volume.slice_axis
    start = np.array(volume.slice_centres_ras_mm[shown_slices(series)[-1]])
    return {
        "volumes": volumes,
        "plane": volume.plane,
        "orientation_known": series.orientation_known,
        "window": [float(x) for x in window],
        "n_slices": volume.n_slices,
        "counts": [row["n_lesions"] for row in values["slices"]],
        "ras_to_slice": [float(x) for x in np.linalg.inv(volume.grid.affine)[axis]],
        "slice_step_ras_mm": [float(x) for x in volume.grid.affine[:3, axis]],
        "start_ras_mm": [round(float(x), 3) for x in start],
        "lesions": [_lesion(row) for row in values["lesions"]],
        "rejected": [_place(r.candidate.centroid_ras_mm) for r in _by_probability(series)[:MAX_DRAWN_REJECTIONS]],
    }


def candidate_values(series: SeriesResult, from_probability: float | None = None) -> Json:
    """Candidates as short rows, most probable first, and the rules in words.

    Parameters
    ----------
    series
        One analysed series.
    from_probability
        Rejected candidates less probable than this are left out, as in candidates.csv; None = all are listed.
    """
    least = 0.0 if from_probability is None else from_probability
    accepted = {lesion.candidate_id: lesion.id for lesion in series.lesions}
    found = {c.id: ("accepted", c) for c in series.detection.candidates}
    rules = {"accepted": {"name": "accepted", "text": "accepted as a lesion"}}
    for rejection in series.detection.rejections:
        if rejection.candidate.probability < least:
            found.pop(rejection.candidate.id, None)
            continue
        rule = sanitise(rejection.rule)
        found[rejection.candidate.id] = (rule, rejection.candidate)
        words = rule.replace("_", " ")
        rules.setdefault(rule, {"name": words, "text": f"{words} {sanitise(rejection.reason)}"})
    ordered = sorted(found.values(), key=lambda pair: (-pair[1].probability, pair[1].id))
    rows = [
        [
            candidate.id,
            rule,
            _short(candidate.probability, 3),
            *_place(candidate.centroid_ras_mm),
            _short(candidate.diameter_mm),
            _short(candidate.contrast),
            accepted.get(candidate.id),
        ]
        for rule, candidate in ordered
    ]
    return {"rules": rules, "rows": rows}


def _by_probability(series: SeriesResult) -> list[Any]:
    return sorted(series.detection.rejections, key=lambda r: (-r.candidate.probability, r.candidate.id))


def _lesion(row: Json) -> list[Any]:
    """Number, place, diameter, label of the compartment, first and last slice (-1 where it is counted on none)."""
    label = UNKNOWN if row["compartment"] is None else int(Compartment[row["compartment"].upper()])
    first, last = (row["slices"][0], row["slices"][-1]) if row["slices"] else (-1, -1)
    return [row["id"], *_place(row["centroid_ras_mm"]), _short(row["equivalent_diameter_mm"]), label, first, last]


def _place(ras_mm: Any) -> list[float | None]:
    return [_short(x) for x in ras_mm]


def _short(value: Any, digits: int = 2) -> float | None:
    return round(float(value), digits) + 0.0 if value is not None and np.isfinite(value) else None


MARGIN_MM = 20.0
"""Skull and scalp stay in view: a reader tells vessels and bone by them."""

MAX_VOXELS = 24_000_000
"""Voxels of all scans of a page together. MR compresses to half a byte a voxel, base64 adds a third: 16 MB."""

GZIP_LEVEL = 1
"""Half the time of level 4 for 1 % more bytes (measured on a sample scan and a phantom)."""

HEADROOM = 0.5
"""Grey values kept above and below the window, as a part of its width: the reader can widen it so far."""

UNKNOWN = 5
"""Label of lesions whose compartment is unknown; others carry their compartment's label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerVolumes:
    """Base64 of three gzipped NIfTI files on one grid."""

    scan: str
    lesions: str
    """1 to 4 = compartment of the lesion, 5 = unknown."""
    compartments: str
    """Empty where sides may not be used: the tint would name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crop:
    """Part of a grid, in blocks of ``step`` voxels along each axis."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    step: tuple[int, ...]

    def cut(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[tuple(slice(a, b) for a, b in zip(self.low, self.high, strict=True))]

    def blocks(self, array: NDArray[Any]) -> NDArray[Any]:
        """The cut array as (i, si, j, sj, k, sk); whole blocks only."""
        part = self.cut(array)
        numbers = [n // s for n, s in zip(part.shape, self.step, strict=True)]
        part = part[tuple(slice(0, n * s) for n, s in zip(numbers, self.step, strict=True))]
        return part.reshape([x for pair in zip(numbers, self.step, strict=True) for x in pair])

    def affine(self, grid: Grid) -> Float64Array:
        """Block index (centre of the block) to RAS+ mm."""
        matrix: Float64Array = grid.affine.copy()
        matrix[:3, :3] *= self.step
        first = np.array(self.low) + (np.array(self.step) - 1) / 2
        matrix[:3, 3] = grid.to_ras_mm(first)
        return matrix


def viewer_volumes(series: SeriesResult, window: tuple[float, float], max_voxels: int = MAX_VOXELS) -> ViewerVolumes:
    """Crop to the brain with its surroundings, quantise, compress.

    Parameters
    ----------
    series
        One analysed series.
    window
        Intensities that the page shows as black and white.
    max_voxels
        Larger crops are averaged over blocks of pixels within the slices; slices stay as they are.

    Returns
    -------
    ViewerVolumes
        Deterministic: no time, no name in the gzip headers. Intensities keep the scan's unit (slope and intercept).
    """
    volume = series.volume
    crop = _crop(series, max_voxels)
    low, high = _range(volume, window)
    scan = crop.cut(volume.voxels) if max(crop.step) == 1 else crop.blocks(volume.voxels).mean(axis=(1, 3, 5))
    affine = crop.affine(volume.grid)
    places = crop.cut(series.location.compartments.labels) if series.location.registration.sides_usable else None
    return ViewerVolumes(
        scan=_packed(to_grey(scan, (low, high)), affine, ((high - low) / 255.0, low)),
        lesions=_packed(_coarsest(_lesions_by_compartment(series, crop), crop), affine),
        compartments="" if places is None else _packed(_coarsest(places, crop), affine),
    )


def _crop(series: SeriesResult, max_voxels: int) -> _Crop:
    grid, mask = series.volume.grid, series.location.brain_mask
    low, high = [], []
    for axis, spacing in enumerate(grid.spacing_mm):
        inside = np.flatnonzero(mask.any(axis=other_axes(axis)))
        first, last = (int(inside[0]), int(inside[-1])) if inside.size else (0, mask.shape[axis] - 1)
        margin = math.ceil(MARGIN_MM / spacing)
        low.append(max(0, first - margin))
        high.append(min(mask.shape[axis], last + 1 + margin))
    n = math.prod(b - a for a, b in zip(low, high, strict=True))
    within = math.ceil(math.sqrt(n / max_voxels)) if n > max_voxels else 1
    step = tuple(1 if axis == series.volume.slice_axis else min(within, high[axis] - low[axis]) for axis in range(3))
    return _Crop(low=tuple(low), high=tuple(high), step=step)


def _range(volume: Volume, window: tuple[float, float]) -> tuple[float, float]:
    """Intensities of the grey values 0 and 255: the window with room on both sides (below it for CT alone)."""
    low, high = window
    spare = HEADROOM * (high - low)
    return (low - spare if volume.in_hounsfield else low), high + spare


def _lesions_by_compartment(series: SeriesResult, crop: _Crop) -> UInt8Array:
    labels = crop.cut(series.detection.lesion_labels.labels)
    table = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint8)
    table[1:] = UNKNOWN
    for place in series.assignments:
        if place.lesion_id < table.size and place.compartment is not None:
            table[place.lesion_id] = Compartment(place.compartment)
    found: UInt8Array = table[labels]
    return found


def _coarsest(labels: NDArray[Any], crop: _Crop) -> UInt8Array:
    """Labels on the crop's blocks; the highest label of a block stands for it, so that no small lesion is lost."""
    if max(crop.step) == 1:
        return labels.astype(np.uint8, copy=False)
    whole = _Crop(low=(0, 0, 0), high=labels.shape, step=crop.step)
    highest: UInt8Array = whole.blocks(labels).max(axis=(1, 3, 5)).astype(np.uint8)
    return highest


def _packed(array: UInt8Array, affine: Float64Array, scaling: tuple[float, float] = (1.0, 0.0)) -> str:
    """A NIfTI-1 file, gzipped, as base64."""
    header: Any = import_module("nibabel.nifti1").Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(array.shape)
    header.set_sform(affine, code=1)
    header.set_qform(None, code=0)
    header.set_slope_inter(*scaling)
    header.set_xyzt_units("mm")
    header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    header["magic"], header["vox_offset"] = b"n+1", 352
    file: bytes = header.binaryblock + b"\0\0\0\0" + array.tobytes(order="F")
    return base64.b64encode(gzip.compress(file, GZIP_LEVEL, mtime=0)).decode("ascii")
