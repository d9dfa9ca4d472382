"""NIfTI: a name that holds the patient's name or number, as a sidecar states them, gets into no output."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.load import find_cases


def image(path: Path, **sidecar: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(1).normal(100, 20, (24, 24, 12)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4, 6, 1])), path)
    if sidecar:
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return path


def names(path: Path) -> set[str]:
    (case,) = find_cases([path]).cases
    return {case.id, *(series.id for series in case.series)}


@pytest.mark.parametrize(
    ("name", "sidecar"),
    [
        ("doe_jane_t1c.nii.gz", {"PatientName": "DOE^JANE"}),
        ("scan-MRN20481.nii.gz", {"PatientID": "MRN-20481"}),
        ("t1c_20481632.nii.gz", {"PatientID": 20481632}),
        ("Jané_1.nii.gz", {"PatientName": "Jané Doe"}),
        ("sub-JaneDoe_T1w.nii.gz", {"PatientName": "Doe^Jane"}),
    ],
)
def test_a_name_that_identifies_is_hidden_behind_a_digest(
    tmp_path: Path, name: str, sidecar: dict[str, object]
) -> None:
    path = image(tmp_path / "scans" / name, **sidecar)
    found = names(path)
    assert all(item.startswith("case-") for item in found)
    assert found == names(path), "the same in every run"
    assert not any(word in item.lower() for item in found for word in ("doe", "jan", "20481"))


def test_a_folder_that_identifies_does_not_tell_two_files_apart(tmp_path: Path) -> None:
    for folder in ("DOE JANE", "other"):
        image(tmp_path / folder / "t1c.nii.gz", PatientName="Doe^Jane")
    found = {case.id for case in find_cases([tmp_path]).cases}
    assert len(found) == 2
    assert "other-t1c" in found
    assert not any("doe" in item.lower() for item in found)


def test_other_names_stay(tmp_path: Path) -> None:
    assert names(image(tmp_path / "a" / "t1c.nii.gz", PatientName="Doe^Jane", PatientID="AB")) == {"t1c"}
    assert names(image(tmp_path / "b" / "t1c.nii.gz")) == {"t1c"}
