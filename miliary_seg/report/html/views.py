"""How a plane of voxels becomes a picture in radiological convention.

Axial and coronal pictures show the patient's right on the left-hand side (as if seen from the feet or from in front);
anterior or superior is up. Sagittal pictures have anterior on the left-hand side and superior up. So every patient axis
falls along its picture axis: right to left, anterior to posterior, superior to inferior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.arrays import BoolArray, Float32Array, UInt8Array
from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.grid import Grid, other_axes
from miliary_seg.domain.volume import Volume

COMPARTMENT_COLOURS: dict[Compartment | None, str] = {
    Compartment.LEFT_SUPRATENTORIAL: "#E69F00",
    Compartment.RIGHT_SUPRATENTORIAL: "#56B4E9",
    Compartment.LEFT_INFRATENTORIAL: "#F0E442",
    Compartment.RIGHT_INFRATENTORIAL: "#CC79A7",
    None: "#FFFFFF",
}
"""From Okabe and Ito, Color Universal Design (2008); None = compartment unknown."""

BRAIN_COLOUR = "#56B4E9"
MIDLINE_COLOUR = "#F0E442"
TENTORIUM_COLOUR = "#E69F00"


CT_WINDOW_HU = (0.0, 80.0)
"""Brain window (centre 40, width 80 HU): the usual one of head CT."""

MR_BLACK_PERCENTILE, MR_WHITE_PERCENTILE, MR_HEADROOM = 1.0, 99.5, 1.25
"""Black is the air around the head; white lies a quarter above the bright end of the brain, so that enhancing dots
stand out from white matter even where they are few."""

GREY_BLOCK = 1 << 18
"""Values turned to grey at a time: they stay in the cache."""

_ENDS = ("RL", "AP", "SI")
"""Letters at the low and the high end of a picture axis along each world axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Planes across one voxel axis, turned for display."""

    axis: int
    """Voxel axis across the planes."""
    row_axis: int
    """Voxel axis that runs down the picture."""
    column_axis: int
    """Voxel axis that runs from left to right in the picture."""
    flip_rows: bool
    flip_columns: bool
    row_mm: float
    column_mm: float
    letters: tuple[str, str, str, str]
    """Patient directions at the left, right, top and bottom of the picture; empty where unknown."""
    name: str
    """``axial``, ``coronal`` or ``sagittal``: nearest."""

    @classmethod
    def across(cls, grid: Grid, axis: int, *, orientation_known: bool = True) -> View:
        """The display of planes across a voxel axis of a grid.

        Parameters
        ----------
        grid
            The scan's grid.
        axis
            Voxel axis across the planes.
        orientation_known
            False leaves the letters out: the file does not say which side is which.
        """
        world = grid.world_axes
        # columns run along left-right where the plane holds it, else along anterior-posterior
        column, row = sorted(other_axes(axis), key=lambda a: world[a])
        letters = (*_ENDS[world[column]], *_ENDS[world[row]]) if orientation_known else ("", "", "", "")
        return cls(
            axis=axis,
            row_axis=row,
            column_axis=column,
            # all world axes fall along the picture: an axis that grows towards R, A or S must be turned round
            flip_rows=bool(grid.directions[world[row], row] > 0),
            flip_columns=bool(grid.directions[world[column], column] > 0),
            row_mm=grid.spacing_mm[row],
            column_mm=grid.spacing_mm[column],
            letters=(letters[0], letters[1], letters[2], letters[3]),
            name=("sagittal", "coronal", "axial")[world[axis]],
        )

    def plane(self, array: NDArray[Any], index: int) -> NDArray[Any]:
        """2-D picture (rows, columns) of plane ``index`` of an (i, j, k) array; a view, not a copy."""
        return self.turned(np.moveaxis(array, self.axis, 0)[index])

    def turned(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A plane in voxel order (the lower voxel axis first) turned for display; a view, not a copy."""
        if self.row_axis > self.column_axis:
            picture = picture.T
        return picture[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Part of a picture: rows ``top`` to ``bottom`` and columns ``left`` to ``right`` (ends not included)."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, picture: NDArray[Any]) -> NDArray[Any]:
        """The part of a picture."""
        return picture[self.top : self.bottom, self.left : self.right]

    @classmethod
    def around(cls, mask: BoolArray, view: View, margin_mm: float) -> Box:
        """Box around everything in a mask (i, j, k), seen along a view; the whole picture where it is empty."""
        shadow = view.turned(np.asarray(mask.any(axis=view.axis)))
        height, width = shadow.shape
        rows, columns = np.flatnonzero(shadow.any(axis=1)), np.flatnonzero(shadow.any(axis=0))
        if not rows.size:
            return cls(top=0, bottom=height, left=0, right=width)
        above, beside = round(margin_mm / view.row_mm), round(margin_mm / view.column_mm)
        return cls(
            top=max(0, int(rows[0]) - above),
            bottom=min(height, int(rows[-1]) + 1 + above),
            left=max(0, int(columns[0]) - beside),
            right=min(width, int(columns[-1]) + 1 + beside),
        )


def grey_window(volume: Volume, mask: BoolArray) -> tuple[float, float]:
    """Intensities that become black and white: a window for CT in HU, else robust percentiles of the brain."""
    if volume.in_hounsfield:
        return CT_WINDOW_HU
    low = _percentile(volume.voxels, MR_BLACK_PERCENTILE)
    high = _percentile(volume.voxels[mask] if mask.any() else volume.voxels, MR_WHITE_PERCENTILE)
    return (low, low + MR_HEADROOM * (high - low)) if high > low else (low, low + 1.0)


def _percentile(values: Float32Array, percent: float) -> float:
    """Percentile of the finite ones among at most a million evenly taken values; 0 where there is none."""
    taken = values.flat[:: max(1, values.size // 1_000_000)]  # ravel would turn and copy all of a scan
    finite = taken[np.isfinite(taken)]
    return float(np.percentile(finite, percent)) if finite.size else 0.0


def to_grey(picture: NDArray[Any], window: tuple[float, float]) -> UInt8Array:
    """Intensities as 8-bit grey values; no number is black. Of any shape, some planes at a time."""
    low, high = window
    grey = np.empty(picture.shape, dtype=np.uint8)
    planes = max(1, GREY_BLOCK * len(picture) // max(1, picture.size))
    for first in range(0, len(picture), planes):
        part = np.fmax(picture[first : first + planes], np.float32(low))  # fmax takes low where a value is no number
        np.minimum(part, np.float32(high), out=part)
        part -= np.float32(low)
        part *= np.float32(255.0 / (high - low))
        part += np.float32(0.5)
        grey[first : first + planes] = part
    return grey
