"""What one series shows, counted in every way that a reading may ask for. Nothing is computed twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from miliary_seg.decide.adequacy import Gates, gates_of
from miliary_seg.decide.criteria import CountEvidence, bilateral_criterion, both_levels_criterion, count_criterion
from miliary_seg.decide.interpretations import Interpretation
from miliary_seg.decide.probability import Scenarios, chances_of, reached, scenarios_of
from miliary_seg.decide.regions import LEVELS, QUADRANTS, SIDES, Regions, regions_of
from miliary_seg.decide.slice_counts import (
    ContiguityRule,
    SliceStack,
    acquired_stack,
    axial_stack,
    deciding_pair,
    is_axial,
    second_best,
    second_best_by_phase,
    slab_stack,
)
from miliary_seg.decide.true_count import SIZES_MM, TYPICAL_MM, UNMEASURED, at_least, model_for, true_count
from miliary_seg.domain.arrays import Float64Array, Int64Array
from miliary_seg.domain.compartment import Assignment
from miliary_seg.domain.decision import CountDistribution, CriterionResult, EvidenceSlice, ScanFacts, Verdict
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.sequence import Modality
from miliary_seg.settings import DecideSettings

T = TypeVar("T")

THICK_SHARE = 0.59
"""Slices of three fifths of a thick slice (3 mm of 5; headers round) and more are counted as they are: the cohort
behind the rule had such slices, and two of them joined would be thicker than any."""
THOUSAND = 1000

IMAGE_NAMES = {
    ("acquired", "native"): "slice",
    ("acquired", "equivalent"): "slab",
    ("axial", "native"): "axial plane",
    ("axial", "equivalent"): "axial slab",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Counts, places and gates of one series."""

    facts: ScanFacts
    settings: DecideSettings
    threshold: int
    gates: Gates
    regions: Regions
    scenarios: Scenarios
    slabs: SliceStack
    """Slabs of the acquired slices."""
    stacks: Mapping[tuple[str, str], SliceStack | None]
    """(plane, slice) -> the images of that reading; None where they are unknown."""
    expected: Mapping[tuple[str, str], SliceStack | None] | None
    """The same images with all candidates, accepted or not; None where the detector was not measured."""
    chances: Float64Array
    """Probability of each of these candidates, shape (candidates,)."""
    size_mm: float
    """Geometric mean of the diameters of the marked lesions."""
    _made: dict[tuple[object, ...], Any] = field(default_factory=dict)
    """Intermediate results that several readings share."""

    @classmethod
    def of(
        cls,
        lesions: Sequence[Lesion],
        assignments: Sequence[Assignment],
        facts: ScanFacts,
        settings: DecideSettings,
    ) -> Evidence:
        """Count and place the lesions of one series.

        Raises
        ------
        UsageError
            If lesions and facts do not fit.
        """
        on_ct = facts.modality is Modality.CT
        stacks = _stacks(lesions, facts, settings)
        slabs = stacks["acquired", "equivalent"]
        assert slabs is not None  # noqa: S101 - acquired slices always exist
        everything = None if facts.unmarked is None else (*lesions, *facts.unmarked)
        return cls(
            facts=facts,
            settings=settings,
            threshold=settings.ct_lesions_per_slice if on_ct else settings.mri_lesions_per_slice,
            gates=gates_of(facts, settings),
            regions=regions_of(lesions, assignments, facts, settings),
            scenarios=scenarios_of(lesions),
            slabs=slabs,
            stacks=stacks,
            expected=None if everything is None else _stacks(everything, facts, settings),
            chances=chances_of(everything or ()),
            size_mm=_mean_size_mm(lesions),
        )

    def criteria(self, reading: Interpretation) -> tuple[CriterionResult, CriterionResult, CriterionResult]:
        """Answer each criterion under one reading."""
        return self._once(("criteria", reading), lambda: self._criteria(reading))

    def _criteria(self, reading: Interpretation) -> tuple[CriterionResult, CriterionResult, CriterionResult]:
        fewest, by_quadrant = reading.min_per_region, reading.bilateral == "quadrants"
        return (
            count_criterion(self.count(reading), self.gates, self.evidence_slices(reading)),
            bilateral_criterion(self.regions, self.gates, fewest, by_quadrant),
            both_levels_criterion(self.regions, self.gates, fewest),
        )

    def slices_differ(self, plane: str) -> bool:
        """Whether thick slices would have shown something else than these: only where these are thinner."""
        return self.stacks[plane, "native"] is not self.stacks[plane, "equivalent"]

    def thickness_mm(self, reading: Interpretation) -> float:
        """Thickness of the images of a reading."""
        if reading.slice == "equivalent" and self.slices_differ(reading.plane):
            return self.settings.slab_mm
        acquired = self.stacks[reading.plane, "native"] is self.stacks["acquired", "native"]
        return self.facts.thickness_mm if acquired else self.settings.axial_spacing_mm

    def count_range(self, reading: Interpretation) -> tuple[int, int] | None:
        """Lowest and highest second-best count over the places where the first image could lie."""
        stack = self.stacks[reading.plane, reading.slice]
        if stack is None:
            return None
        by_phase = second_best_by_phase(stack.counts[:, None], stack, self._apart(reading))[:, 0]
        return int(by_phase.min()), int(by_phase.max())

    def count(self, reading: Interpretation) -> CountEvidence | None:
        """Count on the deciding image; None where this reading's images are unknown."""
        stack = self.stacks[reading.plane, reading.slice]
        if stack is None:
            return None
        counts = stack.counts
        apart = self._apart(reading)
        return CountEvidence(
            deciding=self._once(("seen", id(stack), apart), lambda: int(second_best(counts[:, None], stack, apart)[0])),
            best=int(counts.max(initial=0)),
            threshold=self.threshold,
            images=IMAGE_NAMES[reading.plane, reading.slice],
            distribution=self.count_distribution(reading),
            limits=(self.settings.max_not_met_probability, self.settings.min_met_probability),
            measured=model_for(self.facts.thickness_mm, self.facts.sequence.sequence) is not UNMEASURED,
        )

    def deciding_images(self, reading: Interpretation) -> tuple[int, ...]:
        """Images (of the reading's stack) that carry the count: the best admissible pair, or fewer."""
        stack = self.stacks[reading.plane, reading.slice]
        return () if stack is None else deciding_pair(stack, self._apart(reading))

    def chance_of_count(self, reading: Interpretation) -> float | None:
        """P(enough true lesions on the deciding image); None where this reading's images are unknown."""
        distribution = self.count_distribution(reading)
        return at_least(distribution, self.threshold) if distribution else None

    def evidence_slices(self, reading: Interpretation) -> tuple[EvidenceSlice, ...]:
        """Slices to look at, with their place in the world."""
        key = ("slices", reading.plane, reading.slice, reading.non_contiguous)
        return self._once(key, lambda: self._evidence_slices(reading))

    def _evidence_slices(self, reading: Interpretation) -> tuple[EvidenceSlice, ...]:
        stack = self.stacks[reading.plane, reading.slice]
        if stack is None:
            return ()
        image_name, facts, counts = IMAGE_NAMES[reading.plane, reading.slice], self.facts, stack.counts
        slices = []
        for image in self.deciding_images(reading):
            k = int(stack.middles[image])
            slices.append(
                EvidenceSlice(
                    index=k,
                    position_mm=facts.slice_positions_mm[k],
                    centre_ras_mm=facts.slice_centres_ras_mm[k] if facts.slice_centres_ras_mm else None,
                    sop_instance_uid=facts.sop_instance_uids[k] if facts.sop_instance_uids else None,
                    n_lesions=int(counts[image]),
                    image=image_name,
                )
            )
        return tuple(slices)

    def probability(self, reading: Interpretation) -> float | None:
        """P(criteria met); None where it cannot be known: see ``Gates.sides`` and ``Gates.probability``."""
        counted = self.stacks[reading.plane, reading.slice] is not None
        if not counted or self.gates.sides or (self.gates.probability and not self.shown(reading)):
            return None
        fewest, by_quadrant = reading.min_per_region, reading.bilateral == "quadrants"
        placed = self._once(
            ("placed", fewest, by_quadrant), lambda: self.scenarios.regions_met(self.regions, fewest, by_quadrant)
        )
        deciding = self._deciding_in_scenarios(reading) if self.expected is None else None
        if deciding is not None:
            return self.scenarios.chance(reached(deciding, self.threshold, self.facts.lesion_sensitivity) * placed)
        names = (*LEVELS, *(QUADRANTS if by_quadrant else SIDES))
        shown = self.scenarios.chance(placed)
        unseen = float(np.prod([self.regions.chance_unseen(name, fewest) for name in names]))
        return (self.chance_of_count(reading) or 0.0) * max(shown, unseen)

    def shown(self, reading: Interpretation) -> bool:
        """Whether what is marked meets every criterion, whatever the scan lacks."""
        return all(criterion.verdict is Verdict.MET for criterion in self.criteria(reading))

    def count_distribution(self, reading: Interpretation) -> CountDistribution:
        """(count, probability) of the deciding image's true count."""
        return self._once(
            ("distribution", reading.plane, reading.slice, reading.non_contiguous),
            lambda: self._count_distribution(reading),
        )

    def _count_distribution(self, reading: Interpretation) -> CountDistribution:
        if self.expected is None:
            deciding = self._deciding_in_scenarios(reading)
            return () if deciding is None else self.scenarios.distribution(deciding, self.facts.lesion_sensitivity)
        expected = self.expected_count(reading)
        if expected is None:
            return ()
        return true_count(expected, self.size_mm, self.facts.thickness_mm, self.facts.sequence.sequence)

    def expected_count(self, reading: Interpretation) -> float | None:
        """Sum of the probabilities of all candidates on the second-best image; None where that is not known."""
        stack = None if self.expected is None else self.expected[reading.plane, reading.slice]
        if stack is None:
            return None
        # Thousandths of a lesion, since counts of images are whole numbers.
        thousandths = np.rint(stack.shows @ self.chances * THOUSAND).astype(np.int64)
        scaled = replace(self._apart(reading), threshold=self.threshold * THOUSAND)
        return float(second_best(thousandths[:, None], stack, scaled)[0]) / THOUSAND

    def slab_counts(self) -> tuple[int, ...]:
        """Lesions that a slab starting at each acquired slice would have shown, in the order of the slice axis."""
        counts = np.zeros(self.facts.n_slices, dtype=np.int64)
        counts[self.slabs.indices] = self.slabs.counts
        return tuple(int(n) for n in counts)

    def _apart(self, reading: Interpretation) -> ContiguityRule:
        return ContiguityRule(
            kind=reading.non_contiguous, separation_mm=self.settings.separation_mm, threshold=self.threshold
        )

    def _deciding_in_scenarios(self, reading: Interpretation) -> Int64Array | None:
        stack, apart = self.stacks[reading.plane, reading.slice], self._apart(reading)
        if stack is None:
            return None
        counts = self._once(("counts", id(stack)), lambda: self.scenarios.counts(stack))
        return self._once(("deciding", id(stack), apart), lambda: second_best(counts, stack, apart))

    def _once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


def _mean_size_mm(lesions: Sequence[Lesion]) -> float:
    """Geometric mean diameter, without masses; what is typical where there is no lesion."""
    diameters = [max(one.equivalent_diameter_mm, SIZES_MM[0] / 2) for one in lesions if "mass" not in one.flags]
    return TYPICAL_MM if not diameters else float(np.exp(np.mean(np.log(diameters))))


def _stacks(
    lesions: Sequence[Lesion], facts: ScanFacts, settings: DecideSettings
) -> dict[tuple[str, str], SliceStack | None]:
    """The images of every reading of plane and slice; None where they are unknown."""
    measured = [lesion.enhancement for lesion in lesions]
    known = facts.modality is not Modality.CT and any(value is not None for value in measured)
    enhancement = np.array([np.nan if e is None else e for e in measured], dtype=np.float64) if known else None
    acquired = acquired_stack(lesions, facts)
    thick = facts.thickness_mm >= THICK_SHARE * settings.slab_mm
    slabs = acquired if thick else slab_stack(acquired, settings.slab_mm, enhancement)
    axial, axial_slabs = (acquired, slabs) if is_axial(facts) else (None, None)
    if is_axial(facts) is False:
        axial = axial_stack(lesions, settings.axial_spacing_mm, settings.slab_mm)
        axial_slabs = slab_stack(axial, settings.slab_mm, enhancement)
    return {
        ("acquired", "native"): acquired,
        ("acquired", "equivalent"): slabs,
        ("axial", "native"): axial,
        ("axial", "equivalent"): axial_slabs,
    }
