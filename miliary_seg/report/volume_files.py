"""Volumes and label maps as NIfTI files: deterministic bytes, written under a temporary name and renamed."""

from __future__ import annotations

import errno
import gzip
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import DiskFullError, OutputError

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
