"""What the user states may not contradict what a DICOM header states; what NIfTI leaves out is said."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.errors import UnsuitableImageError
from miliary_seg.settings import Settings


def test_an_mr_series_cannot_be_called_ct(sample_data: Path) -> None:
    settings = Settings().updated({"load.sequence": "ct"})
    with pytest.raises(UnsuitableImageError, match="states MR"):
        ms.load_study(sample_data / "dicom_t1c_miliary", settings=settings)


@pytest.mark.parametrize(("spacing", "assumed"), [(5.0, True), (1.0, False)])
def test_an_unstated_thickness_is_said(tmp_path: Path, spacing: float, assumed: bool) -> None:
    voxels = np.random.default_rng(0).normal(100, 9, (20, 20, 12)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, spacing, 1.0])), tmp_path / "scan_T1w.nii.gz")
    volume = ms.load_study(tmp_path / "scan_T1w.nii.gz").volumes[0]
    assert ("thickness_assumed" in [caveat.code for caveat in volume.caveats]) is assumed
