"""Heads under a wrong header: the same search with the scan's axes turned by quarter turns.

A rotation is found this way, a reflection cannot be: the template equals its own mirror image. So a head found here
has an upper and a lower end, but no left and right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.domain.grid import Grid
from miliary_seg.locate.pose import head_centre, quick_score
from miliary_seg.locate.pyramid import BlockMeans, WorkingScan
from miliary_seg.locate.quality import MAX_TILT_DEG
from miliary_seg.locate.register import AffineAlignment, Fit, Resolutions, completed, fit_affine_multistart
from miliary_seg.locate.transform import inverse, tilt_deg

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CanonicalView:
    """How voxel axes are permuted and flipped; only views are made, no voxel is resampled."""

    axes: tuple[int, int, int]
    """Voxel axis of the original for each canonical axis."""
    flipped: tuple[bool, bool, bool]
    """Whether each canonical axis runs against the original one."""
    shape: tuple[int, int, int]
    affine: Float64Array
    """Canonical voxel index to RAS+ mm."""

    @classmethod
    def of(cls, grid: Grid) -> CanonicalView:
        """The view of a grid whose axes run to the right, front and top as nearly as its voxel axes allow."""
        world = grid.world_axes
        first, second, third = (world.index(w) for w in range(3))
        axes = (first, second, third)
        flips = [bool(grid.affine[w, a] < 0) for w, a in enumerate(axes)]
        to_original = np.zeros((4, 4))
        to_original[3, 3] = 1
        for canonical, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
            to_original[axis, canonical] = -1 if flip else 1
            to_original[axis, 3] = grid.shape[axis] - 1 if flip else 0
        return cls(
            axes=axes,
            flipped=(flips[0], flips[1], flips[2]),
            shape=(grid.shape[first], grid.shape[second], grid.shape[third]),
            affine=grid.affine @ to_original,
        )

    def view(self, array: NDArray[T]) -> NDArray[T]:
        """An array of the original grid, viewed with canonical axes."""
        return array.transpose(self.axes)[self._steps]

    def back(self, array: NDArray[T]) -> NDArray[T]:
        """A canonical array on the original grid, contiguous."""
        inverse = [self.axes.index(a) for a in range(3)]
        return np.ascontiguousarray(array[self._steps].transpose(inverse))

    @property
    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else None) for flip in self.flipped)


TURNS_FOLLOWED = 2
"""Of the 23 quarter turns, this many with the best quick scores are fitted
(docs/measurements/compartments.md, "Wrong headers")."""


def register_turned(scan: Resolutions, deform: bool) -> Fit | None:
    """Best fit with the scan's axes turned by quarter turns; its matrix is for the scan as it was given."""
    turns = quarter_turns()
    scores = [_score(turned(scan, turn)) for turn in turns]
    best: tuple[AffineAlignment, int] | None = None
    for n in np.argsort(scores)[::-1][:TURNS_FOLLOWED]:
        aligned = fit_affine_multistart(turned(scan, turns[n])) if scores[n] > 0 else None
        if aligned is None or tilt_deg(aligned.best.matrix) > MAX_TILT_DEG:
            continue  # a head that is found tilted is upright under another turn
        if best is None or aligned.best.score > best[0].best.score:
            best = (aligned, int(n))
    if best is None:
        return None
    turn = turns[best[1]]
    fit = completed(turned(scan, turn), best[0], deform)
    return replace(fit, matrix=inverse(turn) @ fit.matrix)


def quarter_turns() -> list[Float64Array]:
    """The 23 rotations, shape (4, 4), that carry axes onto axes and are not the identity."""
    turns = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        turn = np.eye(4)
        turn[:3, :3] = np.diag(signs) @ np.eye(3)[list(order)]
        if np.linalg.det(turn) > 0 and not np.array_equal(turn, np.eye(4)):
            turns.append(turn)
    return turns


def turned(scan: Resolutions, turn: Float64Array) -> Resolutions:
    """The same voxels in a turned world."""
    medium = _turned_scan(scan.medium, turn)
    return replace(
        scan,
        fine=_turned_scan(scan.fine, turn),
        medium_brain=medium if scan.medium_brain is scan.medium else _turned_scan(scan.medium_brain, turn),
        medium=medium,
        coarse=_turned_scan(scan.coarse, turn),
        coarse_blocks=BlockMeans(voxels=scan.coarse_blocks.voxels, affine=turn @ scan.coarse_blocks.affine),
    )


def _turned_scan(scan: WorkingScan, turn: Float64Array) -> WorkingScan:
    return replace(scan, affine=turn @ scan.affine, inverse=scan.inverse @ inverse(turn))


def _score(scan: Resolutions) -> float:
    centre = head_centre(scan.coarse_blocks, scan.coarse, scan.is_ct)
    return 0.0 if centre is None else quick_score(scan.coarse, centre)
