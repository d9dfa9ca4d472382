"""The three-valued answer, and everything needed to check it by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate

from miliary_seg.domain.compartment import Coverage, MaskTrust, Registration
from miliary_seg.domain.display import shown
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, SequenceEvidence

QUANTILES = (0.025, 0.5, 0.975)
"""Ends and middle of the interval that a count is given with."""


CountDistribution = tuple[tuple[int, float], ...]
"""(count, probability) pairs, ascending."""


def count_interval(distribution: CountDistribution) -> tuple[int, int, int] | None:
    """2.5, 50 and 97.5 % quantiles of a distribution of counts; None where there is none.

    Examples
    --------
    >>> count_interval(((3, 0.5), (4, 0.49), (9, 0.01)))
    (3, 3, 4)
    """
    if not distribution:
        return None
    counts, chances = zip(*distribution, strict=True)
    below = list(accumulate(chances))
    low, middle, high = (
        next((n for n, p in zip(counts, below, strict=True) if p >= q - 1e-9), counts[-1]) for q in QUANTILES
    )
    return low, middle, high


HIDES_LESIONS = frozenset({"unknown_sequence", "no_contrast", "sequence_insensitive"})
"""Codes of the reasons for which the lesions that show say nothing of those that are there."""


class Verdict(StrEnum):
    """Meets, does not meet, or indeterminate for the proposed criteria."""

    MET = "MET"
    NOT_MET = "NOT_MET"
    INDETERMINATE = "INDETERMINATE"

    @property
    def text(self) -> str:
        """The approved wording."""
        return {
            Verdict.MET: "meets the proposed criteria",
            Verdict.NOT_MET: "does not meet the proposed criteria",
            Verdict.INDETERMINATE: "is indeterminate for the proposed criteria",
        }[self]

    @classmethod
    def all_of(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Conjunction in three-valued (Kleene) logic; of nothing it is MET."""
        found = set(verdicts)
        return next((v for v in (cls.NOT_MET, cls.INDETERMINATE) if v in found), cls.MET)

    @classmethod
    def any_of(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Disjunction in three-valued (Kleene) logic; of nothing it is NOT_MET."""
        found = set(verdicts)
        return next((v for v in (cls.MET, cls.INDETERMINATE) if v in found), cls.NOT_MET)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFacts:
    """All that the criteria may know of a scan: no voxels.

    Slice positions are along the normal of the slices in mm, ascending with the slice index or descending; only their
    differences matter.
    """

    modality: Modality
    sequence: SequenceEvidence
    slice_positions_mm: tuple[float, ...]
    slice_centres_ras_mm: tuple[tuple[float, float, float], ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    thickness_mm: float = 1.0
    gap_mm: float = 0.0
    n_brain_slices: int | None = None
    """Slices that show brain: the detector's rates are over these; None = all."""
    missing_slices: tuple[int, ...] = ()
    """Slices that were never acquired. Where the positions are even, these slices stand in for them (interpolated) and
    are never evidence; where they are not, the hole shows in the positions."""
    interpolated: bool = False
    """True where uneven slices were resampled onto an even grid: no slice is as acquired, and which of them were
    neighbours cannot be told. (Filled-in slices alone do not count: ``missing_slices``.)"""
    coverage: Coverage = field(default_factory=Coverage)
    registration: Registration = field(default_factory=lambda: Registration(trusted=True, trust=1.0))
    mask_trust: MaskTrust = field(default_factory=MaskTrust)
    image_doubts: tuple[Reason, ...] = ()
    """Coded doubts about the image (noise, motion, ...) that make a negative answer indeterminate."""
    artefact_doubts: tuple[Reason, ...] = ()
    """Coded artefact patterns (vessels, sulci, ringing) that make a positive count indeterminate."""
    lesion_sensitivity: float | None = None
    """Measured chance that the detector finds a visible lesion, at the operating point in use."""
    false_positives_per_slice: float | None = None
    """Measured mean number of false cross-sections a slice, at the operating point in use."""
    evidence_probability: float = 0.0
    """Lesions less probable than this count on slices, but are no evidence for a side or level."""
    evidence_false_positives_per_slice: float | None = None
    """Measured mean number of false lesions at least that probable, over slices; None = as for all lesions."""
    unmarked: tuple[Lesion, ...] | None = None
    """Candidates that were too improbable to be marked, with their probabilities and the slices on which each would
    show. None: the lesions were not found by a detector that was measured, so what it misses is not known."""

    @property
    def n_slices(self) -> int:
        """Number of acquired slices."""
        return len(self.slice_positions_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSlice:
    """A slice that carries the answer."""

    index: int
    """Along the slice axis, from 0. Of a slab, the slice in its middle; of an axial reformat, the acquired slice
    through the middle of its lesions."""
    position_mm: float
    """Along the normal of the slices."""
    centre_ras_mm: tuple[float, float, float] | None
    sop_instance_uid: str | None
    n_lesions: int
    """On this image: the slice, the slab around it, or the reformatted plane."""
    image: str = "slice"
    """What was counted on: ``slice``, ``slab``, ``axial plane`` or ``axial slab``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionResult:
    """One published criterion under the default reading."""

    name: str
    """``count`` , ``bilateral`` , ``both_levels``."""
    statement: str
    citation: str
    observed: str
    threshold: str
    verdict: Verdict
    evidence: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpretationResult:
    """The answer under one reading of the rule's open points."""

    name: str
    """For instance ``acquired/native/pairwise/independent/1``."""
    choices: tuple[tuple[str, str], ...]
    """(open point, reading) pairs, for instance ``("slice", "equivalent")``."""
    verdict: Verdict
    is_default: bool = False
    reasons: tuple[Reason, ...] = ()
    margin: int | None = None
    """Count of the deciding image minus the threshold; None where this reading's images are unknown."""
    probability: float | None = None
    """P(criteria met) under this reading; meaning and limits as in ``Decision.probability``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceAnswer:
    """The answer for slices of one thickness: as acquired, or as a thick slice would have shown them."""

    slice: str
    """``native`` or ``equivalent``."""
    thickness_mm: float
    verdict: Verdict
    count: int | None
    """Marked lesions on the second-best admissible image; of slabs, the median over where they could start."""
    count_range: tuple[int, int] | None
    """The same for the worst and the best place where slabs could start; equal for native slices."""
    count_interval: tuple[int, int, int] | None
    """2.5, 50 and 97.5 % quantiles of the true count."""
    probability: float | None
    """P(criteria met) on such slices; meaning and limits as in ``Decision.probability``."""
    expected: float | None = None
    """Sum of the probabilities of all candidates, accepted or not, on the second-best image; None where the detector
    was not measured."""
    size_mm: float | None = None
    """Geometric mean diameter of the marked lesions of the scan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer for one series, with its evidence under every reading."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    criteria: tuple[CriterionResult, ...] = field(default=(), repr=False)
    readings: tuple[InterpretationResult, ...] = field(default=(), repr=False)
    probability: float | None = None
    """P(criteria met) under the default reading, of ``slice_answers`` the least: given the probabilities of all
    candidates and what the detector was measured to miss. It knows nothing of image doubts or artefacts; None where
    sides or levels are unknown, and, unless the criteria are shown, where part of the brain is not in view or lesions
    need not show on such a scan (no contrast medium, another or an unknown sequence)."""
    borderline: bool = False
    """The 95 % interval of the true count (``count_distribution``) holds the threshold."""
    margin: int = 0
    """Count of the deciding (second-best admissible) slice minus the threshold."""
    count_distribution: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    """(count, probability) of the deciding slice's true count: lesions that are real, and missed ones; default
    reading, slices as acquired."""
    threshold: int = 20
    evidence_slices: tuple[EvidenceSlice, ...] = ()
    slice_counts: tuple[int, ...] = field(default=(), repr=False)
    """Lesions per native slice, in the order of the slice axis."""
    slab_counts: tuple[int, ...] = field(default=(), repr=False)
    """Lesions that a slab of ``slab_mm`` starting at this slice would have shown."""
    slab_mm: float = 5.0
    """Thickness of that slab (``settings.decide.slab_mm``)."""
    quadrant_counts: tuple[tuple[str, int | None], ...] = ()
    """Lesions per compartment (``left_supratentorial`` ...), boundary-uncertain ones included, and ``unassigned``; None
    where compartments are unknown, which is not the same as none."""
    slice_answers: tuple[SliceAnswer, ...] = ()
    """Native slices first; the equivalent only where the acquired slices are thinner than what it stands for."""

    @property
    def count_interval(self) -> tuple[int, int, int] | None:
        """2.5, 50 and 97.5 % quantiles of ``count_distribution``; None where there is none."""
        return count_interval(self.count_distribution)

    def _repr_html_(self) -> str:
        return str(shown("cards.decision", self))


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDecision:
    """The answer for a study: met if any eligible series is met; series are never pooled."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    deciding_series: tuple[str, ...] = ()
    """Identifiers of the series that carry the verdict."""

    def _repr_html_(self) -> str:
        return str(shown("cards.study_decision", self))
