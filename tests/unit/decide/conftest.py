"""Lesions, places and scans in few words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from miliary_seg.domain.compartment import Assignment, Level, Side
from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.sequence import Modality, SequenceEvidence
from miliary_seg.domain.sequence import Sequence as Kind


class Build:
    """Values for tests; what a test does not name does not matter to it."""

    corners = tuple((side, level) for side in Side for level in Level)

    @staticmethod
    def lesion(number: int, slices: Sequence[int], *, p: float = 1.0, **changes: object) -> Lesion:
        made = Lesion(
            id=number,
            centroid_ras_mm=(0.0, 0.0, 0.0),
            centroid_ijk=(0.0, 0.0, 0.0),
            volume_mm3=5.0,
            equivalent_diameter_mm=2.0,
            contrast=5.0,
            probability=p,
            slices=tuple(slices),
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    @staticmethod
    def place(number: int, side: Side | None, level: Level | None, **changes: object) -> Assignment:
        made = Assignment(
            lesion_id=number,
            side=side,
            level=level,
            boundary_distance_mm=9.0,
            midline_distance_mm=9.0,
            tentorium_distance_mm=9.0,
            side_confidence=1.0,
            level_confidence=1.0,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    @staticmethod
    def facts(n: int = 10, step_mm: float = 1.0, **changes: object) -> ScanFacts:
        heights = tuple(step_mm * k for k in range(n))
        made = ScanFacts(
            modality=Modality.MR,
            sequence=SequenceEvidence(sequence=Kind.T1C, confidence="high"),
            slice_positions_mm=heights,
            slice_centres_ras_mm=tuple((1.0, 2.0, z) for z in heights),
            thickness_mm=step_mm,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    def crowd(self, counts: dict[int, int], p: float = 1.0) -> tuple[list[Lesion], list[Assignment]]:
        """So many lesions on each slice, spread over the four corners of the brain in turn."""
        slices = [k for k, n in counts.items() for _ in range(n)]
        lesions = [self.lesion(i, [k], p=p) for i, k in enumerate(slices, 1)]
        return lesions, [self.place(i, *self.corners[i % 4]) for i in range(1, len(slices) + 1)]


@pytest.fixture(scope="session")
def build() -> Callable[[], Build] | Build:
    return Build()
