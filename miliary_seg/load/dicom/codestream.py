"""Encapsulated pixels: fragments to frames, what a code stream says of itself, and decoding by SimpleITK."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from miliary_seg.load.dicom.header import PixelLayout, damaged_pixels, quiet_pydicom

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_J2K = (
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
)
_RLE = ("1.2.840.10008.1.2.5",)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What the code stream itself says of its samples."""

    precision: int
    signed: bool | None = None
    """None where the syntax does not say (JPEG, JPEG-LS, RLE)."""


def is_compressed(syntax: str) -> bool:
    """Whether this is an encapsulated transfer syntax that the loader decodes."""
    return syntax in (*_JPEG, *_JPEG_LS, *_J2K, *_RLE)


def encapsulated_frames(data: bytes, layout: PixelLayout) -> list[bytes]:
    """The code stream of each frame, whatever fragments it was cut into.

    Raises
    ------
    UnreadableFileError
        If fragments are missing or cut short.
    """
    if layout.length >= 0:
        raise damaged_pixels(layout, "compressed pixels without encapsulation")
    _check_fragments(data, layout)
    frames = list(generate_frames(data[layout.offset :], number_of_frames=layout.n_frames))
    if len(frames) != layout.n_frames:
        raise damaged_pixels(layout, f"{layout.n_frames} frames are announced, {len(frames)} are there")
    return [bytes(frame) for frame in frames]


def _check_fragments(data: bytes, layout: PixelLayout) -> None:
    """Walk the items to the sequence delimiter, so that a cut stream is noticed before it is decoded."""
    at = layout.offset
    while True:
        if at + 8 > len(data):
            raise damaged_pixels(layout, "truncated: the compressed pixels have no end")
        group, element, length = struct.unpack_from("<HHI", data, at)
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000) or length == 0xFFFFFFFF or at + 8 + length > len(data):
            raise damaged_pixels(layout, "truncated or damaged: a fragment of the compressed pixels is cut")
        at += 8 + length


def check_code_stream(stream: bytes, layout: PixelLayout) -> StreamFacts:
    """Compare the code stream's own header with the data set's, before any memory is claimed for it.

    Raises
    ------
    UnreadableFileError
        If it is not of its syntax, of another size, deeper than BitsAllocated, or has no end marker.
    """
    if layout.transfer_syntax in _RLE:
        return _rle_facts(stream, layout)
    rows, columns, samples, facts = (
        _j2k_facts(stream, layout) if layout.transfer_syntax in _J2K else _jpeg_facts(stream, layout)
    )
    if (rows, columns, samples) != (layout.rows, layout.columns, 1):
        raise damaged_pixels(layout, f"the code stream holds {rows} x {columns} x {samples}, the header says otherwise")
    if not 1 <= facts.precision <= layout.bits_allocated:
        raise damaged_pixels(layout, f"the code stream has {facts.precision} bits a pixel")
    if b"\xff\xd9" not in stream[-16:]:
        raise damaged_pixels(layout, "truncated: the code stream has no end marker")
    return facts


def _rle_facts(stream: bytes, layout: PixelLayout) -> StreamFacts:
    segments = int.from_bytes(stream[:4], "little")
    if len(stream) < 64 or segments != layout.bits_allocated // 8:
        raise damaged_pixels(layout, f"an RLE frame of {segments} segments")
    return StreamFacts(precision=layout.bits_allocated)


def _j2k_facts(stream: bytes, layout: PixelLayout) -> tuple[int, int, int, StreamFacts]:
    at = stream.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or len(stream) < at + 45:
        raise damaged_pixels(layout, "not a JPEG 2000 code stream")
    width, height, left, top = struct.unpack_from(">4I", stream, at + 8)
    samples, depth = struct.unpack_from(">HB", stream, at + 40)
    return height - top, width - left, samples, StreamFacts(precision=(depth & 0x7F) + 1, signed=bool(depth & 0x80))


def _jpeg_facts(stream: bytes, layout: PixelLayout) -> tuple[int, int, int, StreamFacts]:
    """Walk the JPEG markers to the start of frame (SOF0-3, or SOF55 of JPEG-LS)."""
    at = 2
    if stream[:2] != b"\xff\xd8":
        raise damaged_pixels(layout, "not a JPEG code stream")
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
            precision, rows, columns, samples = struct.unpack_from(">BHHB", stream, at + 4)
            return rows, columns, samples, StreamFacts(precision=precision)
        at += 1 if marker == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise damaged_pixels(layout, "a JPEG code stream without a start of frame")


def decode_frame(stream: bytes, layout: PixelLayout, facts: StreamFacts, scratch: Path) -> NDArray[Any]:
    """Decode one code stream with SimpleITK; returns (rows, columns) of the stream's own samples."""
    import SimpleITK

    toolkit: Any = SimpleITK
    bits = 8 if facts.precision <= 8 and layout.bits_allocated == 8 else 16 if layout.bits_allocated <= 16 else 32
    _write_minimal(scratch, stream, layout, facts, bits)
    reader = toolkit.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(scratch))
    image = reader.Execute()
    values = np.asarray(toolkit.GetArrayViewFromImage(image))
    if values.size != layout.rows * layout.columns or values.dtype.kind not in "ui":
        raise damaged_pixels(layout, "the decoder returned another shape")
    return values.reshape(layout.rows, layout.columns).copy()


def check_sign(values: NDArray[Any], facts: StreamFacts, layout: PixelLayout) -> None:
    """Refuse where header and code stream disagree on the sign, and it matters for a pixel.

    Readers differ on such files: some believe the header, some the code stream.

    Raises
    ------
    UnreadableFileError
        If a value is negative, or large, by one of them only.
    """
    if facts.signed is None or facts.signed == layout.signed:
        return
    if values.min() < 0 or values.max() >= 1 << (layout.bits_stored - 1):
        raise damaged_pixels(layout, "PixelRepresentation and the code stream disagree on the sign of the pixels")


def _write_minimal(path: Path, stream: bytes, layout: PixelLayout, facts: StreamFacts, bits: int) -> None:
    """A file with nothing but what decoding needs: no rescaling, no geometry, no patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    meta.TransferSyntaxUID = UID(layout.transfer_syntax)
    with quiet_pydicom():
        dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "2.25.1"
        dataset.Modality = "MR"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = layout.rows, layout.columns
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, facts.precision, facts.precision - 1
        dataset.PixelRepresentation = int(bool(facts.signed))
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path, enforce_file_format=False)
