"""The header of a NIfTI-1 or -2 file: fields, orientation rule, and every reason to refuse, before voxels are read."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.errors import GeometryError, MiliaryError, SettingsError, UnreadableFileError, UnsuitableImageError

UNKNOWN_ORIENTATION = "unknown"
"""What a user sets to analyse a file that states no orientation, without left and right."""

ISOTROPIC_FRACTION = 0.05
"""Spacings within 5 % count as equal: a 3-D sequence is prescribed with such differences (0.86 and 0.90 mm)."""


def slice_axis_of(header: NiftiHeader) -> tuple[int, str]:
    """Voxel axis across the slices and how it is known.

    The axis of the largest spacing; among equal ones the one that dim_info names, else the one nearest to
    superior-inferior, because the published count was made on axial slices.
    """
    grid = Grid(shape=header.shape, affine=header.affine)
    spacing = np.array(grid.spacing_mm)
    largest = np.flatnonzero(spacing >= spacing.max() / (1 + ISOTROPIC_FRACTION))
    if len(largest) == 1:
        return int(largest[0]), "the axis of the largest spacing"
    if header.dim_info_slice is not None and header.dim_info_slice in largest:
        return int(header.dim_info_slice), "dim_info names it"
    axial = grid.world_axes.index(2)
    axis = axial if axial in largest else int(largest[0])
    return axis, "spacing is equal along several axes: the one nearest to superior-inferior is taken"


def assumed_affine(header: NiftiHeader, code: str) -> Float64Array:
    """Affine for a file without orientation, from a code such as ``RAS`` or ``LPS`` that the user states.

    Raises
    ------
    SettingsError
        If the code is not one letter each of R/L, A/P, S/I.
    """
    letters = code.upper()
    pairs = ("LR", "PA", "IS")
    axes = [next((n for n, pair in enumerate(pairs) if letter in pair), -1) for letter in letters]
    if sorted(axes) != [0, 1, 2]:
        raise SettingsError(f"load.assume_orientation cannot be {code!r}", todo="three letters such as RAS or LPS")
    spacing = Grid(shape=header.shape, affine=header.affine).spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, (letter, world) in enumerate(zip(letters, axes, strict=True)):
        affine[world, voxel_axis] = spacing[voxel_axis] * (1 if letter == pairs[world][1] else -1)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(header.shape) - 1) / 2)
    return affine


HEADER_BYTES = 544
SAME_CORNERS_MM = 1.0
"""sform and qform whose corners differ more are two different answers (rule 7 of docs/loading.md)."""
_DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_REFUSED = {32: "complex", 1792: "complex", 2048: "complex", 128: "colour (RGB)", 2304: "colour (RGBA)", 1: "1-bit",
            1536: "128-bit float"}  # fmt: skip
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""xyzt_units, lower three bits: unknown (taken as mm), metre, millimetre, micrometre."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiHeader:
    """What one NIfTI header says, checked."""

    path: Path
    """The header's file."""
    data_path: Path
    """The same file, or the .img beside a .hdr."""
    dtype: str
    shape: tuple[int, int, int]
    n_volumes: int
    vox_offset: int
    slope: float
    intercept: float
    affine: Float64Array
    """Voxel to RAS+ mm; scaling only where ``orientation_source`` is ``none``."""
    orientation_source: str
    notes: tuple[tuple[str, str], ...] = ()
    """(code, sentence) of what is odd but not refused."""
    dim_info_slice: int | None = None
    format: str = "NIfTI"
    """``NIfTI``, ``MGH`` or ``NRRD``: all three follow the same rules from here on."""
    data_start: int = 0
    """Where in the data file the (packed) voxel stream starts."""
    packing: str = ""
    """``raw`` or ``packed`` where the header says so; empty = by the first bytes."""

    @property
    def volume_bytes(self) -> int:
        """Bytes of one volume as stored."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


def is_nifti(start: bytes) -> bool:
    """Whether the first bytes (at least 348) are those of a NIfTI or Analyze header in either byte order."""
    return len(start) >= 348 and start[:4] in (
        b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c"
    )  # fmt: skip


def parse(start: bytes, path: Path, data_path: Path, max_voxels: int) -> NiftiHeader:
    """Check and translate a header.

    Raises
    ------
    UnreadableFileError
        If it is not a NIfTI header, or contradicts itself.
    UnsuitableImageError
        Complex, colour, vector, CIFTI, 2-D, or too large.
    GeometryError
        If the affines are unusable or contradict each other.
    """
    header = _fields(start, path)
    sizes = _sizes(header, path, max_voxels)
    code = int(header["datatype"])
    if code not in _DTYPES:
        kind = _REFUSED.get(code, f"of unknown data type {code}")
        raise UnsuitableImageError(f"the voxels are {kind}: not grey values", where=path, todo="give a grey-value scan")
    order = "<" if header.endianness == "<" else ">"
    affine, source, notes = orientation(header, sizes[:3], path)
    slope, intercept = _scaling(header, path)
    return NiftiHeader(
        path=path,
        data_path=data_path,
        dtype=order + _DTYPES[code],
        shape=(sizes[0], sizes[1], sizes[2]),
        n_volumes=prod(sizes[3:]),
        vox_offset=_vox_offset(header, path, single=path == data_path),
        slope=slope,
        intercept=intercept,
        affine=affine,
        orientation_source=source,
        notes=tuple(notes),
        dim_info_slice=header.get_dim_info()[2],
    )


def _fields(start: bytes, path: Path) -> Any:
    if len(start) < 348 or not is_nifti(start):
        raise UnreadableFileError("not a NIfTI file", where=path, todo="give a .nii or .nii.gz file")
    size, order = (struct.unpack("<i", start[:4])[0], "<")
    if size not in (348, 540):
        size, order = struct.unpack(">i", start[:4])[0], ">"
    kind: Any
    kind, length = (Nifti1Header, 348) if size == 348 else (Nifti2Header, 540)
    if len(start) < length:
        raise UnreadableFileError("truncated within its header", where=path, todo="copy it again")
    header = kind(start[:length], endianness=order, check=False)
    magic = bytes(header["magic"].item())[:3]
    if magic not in (b"n+1", b"ni1", b"n+2", b"ni2"):
        raise UnsuitableImageError(
            "an Analyze 7.5 file: it does not state which side is left",
            where=path,
            todo="convert it to NIfTI knowingly",
        )
    return header


def _sizes(header: Any, path: Path, max_voxels: int) -> tuple[int, ...]:
    dims = [int(n) for n in header["dim"]]
    error: MiliaryError | None = None
    n_dims = dims[0]
    sizes = tuple(dims[1 : 1 + n_dims]) if 1 <= n_dims <= 7 else ()
    if not sizes or min(sizes) < 1:
        raise UnreadableFileError(f"impossible dimensions {dims}", where=path, todo="the header is damaged")
    intent = int(header["intent_code"])
    if 3000 <= intent < 3100:
        error = UnsuitableImageError("a CIFTI file: not a volume", where=path, todo="give a scan")
    elif n_dims < 3 or min(sizes[:3]) < 2:
        error = UnsuitableImageError(f"a 2-D image ({sizes})", where=path, todo="give a 3-D scan")
    elif prod(sizes[4:]) > 1 or (intent in (1006, 1007, 1005, 2003, 2004) and prod(sizes[3:]) > 1):
        error = UnsuitableImageError(f"a vector or tensor image ({sizes})", where=path, todo="give a scan")
    if error:
        raise error
    check_sizes(sizes[:3], path, max_voxels)
    return sizes


def _vox_offset(header: Any, path: Path, *, single: bool) -> int:
    offset = float(header["vox_offset"])
    least = (544 if int(header["sizeof_hdr"]) == 540 else 352) if single else 0
    if not np.isfinite(offset) or offset < least or offset > 2**40:
        raise UnreadableFileError(
            f"vox_offset {offset:g}: the voxels cannot start there", where=path, todo="the header is damaged"
        )
    return int(offset)


def _scaling(header: Any, path: Path) -> tuple[float, float]:
    """scl_slope and scl_inter; slope 0 means no scaling at all, the intercept included (NIfTI-1 standard)."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):  # nibabel's "unset" is NaN
        return 1.0, 0.0
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise UnsuitableImageError("scl_slope or scl_inter is not finite", where=path, todo="the header is damaged")
    return slope, intercept


def orientation(header: Any, shape: tuple[int, ...], path: Path) -> tuple[Float64Array, str, list[tuple[str, str]]]:
    """The sform if its code is set, else qform, else ``none``; both only where they agree, at least on handedness.

    Raises
    ------
    GeometryError
        If the affine is not finite or singular, or if sform and qform differ in handedness.
    """
    scale = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    notes: list[tuple[str, str]] = []
    if int(header["xyzt_units"]) & 7 == 0:
        notes.append(("units_unknown", "The file states no unit of length; millimetres are taken."))
    has_sform, has_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    sform = usable_affine(header.get_sform(), "sform", path) if has_sform else None
    qform = _qform(header, path, needed=not has_sform) if has_qform else None
    if sform is not None and qform is not None:
        notes += _compared(sform, qform, shape, path, scale)
    chosen = sform if sform is not None else qform
    if chosen is None:
        spacing = np.abs([float(x) for x in header["pixdim"][1:4]])
        return _scaled(usable_affine(centred(spacing, shape), "pixdim", path), scale), "none", notes
    return _scaled(chosen, scale), "sform" if sform is not None else "qform", notes


def _qform(header: Any, path: Path, *, needed: bool) -> Float64Array | None:
    try:
        if float(header["pixdim"][0]) == 0:  # qfac 0 means 1 (NIfTI-1 standard)
            header["pixdim"][0] = 1.0
        header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
        return usable_affine(header.get_qform(), "qform", path)
    except Exception as error:
        if not needed:
            return None
        raise GeometryError("the qform is not a usable affine", where=path, todo="the header is damaged") from error


def check_sizes(shape: tuple[int, ...], path: Path, max_voxels: int) -> None:
    """Refuse 2-D images and more voxels than the cap.

    Raises
    ------
    UnsuitableImageError
        If there are fewer than two voxels along an axis, or too many in all.
    """
    if min(shape) < 2:
        raise UnsuitableImageError(f"a 2-D image ({shape})", where=path, todo="give a 3-D scan")
    if prod(shape) > max_voxels:
        what = f"{prod(shape)} voxels, more than load.max_voxels ({max_voxels})"
        raise UnsuitableImageError(what, where=path, todo="raise the cap")


def usable_affine(affine: Any, name: str, path: Path) -> Float64Array:
    """The affine where it is finite and not singular.

    Raises
    ------
    GeometryError
        If it is not.
    """
    matrix = np.array(affine, dtype=np.float64)
    lengths = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    if not np.all(np.isfinite(matrix)) or lengths.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-3:
        raise GeometryError(f"the {name} is not finite or singular", where=path, todo="the header is damaged")
    return matrix


def centred(spacing: Float64Array, shape: tuple[int, ...] | list[int]) -> Float64Array:
    """Scaling only, about the middle of the grid: for files that state no orientation."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    return affine


def _scaled(affine: Float64Array, scale: float) -> Float64Array:
    placed = affine.copy()
    placed[:3] *= scale
    return placed


def _compared(
    sform: Float64Array, qform: Float64Array, shape: tuple[int, ...], path: Path, scale: float
) -> list[tuple[str, str]]:
    if np.sign(np.linalg.det(sform[:3, :3])) != np.sign(np.linalg.det(qform[:3, :3])):
        raise GeometryError(
            "sform and qform are mirror images of each other: left and right are contradictory",
            where=path,
            todo="correct the header",
        )
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(n - 1 for n in shape[:3]), 1]
    apart = float(np.abs(corners @ (sform - qform).T).max()) * scale
    if apart <= SAME_CORNERS_MM:
        return []
    return [("sform_qform_differ", f"sform and qform place the image up to {apart:.1f} mm apart; the sform is used.")]
