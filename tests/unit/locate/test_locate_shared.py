"""Real heads, where the development scans are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import locate
from miliary_seg.settings import LocateSettings

SHARED = Path(os.environ.get("MILIARY_SHARED", Path(__file__).parents[4] / "shared")) / "data"
SCANS = {
    "heads/t1_crop.nii.gz": False,
    "heads/t2_2mm.nii.gz": False,
    "heads/t1c_brain_only.nii.gz": True,
    "ms_12_raw/study1_FLAIR.nii.gz": False,
    "ms_26_mni/T1POST.nii.gz": True,
}


@pytest.mark.shared
@pytest.mark.parametrize("name", SCANS)
def test_real_heads(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip("development scans are not here")
    image = nib.load(path)
    volume = Volume(
        voxels=np.asarray(image.dataobj, dtype=np.float32), grid=Grid(shape=image.shape, affine=image.affine)
    )
    location = locate(volume, LocateSettings())
    assert location.registration.trusted
    assert location.registration.skull_stripped is SCANS[name]
    millilitres = location.brain_mask.sum() * volume.grid.voxel_volume_mm3 / 1000
    assert 900 < millilitres < 1800  # adult brains with fluid: 1000 to 1700 ml, less after some skull strippers
    counts = np.bincount(location.compartments.labels.ravel(), minlength=5)[1:].astype(float)
    assert abs(counts[0] / counts[1] - 1) < 0.06  # people's hemispheres differ by a few per cent
    assert 0.07 < counts[2:].sum() / counts.sum() < 0.20  # cerebellum and brain stem: about an eighth


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "btp01_post",
        "btp06_pre",
        pytest.param(
            "btp06_post",
            marks=pytest.mark.xfail(
                strict=False,
                reason="affine fits tie within 0.3 %: last digits decide whether the leader matches best",
            ),
        ),
    ],
)
def test_enhanced_heads_with_bright_scalp_whose_affine_fits_nearly_tie_are_trusted(name):
    path = SHARED / "gad_heads" / f"{name}_T1c.nii.gz"
    if not path.exists():
        pytest.skip("development scans are not here")
    image = nib.as_closest_canonical(nib.load(path))
    voxels = np.asarray(image.dataobj, dtype=np.float32)
    location = locate(Volume(voxels=voxels, grid=Grid(shape=image.shape, affine=image.affine)), LocateSettings())
    assert location.registration.trusted
    counts = np.bincount(location.compartments.labels.ravel(), minlength=5)[1:].astype(float)
    assert abs(counts[0] / counts[1] - 1) < 0.08  # a large tumour on one side
    assert 0.07 < counts[2:].sum() / counts.sum() < 0.20
