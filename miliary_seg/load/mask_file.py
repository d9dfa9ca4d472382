"""A brain mask of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miliary_seg.domain.grid import Float64Array, Grid
from miliary_seg.domain.volume import BoolArray
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError

SAME_PLACE_MM = 0.1
"""A mask may lie this far from the scan's own voxels: rounding of headers, far below a voxel."""


def read_mask(path: str | Path, grid: Grid) -> BoolArray:
    """Read a NIfTI mask of the very voxels of a scan; voxels above 0 are brain.

    The order of its axes does not matter (converters of DICOM flip them): the mask is turned to the scan's order. It is
    never resampled.

    Returns
    -------
    numpy.ndarray
        Shape (i, j, k) of the grid, bool.

    Raises
    ------
    UnreadableFileError
        If the file is missing or is not a readable NIfTI image.
    GeometryError
        If it lies on another grid.
    InputError
        If it marks no voxel.
    """
    import nibabel as nib

    try:
        image = nib.Nifti1Image.from_filename(path)
        if image.shape[3:] == (1,):
            image = image.slicer[..., 0]
        if image.ndim == 3:
            image = image.as_reoriented(_turn(image.affine, grid))  # type: ignore[no-untyped-call]
        values = np.asanyarray(image.dataobj)
    except Exception as error:
        what = f"cannot read the mask ({type(error).__name__})"
        raise UnreadableFileError(what, where=path, todo="give a NIfTI mask on the scan's grid") from error
    if values.shape != grid.shape or not Grid(shape=values.shape, affine=image.affine).same_as(grid, SAME_PLACE_MM):
        what = f"the mask lies on another grid ({values.shape}, the scan is {grid.shape})"
        raise GeometryError(what, where=path, todo="resample it onto the scan")
    mask: BoolArray = np.nan_to_num(values) > 0
    if not mask.any():
        raise InputError("the mask is empty", where=path, todo="give a mask with brain voxels above 0")
    return mask


def _turn(affine: Float64Array, grid: Grid) -> Float64Array:
    """From the axes of an affine to those of the scan, as nibabel writes it, shape (3, 2)."""
    from nibabel.orientations import io_orientation, ornt_transform

    ours, scans = io_orientation(affine), io_orientation(grid.affine)  # type: ignore[no-untyped-call]
    turn: Float64Array = ornt_transform(ours, scans)  # type: ignore[no-untyped-call]
    return turn
