"""Every reason code that the criteria stage can give, with its sentence: the one place where they are named.

docs/criteria.md holds the same table (a test compares them). Codes are stable, since scripts read them. Doubts of
the image, of artefacts and of the registration come from other stages with codes of their own and are passed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from miliary_seg.domain.compartment import Compartment, Coverage, Level, Side
from miliary_seg.domain.reason import Reason


class Effect(StrEnum):
    """What a reason does to the answer."""

    REFUTES = "proves a criterion false"
    BLOCKS_NOT_MET = "turns a negative into INDETERMINATE"
    BLOCKS_MET = "turns a positive into INDETERMINATE"
    BLOCKS_BOTH = "leaves a criterion INDETERMINATE"
    REMARK = "changes nothing; to be read beside the answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonKind:
    """One entry of the register."""

    code: str
    effect: Effect
    sentence: str


def _register() -> dict[str, ReasonKind]:
    table = {
        Effect.REFUTES: {
            "count_below_threshold": "The count stays below the threshold on a scan that could have shown it.",
            "one_sided": "A side holds too few lesions, on a scan that could have shown them.",
            "one_level": "A level holds too few lesions, on a scan that could have shown them.",
            "quadrant_empty": "A side of a level holds too few lesions, on a scan that could have shown them.",
        },
        Effect.BLOCKS_NOT_MET: {
            "coverage_left": "Part of the left side is not in view.",
            "coverage_right": "Part of the right side is not in view.",
            "coverage_supratentorial": "Part of the supratentorial compartment is not in view.",
            "coverage_infratentorial": "Part of the posterior fossa is not in view.",
            "thick_slices": "The slices are too thick to refute a count.",
            "slice_gaps": "There are gaps between the slices, in which lesions cannot be seen.",
            "missing_slices": "Slices are missing from the stack.",
            "no_contrast": "An unenhanced scan with few visible lesions says little.",
            "sequence_insensitive": "Small lesions stand out too little on this sequence to refute a count.",
            "unknown_sequence": "It is not known which sequence this is, so few visible lesions say little.",
            "series_not_analysed": "A series of the study could not be read or shows no brain; it might have met them.",
            "mask_untrusted": "The brain mask is not trusted: lesions may lie where none were looked for.",
            "region_not_excluded": "Too few lesions are marked to show that a side or level holds none.",
            "sequence_uncertain": "Which sequence this is, or whether contrast was given, rests on weak evidence.",
        },
        Effect.BLOCKS_MET: {
            "artefact_pattern": "The count may be carried by an artefact or normal structures rather than by lesions.",
            "boundary_evidence_only": "The only lesions of a side or level lie near its boundary or are improbable.",
            "region_within_detector_error": "A side or level holds no more lesions than the detector's errors explain.",
            "unassigned_lesions": "Lesions whose side or level is unknown could be the missing evidence.",
        },
        Effect.BLOCKS_BOTH: {
            "registration_untrusted": "The atlas fit is not trusted: coverage, sides and levels are unproven.",
            "orientation_unknown": "The file states no orientation: left and right are unknown.",
            "orientation_contradicted": "The head lies otherwise than the header says: left and right are unknown.",
            "brain_not_found": "Nothing in the scan resembles a brain.",
            "interpolated_slices": "Uneven slices were interpolated, so which of them were neighbours cannot be told.",
            "count_limited_by_detection": "The true count may lie on either side of the threshold: what the detector "
            "misses on such slices, and finds wrongly, is too much to tell.",
            "slice_thickness_decides": "Slices as acquired and thick slices of the same brain give different answers.",
            "plane_unknown": "The orientation of the slices is unknown, so no axial reformat can be counted.",
            "no_slices": "There are no slices to count on.",
        },
        Effect.REMARK: {
            "partial_coverage_met": "The visible slices meet the criteria although the brain is covered only in part.",
            "rests_on_few_lesions": "The evidence for a side or level rests on at most 2 lesions.",
            "readings_disagree": "The answer depends on how the open points of the rule are read.",
            "borderline": "The true count may well lie on the other side of the threshold.",
            "narrow_slice_gaps": "There are narrow gaps between the slices; the rule counts on images.",
            "moderate_slice_thickness": "Thick slices gather more lesions into one image than thin ones.",
            "sequence_caution": "The count was made on a sequence that does not single out lesions.",
            "negative_not_exclusion": "A scan that does not meet the criteria does not exclude miliary disease.",
            "series_disagree": "An adequate series of the same study does not meet the criteria.",
            "series_conflict": "One series does not meet the criteria, an indeterminate one reaches the count.",
            "indeterminate_series": "Other series of the study are indeterminate and show no qualifying count.",
            "no_eligible_series": "The study holds no series that could be decided on.",
        },
    }
    return {
        code: ReasonKind(code=code, effect=effect, sentence=sentence)
        for effect, entries in table.items()
        for code, sentence in entries.items()
    }


REASONS: dict[str, ReasonKind] = _register()
"""Code -> what it means, in the order of docs/criteria.md."""


def reason(code: str, detail: str = "") -> Reason:
    """Build a registered reason; ``detail`` is added in brackets.

    Examples
    --------
    >>> reason("thick_slices", "6 mm").text
    'The slices are too thick to refute a count (6 mm).'
    """
    sentence = REASONS[code].sentence
    return Reason(code=code, text=f"{sentence[:-1]} ({detail})." if detail else sentence)


def unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Leave out reasons whose code came before."""
    first: dict[str, Reason] = {}
    for item in reasons:
        first.setdefault(item.code, item)
    return tuple(first.values())


def coverage_reasons(coverage: Coverage, least: float) -> tuple[Reason, ...]:
    """One reason for each level or side that is not in view far enough.

    A level is named where both its sides are short, a side where both its levels are; a single short compartment is
    named by its level.
    """
    short = {c for c in Compartment if coverage.of(c) < least}
    levels = [level for level in Level if {Compartment.of(side, level) for side in Side} <= short]
    sides = [side for side in Side if {Compartment.of(side, level) for level in Level} <= short]
    named = {c for c in short if c.level in levels or c.side in sides}
    levels += [level for level in Level if any(c.level is level for c in short - named)]
    return tuple(
        reason(f"coverage_{part}", ", ".join(f"{c.text} {coverage.of(c):.0%} in view" for c in sorted(short & members)))
        for part, members in (
            *((level, {c for c in Compartment if c.level is level}) for level in Level if level in levels),
            *((side, {c for c in Compartment if c.side is side}) for side in sides),
        )
    )
