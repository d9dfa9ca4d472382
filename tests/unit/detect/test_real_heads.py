"""Heads without miliary disease must stay far from 20 lesions a slice, at every operating point."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage as ndi

from miliary_seg.detect import find
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.settings import DetectSettings

SHARED = Path(os.environ.get("MILIARY_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["heads/t1c_brain_only", "ms_26_mni/T1POST", "ms_26_mni/T2", "ms_26_mni/FLAIR"])
def test_no_slice_comes_near_the_threshold(name):
    path = SHARED / "data" / f"{name}.nii.gz"
    if not path.exists():
        pytest.skip("development scans are not here")
    nib = pytest.importorskip("nibabel")
    image = nib.load(path)
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    mask = ndi.binary_fill_holes(ndi.binary_opening(voxels > 0.02 * np.percentile(voxels, 99), iterations=2))
    volume = Volume(voxels=voxels, grid=Grid(shape=voxels.shape, affine=image.affine))
    for sensitivity, most in (("high", 14), ("balanced", 8), ("specific", 6)):
        counts = np.zeros(voxels.shape[2], int)
        for lesion in find(volume, mask, DetectSettings(sensitivity=sensitivity)).lesions:
            counts[list(lesion.slices)] += 1
        assert counts.max() <= most, sensitivity
