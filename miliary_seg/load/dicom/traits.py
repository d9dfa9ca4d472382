"""What may tell the planes of one series apart: echo, diffusion, contrast agent, time, what the header calls them.

Every plane states its own traits, whether or not the standard lets them differ within a series: files are merged under
one SeriesInstanceUID by people, archives and anonymisers. ``stacks`` and ``mixtures`` compare them.
"""

from __future__ import annotations

import re
from typing import Any

from miliary_seg.load.dicom.agent import AGENT_TRAIT, agent_stated
from miliary_seg.load.dicom.header import number, text, tokens
from miliary_seg.load.sequence import described_as

Trait = float | str | None

UNSAID = ("StudyDate", "AccessionNumber", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength")
"""Facts of a visit and its scanner that are never one image's where they differ, and that no message may quote."""
_PRIVATE_B = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x2001, "Philips Imaging DD 001", 0x03),
    (0x0043, "GEMS_PARM_01", 0x39),
    (0x0065, "Image Private Header", 0x09),
)
"""Group, creator and element of the b-value in the headers of four makers, where the standard attribute is missing."""
_GE_OFFSET = 100_000
"""GE adds multiples of this to a b-value (1 000 001 000 is 1000)."""
_GE_KIND = (0x0043, "GEMS_PARM_01", 0x2F)
_GE_KINDS = ("magnitude", "phase", "real", "imaginary")
_NAMED_B = re.compile(r"(?<![a-z])b(\d{1,5})(?!\d)", re.IGNORECASE)


def classic_traits(dataset: Any) -> dict[str, Trait]:
    """Traits of the one plane of a classic image."""
    moment, precise = _moment(dataset)
    return {
        **series_traits(dataset),
        "EchoTime": number(dataset, "EchoTime"),
        "EchoNumbers": number(dataset, "EchoNumbers"),
        "DiffusionBValue": b_value(dataset),
        "InversionTime": number(dataset, "InversionTime"),
        "RepetitionTime": number(dataset, "RepetitionTime"),
        "FlipAngle": number(dataset, "FlipAngle"),
        "KVP": number(dataset, "KVP"),
        "SliceThickness": number(dataset, "SliceThickness"),
        "TemporalPositionIdentifier": number(dataset, "TemporalPositionIdentifier"),
        "TriggerTime": number(dataset, "TriggerTime"),
        "InstanceNumber": number(dataset, "InstanceNumber"),
        "AcquisitionTime": precise,
        "moment": moment,
    }


def series_traits(dataset: Any) -> dict[str, Trait]:
    """What the top of a header says, alike for all frames of an enhanced object."""
    return {
        "kind": image_kind(dataset),
        "ContrastBolusAgent": AGENT_TRAIT[agent_stated(dataset)],
        "ImageType": "\\".join(tokens(dataset, "ImageType")),
        "ConvolutionKernel": text(dataset, "ConvolutionKernel"),
        "AcquisitionNumber": number(dataset, "AcquisitionNumber"),
        "SeriesNumber": number(dataset, "SeriesNumber"),
        "ScanningSequence": "\\".join(sorted(tokens(dataset, "ScanningSequence"))) or None,
        "ScanOptions": "\\".join(sorted(tokens(dataset, "ScanOptions"))) or None,
        "PatientPosition": text(dataset, "PatientPosition").upper() or None,
        **{name: text(dataset, name).upper() or None for name in UNSAID},
        "described": described_as(text(dataset, "SeriesDescription")),
        "protocol": described_as(text(dataset, "ProtocolName")),
        "sequence name": described_as(text(dataset, "SequenceName")),
    }


def _moment(dataset: Any) -> tuple[str, str]:
    """When a plane was acquired, by the first attributes that say so; and AcquisitionDate with AcquisitionTime alone.

    ``YYYYMMDDHHMMSS.f``, or without its beginning or end where the header lacks the date or the time.
    """
    precise = text(dataset, "AcquisitionDate") + text(dataset, "AcquisitionTime")
    others = (("ContentDate", "ContentTime"), ("SeriesDate", "SeriesTime"))
    stated = (text(dataset, "AcquisitionDateTime"), *(text(dataset, d) + text(dataset, t) for d, t in others))
    return precise or next(filter(None, stated), ""), precise


def image_kind(dataset: Any) -> str:
    """``magnitude``, ``phase``, ``real`` or ``imaginary``, by ComplexImageComponent, ImageType or GE's own element."""
    component = text(dataset, "ComplexImageComponent").lower()
    if component in ("phase", "real", "imaginary"):
        return component
    kinds = tokens(dataset, "ImageType")[2:]
    for kind, words in (
        ("phase", ("P", "PHASE", "PHASE MAP", "PHASE_MAP", "VELOCITY MAP", "VELOCITY")),
        ("imaginary", ("I", "IMAGINARY")),
        ("real", ("R", "REAL")),
    ):
        if any(word in kinds for word in words):
            return kind
    of_ge = _first_number(private(dataset, *_GE_KIND))
    return _GE_KINDS[int(of_ge)] if of_ge in (1.0, 2.0, 3.0) else "magnitude"


def b_value(dataset: Any) -> float | None:
    """Diffusion weighting in s/mm2: the standard attribute, else the maker's own, else the name of the sequence."""
    stated = number(dataset, "DiffusionBValue")
    if stated is not None:
        return stated
    for place in _PRIVATE_B:
        value = _first_number(private(dataset, *place))
        if value is not None and value >= 0:
            return value % _GE_OFFSET
    named = _NAMED_B.search(text(dataset, "SequenceName"))
    return float(named.group(1)) if named else None


def private(dataset: Any, group: int, creator: str, element: int) -> Any:
    """The value of a private element; None where it is absent, or cannot be converted."""
    if (group, 0x0010) not in dataset:
        return None
    try:
        return dataset.private_block(group, creator)[element].value
    except Exception:  # absent block, absent element, or a value that pydicom cannot convert
        return None


def _first_number(value: Any) -> float | None:
    first = value[0] if type(value).__name__ == "MultiValue" and value else value
    try:
        return None if first is None or isinstance(first, (bytes, bytearray)) else float(first)
    except (TypeError, ValueError):
        return None
