"""What header and names say, weighed against the picture: contradictions make an answer cautious, never another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miliary_seg.decide.adequacy import gates_of
from miliary_seg.domain.appearance import Appearance, by_pair, contradiction, gained, weigh
from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.settings import DecideSettings

S = Sequence


def said(sequence: Sequence, confidence: str = "medium", *, unproven: bool = False) -> SequenceEvidence:
    return SequenceEvidence(sequence=sequence, confidence=confidence, contrast_unproven=unproven)


def sees(sequence: Sequence, probability: float = 0.99, enhanced: float | None = None) -> Appearance:
    return Appearance(sequence=sequence, probability=probability, enhanced=enhanced, evidence=("seen",))


def blocked(sequence: SequenceEvidence) -> list[str]:
    facts = ScanFacts(modality=Modality.MR, sequence=sequence, slice_positions_mm=tuple(float(k) for k in range(60)))
    codes = {reason.code for reason in gates_of(facts, DecideSettings()).absence}
    return sorted(codes & {"unknown_sequence", "sequence_uncertain", "no_contrast"})


CASES = [
    # said, seen, sequence after, what stands against a negative answer
    (said(S.T1C), sees(S.T1, enhanced=0.98), S.T1C, []),
    (said(S.T1C), sees(S.T1, enhanced=0.5), S.T1C, []),
    (said(S.T1C), sees(S.T1, enhanced=None), S.T1C, []),
    (said(S.T1C), sees(S.T1, enhanced=0.02), S.T1C, ["sequence_uncertain"]),
    (said(S.T1C, "high"), sees(S.T1, enhanced=0.02), S.T1C, ["sequence_uncertain"]),
    (said(S.T1C), sees(S.FLAIR), S.T1C, ["sequence_uncertain"]),
    (said(S.T1C), sees(S.FLAIR, 0.8), S.T1C, []),
    (said(S.T1, unproven=True), sees(S.T1, enhanced=0.98), S.T1C, ["sequence_uncertain"]),
    (said(S.T1, unproven=True), sees(S.T1, enhanced=0.02), S.T1, ["no_contrast"]),
    (said(S.T1), sees(S.T1, enhanced=0.98), S.T1, ["no_contrast", "sequence_uncertain"]),
    (said(S.FLAIR), sees(S.FLAIR), S.FLAIR, []),
    (said(S.FLAIR), sees(S.T1, enhanced=0.02), S.FLAIR, ["sequence_uncertain"]),
    (said(S.FLAIR), sees(S.T2), S.FLAIR, ["sequence_uncertain"]),
    (said(S.DWI), sees(S.FLAIR), S.DWI, []),
    (said(S.SWI), sees(S.PD), S.SWI, []),
    (said(S.UNKNOWN, "none"), sees(S.FLAIR), S.FLAIR, ["sequence_uncertain"]),
    (said(S.UNKNOWN, "none"), replace(sees(S.FLAIR), bare=True), S.UNKNOWN, ["unknown_sequence"]),  # diffusion?
    (said(S.FLAIR), replace(sees(S.FLAIR), bare=True), S.FLAIR, []),
    (said(S.T1), replace(sees(S.FLAIR), bare=True), S.T1, ["no_contrast", "sequence_uncertain"]),
    (said(S.UNKNOWN, "none"), sees(S.PD), S.UNKNOWN, ["unknown_sequence"]),  # susceptibility?
    (said(S.UNKNOWN, "none"), sees(S.T1, enhanced=0.98), S.T1C, ["sequence_uncertain"]),
    (said(S.UNKNOWN, "none"), sees(S.T1, enhanced=0.5), S.UNKNOWN, ["unknown_sequence"]),
    (said(S.T1C, "user"), sees(S.FLAIR), S.T1C, []),
]


@pytest.mark.parametrize(("stated", "seen", "sequence", "codes"), CASES)
def test_weighing(stated: SequenceEvidence, seen: Appearance, sequence: Sequence, codes: list[str]) -> None:
    found = weigh(stated, seen)
    assert found.sequence is sequence
    assert blocked(found) == codes
    assert weigh(stated, None) is stated


def test_both_sides_are_named() -> None:
    found = weigh(said(S.T1C), sees(S.T1, enhanced=0.02))
    assert "stated" in found.conflict
    assert "picture" in found.conflict
    facts = ScanFacts(modality=Modality.MR, sequence=found, slice_positions_mm=(0.0, 1.0))
    texts = [r.text for r in gates_of(facts, DecideSettings()).absence if r.code == "sequence_uncertain"]
    assert found.conflict in texts[0]


@pytest.mark.parametrize(
    ("sequence", "seen", "told"),
    [
        (S.T1C, sees(S.FLAIR), "looks like flair"),
        (S.T1C, sees(S.T1, enhanced=0.01), "shows no contrast agent"),
        (S.T1, sees(S.T1, enhanced=0.99), "shows a contrast agent"),
        (S.T1C, sees(S.T1, enhanced=0.1), ""),
        (S.T1C, sees(S.FLAIR, 0.95), ""),
        (S.DWI, sees(S.FLAIR), ""),
    ],
)
def test_the_user_is_told_of_a_flat_contradiction(sequence: Sequence, seen: Appearance, told: str) -> None:
    reasons = contradiction(said(sequence, "user"), seen)
    assert [r.code for r in reasons] == (["picture_contradicts"] if told else [])
    assert all(told in r.text for r in reasons)
    assert contradiction(said(sequence), seen) == ()


def looked(enhanced: float | None, **regions: float) -> Appearance:
    return Appearance(sequence=S.T1, probability=0.99, enhanced=enhanced, regions=tuple(regions.items()))


def test_a_pair_by_its_difference() -> None:
    before = looked(0.2, sinus=0.9, plexus=1.05, mucosa=0.7)
    after = looked(0.7, sinus=1.3, plexus=1.3, mucosa=1.1)
    assert gained(before, after)
    assert not gained(after, before)
    assert not gained(before, before)
    assert not gained(before, looked(0.7, sinus=1.9, plexus=1.05, mucosa=0.7)), "one place is not a pair of places"
    assert not gained(looked(0.8, sinus=0.9, plexus=1.0), after), "the first is enhanced already"
    assert not gained(before, looked(None, sinus=1.3, plexus=1.3))
    assert not gained(before, looked(0.7))
    found = by_pair(said(S.T1, unproven=True))
    assert (found.sequence, found.confidence, blocked(found)) == (S.T1C, "medium", [])
