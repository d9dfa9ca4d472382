"""What the viewer shows lies where the scan lies: cropped, quantised, coarsened, in any orientation."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import replace
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.domain.sequence import Modality
from miliary_seg.report.html.environment import content_policy
from miliary_seg.report.html.pictures import planes_through
from miliary_seg.report.html.viewer import UNKNOWN, candidate_values, viewer_values, viewer_volumes
from miliary_seg.report.html.views import grey_window
from miliary_seg.report.json_document import series_document


def opened(text):
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def volumes_of(series, **choices):
    return viewer_volumes(series, grey_window(series.volume, series.location.brain_mask), **choices)


@pytest.mark.parametrize("code", ["LAS", "RPI", "SLA", "PIR"])
@pytest.mark.parametrize("max_voxels", [10**9, 20_000])
def test_lesions_stay_where_they_are(make_case, code, max_voxels):
    """The centre of gravity of each compartment's lesion in the viewer's file, in world space."""
    shear = np.eye(4)
    shear[:3, :3] = [[0.98, 0.1, 0.0], [-0.1, 0.98, 0.15], [0.0, -0.12, 0.97]]
    series = make_case(orientation=code, affine_change=shear).series[0]
    made = volumes_of(series, max_voxels=max_voxels)
    image = opened(made.lesions)
    assert image.shape == opened(made.scan).shape == opened(made.compartments).shape
    for number, label in ((2, 2), (3, 3), (4, 4)):  # one lesion in each of these compartments; two in the second
        voxels = np.argwhere(np.asarray(image.dataobj) == label)
        places = nib.affines.apply_affine(image.affine, voxels)
        wanted = np.array(series.lesions[number - 1].centroid_ras_mm)
        near = places[np.linalg.norm(places - wanted, axis=1) < 15]
        assert np.linalg.norm(near.mean(axis=0) - wanted) < (0.01 if max_voxels > 10**6 else 3.0)
    axis = series.volume.slice_axis
    assert np.allclose(image.affine[:3, axis], series.volume.grid.affine[:3, axis], atol=1e-5)  # slices stay


def test_grey_values_keep_the_unit_of_the_scan(case):
    series = case.series[0]
    image = opened(volumes_of(series).scan)
    part = image.get_fdata()
    step = float(image.dataobj.slope)
    crop = np.rint(series.volume.grid.to_ijk(image.affine[:3, 3])).astype(int)
    whole = series.volume.voxels[tuple(slice(a, a + n) for a, n in zip(crop, image.shape, strict=True))]
    shown = whole < 255 * step
    assert np.abs(part - whole)[shown].max() <= step / 2 + 1e-3


def test_ct_keeps_one_hounsfield_unit(make_case):
    series = make_case(modality=Modality.CT).series[0]
    image = opened(volumes_of(series).scan)
    assert float(image.dataobj.slope) <= 1.0
    assert float(image.dataobj.inter) < 0


def test_the_same_bytes_twice_and_no_name_inside(case):
    first, second = volumes_of(case.series[0]), volumes_of(case.series[0])
    assert first == second
    raw = base64.b64decode(first.scan)
    assert raw[3] == 0  # no file name in the gzip header
    assert raw[4:8] == b"\0\0\0\0"  # and no time
    header = opened(first.scan).header
    assert bytes(header["descrip"]).strip(b"\0") == bytes(header["intent_name"]).strip(b"\0") == b""


def test_unknown_compartments_and_empty_masks(case):
    series = case.series[0]
    lost = tuple(replace(a, side=None) for a in series.assignments)
    labels = np.asarray(opened(volumes_of(replace(series, assignments=lost)).lesions).dataobj)
    assert set(np.unique(labels)) == {0, UNKNOWN}
    empty = replace(series.location, brain_mask=np.zeros(series.volume.grid.shape, bool))
    assert opened(volumes_of(replace(series, location=empty)).scan).shape == series.volume.grid.shape


@pytest.mark.parametrize(("code", "plane"), [("LAS", "axial"), ("RPI", "axial"), ("PIR", "coronal")])
def test_viewer_values_count_slices_as_the_volume_does(make_case, code, plane):
    series = make_case(orientation=code, plane=plane).series[0]
    values = viewer_values(series, series_document(series, "x", identified=False), "v", (0.0, 1.0))
    row, step = np.array(values["ras_to_slice"]), np.array(values["slice_step_ras_mm"])
    for k, centre in enumerate(series.volume.slice_centres_ras_mm):
        assert row[:3] @ centre + row[3] == pytest.approx(k, abs=1e-6)
    assert row[:3] @ step == pytest.approx(1.0)
    for entry, lesion in zip(values["lesions"], series.lesions, strict=True):
        assert (entry[6], entry[7]) == (lesion.slices[0], lesion.slices[-1])


def test_every_candidate_is_listed_once_with_its_rule(case):
    found = candidate_values(case.series[0])
    assert [row[0] for row in found["rows"]] == [1, 2, 3, 4, 5, 6]
    assert [row[-1] for row in found["rows"]] == [1, 2, 3, 4, 5, None]
    assert {row[1] for row in found["rows"]} == set(found["rules"]) == {"accepted", "probability"}


def test_rejected_candidates_below_a_probability_are_left_out_of_the_page_but_lesions_never(case):
    series = case.series[0]
    refused = series.detection.rejections[0].candidate
    at = candidate_values(series, refused.probability)
    assert at == candidate_values(series)
    above = candidate_values(series, np.nextafter(1.0, 2.0))
    assert [row[0] for row in above["rows"]] == [lesion.candidate_id for lesion in series.lesions]
    assert set(above["rules"]) == {"accepted"}


def test_planes_through_a_mask():
    mask = np.zeros((30, 4, 4), bool)
    mask[10:21] = True
    assert planes_through(mask, 0, 5) == [11, 13, 15, 17, 19]
    assert planes_through(np.zeros((4, 4, 4), bool), 0, 2) == [1, 2]


def test_vendored_files_are_those_that_the_script_made():
    folder = files("miliary_seg.report.html") / "vendor"
    recorded = [line.split() for line in (folder / "CHECKSUMS").read_text("utf-8").splitlines()]
    assert {name for _, name in recorded} == {"LICENSES.txt", "niivue.js"}
    for digest, name in recorded:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    text = (folder / "niivue.js").read_text("utf-8")
    assert "</script" not in text.lower()
    assert "<!--" not in text
    assert "BSD 2-Clause" in (folder / "LICENSES.txt").read_text("utf-8")


def test_policy_follows_the_script():
    assert content_policy("a", ["b"]) != content_policy("a", ["c"])
