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


def head_in_hu() -> np.ndarray:
    """A ball of soft tissue in a shell of bone in air, with the noise of a scanner."""
    distance = np.linalg.norm(np.indices((40, 40, 24)) - np.array([20, 20, 12])[:, None, None, None], axis=0)
    values = np.select([distance < 9, distance < 11], [35.0, 900.0], -1000.0)
    return (values + np.random.default_rng(0).normal(0, 8, values.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options", "modality", "sequence"),
    [
        ("head", {}, "CT", "ct"),
        ("head_T1w", {}, "MR", "t1"),  # what a name says stays
        ("head", {"load.sequence": "t1c"}, "MR", "t1c"),  # so does what the user says
    ],
)
def test_a_nameless_ct_is_known_by_its_grey_values(tmp_path, name, options, modality, sequence) -> None:
    nib.save(nib.Nifti1Image(head_in_hu(), np.eye(4)), tmp_path / f"{name}.nii.gz")
    volume = ms.load_study(tmp_path / f"{name}.nii.gz", settings=Settings().updated(options)).volumes[0]
    assert (volume.modality, volume.sequence.sequence) == (modality, sequence)


@pytest.mark.parametrize("change", [lambda hu: hu + 1024, lambda hu: hu / 1000, lambda hu: np.minimum(hu, 200)])
def test_other_grey_values_are_not_taken_for_hu(tmp_path, change) -> None:
    nib.save(nib.Nifti1Image(change(head_in_hu()), np.eye(4)), tmp_path / "head.nii.gz")
    volume = ms.load_study(tmp_path / "head.nii.gz").volumes[0]
    assert (volume.modality, volume.sequence.sequence) == ("MR", "unknown")
    assert "modality_assumed" in [caveat.code for caveat in volume.caveats]
