"""Label maps: the same voxels at the same place in the patient, and nothing of the patient in the header."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import OutputError
from miliary_seg.report import volume_files as nifti
from miliary_seg.report import write_label_map

ROTATION = np.array(
    [
        [0.936293, -0.275096, 0.218351, 5.0],
        [0.289629, 0.956425, -0.036957, -7.0],
        [-0.198669, 0.097843, 0.97517, 2.0],
        [0, 0, 0, 1],
    ]
)  # Rz(0.3) Ry(0.2) Rx(0.1), to six digits


def centres(labels, affine):
    """World place of every label (RAS mm), by hand."""
    return {
        int(n): (affine[:3, :3] @ np.argwhere(labels == n).mean(axis=0) + affine[:3, 3]) for n in np.unique(labels) if n
    }


@pytest.mark.parametrize("oblique", [False, True])
def test_world_places_in_48_orientations(tmp_path, make_case, all_orientations, oblique):
    change = ROTATION if oblique else np.eye(4)
    for code in all_orientations:
        series = make_case(orientation=code, affine_change=change).series[0]
        path = tmp_path / f"{code}.nii.gz"
        write_label_map(series.detection.lesion_labels, path)
        image = nib.load(path)
        np.testing.assert_allclose(image.affine, series.volume.grid.affine, atol=1e-4)
        places = centres(np.asarray(image.dataobj), image.affine)
        # lesion 3 was drawn at left, posterior, inferior; each orientation must put it there again
        for number, drawn in ((3, (-27.0, -45.0, -38.0)), (5, (12.0, 40.0, 10.0))):
            expected = change[:3, :3] @ drawn + change[:3, 3]
            assert np.abs(places[number] - expected).max() < 3.5  # half a voxel and the drawing
        reference = {lesion.id: lesion.centroid_ras_mm for lesion in series.lesions}
        for number, place in places.items():
            assert np.abs(place - reference[number]).max() < 0.01


def test_header(tmp_path, case):
    path = tmp_path / "a.nii.gz"
    write_label_map(case.series[0].detection.lesion_labels, path)
    header = nib.load(path).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    assert header.get_xyzt_units()[0] == "mm"
    assert header["descrip"].item() == b"miliary-seg label map"
    assert header["aux_file"].item() == header["db_name"].item() == b""
    assert len(header.extensions) == 0


def test_unknown_orientation_does_not_claim_the_scanner(tmp_path, case):
    path = tmp_path / "a.nii.gz"
    write_label_map(case.series[0].detection.lesion_labels, path, orientation_known=False)
    assert int(nib.load(path).header["sform_code"]) == 2


def test_sheared_grid_has_only_an_sform(tmp_path):
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 0.8
    labels = LabelMap(labels=np.ones((4, 4, 3), np.uint8), grid=Grid(shape=(4, 4, 3), affine=affine))
    write_label_map(labels, tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    assert int(image.header["qform_code"]) == 0


@pytest.mark.parametrize(("highest", "kind"), [(3, np.uint8), (255, np.uint8), (256, np.uint16), (70_000, np.uint32)])
def test_integers_are_wide_enough(tmp_path, highest, kind):
    array = np.zeros((3, 3, 3), np.int64)
    array[1, 2, 0] = highest
    write_label_map(LabelMap(labels=array, grid=Grid(shape=(3, 3, 3), affine=np.eye(4))), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == kind
    assert int(np.asarray(image.dataobj)[1, 2, 0]) == highest


def test_negative_labels_are_refused(tmp_path):
    labels = LabelMap(labels=np.full((3, 3, 3), -1, np.int16), grid=Grid(shape=(3, 3, 3), affine=np.eye(4)))
    with pytest.raises(OutputError, match="label"):
        write_label_map(labels, tmp_path / "a.nii.gz")


def test_a_file_that_reads_back_differently_is_refused(tmp_path, case, monkeypatch):
    other = np.zeros(case.series[0].volume.grid.shape, np.uint8)
    saved = nib.Nifti1Image(other, case.series[0].volume.grid.affine)
    monkeypatch.setattr(nib, "save", lambda image, path: saved.to_filename(path))
    with pytest.raises(OutputError, match="reads back"):
        write_label_map(case.series[0].detection.lesion_labels, tmp_path / "a.nii.gz")


def test_full_disk_is_named(tmp_path, case, monkeypatch):
    def full(image, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(OutputError, match="No space"):
        nifti.write_label_map(case.series[0].detection.lesion_labels, tmp_path / "a.nii.gz")
