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
        ((4, 4, 4), np.eye(4), {"sequence": "T9"}, UsageError),
        ((4, 4, 4), np.eye(4), {"sequence": 3}, UsageError),
        ((4, 4, 4), "affine", {}, UsageError),
        ((4, 4, 4), None, {}, UsageError),
        ((4, 4, 4), np.eye(4), {"spacing_mm": (1, 1, 1)}, UsageError),
        ((4, 4, 4), None, {"spacing_mm": (1, 1)}, GeometryError),
        ((4, 4, 4), None, {"spacing_mm": (1, 1, 0)}, GeometryError),
        ((4, 4, 4), None, {"spacing_mm": (1, 1, 5), "orientation": "RRS"}, UsageError),
        ((4, 4, 4), np.eye(4), {"slice_axis": 3}, GeometryError),
    ],
)
def test_arrays_that_are_no_scan_are_refused(shape, affine, choices, error):
    with pytest.raises(error):
        ms.Volume.from_array(np.ones(shape), affine, **choices)


def test_a_scan_from_spacing_alone_knows_no_sides_until_it_is_told():
    voxels = np.ones((5, 6, 7))
    scan = ms.Volume.from_array(voxels, spacing_mm=(1, 1, 5), sequence="T1C")
    assert (scan.slice_spacing_mm, scan.orientation_known, str(scan.sequence.sequence)) == (5.0, False, "t1c")
    placed = ms.Volume.from_array(voxels, spacing_mm=(1, 2, 5), orientation="pir")
    assert (placed.grid.orientation, placed.orientation_known) == ("PIR", True)
    assert placed.grid.spacing_mm == (1.0, 2.0, 5.0)


@pytest.mark.parametrize("voxels", ["words", [["a", "b"]], None, np.ones((3, 3, 3), complex), [[[1, 2], [3]]]])
def test_what_holds_no_numbers_is_refused(voxels):
    with pytest.raises(UsageError, match="must be an array of numbers"):
        ms.Volume.from_array(voxels, np.eye(4))


@pytest.mark.parametrize("given", [3, None, np.ones((4, 4, 4)), ["a.nii"], object()])
def test_analyze_says_what_it_takes(given):
    with pytest.raises(UsageError, match="a Study, a Volume or a path"):
        ms.analyze(given)


def test_wrong_types_give_errors_of_this_program(tmp_path):
    scan = ms.Volume.from_array(np.ones((5, 6, 7)), np.eye(4))
    with pytest.raises(UsageError, match="must be Settings, not dict"):
        ms.analyze(scan, {"decide": {}})
    with pytest.raises(ms.MiliaryError, match="does not fit"):
        ms.analyze(scan, mask=[[1]])
    with pytest.raises(ms.MiliaryError, match="no such file"):
        ms.analyze(tmp_path / "none.nii")
    with pytest.raises(ms.MiliaryError, match="no such file"):
        ms.analyze(str(tmp_path / "none.nii"))
    for given in (None, 3, ["a.nii"]):
        with pytest.raises(UsageError, match="a path is needed"):
            ms.load_study(given)


def test_no_brain_says_how_the_scan_was_read_and_what_to_try():
    noise = np.random.default_rng(0).normal(100, 5, (20, 20, 12)).astype(np.float32)
    with pytest.raises(ms.MiliaryError, match="no brain found, read as CT") as caught:
        ms.analyze(ms.Volume.from_array(noise, spacing_mm=(4, 4, 10), sequence="ct"))
    with pytest.raises(ms.MiliaryError, match="read as MR "):
        ms.analyze(ms.Volume.from_array(noise, spacing_mm=(4, 4, 10)))
    assert "--sequence" in caught.value.todo
    assert caught.value.where == "array"


def test_the_instruments_are_reached_from_the_package():
    assert ms.bench.__name__ == "miliary_seg.lab.bench"
    assert ms.phantom.__name__ == "miliary_seg.lab.phantom"
    assert {"bench", "phantom"} <= set(dir(ms))


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
