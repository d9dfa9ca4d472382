"""From lesions and their places to the answer for one series, under every reading of the rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from miliary_seg.decide.adequacy import SHOWS_LESIONS, gap_mm, widest_gap_mm
from miliary_seg.decide.evidence import Evidence
from miliary_seg.decide.interpretations import FEW_LESIONS, Interpretation, all_interpretations, default_interpretation
from miliary_seg.decide.reasons import coverage_reasons, reason, unique
from miliary_seg.decide.regions import LEVELS, QUADRANTS, SIDES
from miliary_seg.domain.compartment import Assignment
from miliary_seg.domain.decision import (
    CriterionResult,
    Decision,
    InterpretationResult,
    ScanFacts,
    SliceAnswer,
    StudyDecision,
    Verdict,
    count_interval,
)
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.readings import choice_in_words
from miliary_seg.domain.reason import Reason
from miliary_seg.errors import UsageError
from miliary_seg.settings import DecideSettings

Choices = tuple[tuple[str, str], ...]
"""(open point, reading) pairs."""


def decide_study(decisions: Mapping[str, Decision], not_analysed: Sequence[str] = ()) -> StudyDecision:
    """Combine the answers for the series of one study.

    Parameters
    ----------
    decisions
        Identifier of each eligible series -> its decision.
    not_analysed
        Identifiers of eligible series that could not be analysed. They cannot undo a MET, but no study is negative
        while one of its series is unseen.

    Returns
    -------
    StudyDecision
        The reasons of the series that carry the verdict come first, then what the other series say.
    """
    by_verdict = {v: tuple(name for name, d in decisions.items() if d.verdict is v) for v in Verdict}
    met, not_met, unclear = (by_verdict[v] for v in (Verdict.MET, Verdict.NOT_MET, Verdict.INDETERMINATE))
    if not decisions:
        return StudyDecision(verdict=Verdict.INDETERMINATE, reasons=(reason("no_eligible_series"),))
    if met:
        remarks = (reason("series_disagree", ", ".join(not_met)),) if not_met else ()
        return _carried_by(met, decisions, Verdict.MET, remarks)
    reaching = tuple(name for name in unclear if _reaches_the_count(decisions[name]))
    if not_met and reaching:
        conflict = reason("series_conflict", f"{', '.join(not_met)} against {', '.join(reaching)}")
        return _carried_by(reaching, decisions, Verdict.INDETERMINATE, (conflict,))
    if not_met and not_analysed:
        unseen = reason("series_not_analysed", ", ".join(not_analysed))
        return _carried_by(not_met, decisions, Verdict.INDETERMINATE, (unseen,))
    if not_met:
        remarks = (reason("indeterminate_series", ", ".join(unclear)),) if unclear else ()
        return _carried_by(not_met, decisions, Verdict.NOT_MET, remarks)
    return _carried_by(unclear, decisions, Verdict.INDETERMINATE, ())


def _reaches_the_count(decision: Decision) -> bool:
    """On slices of any thickness."""
    counts = [answer.count for answer in decision.slice_answers if answer.count is not None]
    return decision.margin >= 0 or any(count >= decision.threshold for count in counts)


def _carried_by(
    names: tuple[str, ...], decisions: Mapping[str, Decision], verdict: Verdict, remarks: tuple[Reason, ...]
) -> StudyDecision:
    reasons = unique((*(item for name in names for item in decisions[name].reasons), *remarks))
    return StudyDecision(verdict=verdict, reasons=reasons, deciding_series=names)


def decide(
    lesions: Sequence[Lesion],
    assignments: Sequence[Assignment],
    facts: ScanFacts,
    settings: DecideSettings | None = None,
) -> Decision:
    """Decide whether one series meets the proposed criteria.

    Parameters
    ----------
    lesions
        Accepted lesions, in any order, with the slices on which each shows.
    assignments
        Where each lesion lies; a lesion without one counts on its slices only.
    facts
        Geometry, sequence, coverage, trust and doubts; no voxels.
    settings
        Thresholds, the default reading, and what makes a scan adequate; defaults to ``DecideSettings()``.

    Returns
    -------
    Decision
        The answer under the default reading with its reasons and evidence, and under every other reading.

    Raises
    ------
    UsageError
        If lesions and facts do not fit: a slice that does not exist, an id given twice, a probability beyond 0 to 1.
    """
    if any(len(given) not in (0, facts.n_slices) for given in (facts.slice_centres_ras_mm, facts.sop_instance_uids)):
        raise UsageError("slice positions, centres and SOPInstanceUIDs differ in number")
    settings = settings or DecideSettings()
    evidence = Evidence.of(lesions, assignments, facts, settings)
    chosen = default_interpretation(settings)
    readings = tuple(_reading_result(evidence, reading, chosen) for reading in all_interpretations(settings))
    margin, borderline = _margin(evidence, chosen), _is_borderline(evidence, chosen)
    asked = _asked(evidence, chosen)
    answers = tuple(_slice_answer(evidence, reading) for reading in asked)
    verdict, thickness = _over_thicknesses(answers)
    decisive = [item for reading in asked for item in _decisive(evidence.criteria(reading), verdict)]
    default = dict(chosen.choices) | {"slice": settings.slice}
    remarks = (*_remarks(evidence, chosen, verdict, borderline), *_disagreement(readings, default, verdict))
    return Decision(
        verdict=verdict,
        reasons=unique((*thickness, *decisive, *remarks)),
        criteria=evidence.criteria(chosen),
        readings=readings,
        probability=_least([answer.probability for answer in answers]),
        borderline=borderline,
        margin=-evidence.threshold if margin is None else margin,
        count_distribution=evidence.count_distribution(chosen),
        threshold=evidence.threshold,
        evidence_slices=evidence.evidence_slices(chosen),
        slice_counts=_slice_counts(lesions, facts.n_slices),
        slab_counts=evidence.slab_counts(),
        slab_mm=settings.slab_mm,
        quadrant_counts=(
            *((name, None if evidence.gates.sides else evidence.regions.n_likely(name)) for name in QUADRANTS),
            ("unassigned", evidence.regions.n_unassigned),
        ),
        slice_answers=answers,
    )


def _asked(evidence: Evidence, chosen: Interpretation) -> tuple[Interpretation, ...]:
    """The reading of slices as acquired, and that of thick ones where both are asked for and can differ."""
    if evidence.settings.slice == "both" and evidence.slices_differ(chosen.plane):
        return chosen, replace(chosen, slice="equivalent")
    return (chosen,)


def _slice_answer(evidence: Evidence, reading: Interpretation) -> SliceAnswer:
    seen = evidence.count(reading)
    return SliceAnswer(
        slice=reading.slice,
        thickness_mm=evidence.thickness_mm(reading),
        verdict=Verdict.all_of(criterion.verdict for criterion in evidence.criteria(reading)),
        count=None if seen is None else seen.deciding,
        count_range=evidence.count_range(reading),
        count_interval=count_interval(evidence.count_distribution(reading)),
        probability=evidence.probability(reading),
        expected=evidence.expected_count(reading),
        size_mm=None if evidence.expected is None else round(evidence.size_mm, 3),
    )


def _over_thicknesses(answers: Sequence[SliceAnswer]) -> tuple[Verdict, tuple[Reason, ...]]:
    """Met or not met only where every thickness says so; else indeterminate, with both counts where they differ."""
    verdict = _agreed(answer.verdict for answer in answers)
    if all(answer.verdict is verdict for answer in answers):
        return verdict, ()
    said = "; ".join(f"{a.thickness_mm:.3g} mm: {a.count} marked, {a.verdict.text}" for a in answers)
    return verdict, (reason("slice_thickness_decides", said),)


def _agreed(verdicts: Iterable[Verdict]) -> Verdict:
    """What all say; indeterminate where they differ."""
    said = set(verdicts)
    return said.pop() if len(said) == 1 else Verdict.INDETERMINATE


def _least(chances: Sequence[float | None]) -> float | None:
    """Both answers are needed and rest on the same lesions: as likely as the less likely one, if both are known."""
    known = [chance for chance in chances if chance is not None]
    return min(known) if len(known) == len(chances) else None


def _decisive(criteria: Sequence[CriterionResult], verdict: Verdict) -> tuple[Reason, ...]:
    """Reasons of the criteria that brought the verdict about."""
    return tuple(item for criterion in criteria if criterion.verdict is verdict for item in criterion.reasons)


def _reading_result(evidence: Evidence, reading: Interpretation, chosen: Interpretation) -> InterpretationResult:
    criteria = evidence.criteria(reading)
    verdict = Verdict.all_of(criterion.verdict for criterion in criteria)
    return InterpretationResult(
        name=reading.name,
        choices=reading.choices,
        verdict=verdict,
        is_default=reading == chosen,
        reasons=unique(_decisive(criteria, verdict)),
        margin=_margin(evidence, reading),
        probability=evidence.probability(reading),
    )


def _margin(evidence: Evidence, reading: Interpretation) -> int | None:
    seen = evidence.count(reading)
    return None if seen is None else seen.deciding - seen.threshold


def _is_borderline(evidence: Evidence, reading: Interpretation) -> bool:
    """Whether the 95 % interval of the true count holds both answers."""
    interval = count_interval(evidence.count_distribution(reading))
    return interval is not None and interval[0] < evidence.threshold <= interval[2]


def _slice_counts(lesions: Sequence[Lesion], n_slices: int) -> tuple[int, ...]:
    counts = [0] * n_slices
    for lesion in lesions:
        for k in set(lesion.slices):
            counts[k] += 1
    return tuple(counts)


def _remarks(evidence: Evidence, reading: Interpretation, verdict: Verdict, borderline: bool) -> tuple[Reason, ...]:
    """What changes nothing but should be read beside the answer."""
    facts, settings = evidence.facts, evidence.settings
    found: list[Reason] = []
    if borderline:
        found.append(reason("borderline", f"{_margin(evidence, reading):+d} from {evidence.threshold}"))
    if verdict is Verdict.MET:
        found += _remarks_on_met(evidence, reading)
    if verdict is Verdict.NOT_MET:
        found.append(reason("negative_not_exclusion"))
    gap = gap_mm(facts)
    if settings.max_gap_mm < gap <= widest_gap_mm(facts, settings):
        found.append(reason("narrow_slice_gaps", f"{gap:.3g} mm between slices of {facts.thickness_mm:.3g} mm"))
    if settings.warn_thickness_mm < facts.thickness_mm <= settings.max_thickness_mm:
        found.append(reason("moderate_slice_thickness", f"{facts.thickness_mm:.3g} mm"))
    return tuple(found)


def _remarks_on_met(evidence: Evidence, reading: Interpretation) -> tuple[Reason, ...]:
    facts, settings, regions = evidence.facts, evidence.settings, evidence.regions
    short = coverage_reasons(facts.coverage, settings.min_coverage)
    found = [reason("partial_coverage_met", " ".join(item.text for item in short))] if short else []
    names = (*LEVELS, *(QUADRANTS if reading.bilateral == "quadrants" else SIDES))
    few = [f"{name.replace('_', ' ')} {regions.n_sure(name)}" for name in names if regions.n_sure(name) <= FEW_LESIONS]
    if few:
        found.append(reason("rests_on_few_lesions", ", ".join(few)))
    if facts.sequence.sequence not in SHOWS_LESIONS:
        found.append(reason("sequence_caution", str(facts.sequence.sequence)))
    return tuple(found)


def _disagreement(
    readings: Sequence[InterpretationResult], default: Mapping[str, str], verdict: Verdict
) -> tuple[Reason, ...]:
    """Say how many readings answer otherwise, and which smallest changes of the default do."""
    answers = {reading.choices: reading.verdict for reading in readings}
    if default["slice"] == "both":
        answers = _on_both(answers) | answers
    changes = {
        tuple((point, choice) for point, choice in choices if choice != default[point]): said
        for choices, said in answers.items()
        if said is not verdict
    }
    if not changes:
        return ()
    tally = [f"{sum(r.verdict is v for r in readings)} {v}" for v in Verdict if any(r.verdict is v for r in readings)]
    least = min(len(changed) for changed in changes)
    smallest = [
        f"{said} if {' and '.join(choice_in_words(*choice) for choice in changed)}"
        for changed, said in changes.items()
        if len(changed) == least
    ]
    return (reason("readings_disagree", f"{', '.join(tally)} of {len(readings)} readings; {'; '.join(smallest)}"),)


def _on_both(answers: Mapping[Choices, Verdict]) -> dict[Choices, Verdict]:
    """The answer of native and equivalent slices together, under every choice of the other points."""
    together: dict[Choices, list[Verdict]] = {}
    for choices, said in answers.items():
        both = tuple((point, "both" if point == "slice" else choice) for point, choice in choices)
        together.setdefault(both, []).append(said)
    return {choices: _agreed(said) for choices, said in together.items()}
