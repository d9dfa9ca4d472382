"""From a file without orientation, or with a wrong one, to the answer: no left and right is ever made up."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from miliary_seg import Settings, analyze, load_study
from miliary_seg.domain.result import CaseResult
from miliary_seg.errors import GeometryError
from miliary_seg.report import write_case


def written(path, voxels, affine, code):
    image = nib.Nifti1Image(voxels.astype(np.float32), affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def analysed(path, **changes) -> CaseResult:
    settings = Settings().updated(changes)
    return analyze(load_study(path, settings=settings), settings)


def bilateral(result):
    return next(c for c in result.series[0].decision.criteria if c.name == "bilateral")


@pytest.fixture(scope="module")
def voxels_in_ras(small_phantom):
    """Voxels of the phantom with axes to the right, front and top, and their spacing."""
    volume = small_phantom.volume
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.voxels, volume.grid.affine))
    return np.asarray(image.dataobj), image.affine


@pytest.mark.slow
def test_no_orientation_stated(tmp_path, voxels_in_ras):
    voxels, affine = voxels_in_ras
    path = written(tmp_path / "sub-01_ce-gd_T1w.nii.gz", voxels, np.diag([*np.diag(affine)[:3], 1.0]), 0)
    with pytest.raises(GeometryError, match="left and right are unknown"):
        load_study(path)

    unknown = analysed(path, **{"load.assume_orientation": "unknown"})
    places = unknown.series[0].assignments
    assert places
    assert all(place.side is None and place.side_confidence == 0.5 for place in places)
    assert all(place.level is not None for place in places)
    assert bilateral(unknown).verdict.value == "INDETERMINATE"
    folder = write_case(unknown, tmp_path / "out")
    assert not list(folder.rglob("compartments.nii.gz"))
    assert "compartment_map" not in json.loads((folder / "result.json").read_text())["series"][0]["files"]

    stated = analysed(path, **{"load.assume_orientation": "RAS"})
    mirrored = analysed(path, **{"load.assume_orientation": "LAS"})
    sides = [[place.side for place in result.series[0].assignments] for result in (stated, mirrored)]
    assert None not in sides[0] + sides[1]
    assert len(set(sides[0])) == 2
    assert sides[0] != sides[1]  # the user's word decides


@pytest.mark.slow
def test_upside_down_header(tmp_path, voxels_in_ras, small_phantom):
    voxels, affine = voxels_in_ras
    right = analysed(written(tmp_path / "right_ce-gd_T1w.nii.gz", voxels, affine, 1))
    wrong = analysed(written(tmp_path / "wrong_ce-gd_T1w.nii.gz", voxels, np.diag([1, -1, -1, 1]) @ affine, 1))
    fit = wrong.series[0].location.registration
    assert fit.reoriented
    assert not wrong.series[0].orientation_known
    assert {place.side for place in wrong.series[0].assignments} == {None}
    levels = [
        {
            tuple(np.round(lesion.centroid_ijk)): place.level
            for lesion, place in zip(r.lesions, r.assignments, strict=True)
        }
        for r in (right.series[0], wrong.series[0])
    ]
    shared = levels[0].keys() & levels[1].keys()
    assert len(shared) >= 5
    assert all(levels[0][place] == levels[1][place] for place in shared)
    assert bilateral(wrong).verdict.value == "INDETERMINATE"
    assert "orientation_contradicted" in {reason.code for reason in bilateral(wrong).reasons}
