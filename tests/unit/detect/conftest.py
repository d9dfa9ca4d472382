from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.domain.volume import Volume

SUPERSAMPLE = 3


@dataclass
class Scene:
    """A head of flat tissue in which the test draws, in mm from the centre of voxel (0, 0, 0)."""

    shape: tuple[int, int, int] = (48, 56, 40)
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tissue: float = 500.0
    noise: float = 10.0
    seed: int = 0
    blur_mm: float = 0.5
    added: list[NDArray[np.float64]] = field(default_factory=list)

    def _axes(self, offset: tuple[float, float, float]) -> list[NDArray[np.float64]]:
        return list(
            np.meshgrid(
                *[(np.arange(n) + o) * q for n, q, o in zip(self.shape, self.spacing, offset, strict=True)],
                indexing="ij",
            )
        )

    def _paint(self, inside: Callable[[list[NDArray[np.float64]]], NDArray[np.bool_]], contrast: float) -> Scene:
        steps = (np.arange(SUPERSAMPLE) + 0.5) / SUPERSAMPLE - 0.5
        cover = np.zeros(self.shape)
        for a in steps:
            for b in steps:
                for c in steps:
                    cover += inside(self._axes((a, b, c)))
        self.added.append(contrast * cover / SUPERSAMPLE**3)
        return self

    def ball(self, centre_mm: tuple[float, float, float], diameter_mm: float, contrast: float = 200.0) -> Scene:
        return self._paint(
            lambda x: sum((v - c) ** 2 for v, c in zip(x, centre_mm, strict=True)) <= (diameter_mm / 2) ** 2, contrast
        )

    def tube(
        self, point_mm: tuple[float, float, float], direction: tuple[float, float, float], diameter_mm: float
    ) -> Scene:
        d = np.array(direction) / np.linalg.norm(direction)

        def inside(x: list[NDArray[np.float64]]) -> NDArray[np.bool_]:
            v = np.stack([a - p for a, p in zip(x, point_mm, strict=True)])
            along = np.tensordot(d, v, 1)
            return (v**2).sum(axis=0) - along**2 <= (diameter_mm / 2) ** 2

        return self._paint(inside, 200.0)

    def sheet(self, x_mm: float, thickness_mm: float) -> Scene:
        return self._paint(lambda x: np.abs(x[0] - x_mm) <= thickness_mm / 2, 200.0)

    def voxels(self) -> NDArray[np.float32]:
        from scipy import ndimage as ndi

        clean = self.tissue + sum(self.added, np.zeros(self.shape))
        clean = ndi.gaussian_filter(clean, [self.blur_mm / q for q in self.spacing])
        rng = np.random.default_rng(self.seed)
        return (clean + rng.normal(0, self.noise, self.shape)).astype(np.float32)

    def mask(self, margin_mm: float = 3.0) -> NDArray[np.bool_]:
        """Ellipsoid that leaves ``margin_mm`` on every side."""
        parts = []
        for v, n, q in zip(self._axes((0, 0, 0)), self.shape, self.spacing, strict=True):
            half = max((n - 1) / 2 * q - margin_mm, q / 2)
            parts.append(((v - (n - 1) / 2 * q) / half) ** 2)
        return np.asarray(sum(parts) <= 1)

    def volume(self, **changes: object) -> Volume:
        return as_volume(self.voxels(), self.spacing, **changes)


def as_volume(
    voxels: NDArray[np.generic],
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    sequence: Sequence = Sequence.T1C,
    **changes: object,
) -> Volume:
    grid = Grid(shape=voxels.shape, affine=np.diag([*spacing, 1.0]))
    return Volume(voxels=voxels, grid=grid, sequence=SequenceEvidence(sequence=sequence), **changes)


@pytest.fixture
def scene() -> type[Scene]:
    return Scene


@pytest.fixture
def volume_of() -> Callable[..., Volume]:
    return as_volume
