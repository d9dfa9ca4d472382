"""Options of ``run`` that choose what is loaded."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def four_dimensional(small_scan: Path, tmp_path: Path) -> Path:
    scan = nib.Nifti1Image.from_filename(small_scan)
    voxels = np.asarray(scan.dataobj, dtype=np.float32)
    path = tmp_path / "series_ce-gd_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([voxels * 0 + 1, voxels], axis=3), scan.affine), path)
    return path


@pytest.mark.slow
def test_one_volume_of_a_4d_file(four_dimensional: Path, tmp_path: Path, cli) -> None:
    refused = cli("run", four_dimensional, "-o", tmp_path / "out")
    assert refused.code == 3
    assert "volume" in refused.err
    assert cli("run", four_dimensional, "-o", tmp_path / "out", "--volume", 1).code == 0


@pytest.mark.slow
def test_resampling_is_asked_for_and_recorded(small_scan: Path, tmp_path: Path, cli) -> None:
    assert cli("run", small_scan, "-o", tmp_path / "out", "--case", "a", "--resample").code == 0
    assert '"resample": true' in (tmp_path / "out" / "a" / "result.json").read_text()


def test_two_patients_in_one_folder(sample_data: Path, tmp_path: Path, cli) -> None:
    import pydicom

    for number, source in enumerate(sorted((sample_data / "dicom_t1c_miliary").glob("*.dcm"))[:8]):
        dataset = pydicom.dcmread(source)
        dataset.PatientID = "A" if number < 4 else "B"
        dataset.save_as(tmp_path / f"{number}.dcm")
    finished = cli("run", tmp_path, "-o", tmp_path / "out")
    assert finished.code == 3
    assert len(finished.err.strip().splitlines()) == 1
    assert "patient" in finished.err.lower()
