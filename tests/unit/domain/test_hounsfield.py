from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda hu: hu, True),
        (lambda hu: np.where(hu < 0, -1024, hu), True),
        (lambda hu: np.clip(hu, -100, 300), True),
        (lambda hu: np.where((hu > 0) & (hu < 100), hu, 0), True),
        (lambda hu: np.where(hu > 0, 2.4 * hu, hu), True),
        (lambda hu: hu - 1024, False),
        (lambda hu: hu + 1024, False),
        (lambda hu: np.where((hu > 0) & (hu < 100), hu + 1024, 0), False),
        (lambda hu: np.clip(hu, 0, 80) / 80, False),
        (lambda hu: np.round(np.clip(hu, 0, 80) / 80 * 255), False),
        (lambda hu: hu / 1000, False),
        (lambda hu: hu * 16, False),
    ],
    ids=["as it is", "padded", "clipped", "brain", "enhanced", "shifted down", "shifted up", "brain, shifted",
         "0 to 1", "0 to 255", "thousandths", "sixteenfold"],
)  # fmt: skip
def test_units_of_a_head(change, expected: bool) -> None:
    """Air, scalp, bone and brain in layers, with noise."""
    noise = np.random.default_rng(0).normal(0, 4, (48, 48, 24))
    depth = np.minimum.reduce(
        [np.minimum(i, n - 1 - i) for i, n in zip(np.indices((48, 48, 24)), (48, 48, 24), strict=True)]
    )
    hu = np.select([depth < 2, depth < 4, depth < 6], [-1000.0, -80.0, 1100.0], 32.0) + noise
    voxels = change(hu).astype(np.float32)
    volume = Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=np.eye(4)), modality=Modality.CT)
    assert volume.in_hounsfield is expected


@pytest.mark.parametrize(
    ("modality", "low", "high", "expected"),
    [
        (Modality.CT, -1000, 1800, True),
        (Modality.CT, 0, 90, True),
        (Modality.CT, 0, 4095, False),
        (Modality.MR, -1000, 1800, False),
    ],
    ids=["whole head", "brain only", "shifted", "MR"],
)
def test_ct_in_hounsfield_units(modality: Modality, low: float, high: float, expected: bool) -> None:
    voxels = np.linspace(low, high, 27, dtype=np.float32).reshape(3, 3, 3)
    voxels[1, 1, 1] = np.nan
    volume = Volume(voxels=voxels, grid=Grid(shape=(3, 3, 3), affine=np.eye(4)), modality=modality)
    assert volume.in_hounsfield is expected
