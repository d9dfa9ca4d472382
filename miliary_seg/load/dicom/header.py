"""One DICOM file: is it one, what does its header say, where are its pixels.

Headers are parsed by pydicom and stop before the pixels. Deflated and gzipped data sets are inflated under a cap
first, because pydicom would inflate everything before the first check (three files of 0.6 MB cost 2.4 GB).
"""

from __future__ import annotations

import io
import math
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from miliary_seg.errors import UnreadableFileError, UnsuitableImageError
from miliary_seg.load.archive import file_size, open_file
from miliary_seg.load.dicom.quick_header import quick_dataset
from miliary_seg.load.file_boundary import file_boundary, inflate

_PLAIN_VRS = frozenset(("AS", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US"))
"""Value representations that no character set changes."""
_SHORT_BYTES = 128


def text(dataset: Any, keyword: str) -> str:
    """A string attribute, stripped; '' where absent or malformed."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, (bytes, bytearray)):
        return ""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return "\\".join(str(part).strip() for part in value)
    return str(value).strip().strip("\0")


def tokens(dataset: Any, keyword: str) -> tuple[str, ...]:
    """A multi-valued code string (for instance ImageType) as upper-case tokens."""
    return tuple(part.strip().upper() for part in text(dataset, keyword).split("\\") if part.strip())


def number(dataset: Any, keyword: str) -> float | None:
    """One finite number, or None where absent, empty, malformed or not finite."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


def whole_number(dataset: Any, keyword: str) -> int | None:
    """One whole number, or None where absent, malformed or broken."""
    found = number(dataset, keyword)
    return None if found is None or found != int(found) else int(found)


def numbers(dataset: Any, keyword: str, count: int = 1) -> tuple[float, ...]:
    """Exactly ``count`` finite numbers (more only where one was asked for), or an empty tuple."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, (bytes, bytearray)):
        return ()
    parts = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return ()
    if len(found) < count or (count > 1 and len(found) != count) or not all(math.isfinite(x) for x in found):
        return ()
    return found


def whole(dataset: Any, keyword: str, default: int = 0) -> int:
    """One whole number, or the default."""
    found = number(dataset, keyword)
    return default if found is None else int(found)


def stated(dataset: Any, keyword: str) -> bool:
    """Whether the attribute is present with a value (an empty value says nothing)."""
    value = _value(dataset, keyword)
    return value is not None and str(value).strip() != ""


def items(dataset: Any, keyword: str) -> list[Any]:
    """The items of a sequence; empty where absent or not a sequence."""
    value = _value(dataset, keyword)
    return list(value) if type(value).__name__ == "Sequence" else []


def first_item(*datasets_and_keyword: Any) -> Any:
    """The first item of a sequence in the first data set that has it (shared after per-frame), else None."""
    *datasets, keyword = datasets_and_keyword
    return next((found[0] for found in _each(datasets, keyword)), None)


def _each(datasets: list[Any], keyword: str) -> Iterator[list[Any]]:
    for dataset in datasets:
        found = items(dataset, keyword) if dataset is not None else []
        if found:
            yield found


@lru_cache(maxsize=256)
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def _value(dataset: Any, keyword: str) -> Any:
    """The converted value; conversion of a malformed value may raise anything, and then the value is unusable."""
    tag = _tag(keyword)
    if tag not in dataset:
        return None
    try:
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.VR in _PLAIN_VRS and raw.value and len(raw.value) <= _SHORT_BYTES:
            return _converted(tag, raw.VR, bytes(raw.value), raw.is_little_endian)
        return dataset[tag].value
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception:
        return None


@lru_cache(maxsize=1 << 14)
def _converted(tag: BaseTag, vr: str, value: bytes, little: bool) -> Any:
    """The value of an element; the slices of a series say most things in the same bytes, so they are converted once."""
    return convert_raw_data_element(RawDataElement(tag, vr, len(value), value, 0, False, little)).value


DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
HEADER_CAP_BYTES = 32 << 20
"""Largest inflated header: the largest in the development corpus (an enhanced object of 96 frames) has 0.4 MB."""
META_CAP_BYTES = 1 << 16
"""The transfer syntax is looked for this far; the largest meta header of the development corpus has 1 kB."""
MAX_ELEMENTS = 20_000
"""Elements at the top of a data set; the largest header of the development corpus has 400. A block of zeros reads as
millions of empty elements and keeps the parser busy for minutes."""
DEFERRED_BYTES = 4 << 20
"""Larger values of a header are skipped: nothing that is read here comes near."""
MAX_PIXEL_BYTES = 4 << 30
"""No single image object of a head comes near this."""
_PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN")
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLayout:
    """Where and how the pixels of one file are stored: enough to decode them without parsing the header again."""

    path: Path
    size_bytes: int
    packing: str
    """``""``, ``deflate`` or ``gzip``."""
    body_start: int
    """Where the deflated part starts (0 otherwise)."""
    offset: int
    """Of the pixel value within the (unpacked) stream."""
    length: int
    """Of the pixel value; -1 = encapsulated, undefined length."""
    transfer_syntax: str
    rows: int
    columns: int
    n_frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def big_endian(self) -> bool:
        """Whether the stored words have their high byte first."""
        return self.transfer_syntax == BIG_ENDIAN

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.rows * self.columns * (self.bits_allocated // 8)


def damaged_pixels(layout: PixelLayout, what: str) -> UnreadableFileError:
    """The error of pixels that are not as the header says."""
    return UnreadableFileError(what, where=layout.path, todo="copy or export the file again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A parsed header, and where its pixel element starts."""

    path: Path
    dataset: Any
    transfer_syntax: str
    packing: str
    body_start: int
    size_bytes: int
    pixel_tag: int
    """0 where the file holds no pixel element."""
    pixel_offset: int
    pixel_length: int
    stream_bytes: int
    """Bytes of the stream, where known; -1 for packed streams."""


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Read what other programs wrote without a warning for every bent value; what matters is checked here."""
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom.config.settings.reading_validation_mode = before


def read_header(path: Path) -> Header:
    """Parse one DICOM header.

    Raises
    ------
    UnreadableFileError
        If the file is empty, truncated within its header, or pydicom cannot parse it.
    UnsuitableImageError
        If a packed header inflates beyond the cap.
    """
    with file_boundary(path, "read the DICOM header"), quiet_pydicom(), open_file(path) as file:
        size = file_size(path)
        start = file.read(140)
        if not start:
            raise UnreadableFileError("the file is empty", where=path, todo="copy it again")
        file.seek(0)
        if start[:2] == b"\x1f\x8b":
            return _header(path, io.BytesIO(inflate(file.read(), HEADER_CAP_BYTES, path, gzip=True)), size, "gzip")
        beginning = file.read(META_CAP_BYTES)
        quick = quick_dataset(beginning)
        if quick is not None:
            dataset, syntax, at = quick
            file.seek(at)
            tag, offset, length = _pixel_element(file, little=True)
            return _found(path, dataset, size, (syntax, "", 0), (tag, offset, length))
        file.seek(0)
        if DEFLATED.encode() in beginning:
            return _deflated_header(path, file.read(), size)
        return _header(path, file, size, "")


def _found(path: Path, dataset: Any, size: int, packed: tuple[str, str, int], pixels: tuple[int, int, int]) -> Header:
    """A header: ``packed`` is transfer syntax, packing and start of the body, ``pixels`` tag, offset and length."""
    return Header(
        path=path,
        dataset=dataset,
        transfer_syntax=packed[0],
        packing=packed[1],
        body_start=packed[2],
        size_bytes=size,
        pixel_tag=pixels[0],
        pixel_offset=pixels[1],
        pixel_length=pixels[2],
        stream_bytes=-1 if packed[1] else size,
    )


def _header(path: Path, file: BinaryIO, size: int, packing: str) -> Header:
    start = file.read(132)
    file.seek(0)
    has_preamble = start[128:132] == b"DICM"
    dataset = read_partial(file, stop_when=_at_the_pixels(path), defer_size=DEFERRED_BYTES, force=not has_preamble)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
    if not syntax and has_preamble:
        raise UnreadableFileError(
            "the file states no TransferSyntaxUID: its bytes could be read in several ways",
            where=path,
            todo="export it again",
        )
    little, implicit = _encoding(dataset, syntax)
    tag, offset, length = _pixel_element(file, little=little)
    syntax = syntax or (IMPLICIT if implicit else "1.2.840.10008.1.2.1" if little else BIG_ENDIAN)
    return _found(path, dataset, size, (syntax, packing, 0), (tag, offset, length))


def _encoding(dataset: Any, syntax: str) -> tuple[bool, bool]:
    implicit, little = dataset.original_encoding
    if syntax:
        uid = UID(syntax)
        if uid.is_transfer_syntax and not uid.is_private:
            return bool(uid.is_little_endian), bool(uid.is_implicit_VR)
    return bool(little if little is not None else True), bool(implicit)


def _deflated_header(path: Path, data: bytes, size: int) -> Header:
    meta = pydicom.dcmread(io.BytesIO(data[: _meta_end(data, path)]))
    syntax = str(meta.file_meta.get("TransferSyntaxUID", ""))
    if syntax != DEFLATED:
        return _header(path, io.BytesIO(data), size, "")
    start = _meta_end(data, path)
    body = io.BytesIO(inflate(data[start:], HEADER_CAP_BYTES, path, gzip=False))
    dataset = read_dataset(body, is_implicit_VR=False, is_little_endian=True, stop_when=_at_the_pixels(path))
    tag, offset, length = _pixel_element(body, little=True)
    if not tag and len(body.getvalue()) >= HEADER_CAP_BYTES:
        raise UnsuitableImageError(
            f"the deflated header grows beyond {HEADER_CAP_BYTES >> 20} MB", where=path, todo="export it again"
        )
    return _found(path, dataset, size, (syntax, "deflate", start), (tag, offset, length))


def _at_the_pixels(path: Path) -> Callable[[BaseTag, str | None, int], bool]:
    """A stop for the parser: at the pixels, and with an error after more elements than any header has."""
    n_elements = 0

    def stop(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal n_elements
        n_elements += 1
        if n_elements > MAX_ELEMENTS:
            raise UnreadableFileError(
                f"more than {MAX_ELEMENTS} elements in the header", where=path, todo="export again"
            )
        return tag in _PIXEL_TAGS

    return stop


def _meta_end(data: bytes, path: Path) -> int:
    """End of the file meta group, by its group length (explicit VR little endian, PS3.10 section 7.1)."""
    if data[128:136] != b"DICM\x02\x00\x00\x00":
        raise UnreadableFileError("deflated, without the length of its meta header", where=path, todo="export it again")
    return 144 + int(struct.unpack("<I", data[140:144])[0])


def _pixel_element(file: BinaryIO, *, little: bool) -> tuple[int, int, int]:
    """Tag, offset of the value and length of the pixel element at the file's position (zeros: there is none)."""
    order = "<" if little else ">"
    here = file.tell()
    head = file.read(12)
    if len(head) < 8:
        return 0, 0, 0
    group, element = struct.unpack(order + "HH", head[:4])
    tag = group << 16 | element
    if tag not in _PIXEL_TAGS:
        return 0, 0, 0
    # Files exist that are implicit though they say explicit, and the reverse. A length is even, the codes of these
    # VRs are odd when read as one: the bytes themselves decide.
    if head[4:6] in _LONG_VRS and head[6:8] == b"\0\0" and len(head) == 12:
        length, start = struct.unpack(order + "I", head[8:12])[0], here + 12
    else:
        length, start = struct.unpack(order + "I", head[4:8])[0], here + 8
    return tag, start, -1 if length == _UNDEFINED else int(length)
