"""One BIDS session as one case: an image that cannot be read stays in view of the decision."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.decide import decide_study
from miliary_seg.domain.decision import Decision, Verdict
from miliary_seg.load import find_session, load_case


@pytest.fixture
def anat(tmp_path: Path) -> Path:
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    voxels = np.random.default_rng(1).normal(100, 10, (20, 20, 20)).astype(np.float32)
    for name in ("sub-01_ce-gd_T1w.nii.gz", "sub-01_FLAIR.nii.gz", "sub-01_T2w.nii.gz"):
        image = nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))
        image.set_sform(image.affine, code=1)
        nib.save(image, folder / name)
    return folder


def test_only_the_images_given_are_found(anat: Path) -> None:
    found = find_session([anat / "sub-01_ce-gd_T1w.nii.gz", anat / "sub-01_FLAIR.nii.gz"], anat)
    assert [case.id for case in found.cases] == ["sub-01"]
    assert [series.sequence.sequence.value for series in found.cases[0].series] == ["t1c", "flair"]
    assert found.problems == ()


def test_no_session_is_negative_while_an_image_is_unseen(anat: Path) -> None:
    damaged = anat / "sub-01_FLAIR.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    found = find_session(sorted(anat.glob("*.nii.gz")), anat)
    assert [problem.path for problem in found.problems] == [damaged]
    study = load_case(found.cases[0])
    assert [str(volume.sequence.sequence) for volume in study.volumes] == ["t1c"]  # the best kind of what is left
    assert study.unreadable_series == ("sub-01_FLAIR",)
    assert "series_not_readable" in [caveat.code for caveat in study.caveats]
    assert all(str(anat) not in caveat.text for caveat in study.caveats)
    negative = {volume.id: Decision(verdict=Verdict.NOT_MET) for volume in study.volumes}
    assert decide_study(negative, study.unreadable_series).verdict is Verdict.INDETERMINATE


def test_a_session_without_a_readable_image_is_a_problem_only(anat: Path) -> None:
    for image in anat.glob("*.nii.gz"):
        image.write_bytes(b"no image")
    found = find_session(sorted(anat.glob("*.nii.gz")), anat)
    assert found.cases == ()
    assert len(found.problems) == 3
