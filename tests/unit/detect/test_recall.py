"""What share of lesions is found: monotone, and silent where nothing was measured."""

from __future__ import annotations

import pytest

from miliary_seg.detect.recall import CURVES, RecallCurve, found_diameter_mm, population, recall_curve
from miliary_seg.domain.sequence import Sequence


@pytest.mark.parametrize("curves", CURVES.values(), ids=CURVES)
def test_larger_and_brighter_lesions_are_found_more_often_thicker_slices_show_fewer(
    curves: tuple[RecallCurve, ...],
) -> None:
    for curve in curves:
        assert curve.share_found(2, 0.5) < curve.share_found(4, 0.5) < curve.share_found(4, 1.0)
    for diameter in (2.0, 3.0, 5.0):
        shares = [curve.share_found(diameter, 0.5) for curve in curves]
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_diameter_is_where_the_share_is_found(share: float) -> None:
    curve = CURVES[Sequence.T1C][1]
    assert curve.share_found(curve.diameter_mm(share, 0.7), 0.7) == pytest.approx(share)


def test_what_was_not_measured_has_no_figure() -> None:
    assert recall_curve(8.0, Sequence.T1C) is None
    assert found_diameter_mm(0.9, 1.0, Sequence.SWI) is None
    assert population(Sequence.SWI) == ""
    half, most = (found_diameter_mm(share, 5.0, Sequence.T1C) for share in (0.5, 0.9))
    assert half is not None
    assert most is not None
    assert half < most


def test_every_figure_says_what_it_was_measured_on() -> None:
    for sequence in CURVES:
        assert found_diameter_mm(0.5, 1.0, sequence) is not None
        assert "persons" in population(sequence)
    assert "FLAIR" in population(Sequence.FLAIR)
    assert "FLAIR" not in population(Sequence.T1C)
