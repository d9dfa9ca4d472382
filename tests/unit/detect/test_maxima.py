from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.detect.blur import scale_space
from miliary_seg.detect.maxima import maxima

SIGMAS = (0.8, 1.2, 1.8, 2.6)
FLOORS = (0.1, 0.2, 0.15, 0.1)


def space_of(shape, spacing=(1.2, 1.0, 0.9), seed=0):
    texture = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 0.8, mode="nearest")
    return scale_space(texture / texture.std(), spacing, SIGMAS)


def by_definition(space, sign, own, mask=None, reach=(1, 1)):
    """All neighbours at once, by scipy."""
    stack = np.stack([sign * space.laplacian(k) for k in range(len(SIGMAS))])
    top = ndi.maximum_filter(stack, size=(2 * reach[1] + 1, 2 * reach[0] + 1, 3, 3), mode="nearest")
    hit = (stack == top) & (stack > np.array(FLOORS)[:, None, None, None])
    if mask is not None:
        hit &= mask
    return {tuple(place) for place in np.argwhere(hit).tolist() if place[0] in own}


def rows(found):
    scale, voxel = found
    return [tuple(row) for row in np.column_stack([scale, voxel]).tolist()]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("reach", [(1, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize(
    "shape", [(13, 30, 34), (1, 30, 34), (2, 20, 20), (9, 1, 30), (9, 30, 1), (1, 1, 30), (2, 2, 2)]
)
def test_they_are_the_maxima_over_space_and_scale(shape, sign, reach, batch_of):
    space, own = space_of(shape), range(1, 4)
    expected = by_definition(space, sign, own, reach=reach)
    for slices in (1, 2, 3, 100):
        batch_of(slices * shape[1] * shape[2])
        found = rows(maxima(space, sign, FLOORS, own, reach=reach))
        assert len(found) == len(set(found))
        assert set(found) == expected
    assert expected or min(shape) < 3


def test_only_in_the_mask_also_where_it_is_in_parts(batch_of):
    space = space_of((14, 24, 24))
    mask = np.zeros((14, 24, 24), dtype=bool)
    mask[3:5, 4:20, 4:20] = mask[9, 6:12] = True
    batch_of(2 * 24 * 24)
    found = rows(maxima(space, 1, FLOORS, range(4), mask))
    assert set(found) == by_definition(space, 1, range(4), mask)
    assert found


def test_none_in_an_empty_mask():
    scale, voxel = maxima(space_of((5, 9, 9)), 1, FLOORS, range(4), np.zeros((5, 9, 9), dtype=bool))
    assert scale.shape == (0,)
    assert voxel.shape == (0, 3)


def test_order_is_by_slice_scale_row_and_column_for_any_number_of_threads(monkeypatch, batch_of):
    space = space_of((17, 24, 24))
    found = rows(maxima(space, 1, FLOORS, range(4)))
    assert found == sorted(found, key=lambda row: (row[1], row[0], row[2], row[3]))
    for cores, slices in ((1, 2), (2, 1), (2, 2), (2, 3), (3, 7), (4, 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
        batch_of(slices * 24 * 24)
        assert rows(maxima(space, 1, FLOORS, range(4))) == found


@pytest.fixture
def batch_of(monkeypatch):
    """Set how many pixels are searched at a time."""
    return lambda pixels: monkeypatch.setattr(sys.modules["miliary_seg.detect.maxima"], "BATCH_PIXELS", pixels)
