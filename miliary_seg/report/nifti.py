"""Label maps as NIfTI on the input's own grid, verified by reading them back."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import OutputError

SCANNER_ANATOMICAL, ALIGNED = 1, 2
"""NIfTI-1 xform codes. ``ALIGNED`` is written where the input stated no orientation: not the scanner's word."""

VERIFY_MM = 1e-3
"""Largest allowed difference of a corner after reading back: the header holds single precision."""


def write_label_map(labels: LabelMap, path: Path, *, orientation_known: bool = True) -> None:
    """Write an integer label map with the grid's shape and affine.

    sform and qform are both set and equal; a sheared grid (gantry tilt) has no qform, so only the sform is set.
    The header holds nothing of the patient: its description names the program.

    Parameters
    ----------
    labels
        Labels and their grid.
    path
        New file, ``.nii.gz``.
    orientation_known
        False where the input stated no orientation; the xform code then does not claim the scanner's space.

    Raises
    ------
    OutputError
        If the file cannot be written, or reads back otherwise than it was meant.
    """
    nib: Any = import_module("nibabel")
    code = SCANNER_ANATOMICAL if orientation_known else ALIGNED
    values = labels.labels.astype(_integer_type(labels), order="F")  # the order of the file: turned once, not twice
    image = nib.Nifti1Image(values, labels.grid.affine)
    image.set_sform(labels.grid.affine, code=code)
    if labels.grid.is_sheared:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.set_qform(None, code=0)
    else:
        image.set_qform(labels.grid.affine, code=code)
    image.header.set_xyzt_units("mm")
    image.header.set_intent("label")
    image.header["descrip"] = b"miliary-seg label map"
    image.header["cal_max"] = float(labels.labels.max(initial=0))
    try:
        nib.save(image, path)
    except OSError as error:
        raise OutputError(f"cannot write ({error.strerror or error})", where=path, todo="free some space") from error
    _verify(values, labels.grid, path)


def _integer_type(labels: LabelMap) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
    highest = int(labels.labels.max(initial=0))
    if int(labels.labels.min(initial=0)) < 0 or highest > np.iinfo(np.uint32).max:
        raise OutputError("a label does not fit 32 bits without sign", todo="please report it")
    return np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.uint32


def _verify(values: NDArray[Any], grid: Grid, path: Path) -> None:
    nib: Any = import_module("nibabel")
    back = nib.load(path)
    same = back.shape == grid.shape and Grid(shape=back.shape, affine=back.affine).same_as(grid, atol_mm=VERIFY_MM)
    if not same or not np.array_equal(np.asarray(back.dataobj), values):
        raise OutputError("a label map reads back differently from what was written", where=path, todo="try again")
