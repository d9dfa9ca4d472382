"""The decision of one series as plain values: answer, criteria, readings, evidence."""

from __future__ import annotations

from typing import Any

from miliary_seg.domain.decision import CriterionResult, Decision, EvidenceSlice, ReadingResult
from miliary_seg.domain.reason import Reason

Json = dict[str, Any]

LEAST_CHANCE = 0.0005
"""Counts less likely than this are one draw of the simulation: left out of the file."""


def decision_document(decision: Decision) -> Json:
    """The answer for one series with its evidence."""
    return {
        "verdict": str(decision.verdict),
        "statement": f"The pattern {decision.verdict.text}.",
        "reasons": reasons_document(decision.reasons),
        "criteria": [_criterion(c) for c in decision.criteria],
        "readings": [_reading(r) for r in decision.readings],
        "probability": decision.probability,
        "borderline": decision.borderline,
        "margin": decision.margin,
        "count_distribution": _distribution(decision),
        "threshold": decision.threshold,
        "evidence_slices": [_evidence(e) for e in decision.evidence_slices],
        "quadrant_counts": dict(decision.quadrant_counts),
    }


def _distribution(decision: Decision) -> Json | None:
    """Counts with their probabilities, as two lists, without those below ``LEAST_CHANCE``."""
    interval = decision.count_interval
    if interval is None:
        return None
    kept = [(count, chance) for count, chance in decision.count_distribution if chance >= LEAST_CHANCE]
    return {
        "low": interval[0],
        "median": interval[1],
        "high": interval[2],
        "counts": [count for count, _ in kept],
        "probabilities": [chance for _, chance in kept],
    }


def _criterion(criterion: CriterionResult) -> Json:
    return {
        "name": criterion.name,
        "verdict": str(criterion.verdict),
        "statement": criterion.statement,
        "citation": criterion.citation,
        "observed": criterion.observed,
        "threshold": criterion.threshold,
        "evidence": list(criterion.evidence),
        "reasons": reasons_document(criterion.reasons),
    }


def _reading(reading: ReadingResult) -> Json:
    return {
        "name": reading.name,
        "verdict": str(reading.verdict),
        "is_default": reading.is_default,
        "choices": dict(reading.choices),
        "reasons": reasons_document(reading.reasons),
        "margin": reading.margin,
        "probability": reading.probability,
    }


def _evidence(evidence: EvidenceSlice) -> Json:
    centre = evidence.centre_ras_mm
    return {
        "index": evidence.index,
        "position_mm": evidence.position_mm,
        "centre_ras_mm": None if centre is None else list(centre),
        "sop_instance_uid": evidence.sop_instance_uid,
        "n_lesions": evidence.n_lesions,
        "image": evidence.image,
    }


def reasons_document(reasons: tuple[Reason, ...]) -> list[Json]:
    """Codes for programs, texts for people."""
    return [{"code": reason.code, "text": reason.text} for reason in reasons]
