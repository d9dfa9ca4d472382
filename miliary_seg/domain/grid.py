"""Where voxels lie in the patient: shape and affine, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.errors import GeometryError


def other_axes(axis: int) -> tuple[int, int]:
    """The two voxel axes besides one, ascending: those within the planes across it.

    Examples
    --------
    >>> other_axes(1)
    (0, 2)
    """
    first, second = (a for a in range(3) if a != axis)
    return first, second


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """A voxel lattice in the patient.

    Parameters
    ----------
    shape
        Number of voxels along i, j, k.
    affine
        4 x 4, voxel index (centre of the voxel) to RAS+ millimetres. It may be oblique or sheared (gantry tilt).

    Raises
    ------
    GeometryError
        If the shape is not three positive integers, or the affine is not finite, not 4 x 4, or singular.

    Examples
    --------
    >>> import numpy as np
    >>> grid = Grid(shape=(4, 4, 2), affine=np.diag([-1.0, 1.0, 5.0, 1.0]))
    >>> grid.orientation, grid.spacing_mm
    ('LAS', (1.0, 1.0, 5.0))
    """

    shape: tuple[int, int, int]
    affine: Float64Array

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"a volume needs three positive dimensions, got {tuple(self.shape)}")
        if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
            raise GeometryError("the affine is not a finite 4 x 4 matrix")
        columns = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        if columns.min() == 0 or abs(np.linalg.det(affine[:3, :3] / columns)) < 1e-6:
            raise GeometryError("the affine is singular: its voxel axes do not span space")
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.shape == other.shape and bool(np.array_equal(self.affine, other.affine))

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along i, j, k."""
        i, j, k = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(i), float(j), float(k)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel (the determinant, so that shear is honoured)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def directions(self) -> Float64Array:
        """3 x 3 unit vectors: column a is the RAS direction of voxel axis a."""
        unit: Float64Array = self.affine[:3, :3] / np.array(self.spacing_mm)
        return unit

    @property
    def world_axes(self) -> tuple[int, int, int]:
        """Nearest world axis of each voxel axis: 0 left-right, 1 posterior-anterior, 2 inferior-superior."""
        closeness = np.abs(self.directions)
        i, j, k = max(permutations(range(3)), key=lambda p: float(sum(closeness[p[a], a] for a in range(3))))
        return i, j, k

    @property
    def orientation(self) -> str:
        """Three letters: the direction in which i, j, k grow, nearest axis (for instance ``'LPS'``)."""
        world = self.world_axes
        return "".join("LPI RAS"[w + (4 if self.directions[w, a] > 0 else 0)] for a, w in enumerate(world))

    @property
    def oblique_deg(self) -> float:
        """Largest angle in degrees between a voxel axis and its nearest world axis."""
        cosines = [abs(self.directions[w, a]) for a, w in enumerate(self.world_axes)]
        return float(np.degrees(np.arccos(min(1.0, *cosines))))

    @property
    def is_sheared(self) -> bool:
        """Whether the voxel axes are more than 0.1 degree from perpendicular (gantry tilt)."""
        gram = self.directions.T @ self.directions
        return bool(np.abs(gram - np.eye(3)).max() > np.sin(np.radians(0.1)))

    def to_ras_mm(self, ijk: ArrayLike) -> Float64Array:
        """World position in RAS+ mm of voxel indices (shape (..., 3), may be fractional)."""
        points = np.asarray(ijk, dtype=np.float64)
        ras: Float64Array = points @ self.affine[:3, :3].T + self.affine[:3, 3]
        return ras

    def to_ijk(self, ras_mm: ArrayLike) -> Float64Array:
        """Fractional voxel indices of world positions in RAS+ mm (shape (..., 3))."""
        points = np.asarray(ras_mm, dtype=np.float64)
        ijk: Float64Array = (points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T
        return ijk

    def same_as(self, other: Grid, atol_mm: float = 1e-3) -> bool:
        """Whether two grids place every voxel within ``atol_mm`` of each other (corner by corner)."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        return bool(np.abs(self.to_ras_mm(corners) - other.to_ras_mm(corners)).max() <= atol_mm)

    def axis_permutation(self, slice_axis: int) -> tuple[int, int, int]:
        """Voxel axes ordered (slice, row, column) for arrays that are worked on slice by slice."""
        rows_columns: list[Any] = list(other_axes(slice_axis))
        return slice_axis, rows_columns[0], rows_columns[1]
