"""What a picture looks like, weighed against what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Sequence, SequenceEvidence

SURE = 0.9
"""A look is heard from this probability on; between, it cannot tell."""
FLAT = 0.97
"""From here a look contradicts even the user: said beside the answer, never instead of it."""
JUDGED = frozenset({Sequence.T1, Sequence.T1C, Sequence.FLAIR, Sequence.T2, Sequence.PD})
"""Sequences whose order of fluid, grey and white matter is fixed; diffusion and susceptibility vary."""
ALIKE = (frozenset({Sequence.T1, Sequence.T1C}), frozenset({Sequence.T2, Sequence.PD}))
BY_PAIR = "of two scans of like parameters this one gained in sinuses and choroid plexus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """The witness that looks: weighting by the order of tissues, contrast agent by what must shine after it."""

    sequence: Sequence = Sequence.UNKNOWN
    """``T1`` stands for T1 with or without contrast agent; ``CT`` likewise."""
    probability: float = 0.0
    """That the weighting is the one named."""
    enhanced: float | None = None
    """Probability of a contrast agent, 0 to 1; None = cannot tell."""
    bare: bool = False
    """Whether nothing shows around the brain: it was removed, or gives no signal, as in diffusion."""
    evidence: tuple[str, ...] = ()
    regions: tuple[tuple[str, float], ...] = ()
    """Brightest tenth of each place that must shine, in units of the white matter near it."""

    @property
    def says_enhanced(self) -> bool | None:
        """True or False where the look is sure, else None."""
        if self.enhanced is None or 1 - SURE < self.enhanced < SURE:
            return None
        return self.enhanced >= SURE


def weigh(said: SequenceEvidence, look: Appearance | None) -> SequenceEvidence:
    """The evidence of header and names with that of the picture.

    Two sides that contradict each other leave the sequence uncertain (confidence ``low``, ``conflict`` names both),
    so that no answer rests on either. What only the picture says is of low confidence too. The user's word stays.
    """
    if look is None or look.probability < SURE:
        return said
    heard = replace(said, evidence=(*said.evidence, *(f"the picture: {sentence}" for sentence in look.evidence)))
    if said.confidence == "user":
        return heard
    if said.sequence is Sequence.UNKNOWN:
        return _named_by_look(heard, look)
    if said.sequence in JUDGED and not _alike(said.sequence, look.sequence):
        sides = f"header or names say {said.sequence}, but the picture looks like {look.sequence}"
        return replace(heard, confidence="low", conflict=said.conflict or sides)
    return _contrast(heard, look) if said.sequence in ALIKE[0] else heard


def contradiction(said: SequenceEvidence, look: Appearance | None) -> tuple[Reason, ...]:
    """What is told where a picture flatly contradicts the sequence that the user stated."""
    if look is None or said.confidence != "user" or look.probability < FLAT or said.sequence not in JUDGED:
        return ()
    shown = ""
    if not _alike(said.sequence, look.sequence):
        shown = f"looks like {look.sequence}"
    elif look.enhanced is not None and said.sequence is Sequence.T1C and look.enhanced <= 1 - FLAT:
        shown = "shows no contrast agent"
    elif look.enhanced is not None and said.sequence is Sequence.T1 and look.enhanced >= FLAT:
        shown = "shows a contrast agent"
    text = f"The sequence was stated as {said.sequence}, but the picture {shown}."
    return (Reason(code="picture_contradicts", text=text),) if shown else ()


def _alike(one: Sequence, other: Sequence) -> bool:
    return one is other or any({one, other} <= group for group in ALIKE)


def _named_by_look(said: SequenceEvidence, look: Appearance) -> SequenceEvidence:
    """Nothing else says what this is: the picture's word, of low confidence; T1 only where the agent is seen or not.

    Diffusion has FLAIR's order of tissues without a scalp, and susceptibility that of proton density: neither is known
    by its picture, and nothing that could be one of them is called otherwise.
    """
    if look.sequence is Sequence.T1 and look.says_enhanced is None:
        return said
    if look.sequence is Sequence.PD or (look.bare and look.sequence is Sequence.FLAIR):
        return replace(said, evidence=(*said.evidence, "the picture could be diffusion or susceptibility: cannot tell"))
    sequence = Sequence.T1C if look.sequence is Sequence.T1 and look.says_enhanced else look.sequence
    return replace(said, sequence=sequence, confidence="low")


def _contrast(said: SequenceEvidence, look: Appearance) -> SequenceEvidence:
    if look.sequence is not Sequence.T1 or look.says_enhanced is None:
        return said
    if said.sequence is Sequence.T1C and not look.says_enhanced:
        sides = "a contrast agent is stated, but the picture shows none in sinuses, plexus and mucosa"
        return replace(said, confidence="low", conflict=said.conflict or sides)
    if said.sequence is Sequence.T1 and look.says_enhanced:
        if said.contrast_unproven:
            return replace(said, sequence=Sequence.T1C, confidence="low", contrast_unproven=False)
        sides = "header or names say no contrast agent, but the picture shows one"
        return replace(said, confidence="low", conflict=said.conflict or sides)
    return said


SHINES = 0.15
"""A place that gained so much, in units of white matter, shines; scans of one person without an agent differ by 0.1."""


def gained(earlier: Appearance, later: Appearance) -> bool:
    """Whether of two looks at one person the later one gained where a contrast agent must show."""
    if earlier.enhanced is None or later.enhanced is None or not earlier.enhanced < 0.5 <= later.enhanced:
        return False
    before, after = dict(earlier.regions), dict(later.regions)
    gains = [after[name] - before[name] for name in before if name in after]
    up = sum(gain >= SHINES for gain in gains)
    return up >= 2 and up >= len(gains) / 2 and sum(gains) / len(gains) >= SHINES


def by_pair(said: SequenceEvidence) -> SequenceEvidence:
    """The evidence of the later scan of a pair that gained: enhanced, by two looks."""
    return replace(
        said,
        sequence=Sequence.T1C,
        confidence="medium",
        contrast_unproven=False,
        evidence=(*said.evidence, BY_PAIR),
    )
