"""A second scan of the study beside the one that is analysed: before contrast agent, or FLAIR; could it be used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Sequence

BEFORE = {Sequence.T1C: Sequence.T1, Sequence.CTC: Sequence.CT}
"""What a scan after contrast agent is compared with."""


class Enhances(StrEnum):
    """Whether a lesion is brighter after contrast agent than before; ``CANNOT_TELL`` is an answer, not a guess."""

    YES = "yes"
    NO = "no"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptake:
    """What one lesion gained from the scan before contrast agent to the one after it."""

    value: float
    """Mean of (after - matched before) in the lesion, as a fraction of the local white matter (CT: in HU)."""
    sd: float
    """Standard deviation of the same measure at places of this scan where nothing takes up agent: noise, and what is
    left of movement between the scans."""
    enhances: Enhances


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondScan:
    """A second scan of the study that was, or was to be, laid on this one, and how well it lies there."""

    reasons: tuple[Reason, ...] = ()
    """Why it was not used; empty where it was."""
    moved_mm: float | None = None
    """Farthest that registration moved a point of the brain from where the headers place it; None = not registered."""
    agreement_mm: float | None = None
    """How far two registrations by separate halves of the brain's voxels differ."""
    in_view_fraction: float | None = None
    """Share of the brain that the second scan shows."""

    @property
    def used(self) -> bool:
        """Whether lesions were measured with it."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastPair(SecondScan):
    """The scan before contrast agent that a scan was compared with."""

    before: str
    """Series before contrast agent."""
    explained_fraction: float | None = None
    """Share of the spread of the brain's grey values that the matched scan before contrast agent explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlairPair(SecondScan):
    """The FLAIR on which the lesions of a scan were looked up."""

    flair: str
    """Series of the FLAIR."""
