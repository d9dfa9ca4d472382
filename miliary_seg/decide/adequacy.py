"""What a scan can prove: the doubts that make an answer indeterminate.

What the visible slices prove stays proved, however poor the scan. Proving a criterion *false* needs more: the whole
brain in view, thin slices without gaps, a sequence on which lesions stand out, and no doubt about the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from miliary_seg.decide.reasons import coverage_reasons, reason, unique
from miliary_seg.decide.slice_counts import has_holes, is_axial
from miliary_seg.domain.decision import HIDES_LESIONS, ScanFacts
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.settings import DecideSettings

SHOWS_LESIONS = {Sequence.T1C, Sequence.FLAIR, Sequence.DWI, Sequence.SWI, Sequence.T2STAR, Sequence.CTC}
"""Sequences on which miliary lesions stand out (docs/criteria.md)."""
UNENHANCED = {Sequence.T1, Sequence.CT}
CT_SEQUENCES = {Sequence.CT, Sequence.CTC}
WEAK_EVIDENCE = {"low", "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """Coded doubts, grouped by the statement that they prevent."""

    absence: tuple[Reason, ...]
    """A negative: something may have been missed."""
    presence: tuple[Reason, ...]
    """A qualifying count: something may have been counted that is no lesion."""
    levels: tuple[Reason, ...]
    """Any statement about supra- and infratentorial."""
    sides: tuple[Reason, ...]
    """Any statement about left and right."""
    plane: tuple[Reason, ...]
    """Any count on an axial reformat."""
    probability: tuple[Reason, ...] = ()
    """Any probability that the criteria are met, unless they are shown: part of the brain is not in view, which part is
    not known, or lesions need not show on such a scan at all."""


def gates_of(facts: ScanFacts, settings: DecideSettings) -> Gates:
    """Collect the doubts about one scan."""
    fit = facts.registration
    nowhere: tuple[Reason, ...] = () if fit.brain_found else (reason("brain_not_found"),)
    untrusted = () if fit.trusted and fit.brain_found else (reason("registration_untrusted"), *fit.reasons)
    mask = facts.mask_trust
    unmasked = () if mask.trusted or untrusted else (reason("mask_untrusted"), *mask.reasons)
    unoriented = () if fit.orientation_known else (reason("orientation_unknown"),)
    if fit.reoriented and fit.orientation_known:
        unoriented = (reason("orientation_contradicted"),)
    uneven = (reason("interpolated_slices"),) if facts.interpolated else ()
    artefacts = facts.artefact_doubts
    shown = "; ".join(doubt.text for doubt in artefacts)
    covered = untrusted or coverage_reasons(facts.coverage, settings.min_coverage)
    return Gates(
        absence=unique(
            (
                *nowhere,
                *covered,
                *unmasked,
                *uneven,
                *_geometry(facts, settings),
                *_sequence(facts),
                *facts.image_doubts,
            ),
        ),
        presence=unique((*nowhere, *uneven, *((reason("artefact_pattern", shown), *artefacts) if artefacts else ()))),
        levels=unique((*nowhere, *untrusted)),
        sides=unique((*nowhere, *untrusted, *unoriented)),
        probability=unique((*nowhere, *covered, *unmasked, *(r for r in _sequence(facts) if r.code in HIDES_LESIONS))),
        plane=() if is_axial(facts) is not None else (reason("plane_unknown"),),
    )


def gap_mm(facts: ScanFacts) -> float:
    """Unimaged distance between neighbouring slices: as stated, or as their positions say."""
    places = sorted(facts.slice_positions_mm)
    steps = sorted(b - a for a, b in pairwise(places))
    typical = steps[len(steps) // 2] if steps else 0.0
    return max(facts.gap_mm, typical - facts.thickness_mm)


def widest_gap_mm(facts: ScanFacts, settings: DecideSettings) -> float:
    """Gap up to which a negative answer stands: lesions in it are on no image, and the rule counts on images."""
    return max(settings.max_gap_mm, settings.max_gap_share * facts.thickness_mm)


def _geometry(facts: ScanFacts, settings: DecideSettings) -> tuple[Reason, ...]:
    found: list[Reason] = []
    if not facts.slice_positions_mm:
        found.append(reason("no_slices"))
    if facts.thickness_mm > settings.max_thickness_mm:
        found.append(reason("thick_slices", f"{facts.thickness_mm:.3g} mm, at most {settings.max_thickness_mm:g} mm"))
    if gap_mm(facts) > widest_gap_mm(facts, settings):
        found.append(reason("slice_gaps", f"{gap_mm(facts):.3g} mm between slices of {facts.thickness_mm:.3g} mm"))
    if facts.missing_slices or has_holes(facts.slice_positions_mm):
        found.append(reason("missing_slices", f"{len(facts.missing_slices)} listed" if facts.missing_slices else ""))
    return tuple(found)


def _sequence(facts: ScanFacts) -> tuple[Reason, ...]:
    sequence = facts.sequence.sequence
    conflict = facts.sequence.conflict
    if sequence is Sequence.UNKNOWN:
        return (reason("unknown_sequence"), *((reason("sequence_uncertain", conflict),) if conflict else ()))
    found: list[Reason] = []
    if sequence in UNENHANCED:
        found.append(reason("no_contrast", _unenhanced(facts)))
    elif sequence not in SHOWS_LESIONS:
        found.append(reason("sequence_insensitive", str(sequence)))
    contradicts = (facts.modality is Modality.CT) != (sequence in CT_SEQUENCES)
    if contradicts or conflict or facts.sequence.confidence in WEAK_EVIDENCE:
        weak = f"confidence {facts.sequence.confidence}"
        detail = f"{sequence} on {facts.modality}" if contradicts else conflict or weak
        found.append(reason("sequence_uncertain", detail))
    return tuple(found)


def _unenhanced(facts: ScanFacts) -> str:
    """That a lack of contrast was proven, or that it was not and how the user can say so."""
    sequence = facts.sequence.sequence
    if not facts.sequence.contrast_unproven:
        return str(sequence)
    enhanced = Sequence.CTC if sequence is Sequence.CT else Sequence.T1C
    return f"{sequence}: nothing speaks of a contrast agent; if one was given, say --sequence {enhanced}"
