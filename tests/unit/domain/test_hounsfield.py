from __future__ import annotations

import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Volume


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
