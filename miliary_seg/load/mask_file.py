"""A brain mask of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import BoolArray
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError

SAME_PLACE_MM = 0.1
"""A mask may lie this far from the scan's own voxels: rounding of headers, far below a voxel."""


def read_mask(path: str | Path, grid: Grid) -> BoolArray:
    """Read a NIfTI mask that lies on a scan's own grid; voxels above 0 are brain.

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
        values = np.asanyarray(image.dataobj)
    except Exception as error:
        what = f"cannot read the mask ({type(error).__name__})"
        raise UnreadableFileError(what, where=path, todo="give a NIfTI mask on the scan's grid") from error
    values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
    if values.shape != grid.shape or not Grid(shape=values.shape, affine=image.affine).same_as(grid, SAME_PLACE_MM):
        what = f"the mask lies on another grid ({values.shape}, the scan is {grid.shape})"
        raise GeometryError(what, where=path, todo="resample it onto the scan")
    mask: BoolArray = np.nan_to_num(values) > 0
    if not mask.any():
        raise InputError("the mask is empty", where=path, todo="give a mask with brain voxels above 0")
    return mask
