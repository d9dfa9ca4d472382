"""Planes at different positions that are not one image: two echoes, before and after contrast, two people.

One plane a position proves nothing: every second slice may be of another echo, the upper half of another day. All
planes speak. What differs is split where every part is a whole image of its own; otherwise the series is refused.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np

from miliary_seg.load.dicom.planes import Plane
from miliary_seg.load.dicom.traits import UNSAID, Trait

TOLERANCES: dict[str, tuple[float, float]] = {
    "EchoTime": (0.5, 0.05),
    "InversionTime": (20.0, 0.05),
    "DiffusionBValue": (50.0, 0.05),
    "FlipAngle": (1.0, 0.1),
    "RepetitionTime": (100.0, 0.3),
    "KVP": (1.0, 0.02),
    "SliceThickness": (0.2, 0.1),
}
"""Numbers that make another image, with what the planes of one image may differ by: absolute (ms, s/mm2, degrees) and
as a share. Headers round to 0.01 ms, effective b-values spread by a few s/mm2; echoes and b-values are 2 ms and 100
s/mm2 apart and more; repetition times follow the pulse where the scan was triggered by it."""
WORDS = ("ContrastBolusAgent", "described", "protocol", "sequence name", "ScanningSequence", "ScanOptions",
         "ConvolutionKernel", "what ImageType names", "EchoNumbers", "SeriesNumber", "PatientPosition")  # fmt: skip
"""Statements that make another image."""
SILENCE_SPEAKS = frozenset(("ContrastBolusAgent",))
"""Statements whose absence is one: planes without a word on contrast agent were acquired before it."""
LONGEST_S = 20 * 60.0
"""No scan of one brain pauses this long; the packages of one 2-D acquisition are minutes apart."""
FEWEST_WHOLE = 3
"""Planes that show an even step."""
EVEN = 0.02
"""Steps of a whole part differ by less than this share (a slice that is missing doubles one)."""


def parts_of(planes: list[Plane], along: np.ndarray) -> tuple[list[tuple[str, list[Plane]]], str]:
    """Named parts of planes that each have a place of their own, and what stands against them.

    Parameters
    ----------
    planes
        Of one matrix, spacing and direction; at least one.
    along
        Their positions along the normal in mm, shape (n,).

    Returns
    -------
    tuple
        ("", all planes) where they are one image; else a part for each image, named by what tells it apart. The
        second value says why there is no such division ('' where there is one).
    """
    repeated = _numbered_twice(planes, along)
    if repeated:
        return [("", planes)], repeated
    for name, keys in _differing(planes):
        parts = {key: [n for n, own in enumerate(keys) if own == key] for key in sorted(set(keys), key=str)}
        if all(_is_whole(along[members]) for members in parts.values()):
            return [(f"{name} {key}", [planes[n] for n in members]) for key, members in parts.items()], ""
        listed = ", ".join(f"{len(members)} of {key}" for key, members in parts.items())
        return [("", planes)], f"the slices of one series differ in {name} ({listed})"
    return [("", planes)], ""


def _differing(planes: list[Plane]) -> list[tuple[str, list[str]]]:
    """What differs, with the value of every plane as a word."""
    found = []
    for name, (absolute, share) in TOLERANCES.items():
        keys = _clusters([plane.traits.get(name) for plane in planes], absolute, share)
        if len(set(keys)) > 1:
            found.append((name, keys))
    for name in WORDS:
        keys = [_said(plane, name) for plane in planes]
        if len(set(keys) if name in SILENCE_SPEAKS else set(keys) - {_NOTHING}) > 1:
            found.append((name, keys))
    for name in UNSAID:
        values = [_said(plane, name) for plane in planes]
        numbers = {value: str(n) for n, value in enumerate(dict.fromkeys(values), 1)}
        if len(set(values) - {_NOTHING}) > 1:
            found.append((name, [numbers[value] for value in values]))
    sessions = _sessions(planes)
    return [*found, ("time", sessions)] if len(set(sessions)) > 1 else found


_NOTHING = "none"


def _said(plane: Plane, name: str) -> str:
    """A statement of a plane as a word; ImageType without its first two values, which speak of the file."""
    if name == "what ImageType names":
        return " ".join(sorted(str(plane.traits.get("ImageType") or "").split("\\")[2:])) or _NOTHING
    value = plane.traits.get(name)
    return _NOTHING if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def _clusters(values: list[Trait], absolute: float, share: float) -> list[str]:
    """The value of each plane, as the smallest of those that are one within the tolerance."""
    numbers = [float(value) if isinstance(value, (int, float)) and value > 0 else 0.0 for value in values]
    names: dict[float, str] = {}
    first: float | None = None
    for number in sorted(set(numbers)):
        if first is None or number - first > max(absolute, share * number):
            first = number
        names[number] = f"{first:g}" if first else "none"
    return [names[number] for number in numbers]


def _sessions(planes: list[Plane]) -> list[str]:
    """Number of the sitting in which each plane was acquired, by the pauses between them."""
    stated = [str(plane.traits.get("moment") or "") for plane in planes]
    moments = [_seconds(moment) for moment in stated]
    known = sorted({moment for moment in moments if moment is not None})
    if None in moments or not known:
        return ["1"] * len(planes)
    if known[-1] < _DAY_S and known[-1] - known[0] > _DAY_S / 2:  # without dates, midnight lies between
        moments = [m + _DAY_S if m is not None and m < _DAY_S / 2 else m for m in moments]
        known = sorted({moment for moment in moments if moment is not None})
    starts = [known[0], *(b for a, b in pairwise(known) if b - a > LONGEST_S)]
    return [str(int(np.searchsorted(starts, moment, side="right"))) for moment in moments if moment is not None]


_DAY_S = 86400.0


def _seconds(moment: str) -> float | None:
    """Seconds since year 0 of ``YYYYMMDDHHMMSS.f``, of a date alone, or since midnight of a time alone; else None."""
    digits = re.split(r"[.+-]", moment, maxsplit=1)[0]
    if not digits.isdigit() or len(digits) not in (4, 6, 8, 12, 14):
        return None
    date, time = (digits[:8], digits[8:]) if len(digits) >= 8 else ("", digits)
    hour, minute, second = (int(time[at : at + 2] or 0) for at in (0, 2, 4))
    days = (int(date[:4]) * 372 + int(date[4:6]) * 31 + int(date[6:])) if date else 0
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)


def _is_whole(along: np.ndarray) -> bool:
    """Whether places are evenly spaced."""
    if len(along) < FEWEST_WHOLE:
        return False
    steps = np.diff(np.sort(along))
    return bool(steps.max() - steps.min() <= max(0.01, EVEN * float(np.median(steps))))


def _numbered_twice(planes: list[Plane], along: np.ndarray) -> str:
    """Two images pushed into each other by half a step: every InstanceNumber twice, on neighbouring slices."""
    numbers = [plane.traits.get("InstanceNumber") for plane in planes]
    counts = Counter(numbers)
    if None in counts or len(planes) < 2 * FEWEST_WHOLE or len(counts) < FEWEST_WHOLE:
        return ""
    if any(count != 2 for count in counts.values()):
        return ""
    rank = np.argsort(np.argsort(along))
    places: dict[Trait, list[int]] = defaultdict(list)
    for number, place in zip(numbers, rank, strict=True):
        places[number].append(int(place))
    if all(abs(first - second) == 1 for first, second in places.values()):
        return "every InstanceNumber occurs twice, on neighbouring slices: two images pushed into each other"
    return ""
