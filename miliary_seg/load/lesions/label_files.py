"""Label maps, masks and probability maps in NIfTI, NRRD (3D Slicer's ``.seg.nrrd`` too) and MGH files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion_source import LesionSource
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import GeometryError, UnreadableFileError, UnsuitableImageError
from miliary_seg.load.lesions.voxels import LesionVoxels
from miliary_seg.load.nifti.header import NiftiHeader
from miliary_seg.load.nifti.nrrd import NRRD_HEADER_BYTES
from miliary_seg.load.nifti.volume import read_nifti_header, stored_volume
from miliary_seg.settings import LoadSettings

LARGEST_LABEL = 2**31 - 1
_SEGMENT = re.compile(r"^Segment(\d+)_(LabelValue|Name|Layer):=(.*)$", re.MULTILINE)


def read_label_file(path: Path, volume: Volume, threshold: float) -> LesionVoxels:
    """Read a label map, a mask, or a map of probabilities.

    Whole numbers are labels; fractions from 0 to 1 are probabilities, of which those from ``threshold`` on are lesion.

    Raises
    ------
    UnreadableFileError
        If it is truncated, damaged or of another format.
    UnsuitableImageError
        If it holds several volumes, or values that are neither labels nor probabilities.
    GeometryError
        If it cannot be placed in the scan.
    """
    names = _segment_names(path)
    header = read_nifti_header(path, LoadSettings().max_voxels)
    if header.n_volumes > 1:
        what = f"{header.n_volumes} volumes in one file"
        raise UnsuitableImageError(what, where=path, todo="give one label map of one volume, instances by label value")
    _require_orientation(header, volume)
    stored = stored_volume(header)
    values = stored if (header.slope, header.intercept) == (1.0, 0.0) else stored * header.slope + header.intercept
    grid = Grid(shape=header.shape, affine=header.affine)
    labels, chances = _understood(values, threshold, path)
    labels.setflags(write=False)  # a label map copies what could change
    source = LesionSource(
        name="given", format=header.format, algorithm_type="", path=str(path), sha256=file_digest(path)
    )
    return LesionVoxels(labels=LabelMap(labels=labels, grid=grid, names=names), source=source, chances=chances)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises
    ------
    UnreadableFileError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        what = f"cannot be read ({error.strerror or type(error).__name__})"
        raise UnreadableFileError(what, where=path, todo="check the path and its permissions") from error


def _require_orientation(header: NiftiHeader, volume: Volume) -> None:
    if header.orientation_source != "none":
        return
    if header.shape != volume.grid.shape or volume.orientation_known:
        what = "the lesion file states no orientation: it cannot be placed in the scan"
        raise GeometryError(what, where=header.path, todo="save it with the scan's own header (sform or qform)")


def _understood(values: NDArray[Any], threshold: float, path: Path) -> tuple[NDArray[np.int32], Any]:
    """Labels, and probabilities where the values are such."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            what = "it holds values that are not finite"
            raise UnsuitableImageError(what, where=path, todo="give labels, a mask, or probabilities from 0 to 1")
        if not np.array_equal(values, np.rint(values)):
            return _thresholded(values, threshold, path)
    if values.size and (values.min() < 0 or values.max() > LARGEST_LABEL):
        what = f"neither labels nor probabilities: values from {values.min():g} to {values.max():g}"
        raise UnsuitableImageError(what, where=path, todo="give labels, a mask, or probabilities from 0 to 1")
    return values.astype(np.int32), None


def _thresholded(values: NDArray[Any], threshold: float, path: Path) -> tuple[NDArray[np.int32], Any]:
    low, high = float(values.min()), float(values.max())
    if low < -1e-3 or high > 1 + 1e-3:
        what = f"fractions from {low:g} to {high:g}: neither labels nor probabilities from 0 to 1"
        raise UnsuitableImageError(what, where=path, todo="divide percentages by 100, or threshold the map yourself")
    return (values >= threshold).astype(np.int32), np.clip(values, 0, 1).astype(np.float32)


def _segment_names(path: Path) -> dict[int, str]:
    """Names by label value, where 3D Slicer wrote the file.

    Raises
    ------
    UnsuitableImageError
        If its segments overlap and are therefore kept in layers.
    """
    if not path.name.lower().endswith((".nrrd", ".nhdr")):
        return {}
    try:
        with path.open("rb") as file:
            start = file.read(NRRD_HEADER_BYTES)
    except OSError as error:
        what = f"cannot be read ({error.strerror or type(error).__name__})"
        raise UnreadableFileError(what, where=path, todo="check the path and its permissions") from error
    text = re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0].decode("utf-8", "replace").replace("\r", "")
    segments: dict[str, dict[str, str]] = {}
    for number, key, value in _SEGMENT.findall(text):
        segments.setdefault(number, {})[key] = value.strip()
    if len({facts.get("Layer", "0") for facts in segments.values()}) > 1:
        what = "its segments overlap, so 3D Slicer kept them in several layers"
        raise UnsuitableImageError(what, where=path, todo="export it as a label map, or as DICOM SEG")
    pairs = ((facts.get("LabelValue", ""), facts.get("Name", "")) for facts in segments.values())
    return {int(value): name for value, name in pairs if value.isdigit()}
