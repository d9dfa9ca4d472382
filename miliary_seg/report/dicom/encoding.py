"""Data elements as Explicit VR Little Endian bytes (PS3.5 7.1), for what a DICOM object says thousands of times.

pydicom keeps every item as a tree of Python objects: 400 lesions in 2000 frames are a hundred thousand of them, which
cost ten seconds to make and to write. Here an item is its bytes. All else of an object is pydicom's and highdicom's
work, and the tests hold these bytes equal to theirs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from miliary_seg.report.dicom.codes import Code

_LONG_VRS = ("OB", "OW", "SQ", "UT")
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
CHARACTER_SET = "ISO_IR 192"


def element(tag: int, vr: str, value: bytes) -> bytes:
    """One data element; values of odd length are padded as their VR asks for."""
    if len(value) % 2:
        value += b" " if vr in ("CS", "DS", "IS", "LO", "SH", "UT") else b"\0"
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


@lru_cache(maxsize=1 << 12)
def text(tag: int, vr: str, value: str) -> bytes:
    """An element of text."""
    return element(tag, vr, value.encode())


def sequence(tag: int, items: Iterable[bytes]) -> bytes:
    """A sequence of items, each given as the bytes of its elements in ascending order."""
    content = b"".join(_ITEM + struct.pack("<I", len(item)) + item for item in items)
    return element(tag, "SQ", content)


@lru_cache(maxsize=1 << 12)
def coded(tag: int, code: Code) -> bytes:
    """A sequence that holds one code."""
    parts = (text(0x00080100, "SH", code.value), text(0x00080102, "SH", code.scheme))
    return sequence(tag, [b"".join((*parts, text(0x00080104, "LO", code.meaning)))])


def encoded(dataset: Dataset) -> bytes:
    """The elements of a pydicom data set (an item without its header)."""
    from pydicom.charset import convert_encodings
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset, convert_encodings(CHARACTER_SET))
    return buffer.getvalue()


def file_bytes(dataset: Dataset, extra: Mapping[int, bytes]) -> bytes:
    """A whole DICOM file.

    Parameters
    ----------
    dataset
        The object, with its ``file_meta``.
    extra
        Elements already encoded, by tag; they take the place of the data set's own.
    """
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_file_meta_info

    meta = DicomBytesIO()
    meta.is_little_endian, meta.is_implicit_VR = True, False
    write_file_meta_info(meta, dataset.file_meta, enforce_standard=True)
    parts, start = [b"\0" * 128, b"DICM", meta.getvalue()], 0x00080000
    for tag in sorted(extra):
        parts += [encoded(dataset[start:tag]), extra[tag]]
        start = tag + 1
    parts.append(encoded(dataset[start:0xFFFFFFFF]))
    return b"".join(parts)
