"""Smooth random fields on a lattice: cubic B-splines over a few knots, cheap on any grid and at any point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from miliary_seg.domain.arrays import Float32Array, Float64Array

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SmoothField:
    """One scalar field over the index space of a lattice."""

    shape: Shape
    knots: Float64Array
    """Coefficients, at least 4 along each axis."""

    @classmethod
    def random(cls, shape: Shape, n_knots: Shape, rng: np.random.Generator) -> SmoothField:
        """Independent standard normal coefficients, ``n_knots`` spans along each axis."""
        i, j, k = (max(1, n) + 3 for n in n_knots)
        return cls(shape=shape, knots=rng.standard_normal((i, j, k)))

    def on_lattice(self) -> Float32Array:
        """Values at every lattice point, shape ``shape``."""
        sizes = zip(self.shape, self.knots.shape, strict=True)
        bases = [_basis(np.arange(n, dtype=np.float64), n, m) for n, m in sizes]
        field = np.einsum("abc,ia,jb,kc->ijk", self.knots.astype(np.float32), *bases, optimize=True)
        return np.asarray(field, dtype=np.float32)

    def at(self, points: Float64Array) -> Float64Array:
        """Values at fractional indices, shape (n, 3) to (n,)."""
        bases = [_basis(points[:, a], self.shape[a], self.knots.shape[a]).astype(np.float64) for a in range(3)]
        values: Float64Array = np.einsum("abc,na,nb,nc->n", self.knots, *bases, optimize=True)
        return values


def _basis(x: Float64Array, n_points: int, n_knots: int) -> Float32Array:
    """Weights of the uniform cubic B-splines, shape (len(x), n_knots); every row sums to 1."""
    place = np.clip(x / max(n_points - 1, 1), 0, 1) * (n_knots - 3) + 1
    distance = np.abs(place[:, None] - np.arange(n_knots))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)
