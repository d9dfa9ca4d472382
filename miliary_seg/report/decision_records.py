"""Keys of ``result.json`` that say what was decided, and why (how to add one: ``miliary_seg.schema``)."""

from typing import Annotated, Literal

from miliary_seg.domain.decision import Decision, Verdict
from miliary_seg.domain.reason import Reason
from miliary_seg.schema import Count, Json, Point, Positive, Record, Share, fill, key

LEAST_CHANCE = 0.0005
"""Counts less likely than this are one draw of the simulation: left out of the file."""


class ReasonRecord(Record):
    """A stable code and a sentence."""

    code: Annotated[str, key("Stable code for scripts.")]
    text: Annotated[str, key("The sentence for people.")]


class EvidenceSliceRecord(Record):
    """A slice that the answer rests on."""

    index: Annotated[
        Count,
        key(
            "Slice along the slice axis, from 0; of a slab or an axial reformat the acquired slice through its middle."
        ),
    ]
    position_mm: Annotated[float, key("Position along the normal of the slices.", unit="mm")]
    centre_ras_mm: Annotated[
        Point | None, key("Centre of the slice in the patient: right, anterior, superior.", unit="mm")
    ]
    sop_instance_uid: Annotated[str | None, key("DICOM SOPInstanceUID of the image; null where there is none.")]
    n_lesions: Annotated[Count, key("Lesions that a reader would count on the image.")]
    image: Annotated[
        Literal["slice", "slab", "axial plane", "axial slab"],
        key("What was counted on, by the reading of plane and slice."),
    ]


class CriterionRecord(Record):
    """One published criterion under the default reading."""

    name: Annotated[str, key("count, bilateral or both_levels.")]
    verdict: Annotated[Verdict, key("Answer for this criterion.")]
    statement: Annotated[str, key("The criterion in words.")]
    citation: Annotated[str, key("Its source.")]
    observed: Annotated[str, key("What the scan shows.")]
    threshold: Annotated[str, key("What the criterion asks for.")]
    evidence: Annotated[list[str], key("Sentences of evidence.")]
    reasons: Annotated[list[ReasonRecord], key("Coded reasons.")]


class ReadingRecord(Record):
    """The answer under one reading of the rule's open points."""

    name: Annotated[str, key("For instance acquired/native/pairwise/independent/1.")]
    verdict: Annotated[Verdict, key("Answer under this reading.")]
    is_default: Annotated[bool, key("Whether this is the reading that the settings chose.")]
    choices: Annotated[dict[str, str], key("Open point and the reading taken.")]
    reasons: Annotated[list[ReasonRecord], key("Coded reasons.")]
    margin: Annotated[
        int | None,
        key(
            "Count of the deciding image minus the threshold; null where this reading's images are unknown.",
            unit="lesions",
        ),
    ]
    probability: Annotated[
        Share | None, key("Probability that the criteria are met under this reading, as for the decision.")
    ]


class CountDistributionRecord(Record):
    """Counts with their probabilities, as two lists."""

    low: Annotated[Count, key("2.5 % quantile.", unit="lesions", source=lambda d: d.count_interval[0])]
    median: Annotated[Count, key("Median.", unit="lesions", source=lambda d: d.count_interval[1])]
    high: Annotated[Count, key("97.5 % quantile.", unit="lesions", source=lambda d: d.count_interval[2])]
    counts: Annotated[
        list[Count],
        key("Counts that are likely enough, ascending.", unit="lesions", source=lambda d: [n for n, _ in _likely(d)]),
    ]
    probabilities: Annotated[
        list[Share],
        key(
            "Probability of each of these counts; those below 0.0005 are left out.",
            source=lambda d: [p for _, p in _likely(d)],
        ),
    ]


class DecisionRecord(Record):
    """The answer for one series, with its evidence under every reading."""

    verdict: Annotated[Verdict, key("MET, NOT_MET or INDETERMINATE for the proposed criteria.")]
    statement: Annotated[str, key("The verdict in the approved wording.", source=lambda d: statement(d.verdict))]
    reasons: Annotated[list[ReasonRecord], key("Why the answer is what it is.")]
    criteria: Annotated[list[CriterionRecord], key("Each published criterion under the default reading.")]
    readings: Annotated[list[ReadingRecord], key("The answer under every reading of the rule's open points.")]
    probability: Annotated[
        Share | None,
        key(
            "Probability that the criteria are met under the default reading, from the lesions' probabilities and the "
            "detector's measured misses; null where it was not computed."
        ),
    ]
    borderline: Annotated[
        bool,
        key(
            "Whether the deciding slice lies within the detector's own error of the threshold, or the other side of "
            "it is likely enough by count_distribution."
        ),
    ]
    margin: Annotated[
        int, key("Count of the deciding (second-best admissible) slice minus the threshold.", unit="lesions")
    ]
    count_distribution: Annotated[
        CountDistributionRecord | None,
        key(
            "True count of the deciding slice: lesions found there that are real, by their probabilities, and missed "
            "ones, by the measured sensitivity; null where there are no images.",
            source=lambda d: d if d.count_distribution else None,
        ),
    ]
    threshold: Annotated[Positive, key("Lesions per slice that the proposed criteria ask for.", unit="lesions")]
    evidence_slices: Annotated[list[EvidenceSliceRecord], key("The slices that the answer rests on.")]
    quadrant_counts: Annotated[
        dict[str, Count | None],
        key(
            "Lesions per compartment, and unassigned; those near a boundary are included. Null where compartments are "
            "unknown: that is not none.",
            unit="lesions",
        ),
    ]


def decision_document(decision: Decision) -> Json:
    """The answer for one series with its evidence."""
    return fill(DecisionRecord, decision)


def reasons_document(reasons: tuple[Reason, ...]) -> list[Json]:
    """Codes for programs, texts for people."""
    return [fill(ReasonRecord, reason) for reason in reasons]


def statement(verdict: Verdict) -> str:
    """A verdict in the approved wording."""
    return f"The pattern {verdict.text}."


def _likely(decision: Decision) -> list[tuple[int, float]]:
    """Counts with their probabilities without those below ``LEAST_CHANCE``."""
    return [(count, chance) for count, chance in decision.count_distribution if chance >= LEAST_CHANCE]
