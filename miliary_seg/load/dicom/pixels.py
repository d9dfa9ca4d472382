"""Stored values of one DICOM file: uncompressed ones are cut from the file, compressed ones decoded by SimpleITK.

Each compressed frame goes to SimpleITK in a minimal file of its own that carries nothing but the code stream and its
shape. So no rescaling, display attribute or odd header of the source can change what is decoded, the decoder raises
instead of ending the process (python-gdcm aborts on damaged JPEG 2000), and no GPL decoder is needed.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miliary_seg.errors import UnreadableFileError
from miliary_seg.load.archive import file_bytes
from miliary_seg.load.dicom.codestream import (
    check_code_stream,
    check_sign,
    decode_frame,
    encapsulated_frames,
    is_compressed,
)
from miliary_seg.load.dicom.header import BIG_ENDIAN, DEFLATED, IMPLICIT, PixelLayout
from miliary_seg.load.file_boundary import file_boundary, inflate

_NATIVE = (IMPLICIT, "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED)


def read_stored(layout: PixelLayout) -> tuple[NDArray[Any], str]:
    """Stored values of every frame, and the SHA-256 of the file.

    Returns
    -------
    tuple
        Array (n_frames, rows, columns) of whole numbers, masked to BitsStored and sign-extended; hex digest.

    Raises
    ------
    UnreadableFileError
        If the file changed, is truncated, or its decoder refuses.
    """
    with file_boundary(layout.path, "decode the pixels"):
        data = file_bytes(layout.path)
        if len(data) != layout.size_bytes:
            raise UnreadableFileError("the file changed while it was read", where=layout.path, todo="try again")
        digest = hashlib.sha256(data).hexdigest()
        if layout.transfer_syntax in _NATIVE:
            return _stored_bits(_native(_unpacked(data, layout), layout), layout), digest
        if not is_compressed(layout.transfer_syntax):
            raise UnreadableFileError(
                f"unknown transfer syntax {layout.transfer_syntax}", where=layout.path, todo="export it uncompressed"
            )
        return _stored_bits(_decoded(_unpacked(data, layout), layout), layout), digest


def _unpacked(data: bytes, layout: PixelLayout) -> bytes:
    """The stream that the offsets speak of; packed ones are inflated only as far as the pixels reach."""
    if not layout.packing:
        return data
    end = layout.offset + (layout.length if layout.length >= 0 else layout.frame_bytes * layout.n_frames + (1 << 20))
    if layout.packing == "gzip":
        return inflate(data, end, layout.path, gzip=True)
    return inflate(data[layout.body_start :], end, layout.path, gzip=False)


def _native(data: bytes, layout: PixelLayout) -> NDArray[Any]:
    needed = layout.n_frames * layout.rows * layout.columns
    kind = np.dtype(f"{'>' if layout.big_endian else '<'}u{layout.bits_allocated // 8}")
    if len(data) < layout.offset + needed * kind.itemsize:
        raise UnreadableFileError(
            "truncated: fewer pixels than the header says", where=layout.path, todo="copy it again"
        )
    words = np.frombuffer(data, dtype=kind, count=needed, offset=layout.offset)
    return words.reshape(layout.n_frames, layout.rows, layout.columns)


def _decoded(data: bytes, layout: PixelLayout) -> NDArray[Any]:
    streams = encapsulated_frames(data, layout)
    frames = np.empty(
        (layout.n_frames, layout.rows, layout.columns), dtype=np.int64 if layout.bits_allocated > 16 else np.int32
    )
    with tempfile.TemporaryDirectory(prefix="miliary-") as folder:
        for index, stream in enumerate(streams):
            facts = check_code_stream(stream, layout)
            frames[index] = decode_frame(stream, layout, facts, Path(folder) / "frame.dcm")
            check_sign(frames[index], facts, layout)
    return frames


def _stored_bits(words: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    """Keep BitsStored bits below HighBit and extend the sign: what lies outside of them is not grey value."""
    shift = layout.high_bit - layout.bits_stored + 1
    whole = layout.bits_stored == layout.bits_allocated
    if layout.big_endian:
        words = words.astype(words.dtype.newbyteorder("<"))
    if whole and words.dtype.kind == "u":
        return words.view(words.dtype.str.replace("u", "i")) if layout.signed else words
    values: NDArray[Any] = words.astype(np.int64 if layout.bits_allocated > 16 else np.int32)
    values >>= shift
    values &= (1 << layout.bits_stored) - 1
    if layout.signed:
        sign = 1 << (layout.bits_stored - 1)
        values = (values ^ sign) - sign
    return values


def plane_values(stored: NDArray[Any], frame: int, tiles: tuple[int, int]) -> NDArray[Any]:
    """One plane (rows, columns) of a decoded file: a frame, or a tile of a mosaic (row by row from the top left)."""
    if tiles == (1, 1):
        plane: NDArray[Any] = stored[frame]
        return plane
    rows, columns = stored.shape[1] // tiles[0], stored.shape[2] // tiles[1]
    down, right = divmod(frame, tiles[1])
    tile: NDArray[Any] = stored[0, down * rows : (down + 1) * rows, right * columns : (right + 1) * columns]
    return tile
