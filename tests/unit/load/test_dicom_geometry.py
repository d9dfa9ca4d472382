"""The line of slices, against exact arithmetic: its last digits decide voxels of the brain mask."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from miliary_seg.errors import GeometryError
from miliary_seg.load.dicom.geometry import LPS_TO_RAS, Placement, in_order, place
from miliary_seg.load.dicom.planes import Plane

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ORIGIN = (-120.3, 101.7, -61.9)
STEPS = {
    "along z": (0.0, 0.0, 3.0),
    "of 0.9 mm": (0.0, 0.0, 0.9),
    "oblique": (0.2, -0.3, 2.9),
    "towards the feet": (0.0, 0.0, -3.3),
}
INDICES = {
    "even": tuple(range(144)),
    "a missing slice": (0, 1, 2, 4, 5, 6),
    "two slices": (0, 1),
    "in any order": (3, 0, 4, 2, 1),
}


def planes_at(positions: Any, orientation: tuple[float, ...] = AXIAL, **values: Any) -> list[Plane]:
    shape = {
        "layout": SimpleNamespace(path=Path("series/a.dcm")),
        "rows": 8,
        "columns": 8,
        "spacing": (0.5, 0.75),
        "orientation": orientation,
    }
    return [Plane(**shape, position=tuple(float(x) for x in position), **values) for position in positions]


def placed(positions: Any, orientation: tuple[float, ...] = AXIAL) -> Placement:
    return place(in_order(planes_at(positions, orientation)))


def exact_line(index: list[Fraction], positions: np.ndarray) -> tuple[list[float], list[float]]:
    """Origin and step of the least-squares line, rounded once from exact rational arithmetic."""
    n, total = len(index), sum(index)
    squares = sum(i * i for i in index)
    columns = [[Fraction(float(x)) for x in column] for column in positions.T]
    steps = [
        (n * sum(i * x for i, x in zip(index, column, strict=True)) - total * sum(column))
        / (n * squares - total * total)
        for column in columns
    ]
    origins = [(sum(column) - step * total) / n for column, step in zip(columns, steps, strict=True)]
    return [float(x) for x in origins], [float(x) for x in steps]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_the_line_is_that_of_exact_arithmetic(step: tuple[float, ...], index: tuple[int, ...]) -> None:
    positions = np.add(ORIGIN, np.outer(index, step))
    place_of = placed(positions)
    ascending = positions[np.argsort(positions[:, 2])]
    origin, expected = exact_line([Fraction(k) for k in place_of.slice_index], ascending)
    affine = place_of.affine * LPS_TO_RAS
    np.testing.assert_allclose(affine[:3, 2], expected, rtol=0, atol=2 * np.spacing(3.0))
    np.testing.assert_allclose(affine[:3, 3], origin, rtol=0, atol=2 * np.spacing(128.0))


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_positions_without_a_rounded_digit_have_a_step_without_one(index: tuple[int, ...]) -> None:
    """numpy.linalg.lstsq made 3.0000000000000013 mm of such a series, or 3.0000000000000004, by its build."""
    affine = placed(np.add((-96.0, 80.0, 7.0), np.outer(index, (0.0, 0.0, 3.0)))).affine
    expected = [[-0.75, 0.0, 0.0, 96.0], [0.0, -0.5, 0.0, -80.0], [0.0, 0.0, 3.0, 7.0], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_array_equal(affine, expected)
    assert not np.signbit(affine[affine == 0]).any()


def test_uneven_positions() -> None:
    """The line is fitted over the positions along the normal, in units of their mean gap."""
    heights = np.array([0.0, 2.0, 4.0, 7.0, 10.0, 13.5])
    positions = np.add(ORIGIN, np.outer(heights, (0.0, 0.0, 1.0)))
    place_of = placed(positions)
    assert place_of.uneven_positions_mm == tuple(positions[:, 2])
    assert place_of.slice_index == (0, 1, 2, 3, 4, 5)
    np.testing.assert_allclose(place_of.affine[:3, 2], [0, 0, 2.7], rtol=1e-15)
    np.testing.assert_allclose(place_of.affine[:3, 3], [120.3, -101.7, -61.9], rtol=1e-15)


def test_a_single_slice_is_as_thick_as_it_says() -> None:
    for thickness, expected in ((5.0, 5.0), (None, 1.0)):
        (plane,) = planes_at([ORIGIN], thickness_mm=thickness)
        place_of = place([plane])
        np.testing.assert_array_equal(place_of.affine[:3, 2], [0, 0, expected])
        np.testing.assert_array_equal(place_of.affine[:3, 3], [120.3, -101.7, -61.9])
        assert place_of.slice_index == (0,)


def test_a_tilted_gantry() -> None:
    tilt = np.radians(15)
    orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(tilt)), float(np.sin(tilt)))
    place_of = placed(np.add(ORIGIN, np.outer(range(20), (0.0, 0.0, 3.0))), orientation)
    assert place_of.tilt_deg == pytest.approx(15.0, rel=1e-12)
    np.testing.assert_allclose(place_of.affine[:3, 2], [0, 0, 3.0], atol=1e-15)


def test_slices_off_the_line_or_far_aside_are_refused() -> None:
    bent = np.add(ORIGIN, np.outer(range(6), (0.0, 0.0, 3.0)))
    bent[3, 0] += 0.5
    with pytest.raises(GeometryError, match=r"do not lie on a straight line \(0.41 mm off\)"):
        placed(bent)
    with pytest.raises(GeometryError, match=r"displaced sideways \(53 degrees\)"):
        placed(np.add(ORIGIN, np.outer(range(6), (4.0, 0.0, 3.0))))
