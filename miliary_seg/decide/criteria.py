"""The published rule, one pure function per criterion.

Each function takes what was seen and the scan's gates, and answers in three values: met (seen), not met (not seen on
a scan that could have shown it), or indeterminate.
"""

from __future__ import annotations

from dataclasses import dataclass

from miliary_seg.decide.adequacy import Gates
from miliary_seg.decide.reasons import reason, unique
from miliary_seg.decide.regions import LEVELS, QUADRANTS, SIDES, Regions
from miliary_seg.decide.true_count import at_least
from miliary_seg.domain.decision import CountDistribution, CriterionResult, EvidenceSlice, Verdict, count_interval
from miliary_seg.domain.reason import Reason

CITATION = "Bashour SI et al. Br J Cancer 2020;123:1417-1423. doi:10.1038/s41416-020-1008-2"
COUNT_STATEMENT = (
    "at least 20 lesions per image on at least two non-contiguous MRI images, or at least 10 lesions per image on at "
    "least two non-contiguous CT images"
)
BILATERAL_STATEMENT = "bilateral lesions"
LEVELS_STATEMENT = "lesions located in both the supratentorial and the infratentorial compartment"

UNSEEN = 0.05
"""A side or level counts as empty only if at most one scan in twenty with the pattern of the criteria would show no
lesion there."""
N_EXAMPLES = 5
"""Lesions named as examples for each region."""

Answer = tuple[Verdict, tuple[Reason, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountEvidence:
    """What was counted under one reading of plane, slice and non-contiguity."""

    deciding: int
    """Count on the second-best admissible image."""
    best: int
    threshold: int
    distribution: CountDistribution
    """Of the true count there."""
    images: str = "slice"
    limits: tuple[float, float] = (0.05, 0.8)
    """Most that P(threshold reached) may be for a negative, least that it must be for a positive."""

    measured: bool = True
    """Whether it was measured what the detector misses on such slices of such a sequence."""

    @property
    def chance(self) -> float:
        """P(threshold reached)."""
        return at_least(self.distribution, self.threshold)

    @property
    def doubt(self) -> Reason:
        """What is marked, and between which numbers the true count lies."""
        low, _, high = count_interval(self.distribution) or (self.deciding,) * 3
        unknown = "" if self.measured else "; what is missed on such scans was not measured"
        said = f"marked {self.deciding}, true count likely {low} to {high}{unknown}"
        return reason("count_limited_by_detection", said)


def count_criterion(
    seen: CountEvidence | None, gates: Gates, evidence: tuple[EvidenceSlice, ...] = ()
) -> CriterionResult:
    """At least the threshold on two non-contiguous images.

    Parameters
    ----------
    seen
        The count; None where there are no images to count on under this reading.
    gates
        What the scan can prove.
    evidence
        The slices that carry the count.
    """
    if seen is None:
        answer, observed, threshold = (Verdict.INDETERMINATE, gates.plane), "not counted", ""
    else:
        answer = _count_answer(seen, gates)
        observed = f"second-best admissible {seen.images} {seen.deciding}, best {seen.best}"
        threshold = f">= {seen.threshold} on two non-contiguous images"
    shown = tuple(f"{item.image} {item.index}: {item.n_lesions} lesions" for item in evidence)
    return _result("count", COUNT_STATEMENT, (observed, threshold), answer, shown)


def bilateral_criterion(regions: Regions, gates: Gates, fewest: int, by_quadrant: bool) -> CriterionResult:
    """Lesions on both sides; with ``by_quadrant`` on both sides of each level."""
    names, code = (QUADRANTS, "quadrant_empty") if by_quadrant else (SIDES, "one_sided")
    answer = _regions_answer(regions, names, fewest, gates.sides, gates.absence, code)
    seen = (_tally(regions, names), f">= {fewest} in each")
    return _result("bilateral", BILATERAL_STATEMENT, seen, answer, _examples(regions, names))


def both_levels_criterion(regions: Regions, gates: Gates, fewest: int) -> CriterionResult:
    """Lesions above and below the tentorium."""
    answer = _regions_answer(regions, LEVELS, fewest, gates.levels, gates.absence, "one_level")
    seen = (_tally(regions, LEVELS), f">= {fewest} in each")
    return _result("both_levels", LEVELS_STATEMENT, seen, answer, _examples(regions, LEVELS))


def _count_answer(seen: CountEvidence, gates: Gates) -> Answer:
    at_most, at_least_ = seen.limits
    if seen.deciding >= seen.threshold:
        doubts = (*gates.presence, *((seen.doubt,) if seen.chance < at_least_ else ()))
        return (Verdict.INDETERMINATE, doubts) if doubts else (Verdict.MET, ())
    doubts = (*gates.absence, *((seen.doubt,) if seen.chance > at_most else ()))
    if doubts:
        return Verdict.INDETERMINATE, doubts
    return Verdict.NOT_MET, (reason("count_below_threshold", f"{seen.deciding} of {seen.threshold}"),)


def _regions_answer(
    regions: Regions,
    names: tuple[str, ...],
    fewest: int,
    place_unknown: tuple[Reason, ...],
    absence: tuple[Reason, ...],
    code: str,
) -> Answer:
    """Every named region holds at least ``fewest`` lesions."""
    if place_unknown:
        return Verdict.INDETERMINATE, place_unknown
    answers = [_region_answer(regions, name, fewest, absence, code) for name in names]
    verdict = Verdict.all_of(answer for answer, _ in answers)
    return verdict, unique(item for answer, reasons in answers if answer is verdict for item in reasons)


def _region_answer(regions: Regions, name: str, fewest: int, absence: tuple[Reason, ...], code: str) -> Answer:
    sure, words = regions.n_sure(name), name.replace("_", " ")
    if sure >= fewest:
        limit = regions.error_limit[name]
        if sure > limit:
            return Verdict.MET, ()
        return Verdict.INDETERMINATE, (reason("region_within_detector_error", f"{words} {sure}, errors up to {limit}"),)
    if regions.n_likely(name) >= fewest:
        return Verdict.INDETERMINATE, (reason("boundary_evidence_only", words), *absence)
    if regions.n_possible(name) >= fewest:
        return Verdict.INDETERMINATE, (reason("unassigned_lesions", words), *absence)
    if not absence and regions.chance_unseen(name, fewest) > UNSEEN:
        marked = f"{words} {sure} of {len(regions.ids)} marked, about {regions.expected_true:.0f} of them true"
        absence = (reason("region_not_excluded", marked),)
    if absence:
        return Verdict.INDETERMINATE, absence
    return Verdict.NOT_MET, (reason(code, f"{words} {sure}, needed {fewest}"),)


def _tally(regions: Regions, names: tuple[str, ...]) -> str:
    """For instance ``left 40, right 3 (2 near the boundary)``."""
    parts = []
    for name in names:
        unsure = regions.n_likely(name) - regions.n_sure(name)
        near = f" ({unsure} near a boundary or improbable)" if unsure else ""
        parts.append(f"{name.replace('_', ' ')} {regions.n_likely(name)}{near}")
    return ", ".join(parts)


def _examples(regions: Regions, names: tuple[str, ...]) -> tuple[str, ...]:
    """Ids of the lesions that are evidence for each region, the first few of them."""
    lines = []
    for name in names:
        ids = regions.sure_ids(name)
        more = " ..." if len(ids) > N_EXAMPLES else ""
        lines.append(f"{name.replace('_', ' ')}: lesions {', '.join(map(str, ids[:N_EXAMPLES])) or 'none'}{more}")
    return tuple(lines)


def _result(
    name: str, statement: str, seen: tuple[str, str], answer: Answer, evidence: tuple[str, ...]
) -> CriterionResult:
    return CriterionResult(
        name=name,
        statement=statement,
        citation=CITATION,
        observed=seen[0],
        threshold=seen[1],
        verdict=answer[0],
        evidence=evidence,
        reasons=answer[1],
    )
