"""Heads under headers that are wrong by quarter turns: the level is found, a side never claimed."""

from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import locate
from miliary_seg.locate.reorient import quarter_turns
from miliary_seg.settings import LocateSettings

SHAPE, SPACING = (80, 96, 40), (2.4, 2.4, 4.5)
ON_ITS_BACK = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
MIRRORED_UPSIDE_DOWN = np.diag([1.0, 1.0, -1.0, 1.0])


def test_quarter_turns_are_the_other_23_rotations():
    turns = quarter_turns()
    assert len({turn.tobytes() for turn in turns}) == 23
    for turn in turns:
        assert np.linalg.det(turn) == pytest.approx(1)
        assert np.array_equal(turn @ turn.T, np.eye(4))
        assert not np.array_equal(turn, np.eye(4))


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [ON_ITS_BACK, MIRRORED_UPSIDE_DOWN])
def test_level_is_rescued_and_no_side_claimed(wrong, make_head, true_labels, turned, axial_affine):
    moved = turned(10, 4, -6, (5, -8, 12))
    right = make_head(SHAPE, axial_affine(SPACING, SHAPE, (4, -18, 8)), moved)
    truth = true_labels(right.grid, moved)
    scan = Volume(voxels=right.voxels, grid=Grid(shape=SHAPE, affine=wrong @ right.grid.affine))
    location = locate(scan, LocateSettings())
    fit = location.registration
    assert fit.trusted
    assert fit.reoriented
    assert fit.levels_usable
    assert not fit.sides_usable
    assert "reoriented" in {reason.code for reason in fit.reasons}
    scored = truth > 0
    assert np.mean((location.tentorium_distance_mm[scored] > 0) != (truth[scored] > 2)) < 0.01


def test_a_right_header_is_left_alone(make_head, axial_affine):
    fit = locate(make_head(SHAPE, axial_affine(SPACING, SHAPE, (4, -18, 8))), LocateSettings()).registration
    assert fit.sides_usable
    assert not fit.reoriented
