"""Outlines of masks along the edges of their pixels, for structure sets.

Along the edges, not between the centres: the polygon of a mask has the mask's own area and no other pixel's centre
within. The usual iso-line halfway between centres (``skimage.measure.find_contours`` at 0.5) takes half of a lesion of
one pixel and a quarter of one of two.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.volume import BoolArray

Corner = tuple[int, int]
Outline = NDArray[np.float64]
"""(n, 2) corners of a closed polygon: row, column, with pixel centres at whole numbers; the first is not repeated."""

_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Right, down, left, up: clockwise turns, rows growing downwards."""


def outlines(mask: BoolArray) -> list[Outline]:
    """Polygons around the parts of a mask; pixels that touch at a corner are parts of their own.

    A hole is joined to the polygon around it by a line of no width (keyhole), as structure sets are read everywhere.

    Parameters
    ----------
    mask
        Shape (rows, columns).

    Examples
    --------
    >>> outlines(np.array([[True, True]]))[0].tolist()
    [[-0.5, -0.5], [-0.5, 1.5], [0.5, 1.5], [0.5, -0.5]]
    """
    loops = _loops(mask)
    outer = [loop for loop in loops if _area(loop) > 0]
    for hole in (loop for loop in loops if _area(loop) < 0):
        around = min((k for k, loop in enumerate(outer) if _holds(loop, hole)), key=lambda k: abs(_area(outer[k])))
        outer[around] = _joined(outer[around], hole)
    return [np.array(loop, dtype=np.float64) - 0.5 for loop in outer]


def _loops(mask: BoolArray) -> list[list[Corner]]:
    """Closed walks along the edges with the mask on the right hand: outer ones clockwise, holes the other way."""
    edges = _edges(mask)
    loops = []
    while edges:
        here = min(edges)
        heading = min(edges[here])
        loop: list[Corner] = []
        while True:
            turns = [d for d in ((heading + 1) % 4, heading, (heading - 1) % 4) if d in edges.get(here, ())]
            if not turns:
                break
            edges[here].discard(turns[0])
            if not edges[here]:
                del edges[here]
            if not loop or turns[0] != heading:
                loop.append(here)
            heading = turns[0]
            here = (here[0] + _STEPS[heading][0], here[1] + _STEPS[heading][1])
        loops.append(loop)
    return loops


def _edges(mask: BoolArray) -> dict[Corner, set[int]]:
    """Directions in which edges leave every corner; pixel (r, c) has its upper left corner at (r, c)."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[Corner, set[int]] = defaultdict(set)
    sides = (
        (padded[:-2, 1:-1], (0, 0)),  # above: its upper edge, to the right
        (padded[1:-1, 2:], (0, 1)),  # on the right: downwards
        (padded[2:, 1:-1], (1, 1)),  # below: to the left
        (padded[1:-1, :-2], (1, 0)),  # on the left: upwards
    )
    for direction, (beyond, corner) in enumerate(sides):
        for r, c in np.argwhere(inside & ~beyond).tolist():
            edges[r + corner[0], c + corner[1]].add(direction)
    return dict(edges)


def _area(loop: list[Corner]) -> float:
    """Signed area: positive for clockwise loops (rows growing downwards)."""
    row, column = np.array(loop, dtype=np.float64).T
    return float(np.dot(column, np.roll(row, -1)) - np.dot(row, np.roll(column, -1))) / 2


def _holds(loop: list[Corner], hole: list[Corner]) -> bool:
    """Whether a loop runs around a hole: the middle of the pixel inside the hole's first edge is within."""
    row, column = min(hole)  # a hole's uppermost leftmost corner has its own pixel to the lower right
    return _winds(loop, row + 0.5, column + 0.5)


def _winds(loop: list[Corner], row: float, column: float) -> bool:
    crossings = 0
    for (r0, c0), (r1, c1) in zip(loop, [*loop[1:], loop[0]], strict=True):
        crossings += c0 == c1 and c0 > column and min(r0, r1) < row < max(r0, r1)
    return crossings % 2 == 1


def _joined(loop: list[Corner], hole: list[Corner]) -> list[Corner]:
    """A loop that goes to the hole and back along the shortest line between two of their corners."""
    apart = np.abs(np.array(loop)[:, None] - np.array(hole)[None]).sum(axis=2)
    i, j = np.unravel_index(int(apart.argmin()), apart.shape)
    return [*loop[: i + 1], *hole[j:], *hole[: j + 1], *loop[i:]]
