"""The header of an MGH or MGZ file (FreeSurfer), translated so that the NIfTI reader's rules hold for it.

Layout: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat (284 bytes, big endian, voxels in Fortran order).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.errors import UnreadableFileError, UnsuitableImageError
from miliary_seg.load.nifti.header import NiftiHeader, centred, check_sizes, usable_affine

MGH_SUFFIXES = (".mgh", ".mgz", ".mgh.gz")
_VOXELS_AT = 284
_DTYPES = {0: "u1", 1: ">i4", 3: ">f4", 4: ">i2"}


def parse_mgh(start: bytes, path: Path, max_voxels: int) -> NiftiHeader:
    """Check and translate the first bytes of an (unpacked) MGH file.

    Raises
    ------
    UnreadableFileError
        If it is no MGH header or contradicts itself.
    UnsuitableImageError
        If the image is 2-D, too large, or of an unknown type.
    GeometryError
        If its directions are not finite or singular.
    """
    if len(start) < _VOXELS_AT or start[:4] != b"\0\0\0\1":
        raise UnreadableFileError("not an MGH file", where=path, todo="copy it again")
    *sizes, code, _dof = struct.unpack_from(">6i", start, 4)
    stated, *numbers = struct.unpack_from(">h15f", start, 28)
    if min(sizes) < 1:
        raise UnreadableFileError(f"impossible dimensions {sizes}", where=path, todo="the header is damaged")
    if code not in _DTYPES:
        raise UnsuitableImageError(f"voxels of unknown type {code}", where=path, todo="give a grey-value scan")
    check_sizes(tuple(sizes[:3]), path, max_voxels)
    affine, source = _affine(np.array(numbers, dtype=np.float64), sizes[:3], path, stated=stated > 0)
    return NiftiHeader(
        path=path,
        data_path=path,
        dtype=_DTYPES[code],
        shape=(sizes[0], sizes[1], sizes[2]),
        n_volumes=sizes[3],
        vox_offset=_VOXELS_AT,
        slope=1.0,
        intercept=0.0,
        affine=affine,
        orientation_source=source,
        format="MGH",
    )


def _affine(numbers: Float64Array, sizes: list[int], path: Path, *, stated: bool) -> tuple[Float64Array, str]:
    """Voxel to RAS+ mm from spacing, direction cosines and centre (the centre is voxel size / 2)."""
    spacing, cosines, centre = numbers[:3], numbers[3:12].reshape(3, 3).T, numbers[12:15]
    if not stated:  # goodRASFlag is 0: FreeSurfer then assumes a coronal volume, which is a guess
        return usable_affine(centred(np.abs(spacing), sizes), "spacing", path), "none"
    affine = np.eye(4)
    affine[:3, :3] = cosines * spacing
    affine[:3, 3] = centre - affine[:3, :3] @ (np.array(sizes) / 2)
    return usable_affine(affine, "directions", path), "MGH directions"
