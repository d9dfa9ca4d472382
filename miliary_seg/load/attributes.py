"""Values of DICOM attributes as plain numbers and strings: what is absent, empty or malformed is None or empty."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.tag import BaseTag, Tag

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
