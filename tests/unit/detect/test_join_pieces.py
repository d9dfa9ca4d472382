"""Pieces of one lesion become one; lesions side by side stay two."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.detect.delineate import join_pieces

SHAPE = (9, 40, 40)


def place() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z, y, x = np.indices(SHAPE)
    return z - 4, y - 20, x - 20


def quarters(ring: np.ndarray) -> np.ndarray:
    """A ring cut into four arcs, as four seeds would claim it."""
    _, y, x = place()
    return np.where(ring, 1 + (y > 0) + 2 * (x > 0), 0).astype(np.int32)


@pytest.mark.parametrize("sign", [1, -1])
def test_arcs_of_a_ring_are_one(sign: int) -> None:
    z, y, x = place()
    radius = np.sqrt(z**2 + y**2 + x**2)
    ring = (radius > 4) & (radius < 7) & (np.abs(z) < 3)
    values = 100 + sign * 50 * ndi.gaussian_filter(ring.astype(float), 0.7)
    labels = quarters(ring)
    join_pieces(values, labels, np.full(4, 40.0), np.full(4, sign))
    assert set(np.unique(labels)) == {0, 1}
    assert (labels == 1).sum() == ring.sum()


def test_lesions_with_a_valley_between_stay_two() -> None:
    z, y, x = place()
    left, right = z**2 + y**2 + (x + 4) ** 2 < 9, z**2 + y**2 + (x - 4) ** 2 < 9
    values = 100 + 50 * ndi.gaussian_filter((left | right).astype(float), 1.0)
    labels = np.where(values > 105, np.where(x < 0, 1, 2), 0).astype(np.int32)  # touching: both reach into the valley
    before = labels.copy()
    join_pieces(values, labels, np.full(2, 40.0), np.ones(2, dtype=int))
    assert np.array_equal(labels, before)


def test_a_bright_and_a_dark_lesion_stay_two() -> None:
    _, _, x = place()
    inside = np.abs(x) < 5
    labels = np.where(inside, np.where(x < 0, 1, 2), 0).astype(np.int32)
    values = np.where(x < 0, 150.0, 50.0)
    join_pieces(values, labels, np.full(2, 40.0), np.array([1, -1]))
    assert set(np.unique(labels)) == {0, 1, 2}


def test_three_pieces_in_a_row_take_the_number_of_the_first() -> None:
    _, _, x = place()
    labels = np.select([x < -5, x < 5, x >= 5], [3, 1, 2]).astype(np.int32)
    join_pieces(np.full(SHAPE, 7.0), labels, np.full(3, 1.0), np.ones(3, dtype=int))
    assert set(np.unique(labels)) == {1}


def test_nothing_touches() -> None:
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[2, 2, 2], labels[6, 30, 30] = 1, 2
    before = labels.copy()
    join_pieces(np.zeros(SHAPE), labels, np.ones(2), np.ones(2, dtype=int))
    assert np.array_equal(labels, before)
