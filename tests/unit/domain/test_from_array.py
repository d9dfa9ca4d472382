"""Scans from plain arrays, and every stage called alone with its defaults."""

from __future__ import annotations

import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.errors import GeometryError, UnsuitableImageError, UsageError


def test_a_scan_from_arrays_is_placed_and_known():
    affine = np.diag([-1.0, 1.0, 4.0, 1.0])
    scan = ms.Volume.from_array(np.ones((5, 6, 7)), affine, sequence="ctc", slice_thickness_mm=3.0)
    assert (scan.modality, scan.sequence.sequence, scan.sequence.confidence) == (Modality.CT, Sequence.CTC, "user")
    assert (scan.grid.orientation, scan.thickness_mm, scan.gap_mm) == ("LAS", 3.0, 1.0)
    unknown = ms.Volume.from_array(np.ones((5, 6, 7)), affine)
    assert (unknown.modality, unknown.sequence.confidence) == (Modality.MR, "none")


@pytest.mark.parametrize(
    ("shape", "affine", "choices", "error"),
    [
        ((4, 4), np.eye(4), {}, UnsuitableImageError),
        ((4, 4, 4), np.zeros((4, 4)), {}, GeometryError),
        ((4, 4, 4), np.eye(3), {}, GeometryError),
        ((4, 4, 4), np.eye(4), {"sequence": "T1"}, UsageError),
        ((4, 4, 4), np.eye(4), {"slice_axis": 3}, GeometryError),
    ],
)
def test_arrays_that_are_no_scan_are_refused(shape, affine, choices, error):
    with pytest.raises(error):
        ms.Volume.from_array(np.ones(shape), affine, **choices)


def test_the_stages_are_reached_from_the_package():
    ball = np.zeros((9, 9, 9))
    ball[4, 4, 4] = 1
    space = ms.detect.scale_space(ball, (1, 1, 1), (1.0, 1.4))
    assert space.laplacian(0).argmax() == 4 * 81 + 4 * 9 + 4
    scan = ms.Volume.from_array(np.zeros((9, 9, 9)), np.eye(4))
    found = ms.detect.find(scan, np.zeros((9, 9, 9), dtype=bool))
    assert [doubt.code for doubt in found.doubts] == ["empty_mask"]
    facts = ms.domain.decision.ScanFacts(
        modality=Modality.MR, sequence=scan.sequence, slice_positions_mm=tuple(float(k) for k in range(9))
    )
    assert ms.decide.decide((), (), facts).verdict is not ms.Verdict.MET
    assert {"Grid", "LabelMap", "analyze", "locate", "pipeline"} <= set(dir(ms))
