"""What kind of scan a series is, and which way lesions stand out on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Modality(StrEnum):
    """What machine made the scan: the rule has one threshold for each."""

    MR = "MR"
    CT = "CT"


class Sequence(StrEnum):
    """What the scan shows; ``UNKNOWN`` is an answer, not a guess."""

    T1C = "t1c"
    T1 = "t1"
    T2 = "t2"
    FLAIR = "flair"
    DWI = "dwi"
    ADC = "adc"
    SWI = "swi"
    T2STAR = "t2star"
    PD = "pd"
    CT = "ct"
    CTC = "ctc"
    UNKNOWN = "unknown"


class Polarity(StrEnum):
    """Whether lesions are brighter or darker than their surroundings."""

    BRIGHT = "bright"
    DARK = "dark"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEvidence:
    """Which sequence a series is, how sure that is, and why."""

    sequence: Sequence = Sequence.UNKNOWN
    confidence: str = "none"
    """``user``, ``high`` (standard attributes), ``medium`` (free text or parameters), ``low`` or ``none``."""
    evidence: tuple[str, ...] = ()
    """One sentence per observation, without free text that could identify a patient."""
    conflict: str = ""
    """Both sides, in one sentence, where the witnesses contradict each other."""
    contrast_unproven: bool = False
    """Nothing speaks for or against a contrast agent: taken as unenhanced, which is the cautious branch."""
