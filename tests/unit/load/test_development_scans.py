"""Every development scan loads, with the sequence that its README states."""

from __future__ import annotations

from pathlib import Path

import pytest

from miliary_seg.load import find_cases, load_case, read_array

pytestmark = [pytest.mark.shared, pytest.mark.slow]

TRUTH = {
    "heads": {
        "ct_visible_human_f": "ct", "pd_ccbync": "pd", "t1_ccbync": "t1", "t1_crop": "t1",
        "t1_otsu": "t1", "t1c_brain_only": "t1c", "t2_2mm": "t2",
    },
    "ms_26_mni": {"FLAIR": "flair", "T1": "t1", "T1POST": "t1c", "T2": "t2"},
    "ms_12_raw": {
        f"study{visit}_{name}": sequence
        for visit in (1, 2)
        for name, sequence in (("FLAIR", "flair"), ("T1W", "t1"), ("T2W", "t2"))
    },
    "templates": {"GG-366-FLAIR-2.0mm-8mmFWHM": "flair", "scct": "ct"},
    "dicom_t1_child": {"dicom_t1_child": "t1"},
    "dicom_t1_2d_sagittal": {"dicom_t1_2d_sagittal": "t1"},
}  # fmt: skip


@pytest.mark.parametrize("folder", TRUTH)
def test_sequences_and_voxels(shared: Path, folder: str) -> None:
    found = find_cases([shared / "data" / folder])
    assert found.problems == ()
    assert {case.id: str(case.eligible[0].sequence.sequence) for case in found.cases} == TRUTH[folder]
    (volume,) = load_case(found.cases[0]).volumes
    assert volume.voxels.std() > 0
    assert volume.orientation_known


def test_the_planes_of_the_dicom_series(shared: Path) -> None:
    for folder, shape, step in (
        ("dicom_t1_child", (256, 256, 192), 0.9),
        ("dicom_t1_2d_sagittal", (256, 256, 35), 4.8),
    ):
        (volume,) = load_case(find_cases([shared / "data" / folder]).cases[0]).volumes
        assert volume.grid.shape == shape
        assert volume.plane == "sagittal"
        assert volume.slice_spacing_mm == pytest.approx(step, abs=1e-3)
        assert len(set(volume.source.sop_instance_uids)) == shape[2]


def test_label_maps_are_not_scans(shared: Path) -> None:
    found = find_cases([shared / "data" / "label_maps"])
    assert found.cases == ()
    assert "mask or label map" in str(found.problems[0].error)


def test_an_oblique_head_is_placed_as_its_header_says(shared: Path) -> None:
    import nibabel as nib
    import numpy as np

    path = shared / "data" / "heads" / "t2_2mm.nii.gz"
    voxels, affine = read_array(path)
    image = nib.load(path)
    np.testing.assert_allclose(affine, image.affine, atol=1e-4)
    np.testing.assert_allclose(voxels, image.get_fdata(), rtol=1e-5)
