"""The scan with its lesions in NiiVue, inside a notebook (extra ``notebook``); without ipyniivue three planes."""

from __future__ import annotations

import gzip
from importlib import import_module
from typing import Any

import numpy as np

from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.result import SeriesResult
from miliary_seg.errors import MissingLibraryError
from miliary_seg.report.html.views import COMPARTMENT_COLOURS, grey_window, to_grey
from miliary_seg.report.notebook import library, plots

HEIGHT_PX = 480
LESION_OPACITY = 0.6


def view(series: SeriesResult) -> Any:
    """Show a series with its lesions coloured by compartment.

    The scan goes to the browser as 8-bit grey values of the report's window, on its own grid; nothing is fetched.

    Parameters
    ----------
    series
        One analysed series.

    Returns
    -------
    ipyniivue.NiiVue or numpy.ndarray of matplotlib.axes.Axes
        A widget; where ipyniivue is not installed, three planes through the most probable lesion.

    Raises
    ------
    MissingLibraryError
        If neither ipyniivue nor matplotlib is installed.
    """
    try:
        niivue = library("ipyniivue")
    except MissingLibraryError:
        return plots.planes(series)
    window = grey_window(series.volume, series.location.brain_mask)
    grid = series.volume.grid
    scan = {"data": _nifti(to_grey(series.volume.voxels, window), grid), "name": "scan.nii.gz", "colormap": "gray"}
    marks = {"data": _nifti(plots.lesion_compartments(series), grid), "name": "lesions.nii.gz"}
    widget = niivue.NiiVue(
        height=HEIGHT_PX,
        is_radiological_convention=True,
        sagittal_nose_left=True,
        is_orientation_text_visible=series.orientation_known,
    )
    widget.load_volumes([scan, {**marks, "opacity": LESION_OPACITY if series.lesions else 0.0}])
    widget.volumes[1].set_colormap_label(_colours())
    return widget


def _nifti(voxels: Any, grid: Grid) -> bytes:
    nib: Any = import_module("nibabel")
    image = nib.Nifti1Image(np.asarray(voxels, dtype=np.uint8), np.array(grid.affine))
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def _colours() -> dict[str, list[Any]]:
    """Background, the four compartments, unknown: the colours of the report."""
    colours = ["#000000", *(COMPARTMENT_COLOURS[key] for key in (*Compartment, None))]
    names = ["", *(c.text for c in Compartment), "unknown"]
    rgb = [[int(colour[n : n + 2], 16) for colour in colours] for n in (1, 3, 5)]
    alpha = [0] + [255] * (len(colours) - 1)
    return {"R": rgb[0], "G": rgb[1], "B": rgb[2], "A": alpha, "labels": names}
