"""Volumes and label maps as NIfTI files: deterministic bytes, written under a temporary name and renamed."""

from __future__ import annotations

import errno
import gzip
import json
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import DiskFullError, OutputError
from miliary_seg.report.atomic_folder import make_folder, temp_name

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


SUFFIXES = (".nii", ".nii.gz")

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Disk full, quota used up."""


def write_nifti(
    image: Volume | LabelMap,
    path: str | Path,
    *,
    dtype: Literal["float32", "int16", "uint8"] | None = None,
    force: bool = False,
) -> Path:
    """Write a volume or a label map on its own grid.

    Parameters
    ----------
    image
        What to write; sform and qform both carry its affine (qform the nearest rigid one where it is sheared).
    path
        Ends in ``.nii`` or ``.nii.gz``.
    dtype
        Stored type; volumes are rounded to integers, never rescaled. None = float32 for volumes, the smallest unsigned
        integer that fits for labels.
    force
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If the name has another ending, the file exists, values do not fit the type, or it cannot be written.
    """
    import nibabel as nib

    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise OutputError("a NIfTI file ends in .nii or .nii.gz", where=path)
    data = image.voxels if isinstance(image, Volume) else image.labels
    kind = np.dtype(dtype or ("float32" if isinstance(image, Volume) else np.min_scalar_type(int(data.max(initial=0)))))
    nifti: Any = nib.Nifti1Image(_stored(data, kind, path), np.array(image.grid.affine))  # type: ignore[no-untyped-call]
    nifti.set_sform(nifti.affine, code=1)
    nifti.set_qform(nifti.affine, code=1)
    nifti.header.set_xyzt_units("mm", "sec")
    if isinstance(image, Volume):
        nifti.header.set_dim_info(slice=image.slice_axis)
        nifti.header["descrip"] = f"thickness {image.thickness_mm:g} mm".encode()
    content = nifti.to_bytes()
    return write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content, force=force)


def write_sidecar(volume: Volume, path: str | Path, *, force: bool = False) -> Path:
    """Write what a NIfTI header cannot say as a BIDS JSON sidecar.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    fields: dict[str, Any] = {
        "Modality": str(volume.modality),
        "SliceThickness": volume.thickness_mm,
        "SpacingBetweenSlices": round(volume.slice_spacing_mm, 6),
    }
    if volume.sequence.sequence is Sequence.T1C:
        fields["ContrastBolusIngredient"] = "GADOLINIUM"
    text = json.dumps(fields, indent=2, sort_keys=True) + "\n"
    return write_bytes(Path(path), text.encode(), force=force)


def write_bytes(path: Path, content: bytes, *, force: bool = False) -> Path:
    """Write a file under a temporary name in its folder, then rename it.

    Raises
    ------
    OutputError
        If the file exists (without ``force``) or cannot be written; nothing half-written stays behind.
    """
    if path.exists() and not force:
        raise OutputError("the file exists already", where=path, todo="choose another name, or --force")
    temporary = path.with_name(temp_name(path.name, "draft"))
    try:
        make_folder(path.parent)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise write_error("this file", path, error) from error
    return path


def write_error(what: str, where: Path, error: OSError) -> OutputError:
    """What the system's refusal to write means to the user."""
    if error.errno in NO_SPACE:
        return DiskFullError(f"no space is left for {what}", where=where, todo="free some, then run it again")
    said = f"cannot write {what} ({error.strerror or type(error).__name__})"
    return OutputError(said, where=where, todo="check space and permissions, or choose another --output")


def _stored(data: np.ndarray[Any, np.dtype[Any]], kind: np.dtype[Any], path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    if kind.kind not in "iu":
        return data.astype(kind)
    whole = np.rint(data) if data.dtype.kind == "f" else data
    limits = np.iinfo(kind)
    if whole.size and not (limits.min <= float(whole.min()) and float(whole.max()) <= limits.max):
        raise OutputError(f"values do not fit {kind}", where=path, todo="write float32")
    return whole.astype(kind)
