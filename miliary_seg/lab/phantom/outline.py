"""Irregular outlines of lesions: a ball or ellipsoid whose radius varies smoothly with the direction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from miliary_seg.domain.arrays import Float64Array

WAVES = 8
"""Plane waves in the sum that varies the radius; more look no different."""
WAVE_NUMBERS = (1.5, 4.0)
"""Their frequencies on the unit sphere: lobes of about a quarter to a whole of the outline."""
N_DIRECTIONS = 400
"""Evenly spread directions in which an outline is measured: its extent is right to about 1 %."""


def _directions(n: int) -> Float64Array:
    """Directions spread evenly over the sphere (Fibonacci lattice), shape (n, 3)."""
    height = 1 - (2 * np.arange(n) + 1) / n
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(n)
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)


DIRECTIONS = _directions(N_DIRECTIONS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """Radius over direction in the space in which the lesion without bumps is the unit ball."""

    waves: Float64Array
    """Shape (waves, 3)."""
    phases: Float64Array
    irregularity: float
    size: float
    """Factor that keeps the volume at that of the unit ball."""
    points: Float64Array
    """Points of the surface, shape (n, 3)."""
    centre: Float64Array
    """Of the outline, shape (3,): the lesion's extent and centre of mass lie about the origin."""

    @classmethod
    def random(
        cls, irregularity: float, axes_mm: Float64Array, normal: Float64Array, rng: np.random.Generator
    ) -> Outline:
        """Draw one.

        Parameters
        ----------
        irregularity
            Standard deviation of the logarithm of the radius over directions.
        axes_mm
            Semi-axes as columns, shape (3, 3).
        normal
            Of the slices: along it the middle of the extent lies at the origin (the counting rule is told by centre
            and extent), across it the centre of mass.
        rng
            Seeded generator.
        """
        along = rng.standard_normal((WAVES, 3))
        along *= (rng.uniform(*WAVE_NUMBERS, WAVES) / np.linalg.norm(along, axis=1))[:, None]
        raw = cls(
            waves=along,
            phases=rng.uniform(0, 2 * np.pi, WAVES),
            irregularity=irregularity,
            size=1.0,
            points=DIRECTIONS,
            centre=np.zeros(3),
        )
        radius = raw.radius(DIRECTIONS)
        size = float(np.mean(radius**3) ** (-1 / 3))
        surface = (size * radius[:, None] * DIRECTIONS) @ axes_mm.T
        mass = 0.75 * np.mean((size * radius)[:, None] ** 4 * DIRECTIONS, axis=0) @ axes_mm.T
        heights = surface @ normal
        shift = -mass + normal * float(normal @ mass - (heights.min() + heights.max()) / 2)
        centre = np.linalg.solve(axes_mm, shift)
        points = centre + size * radius[:, None] * DIRECTIONS
        return replace(raw, size=size, points=points, centre=centre)

    def radius(self, directions: Float64Array) -> Float64Array:
        """Radius along unit vectors, shape (..., 3) to (...)."""
        field = np.cos(directions @ self.waves.T + self.phases).sum(axis=-1) * np.sqrt(2 / WAVES)
        out: Float64Array = self.size * np.exp(self.irregularity * field)
        return out

    def level(self, unit: Float64Array) -> Float64Array:
        """Distance from the outline's centre over the radius in that direction: 1 on the surface."""
        away = unit - self.centre
        distance = np.sqrt(np.einsum("...a,...a", away, away))
        out: Float64Array = distance / self.radius(away / np.maximum(distance, 1e-9)[..., None])
        return out
