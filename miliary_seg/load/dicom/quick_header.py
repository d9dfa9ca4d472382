"""Headers of well-formed files in one pass over their first bytes; every other file is left to pydicom.

pydicom reads element by element from the file. Here the same elements are cut from a buffer; their values are converted
by pydicom when they are asked for. Anything unusual (no preamble, another encoding, tags out of order, an unknown VR,
values beyond the buffer, deep nesting) ends the pass, so that there is one set of rules for what is wrong with a file.
"""

from __future__ import annotations

import struct
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag

_LONG = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN", b"UT", b"UC", b"UR", b"SQ", b"SV", b"UV"))
_SHORT = frozenset((b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH",
                    b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"))  # fmt: skip
_NAMES = {vr: vr.decode() for vr in (*_LONG, *_SHORT)}
_IMPLICIT, _BIG, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_PRIVATE_READ = frozenset((0x0019, 0x0029, 0x0043, 0x0065, 0x2001))
"""Private groups that are looked into: those of Siemens, GE, UIH and Philips. Others are stepped over."""
_MOST_ELEMENTS, _DEEPEST = 2000, 8
_CHARSET = 0x00080005


class _UnusualError(Exception):
    """The file is not one for this pass."""


def quick_dataset(start: bytes) -> tuple[Dataset, str, int] | None:
    """Data set, transfer syntax and offset of the pixel element, from the first bytes of a file.

    None where the file must be read by pydicom.
    """
    if start[128:132] != b"DICM":
        return None
    try:
        meta, at = _elements(start, 132, explicit=True, until_group=2)
        syntax = bytes(meta[BaseTag(0x00020010)].value).decode("ascii").rstrip("\0 ")
        if not syntax.startswith("1.2.840.10008.1.2") or syntax in (_BIG, _DEFLATED):
            return None
        found, at = _elements(start, at, explicit=syntax != _IMPLICIT, until_group=0)
    except (_UnusualError, KeyError, UnicodeDecodeError, struct.error):
        return None
    return _dataset(found, meta, implicit=syntax == _IMPLICIT), syntax, at


def _dataset(found: dict[BaseTag, Any], meta: dict[BaseTag, Any], *, implicit: bool) -> Dataset:
    """What pydicom would have read."""
    dataset = Dataset(found)
    try:
        encodings = convert_encodings(dataset[_CHARSET].value if _CHARSET in dataset else None)
    except Exception:  # a character set that is none: names are read as if none were stated
        encodings = ["iso8859"]
    dataset.set_original_encoding(implicit, True, encodings)
    information = FileMetaDataset()
    information.update(meta)
    dataset.file_meta = information
    return dataset


def _elements(data: bytes, at: int, *, explicit: bool, until_group: int) -> tuple[dict[BaseTag, Any], int]:
    """Raw elements from a position to the pixels, or to the end of one group, and where they end."""
    found: dict[BaseTag, Any] = {}
    last = 0
    for _ in range(_MOST_ELEMENTS):
        group, number = struct.unpack_from("<HH", data, at)
        tag = group << 16 | number
        if (until_group and group != until_group) or tag in _PIXELS:
            return found, at
        if tag <= last:
            raise _UnusualError
        vr, value, length = _head(data, at, explicit=explicit)
        end = _end_of_sequence(data, value, explicit, 0) if length == _UNDEFINED else value + length
        if end > len(data):
            raise _UnusualError
        if not group & 1 or group in _PRIVATE_READ:
            held = data[value : end - 8] if length == _UNDEFINED else data[value:end]
            # A sequence of undefined length is kept as one of the length that it has.
            found[BaseTag(tag)] = RawDataElement(BaseTag(tag), vr, len(held), held, value, not explicit, True)
        last, at = tag, end
    raise _UnusualError


def _head(data: bytes, at: int, *, explicit: bool) -> tuple[str | None, int, int]:
    """VR, position and length of the value of the element at a position."""
    if not explicit:
        return None, at + 8, struct.unpack_from("<I", data, at + 4)[0]
    vr = data[at + 4 : at + 6]
    if vr in _SHORT:
        return _NAMES[vr], at + 8, struct.unpack_from("<H", data, at + 6)[0]
    if vr not in _LONG:
        raise _UnusualError
    length = struct.unpack_from("<I", data, at + 8)[0]
    if length == _UNDEFINED and vr != b"SQ":
        raise _UnusualError
    return _NAMES[vr], at + 12, length


def _end_of_sequence(data: bytes, at: int, explicit: bool, depth: int) -> int:
    """Where a sequence of undefined length ends, its delimiter included."""
    if depth > _DEEPEST:
        raise _UnusualError
    while True:
        group, number, length = struct.unpack_from("<HHI", data, at)
        tag = group << 16 | number
        if tag == _SEQUENCE_END:
            return at + 8
        if tag != _ITEM:
            raise _UnusualError
        at += 8
        at = at + length if length != _UNDEFINED else _end_of_item(data, at, explicit, depth)


def _end_of_item(data: bytes, at: int, explicit: bool, depth: int) -> int:
    """Where an item of undefined length ends, its delimiter included."""
    while True:
        group, number = struct.unpack_from("<HH", data, at)
        if group << 16 | number == _ITEM_END:
            return at + 8
        _, value, length = _head(data, at, explicit=explicit)
        at = _end_of_sequence(data, value, explicit, depth + 1) if length == _UNDEFINED else value + length
