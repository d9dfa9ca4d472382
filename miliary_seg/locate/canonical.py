"""The same voxels seen with axes nearest to right, anterior, superior: results must not depend on storage order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.grid import Float64Array, Grid

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
        """An array of the original grid, seen canonically."""
        return array.transpose(self.axes)[self._steps]

    def back(self, array: NDArray[T]) -> NDArray[T]:
        """A canonical array on the original grid, contiguous."""
        inverse = [self.axes.index(a) for a in range(3)]
        return np.ascontiguousarray(array[self._steps].transpose(inverse))

    @property
    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else None) for flip in self.flipped)
