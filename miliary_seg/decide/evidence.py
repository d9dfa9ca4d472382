"""What one series shows, counted in every way that a reading may ask for. Nothing is computed twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from miliary_seg.decide.adequacy import Gates, gates_of
from miliary_seg.decide.criteria import CountEvidence, bilateral_criterion, both_levels_criterion, count_criterion
from miliary_seg.decide.interpretations import Interpretation
from miliary_seg.decide.probability import Scenarios, reached, scenarios_of
from miliary_seg.decide.reasons import coverage_reasons
from miliary_seg.decide.regions import Regions, regions_of
from miliary_seg.decide.slice_counts import (
    ContiguityRule,
    SliceStack,
    acquired_stack,
    axial_stack,
    deciding_pair,
    is_axial,
    second_best,
    slab_stack,
    spacing_mm,
)
from miliary_seg.domain.arrays import Float64Array, Int64Array
from miliary_seg.domain.compartment import Assignment
from miliary_seg.domain.decision import CriterionResult, EvidenceSlice, ScanFacts, Verdict
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.sequence import Modality
from miliary_seg.settings import DecideSettings

T = TypeVar("T")

IMAGE_NAMES = {
    ("acquired", "native"): "slice",
    ("acquired", "slab"): "slab",
    ("axial", "native"): "axial plane",
    ("axial", "slab"): "axial slab",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Counts, places and gates of one series."""

    facts: ScanFacts
    settings: DecideSettings
    threshold: int
    gates: Gates
    regions: Regions
    worlds: Scenarios
    spreads: Float64Array
    """p(1 - p) of each lesion, shape (lesions,)."""
    slabs: SliceStack
    """Slabs of the acquired slices."""
    stacks: Mapping[tuple[str, str], SliceStack | None]
    """(plane, slice) -> the images of that reading; None where they are unknown."""
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
        acquired = acquired_stack(lesions, facts)
        slabs = slab_stack(acquired, settings.slab_mm)
        axial, axial_slabs = acquired if is_axial(facts) else None, slabs if is_axial(facts) else None
        if is_axial(facts) is False:
            axial = axial_stack(lesions, settings.axial_spacing_mm)
            axial_slabs = slab_stack(axial, settings.slab_mm)
        on_ct = facts.modality is Modality.CT
        chances = np.array([lesion.probability for lesion in lesions], dtype=np.float64)
        return cls(
            facts=facts,
            settings=settings,
            threshold=settings.ct_lesions_per_slice if on_ct else settings.mri_lesions_per_slice,
            gates=gates_of(facts, settings),
            regions=regions_of(lesions, assignments, facts, settings),
            worlds=scenarios_of(lesions),
            spreads=chances * (1 - chances),
            slabs=slabs,
            stacks={
                ("acquired", "native"): acquired,
                ("acquired", "slab"): slabs,
                ("axial", "native"): axial,
                ("axial", "slab"): axial_slabs,
            },
        )

    def criteria(self, reading: Interpretation) -> tuple[CriterionResult, CriterionResult, CriterionResult]:
        """Answer each criterion under one reading."""
        fewest, by_quadrant = reading.min_per_region, reading.bilateral == "quadrants"
        return (
            count_criterion(self.count(reading), self.gates, self.evidence_slices(reading)),
            bilateral_criterion(self.regions, self.gates, fewest, by_quadrant),
            both_levels_criterion(self.regions, self.gates, fewest),
        )

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
        )

    def deciding_images(self, reading: Interpretation) -> tuple[int, ...]:
        """Images (of the reading's stack) that carry the count: the best admissible pair, or fewer."""
        stack = self.stacks[reading.plane, reading.slice]
        return () if stack is None else deciding_pair(stack, self._apart(reading))

    def spread(self, reading: Interpretation) -> float:
        """Return the variance of the deciding image's count, from the lesions' probabilities."""
        stack = self.stacks[reading.plane, reading.slice]
        images = self.deciding_images(reading)
        if stack is None or not images:
            return 0.0
        weakest = min(images, key=lambda image: int(stack.counts[image]))
        return float(self.spreads[stack.shows[weakest]].sum())

    def false_share(self, reading: Interpretation) -> float:
        """How many more false lesions an image of a reading shows than an acquired slice does.

        A false lesion is taken to be as tall as the lesions of this scan: a slab shows what any of its slices shows.
        1 for acquired slices, and where there are no lesions.
        """
        stacks = (self.stacks[reading.plane, reading.slice], self.stacks["acquired", "native"])
        tall = [0.0 if stack is None else _mean_height_mm(stack) for stack in stacks]
        return tall[0] / tall[1] if min(tall) > 0 else 1.0

    def chance_of_count(self, reading: Interpretation) -> float | None:
        """P(enough true lesions on the deciding image), from the lesions' probabilities and the measured misses."""
        deciding, sensitivity = self._deciding_in_worlds(reading), self.facts.lesion_sensitivity
        return None if deciding is None else self.worlds.chance(reached(deciding, self.threshold, sensitivity))

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
        """P(criteria met), from the lesions' probabilities and the measured misses.

        None where places are unknown, and where part of the brain is out of view unless what is in view meets the
        criteria: nobody can say what the unseen part holds.
        """
        deciding = self._deciding_in_worlds(reading)
        if deciding is None or self.gates.sides:
            return None
        unseen = coverage_reasons(self.facts.coverage, self.settings.min_coverage)
        if unseen and any(criterion.verdict is not Verdict.MET for criterion in self.criteria(reading)):
            return None
        fewest, by_quadrant = reading.min_per_region, reading.bilateral == "quadrants"
        placed = self._once(
            ("placed", fewest, by_quadrant), lambda: self.worlds.regions_met(self.regions, fewest, by_quadrant)
        )
        return self.worlds.chance(reached(deciding, self.threshold, self.facts.lesion_sensitivity) * placed)

    def count_distribution(self, reading: Interpretation) -> tuple[tuple[int, float], ...]:
        """(count, probability) of the deciding image's true count."""
        deciding = self._deciding_in_worlds(reading)
        return () if deciding is None else self.worlds.distribution(deciding, self.facts.lesion_sensitivity)

    def slab_counts(self) -> tuple[int, ...]:
        """Lesions that a slab starting at each acquired slice would have shown, in the order of the slice axis."""
        counts = np.zeros(self.facts.n_slices, dtype=np.int64)
        counts[self.slabs.indices] = self.slabs.counts
        return tuple(int(n) for n in counts)

    def _apart(self, reading: Interpretation) -> ContiguityRule:
        return ContiguityRule(
            kind=reading.non_contiguous, separation_mm=self.settings.separation_mm, threshold=self.threshold
        )

    def _deciding_in_worlds(self, reading: Interpretation) -> Int64Array | None:
        stack, apart = self.stacks[reading.plane, reading.slice], self._apart(reading)
        if stack is None:
            return None
        counts = self._once(("counts", id(stack)), lambda: self.worlds.counts(stack))
        return self._once(("deciding", id(stack), apart), lambda: second_best(counts, stack, apart))

    def _once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


def _mean_height_mm(stack: SliceStack) -> float:
    """Mean over the lesions that show of (images that show one) x (distance between images); 0 where none does."""
    shown = stack.shows.sum(axis=0)
    return float(shown[shown > 0].mean()) * spacing_mm(stack.distance_mm) if shown.any() else 0.0
