"""Keys of ``result.json`` that say what was decided, and why (how to add one: ``miliary_seg.schema``)."""

from typing import Literal

from miliary_seg.domain.decision import Decision, Verdict
from miliary_seg.domain.reason import Reason
from miliary_seg.schema import Count, Json, Point, Positive, Record, Share, fill, key

LEAST_CHANCE = 0.0005
"""Counts less likely than this are one draw of the simulation: left out of the file."""


class ReasonRecord(Record):
    """A stable code and a sentence."""

    code: str = key("Stable code for scripts.")
    text: str = key("The sentence for people.")


class EvidenceSliceRecord(Record):
    """A slice that the answer rests on."""

    index: Count = key(
        "Slice along the slice axis, from 0; of a slab or an axial reformat the acquired slice through its middle."
    )
    position_mm: float = key("Position along the normal of the slices.", unit="mm")
    centre_ras_mm: Point | None = key("Centre of the slice in the patient: right, anterior, superior.", unit="mm")
    sop_instance_uid: str | None = key("DICOM SOPInstanceUID of the image; null where there is none.")
    n_lesions: Count = key("Lesions that a reader would count on the image.")
    image: Literal["slice", "slab", "axial plane", "axial slab"] = key(
        "What was counted on, by the reading of plane and slice."
    )


class CriterionRecord(Record):
    """One published criterion under the default reading."""

    name: str = key("count, bilateral or both_levels.")
    verdict: Verdict = key("Answer for this criterion.")
    statement: str = key("The criterion in words.")
    citation: str = key("Its source.")
    observed: str = key("What the scan shows.")
    threshold: str = key("What the criterion asks for.")
    evidence: list[str] = key("Sentences of evidence.")
    reasons: list[ReasonRecord] = key("Coded reasons.")


class ReadingRecord(Record):
    """The answer under one reading of the rule's open points."""

    name: str = key("For instance acquired/native/pairwise/independent/1.")
    verdict: Verdict = key("Answer under this reading.")
    is_default: bool = key("Whether this is the reading that the settings chose.")
    choices: dict[str, str] = key("Open point and the reading taken.")
    reasons: list[ReasonRecord] = key("Coded reasons.")
    margin: int | None = key(
        "Count of the deciding image minus the threshold; null where this reading's images are unknown.",
        unit="lesions",
    )
    probability: Share | None = key("Probability that the criteria are met under this reading, as for the decision.")


class CountDistributionRecord(Record):
    """Counts with their probabilities, as two lists."""

    low: Count = key("2.5 % quantile.", unit="lesions", source=lambda d: d.count_interval[0])
    median: Count = key("Median.", unit="lesions", source=lambda d: d.count_interval[1])
    high: Count = key("97.5 % quantile.", unit="lesions", source=lambda d: d.count_interval[2])
    counts: list[Count] = key(
        "Counts that are likely enough, ascending.", unit="lesions", source=lambda d: [n for n, _ in _likely(d)]
    )
    probabilities: list[Share] = key(
        "Probability of each of these counts; those below 0.0005 are left out.",
        source=lambda d: [p for _, p in _likely(d)],
    )


class SliceAnswerRecord(Record):
    """The answer for slices of one thickness."""

    slice: Literal["native", "equivalent"] = key("As acquired, or as thick slices would have shown it.")
    thickness_mm: float = key("Thickness of these slices.", unit="mm")
    verdict: Verdict = key("Answer for them.")
    count: Count | None = key(
        "Lesions marked on the second-best image; of thick slices the median over where they could start.",
        unit="lesions",
    )
    count_range: list[Count] | None = key(
        "The same for the worst and the best place where they could start.",
        unit="lesions",
        source=lambda a: None if a.count_range is None else list(a.count_range),
    )
    count_interval: list[Count] | None = key(
        "2.5 %, 50 % and 97.5 % quantile of the true count.",
        unit="lesions",
        source=lambda a: None if a.count_interval is None else list(a.count_interval),
    )
    probability: Share | None = key("Probability that the criteria are met on such slices; null where not known.")
    expected: float | None = key(
        "Sum of the probabilities of all candidates, accepted or not, on the second-best image; null for given ones.",
        unit="lesions",
    )
    size_mm: float | None = key("Geometric mean diameter of the marked lesions of the scan.", unit="mm")


class DecisionRecord(Record):
    """The answer for one series, with its evidence under every reading."""

    verdict: Verdict = key("MET, NOT_MET or INDETERMINATE for the proposed criteria.")
    statement: str = key("The verdict in the approved wording.", source=lambda d: statement(d.verdict))
    reasons: list[ReasonRecord] = key("Why the answer is what it is.")
    criteria: list[CriterionRecord] = key("Each published criterion under the default reading.")
    readings: list[ReadingRecord] = key("The answer under every reading of the rule's open points.")
    probability: Share | None = key(
        "Probability that the criteria are met, from all candidates and the detector's measured misses; of native and "
        "thick slices the smaller one; null where it cannot be known (brain not in view, sides unknown, no contrast)."
    )
    borderline: bool = key("Whether the 95 % interval of the true count holds the threshold.")
    margin: int = key("Count of the deciding (second-best admissible) slice minus the threshold.", unit="lesions")
    count_distribution: CountDistributionRecord | None = key(
        "True count of the deciding slice, from all candidates and from what the detector was measured to miss; null "
        "where there are no images.",
        source=lambda d: d if d.count_distribution else None,
    )
    threshold: Positive = key("Lesions per slice that the proposed criteria ask for.", unit="lesions")
    evidence_slices: list[EvidenceSliceRecord] = key("The slices that the answer rests on.")
    slice_answers: list[SliceAnswerRecord] = key(
        "The answer on native slices, and on what thick slices would have shown where the acquired ones are thinner."
    )
    quadrant_counts: dict[str, Count | None] = key(
        "Lesions per compartment, and unassigned; those near a boundary are included. Null where compartments are "
        "unknown: that is not none.",
        unit="lesions",
    )


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
