"""Masks and label maps of anybody's making, as they are: for scoring, never for analysis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import UnreadableFileError, UnsuitableImageError
from miliary_seg.load.nifti import read_nifti_header, stored_volume
from miliary_seg.load.orientation import slice_axis_of
from miliary_seg.settings import LoadSettings

LARGEST_LABEL = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelFile:
    """A label map with what its file says of its slices."""

    labels: LabelMap
    slice_axis: int
    orientation_known: bool


def read_label_map(path: str | Path) -> LabelFile:
    """Read whole numbers from a NIfTI, MGH or NRRD file; 0 is background.

    Raises
    ------
    UnreadableFileError
        If the file is missing, truncated or of another format.
    UnsuitableImageError
        If it holds several volumes, fractions (a probability map), negative or not finite values.
    GeometryError
        If its affines are unusable or contradict each other.
    """
    path = Path(path)
    if not path.is_file():
        raise UnreadableFileError("there is no such file", where=path, todo="give a mask or label map")
    header = read_nifti_header(path, LoadSettings().max_voxels)
    if header.n_volumes > 1:
        what = f"{header.n_volumes} volumes in one file"
        raise UnsuitableImageError(what, where=path, todo="give one label map of one volume")
    stored = stored_volume(header)
    values = stored if (header.slope, header.intercept) == (1.0, 0.0) else stored * header.slope + header.intercept
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and np.array_equal(values, np.rint(values))):
        what = "not a label map: it holds fractions or values that are not finite"
        raise UnsuitableImageError(what, where=path, todo="threshold probabilities first")
    if values.size and (values.min() < 0 or values.max() > LARGEST_LABEL):
        raise UnsuitableImageError("not a label map: values below 0 or far too large", where=path)
    return LabelFile(
        labels=LabelMap(labels=values.astype(np.int32), grid=Grid(shape=header.shape, affine=header.affine)),
        slice_axis=slice_axis_of(header)[0],
        orientation_known=header.orientation_source != "none",
    )
