"""Outlines along the edges of pixels: the mask's own area, and its own pixels within."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import points_in_poly

from miliary_seg.report.dicom.rtstruct import outlines


def area(polygon: np.ndarray) -> float:
    row, column = polygon.T
    return float(np.dot(column, np.roll(row, -1)) - np.dot(row, np.roll(column, -1))) / 2


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies in an odd number of polygons, by scikit-image."""
    centres = np.indices(shape).reshape(2, -1).T + 1e-7  # off the line of a keyhole, which may run through centres
    inside = sum((points_in_poly(centres, polygon).astype(int) for polygon in polygons), np.zeros(len(centres), int))
    return (inside % 2 == 1).reshape(shape)


@settings(max_examples=150)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_any_mask_has_outlines_of_its_area_and_its_pixels(mask: np.ndarray) -> None:
    found = outlines(mask)
    assert sum(area(polygon) for polygon in found) == mask.sum()
    np.testing.assert_array_equal(filled(found, mask.shape), mask)


def test_a_ring_is_one_polygon_with_a_keyhole() -> None:
    mask = np.ones((5, 5), dtype=bool)
    mask[2, 2] = False
    (polygon,) = outlines(mask)
    assert len(polygon) == 4 + 4 + 2
    assert area(polygon) == 24


def test_pixels_that_touch_at_a_corner_are_two_polygons() -> None:
    found = outlines(np.eye(2, dtype=bool))
    assert sorted(len(polygon) for polygon in found) == [4, 4]


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((3, 3), dtype=bool)) == []
