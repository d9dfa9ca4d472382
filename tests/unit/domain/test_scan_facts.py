"""Candidates that were not marked reach the criteria as balls, with the slices on which they would show."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Candidate, Rejection
from miliary_seg.domain.scan_facts import LEAST_PROBABILITY, unmarked
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.volume import Volume

VOLUME = Volume(
    voxels=np.random.default_rng(1).normal(100, 20, (8, 8, 12)).astype(np.float32),
    grid=Grid(shape=(8, 8, 12), affine=np.diag([1.0, 1.0, 2.0, 1.0])),
)
CANDIDATE = Candidate(
    id=7,
    centroid_ijk=(4.0, 4.0, 5.0),
    centroid_ras_mm=(4.0, 4.0, 10.0),
    diameter_mm=5.0,
    polarity=Polarity.DARK,
    contrast=6.0,
    probability=0.2,
)


def found(*rejected: tuple[str, Candidate]) -> Any:
    return SimpleNamespace(rejections=tuple(Rejection(candidate=c, rule=rule, reason=rule) for rule, c in rejected))


def test_only_what_is_merely_improbable_is_unmarked() -> None:
    faint = replace(CANDIDATE, id=8, probability=LEAST_PROBABILITY / 2)
    kept = unmarked(VOLUME, found(("probability", CANDIDATE), ("too_small", CANDIDATE), ("probability", faint)))
    assert [lesion.candidate_id for lesion in kept] == [7]
    (lesion,) = kept
    assert (lesion.id, lesion.probability, lesion.contrast, lesion.polarity) == (-7, 0.2, 6.0, Polarity.DARK)
    assert lesion.centroid_ras_mm == CANDIDATE.centroid_ras_mm
    assert lesion.volume_mm3 == pytest.approx(65.45, abs=0.01)
    assert lesion.enhancement is None


@pytest.mark.parametrize(
    ("place", "diameter", "slices"),
    [
        (5.0, 5.0, (4, 5, 6)),  # 2.5 mm to either side, slices of 2 mm
        (5.0, 1.0, (5,)),
        (5.3, 0.5, (5,)),  # between two slices: the nearest
        (0.2, 8.0, (0, 1, 2)),
        (10.9, 8.0, (9, 10, 11)),
    ],
)
def test_a_candidate_shows_where_slices_cut_its_ball(place: float, diameter: float, slices: tuple[int, ...]) -> None:
    candidate = replace(CANDIDATE, centroid_ijk=(4.0, 4.0, place), diameter_mm=diameter)
    (lesion,) = unmarked(VOLUME, found(("probability", candidate)))
    assert lesion.slices == slices
