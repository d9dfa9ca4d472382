"""NIfTI files into volumes: the stream is read to its end, so that a damaged gzip is noticed by its checksum."""

from __future__ import annotations

import bz2
import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.arrays import Float32Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Source, Volume
from miliary_seg.errors import UnreadableFileError, UnsuitableImageError
from miliary_seg.load.file_boundary import LARGE_BYTES, MAX_RATIO, file_boundary
from miliary_seg.load.nifti.header import (
    HEADER_BYTES,
    UNKNOWN_ORIENTATION,
    NiftiHeader,
    assumed_affine,
    is_nifti,
    parse,
    slice_axis_of,
)
from miliary_seg.load.nifti.mgh import MGH_SUFFIXES, parse_mgh
from miliary_seg.load.nifti.nrrd import NRRD_HEADER_BYTES, parse_nrrd
from miliary_seg.settings import LoadSettings

if TYPE_CHECKING:
    from miliary_seg.load.inventory import SeriesInfo

_CHUNK = 1 << 20
_TAIL_CAP = 64 << 20
"""Bytes that may follow the voxels; more is a bomb or another file glued on."""
_LABELS_AT_MOST = 64
_PARCELS_AT_MOST = 1024
"""Whole numbers of a parcellation: those of FreeSurfer hold up to 190, the finest of others some hundreds."""


def read_nifti_header(path: Path, max_voxels: int) -> NiftiHeader:
    """Read and check one header of a NIfTI, MGH or NRRD file (its first bytes only).

    Raises
    ------
    MiliaryError
        Whatever stands against it.
    """
    with file_boundary(path, "read the NIfTI header"), path.open("rb") as file:
        start = first_bytes(file, path, HEADER_BYTES)
        if start.startswith(b"NRRD000"):
            file.seek(0)
            return parse_nrrd(file.read(NRRD_HEADER_BYTES), path, max_voxels)
        if path.name.lower().endswith(MGH_SUFFIXES):
            return parse_mgh(start, path, max_voxels)
        if not is_nifti(start):
            raise UnreadableFileError(f"not a NIfTI file: {_what_is(start)}", where=path, todo="give a NIfTI file")
        data_path = _data_path(path, start)
        return parse(start, path, data_path, max_voxels)


def first_bytes(file: BinaryIO, path: Path, count: int) -> bytes:
    """The first bytes of a file, inflated where it is gzipped."""
    data = b""
    for chunk in _plain_chunks(file, path):
        data += chunk
        if len(data) >= count:
            break
    return data[:count]


def _data_path(path: Path, start: bytes) -> Path:
    """The .img of a .hdr pair; the file itself otherwise."""
    if b"ni1" not in start[344:348] and start[4:7] != b"ni2":
        return path
    for suffix in (".img", ".img.gz", ".IMG"):
        pair = path.with_name(path.name.split(".hdr")[0].split(".HDR")[0] + suffix)
        if pair != path and pair.is_file():
            return pair
    raise UnreadableFileError("a NIfTI header without its .img file beside it", where=path, todo="add the .img file")


def _what_is(start: bytes) -> str:
    if not start:
        return "it is empty"
    if start.lstrip()[:1] == b"<":
        return "it is a web page, perhaps a failed download"
    if start.startswith(b"version https://git-lfs") or b"/annex/objects" in start:
        return "it is a pointer of Git LFS or git-annex; fetch the file itself"
    printable = sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in start[:256])
    return "it is text" if printable >= 0.95 * len(start[:256]) else "its first bytes are something else"


def load_nifti(found: SeriesInfo, settings: LoadSettings) -> Volume:
    """Read one eligible file.

    Raises
    ------
    MiliaryError
        Whatever stands against it: truncated, checksum, 4-D without a choice, an empty image.
    """
    from miliary_seg.load.sequence import seen_in  # the words of all languages: a lesion file needs none of them

    if found.error:
        raise found.error
    header: NiftiHeader = found.source
    with file_boundary(header.data_path, "read the voxels"):
        raw, digest = _read_volume(header, max(settings.volume, 0))
        caveats = list(found.warnings)
        voxels = _scaled(raw, header, caveats)
    affine, source, known = header.affine, header.orientation_source, header.orientation_source != "none"
    if not known and settings.assume_orientation not in ("", UNKNOWN_ORIENTATION):
        affine, source, known = assumed_affine(header, settings.assume_orientation), "stated by the user", True
    modality, sequence = seen_in(voxels, found.modality or Modality.MR, found.sequence, caveats)
    return Volume(
        voxels=voxels,
        grid=Grid(shape=header.shape, affine=affine),
        id=found.id,
        modality=modality,
        sequence=sequence,
        slice_axis=slice_axis_of(header)[0],
        slice_thickness_mm=found.slice_thickness_mm,
        orientation_known=known,
        caveats=tuple(caveats),
        source=Source(format=header.format, paths=(str(header.path),), sha256=digest, orientation_source=source),
    )


def stored_volume(header: NiftiHeader) -> NDArray[Any]:
    """Stored voxels (i, j, k) of the first volume, without scaling."""
    with file_boundary(header.data_path, "read the voxels"):
        return _read_volume(header, 0)[0]


def _read_volume(header: NiftiHeader, volume: int) -> tuple[NDArray[Any], str]:
    """Stored voxels (i, j, k) of one volume, and the SHA-256 of the file."""
    start = header.vox_offset + volume * header.volume_bytes
    end = header.vox_offset + header.n_volumes * header.volume_bytes
    digest = hashlib.sha256()
    with header.data_path.open("rb") as file:
        _check_reachable(file, header, end)
        digest.update(file.read(header.data_start))
        wanted = bytearray(header.volume_bytes)
        at = 0
        for chunk in _plain_chunks(file, header.data_path, digest, packing=header.packing):
            first, last = max(start, at), min(start + len(wanted), at + len(chunk))
            if first < last:
                wanted[first - start : last - start] = chunk[first - at : last - at]
            at += len(chunk)
            if at > end + _TAIL_CAP:
                raise UnsuitableImageError(
                    "far more data than the header speaks of follows the voxels",
                    where=header.data_path,
                    todo="re-save it",
                )
    if at < end:
        raise UnreadableFileError(
            f"truncated: the header asks for {end} bytes, {at} are there", where=header.data_path, todo="copy it again"
        )
    raw = np.frombuffer(wanted, dtype=header.dtype).reshape(header.shape, order="F")
    return raw, digest.hexdigest()


def _check_reachable(file: BinaryIO, header: NiftiHeader, end: int) -> None:
    """Refuse before memory is claimed: a file cannot hold more than deflate's highest ratio (1032) allows."""
    size = file.seek(0, io.SEEK_END) - header.data_start
    file.seek(header.data_start)
    packed = b"" if header.packing == "raw" else file.read(3)
    file.seek(0)
    most = size * 1032 if packed[:2] == b"\x1f\x8b" else size * 100_000 if packed == b"BZh" else size
    if end > most:
        raise UnreadableFileError(
            f"truncated: the header asks for {end} bytes, the file cannot hold them",
            where=header.data_path,
            todo="copy it again",
        )
    if end > max(LARGE_BYTES, MAX_RATIO * size):
        what = f"{size >> 10} kB would grow to {end >> 20} MB of voxels"
        raise UnsuitableImageError(what, where=header.data_path, todo="re-save it without compression")


def _plain_chunks(file: BinaryIO, path: Path, digest: Any = None, *, packing: str = "") -> Iterator[bytes]:
    """Chunks of the unpacked stream from here; of gzip every member to its end, with its checksum."""
    here = file.tell()
    start = b"" if packing == "raw" else file.read(3)
    file.seek(here)
    if packing == "packed" and start[:2] != b"\x1f\x8b" and start != b"BZh":
        raise UnreadableFileError(
            "damaged: the voxels are not packed as the header says", where=path, todo="re-save it"
        )
    if start[:2] == b"\x1f\x8b":
        yield from _gzip_chunks(file, path, digest)
        return
    unpack = bz2.BZ2Decompressor() if start == b"BZh" else None
    while chunk := file.read(_CHUNK):
        if digest is not None:
            digest.update(chunk)
        if unpack is None:
            yield chunk
        elif not unpack.eof:
            yield unpack.decompress(chunk)
    if unpack is not None and not unpack.eof:
        raise UnreadableFileError("truncated: the bzip2 stream has no end", where=path, todo="copy it again")


def _gzip_chunks(file: BinaryIO, path: Path, digest: Any) -> Iterator[bytes]:
    inflater = zlib.decompressobj(31)
    try:
        while packed := file.read(_CHUNK):
            if digest is not None:
                digest.update(packed)
            while packed:
                if inflater.eof:
                    inflater = zlib.decompressobj(31)
                yield inflater.decompress(packed, _CHUNK)
                packed = inflater.unconsumed_tail or _next_member(inflater.unused_data)
        while not inflater.eof and (rest := inflater.decompress(b"", _CHUNK)):
            yield rest
    except zlib.error as error:
        raise UnreadableFileError(
            "damaged: the gzip stream does not decode or its checksum is wrong", where=path, todo="copy it again"
        ) from error
    if not inflater.eof:
        raise UnreadableFileError("truncated: the gzip stream has no end", where=path, todo="copy it again")


def _next_member(data: bytes) -> bytes:
    """What follows a member: another member, or padding, which says nothing."""
    return data if data.startswith(b"\x1f\x8b") else b""


def _scaled(raw: NDArray[Any], header: NiftiHeader, caveats: list[Reason]) -> Float32Array:
    """Scaled float32 voxels; what is not finite becomes 0 and is counted."""
    where = header.path
    voxels = np.empty(header.shape, dtype=np.float32, order="F")
    n_bad = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(header.shape[2]):
            plane = raw[:, :, k].astype(np.float64)
            if (header.slope, header.intercept) != (1.0, 0.0):
                plane = plane * header.slope + header.intercept
            bad = ~np.isfinite(plane)
            if bad.any():
                n_bad += int(bad.sum())
                plane[bad] = 0
            voxels[:, :, k] = plane
    if not np.all(np.isfinite(voxels)):
        raise UnsuitableImageError("grey values beyond the range of 32-bit floats", where=where, todo="rescale it")
    if n_bad:
        caveats.append(Reason(code="not_finite", text=f"{n_bad} voxels were not finite numbers; they were set to 0."))
    if voxels.min() == voxels.max():
        raise UnsuitableImageError("the image is empty: every voxel has one value", where=where, todo="give a scan")
    caveats += _label_doubts(voxels, header)
    return voxels


def _label_doubts(voxels: Float32Array, header: NiftiHeader) -> list[Reason]:
    """Refuse a mask or a label map, remark on what holds few whole numbers and is neither."""
    n_values = n_distinct_whole(voxels, _PARCELS_AT_MOST)
    if n_values is None:
        return []
    if n_values <= 2:
        raise UnsuitableImageError("a mask: it holds two values only", where=header.path, todo="give a scan")
    alike = neighbours_alike(voxels)
    few = n_values <= _LABELS_AT_MOST
    if (max(alike) >= ALIKE_SHARE) if few else (sorted(alike)[1] >= PARCELS_ALIKE_SHARE):
        raise UnsuitableImageError(
            f"a label map: {n_values} whole numbers, and most neighbouring voxels are equal",
            where=header.path,
            todo="give the scan itself; a label map of lesions goes with --lesions",
        )
    if not few:
        return []
    return [Reason(code="looks_like_labels", text=f"The image holds {n_values} whole numbers only: a label map?")]


ALIKE_SHARE = 0.5
"""In a label map most voxels equal their neighbour (0.88 on a 1 mm segmentation of a whole head); in a scan few do."""

PARCELS_ALIKE_SHARE = 0.7
"""Along two axes, where there are more numbers: a scan that was enlarged threefold by nearest neighbours has 0.67."""


def neighbours_alike(voxels: NDArray[Any]) -> tuple[float, float, float]:
    """Share of the voxels above 0 that equal the next one along each axis (piecewise constant images: most)."""
    shares = []
    for axis in range(3):
        here = np.moveaxis(voxels, axis, 0)
        inside = here[:-1] > 0
        shares.append(float(np.mean(here[:-1][inside] == here[1:][inside])) if inside.any() else 0.0)
    return shares[0], shares[1], shares[2]


def n_distinct_whole(voxels: NDArray[Any], most: int = _LABELS_AT_MOST) -> int | None:
    """Number of distinct values where they are few whole numbers (a label map), else None."""
    sample = voxels.ravel(order="K")[:: max(1, voxels.size // 100_000)]
    values = np.unique(sample[np.isfinite(sample)])
    if len(values) > most or not np.array_equal(values, np.rint(values)):
        return None
    values = np.unique(voxels[np.isfinite(voxels)])
    return len(values) if len(values) <= most and np.array_equal(values, np.rint(values)) else None
