"""Measurement groups of a structured report (TID 1411 and 1501 of PS3.16) as bytes: one a lesion, one a slice.

Held equal to highdicom's groups by the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from miliary_seg.domain.compartment import Assignment, Compartment
from miliary_seg.domain.decision import Decision, EvidenceSlice
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.result import SeriesResult
from miliary_seg.report.burden import lesion_sizes
from miliary_seg.report.dicom import codes
from miliary_seg.report.dicom.codes import Code
from miliary_seg.report.dicom.encoding import coded, element, sequence, text
from miliary_seg.report.dicom.names import lesion_name, region_code, three_digits
from miliary_seg.report.dicom.references import ObjectMetadata, Reference, SourceImages
from miliary_seg.report.dicom.seg import reference

_CONTENT, _NAME = 0x0040A730, 0x0040A043
Number = tuple[Code, float | int | None, Code]
"""Name, value (None and what is not finite are left out), unit."""
CERTAIN = 0.995
"""Certainties of side and level from here on are 1.00 and go without saying: most lesions are far from a boundary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownOn:
    """Where a lesion is to be seen."""

    segmentation: Reference | None
    """The segmentation that holds it; None = none was written."""
    number: int
    """Its segment there."""
    series_uid: str
    """The series that was segmented."""
    images: Sequence[Reference]
    """Its images, named where there is no segmentation to ask."""
    image_number: int | None = None
    """By which a PACS lists the image in the middle of it."""


def lesion_group(
    lesion: Lesion,
    place: Assignment | None,
    shown: ShownOn,
    metadata: ObjectMetadata,
) -> bytes:
    """TID 1411: what was measured of one lesion; TID 1501 where no segmentation can be referred to.

    The algorithm is named once, in the group of the decision; the images of a segment are those of its frames.

    Parameters
    ----------
    lesion
        The lesion.
    place
        Its side and level, where known.
    shown
        Segment, series and images.
    metadata
        Identifiers and versions.
    """
    compartment = place.compartment if place else None
    tissue = place.tissue if place else None
    numbers: list[Number] = [
        (codes.VOLUME, lesion.volume_mm3, codes.CUBIC_MM),
        (codes.LONG_AXIS, lesion.max_diameter_mm, codes.MM),
        (codes.SHORT_AXIS, lesion.perpendicular_diameter_mm, codes.MM),
        (codes.IMAGE_NUMBER, shown.image_number, codes.NO_UNITS),
        (codes.CONTRAST, lesion.contrast, codes.NO_UNITS),
        (codes.PROBABILITY, lesion.probability, codes.NO_UNITS),
    ]
    if place:
        numbers += [
            (codes.REGION_CONFIDENCE, place.region_confidence, codes.NO_UNITS),
            (codes.SIDE_CONFIDENCE, _in_doubt(place.side_confidence) if place.side else None, codes.NO_UNITS),
            (codes.LEVEL_CONFIDENCE, _in_doubt(place.level_confidence) if place.level else None, codes.NO_UNITS),
        ]
    return _group(
        "1411" if shown.segmentation else "1501",
        [
            *_tracking(lesion_name(lesion, place), metadata.uid(f"lesion {lesion.id}")),
            code_item("CONTAINS", codes.FINDING, codes.BRAIN_LESION),
            _site(place),
            *_numbers(numbers),
            code_item("CONTAINS", codes.COMPARTMENT, codes.COMPARTMENTS[compartment]),
            *([code_item("CONTAINS", codes.TISSUE, codes.TISSUES[tissue])] if tissue else []),
            *_shown_on(shown),
        ],
    )


def _in_doubt(certainty: float) -> float | None:
    return None if certainty >= CERTAIN else certainty


def _shown_on(shown: ShownOn) -> list[bytes]:
    if shown.segmentation is None:
        return [_image_item(codes.MEASUREMENT_SOURCE, reference(image)) for image in shown.images]
    named = reference(shown.segmentation) + element(0x0062000B, "US", shown.number.to_bytes(2, "little"))
    return [
        _image_item(codes.REFERENCED_SEGMENT, named),
        _uid_item("CONTAINS", codes.SEGMENTED_SERIES, shown.series_uid),
    ]


def slice_group(evidence: EvidenceSlice, decision: Decision, source: SourceImages, metadata: ObjectMetadata) -> bytes:
    """TID 1501: how many lesions were counted on one slice that carries the answer."""
    image = source.slices[evidence.index]
    numbers: list[Number] = [
        (codes.N_LESIONS, evidence.n_lesions, codes.NO_UNITS),
        (codes.THRESHOLD, decision.threshold, codes.NO_UNITS),
    ]
    role = f"{evidence.image} {evidence.index}"
    kind = codes.IMAGE_KINDS.get(evidence.image)
    return _group(
        "1501",
        [
            *_tracking(f"Evidence {role}"[:64], metadata.uid(f"evidence {role}")),
            code_item("CONTAINS", codes.FINDING, codes.BRAIN_LESION),
            *_numbers(numbers),
            *([code_item("CONTAINS", codes.IMAGE_KIND, kind)] if kind else []),
            *([_image_item(codes.MEASUREMENT_SOURCE, reference(image))] if image else []),
        ],
    )


def decision_group(series: SeriesResult, metadata: ObjectMetadata) -> bytes:
    """TID 1501: the answer, its figures, what the lesions add up to, and the answer under every reading of the rule."""
    decision, sizes, counts = series.decision, lesion_sizes(series), dict(series.decision.quadrant_counts)
    names: dict[str, Compartment | None] = {c.name.lower(): c for c in Compartment} | {"unassigned": None}
    numbers: list[Number] = [
        (codes.N_LESIONS, len(series.lesions), codes.NO_UNITS),
        (codes.TOTAL_VOLUME, sizes.get("total_volume_mm3"), codes.CUBIC_MM),
        *((codes.N_IN_COMPARTMENT[names[name]], n, codes.NO_UNITS) for name, n in counts.items() if name in names),
        (codes.N_MEASURABLE, sizes.get("n_measurable"), codes.NO_UNITS),
        (codes.SUM_OF_TARGETS, sizes.get("sum_of_targets_mm"), codes.MM),
        (codes.LARGEST, sizes.get("largest_mm"), codes.MM),
        (codes.THRESHOLD, decision.threshold, codes.NO_UNITS),
        (codes.MARGIN, decision.margin, codes.NO_UNITS),
        (codes.P_MET, decision.probability, codes.NO_UNITS),
    ]
    return _group(
        "1501",
        [
            *_tracking("Decision", metadata.uid("decision")),
            code_item("CONTAINS", codes.FINDING, codes.CRITERIA),
            *_algorithm(metadata),
            *_numbers(numbers),
            code_item("CONTAINS", codes.DECISION, codes.VERDICTS[decision.verdict]),
            *(code_item("CONTAINS", codes.reading(r), codes.VERDICTS[r.verdict]) for r in decision.readings),
        ],
    )


def code_item(relation: str, name: Code, value: Code, content: Iterable[bytes] = ()) -> bytes:
    """A coded answer."""
    inner = list(content)
    children = sequence(_CONTENT, inner) if inner else b""
    return _head(relation, "CODE", name) + coded(0x0040A168, value) + children


def text_item(relation: str, name: Code, value: str) -> bytes:
    """A text."""
    return _head(relation, "TEXT", name) + text(0x0040A160, "UT", value)


def _head(relation: str, kind: str, name: Code) -> bytes:
    return text(0x0040A010, "CS", relation) + text(0x0040A040, "CS", kind) + coded(_NAME, name)


def _group(template: str, items: Iterable[bytes]) -> bytes:
    named = sequence(0x0040A504, [text(0x00080105, "CS", "DCMR") + text(0x0040DB00, "CS", template)])
    head = _head("CONTAINS", "CONTAINER", codes.MEASUREMENT_GROUP) + text(0x0040A050, "CS", "CONTINUOUS")
    return head + named + sequence(_CONTENT, items)


def _tracking(name: str, uid: str) -> tuple[bytes, bytes]:
    return (
        text_item("HAS OBS CONTEXT", codes.TRACKING_ID, name),
        _uid_item("HAS OBS CONTEXT", codes.TRACKING_UID, uid),
    )


def _uid_item(relation: str, name: Code, uid: str) -> bytes:
    return _head(relation, "UIDREF", name) + text(0x0040A124, "UI", uid)


def _site(place: Assignment | None) -> bytes:
    side = place.side if place else None
    beside = [] if side is None else [code_item("HAS CONCEPT MOD", codes.LATERALITY, codes.SIDES[side])]
    return code_item("HAS CONCEPT MOD", codes.FINDING_SITE, region_code(place), beside)


def _algorithm(metadata: ObjectMetadata) -> tuple[bytes, ...]:
    given = f"; lesions from {metadata.lesions_from}" if metadata.lesions_from else ""
    return (
        text_item("HAS CONCEPT MOD", codes.ALGORITHM_NAME, "miliary-seg"),
        text_item("HAS CONCEPT MOD", codes.ALGORITHM_VERSION, metadata.version),
        text_item("HAS CONCEPT MOD", codes.ALGORITHM_PARAMETERS, f"settings {metadata.settings_digest}{given}"),
    )


def _numbers(numbers: Iterable[Number]) -> list[bytes]:
    return [_number(name, value, unit) for name, value, unit in numbers if value is not None and math.isfinite(value)]


def _number(name: Code, value: float, unit: Code) -> bytes:
    """A measured number, with three significant digits, as a decimal string holds them; whole numbers as they are."""
    from pydicom.valuerep import format_number_as_ds

    number = three_digits(float(value)) if isinstance(value, float) else int(value)
    decimal = format_number_as_ds(number) if isinstance(number, float) else str(number)
    measured = coded(0x004008EA, unit) + text(0x0040A30A, "DS", decimal)
    return _head("CONTAINS", "NUM", name) + sequence(0x0040A300, [measured])


def _image_item(name: Code, referenced: bytes) -> bytes:
    return sequence(0x00081199, [referenced]) + _head("CONTAINS", "IMAGE", name)
