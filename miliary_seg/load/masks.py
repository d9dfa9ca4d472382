"""A brain mask of the user's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from miliary_seg.domain.arrays import BoolArray, Float64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import GeometryError, InputError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load.nifti.header import NiftiHeader, slice_axis_of
from miliary_seg.load.nifti.volume import (
    ALIKE_SHARE,
    n_distinct_whole,
    neighbours_alike,
    read_nifti_header,
    stored_volume,
)
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
    labels = values.astype(np.int32, order="C")  # as maps made here are: two orders in one pass take 30 times as long
    labels.setflags(write=False)  # a label map copies what could change
    return LabelFile(
        labels=LabelMap(labels=labels, grid=Grid(shape=header.shape, affine=header.affine)),
        slice_axis=slice_axis_of(header)[0],
        orientation_known=header.orientation_source != "none",
    )


def is_piecewise_constant(labels: LabelMap) -> bool:
    """Whether most voxels equal their neighbour: an 8-bit scan holds the same numbers, but its neighbours differ."""
    return max(neighbours_alike(labels.labels)) >= ALIKE_SHARE


_NAMES = re.compile(
    r"(?<![a-z])(?:dseg|probseg|seg|segmentations?|\w*mask|labels?|aseg|aparc\w*|parc|rois?|lesions?|gt|"
    r"gold[_ -]?standard|ground[_ -]?truth|truth|annotations?|compartments\w*)(?![a-z])"
)
_SUSPICIOUS_RATIO = 0.06
"""Label maps pack to less than 3 % of their size, scans to more than 20 % (docs/loading.md)."""


def label_reason(header: NiftiHeader) -> str:
    """Why this file is a mask or a label map; '' where it is not. Voxels are read only where the size is suspicious."""
    from miliary_seg.load.sequence import owner_and_sequence

    if _NAMES.search(stem(header.path).lower()):
        return "a mask or label map, by its name"
    size = header.data_path.stat().st_size
    packed = size < 0.9 * header.volume_bytes * header.n_volumes
    suspicious = size < _SUSPICIOUS_RATIO * header.volume_bytes if packed else np.dtype(header.dtype).itemsize == 1
    if not suspicious or header.n_volumes > 1:
        return ""
    n_values = n_distinct_whole(stored_volume(header))
    if n_values == 1 and owner_and_sequence(f"x_{stem(header.path)}")[0]:
        return ""  # named like a scan: one that was lost, which is told when it is read
    return f"a mask or label map: it holds {n_values} whole numbers only" if n_values is not None else ""


def stem(path: Path) -> str:
    """File name without the endings of NIfTI, MGH and NRRD.

    Examples
    --------
    >>> stem(Path("a/sub-01_T1w.nii.gz"))
    'sub-01_T1w'
    """
    return re.sub(r"\.(nii|hdr|img|mgh|mgz|nrrd|nhdr|zip)?(\.gz|\.bz2)?$", "", path.name, flags=re.IGNORECASE)


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
