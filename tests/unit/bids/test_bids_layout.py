"""Names and layout of BIDS datasets: what is analysed, what is passed over and why. Files here are empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miliary_seg.bids import Choice, Dataset
from miliary_seg.bids.names import BidsName
from miliary_seg.bids.participant import plan_lines, require_apart
from miliary_seg.errors import InputError, NoImageError, UnreadableFileError, UsageError


def make(root: Path, *images: str) -> Dataset:
    root.mkdir(exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    for image in images:
        path = root / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Dataset.open(root)


@pytest.mark.parametrize(
    "name",
    ["T1w.nii.gz", "sub-01.nii.gz", "sub-01_T1w", "sub_01_T1w.nii.gz", "sub-01_acq-a_acq-b_T1w.nii", "sub-0_1_T1w.nii"],
)
def test_what_is_no_bids_name(name):
    assert BidsName.of(Path(name)) is None


def test_a_derivative_keeps_every_entity_in_the_order_of_the_standard():
    name = BidsName.of(Path("sub-1_ses-b_acq-thin_ce-gd_rec-x_run-2_T1w.nii.gz"))
    derived = name.derivative("dseg", ".nii.gz", space="T1w", desc="lesions")
    assert derived == "sub-1_ses-b_acq-thin_ce-gd_rec-x_run-2_space-T1w_desc-lesions_dseg.nii.gz"
    odd = BidsName.of(Path("sub-1_part-mag_echo-1_run-3_T1w.nii"))
    assert odd.derivative("mask", ".json") == "sub-1_run-3_echo-1_part-mag_mask.json"


def test_sessions_and_their_images(tmp_path):
    data = make(
        tmp_path / "d",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_ce-gd_T1w.nii",
        "sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz",
        "sub-01/ses-a/swi/sub-01_ses-a_swi.nii.gz",
        "sub-01/ses-a/ct/sub-01_ses-a_ct.nii.gz",
        "sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.json",
        "sourcedata/sub-03/anat/sub-03_T1w.nii.gz",
    )
    assert data.participants() == ["01", "02"]
    found = {s.id: [p.name.split("_")[-1] for p in s.images] for s in data.sessions()}
    assert found == {
        "sub-01_ses-a": ["FLAIR.nii.gz", "swi.nii.gz", "ct.nii.gz"],
        "sub-01_ses-b": ["T1w.nii"],
        "sub-02": ["T1w.nii.gz"],
    }


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("sub-01_angio.nii.gz", "not among"),
        ("sub-01_part-phase_T1w.nii.gz", "only magnitudes"),
        ("sub-01_part-mag_T1w.nii.gz", ""),
        ("sub-01_inv-1_T1w.nii.gz", "one inversion"),
        ("sub-01_echo-2_T2w.nii.gz", "one echo"),
        ("sub-01_acq-thin_ce-gadolinium_run-2_T1w.nii.gz", ""),
        ("01_T1w.nii.gz", "no BIDS name"),
    ],
)
def test_why_an_image_is_passed_over(tmp_path, image, why):
    session = make(tmp_path / "d", f"sub-01/anat/{image}", "sub-01/anat/sub-01_PDw.nii.gz").sessions()[0]
    said = {path.name: reason for path, reason in session.skipped}
    assert (image in said) is bool(why)
    assert why in said.get(image, "")


def test_the_user_s_choice(tmp_path):
    data = make(
        tmp_path / "d",
        *(f"sub-{p}/ses-{s}/anat/sub-{p}_ses-{s}_run-{r}_T1w.nii.gz" for p in "12" for s in "ab" for r in ("1", "02")),
        "sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii.gz",
    )

    def images(**wanted):
        return [p.name for s in data.sessions(Choice(**wanted)) for p in s.images]

    assert len(images()) == 9
    assert len(images(participants=("sub-1",))) == 5
    assert len(images(participants=("1",), sessions=("ses-b",))) == 2
    assert images(participants=("2",), sessions=("a",), runs=("2",)) == ["sub-2_ses-a_run-02_T1w.nii.gz"]
    assert images(modalities=("flair",)) == ["sub-1_ses-a_FLAIR.nii.gz"]
    with pytest.raises(NoImageError, match=r"no participant 3; the dataset has 1, 2"):
        images(participants=("1", "3"))
    with pytest.raises(NoImageError, match=r"no image to analyse \(swi\)"):
        images(modalities=("swi",))
    with pytest.raises(UsageError, match="bold"):
        images(modalities=("bold",))


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(InputError, match="no BIDS dataset"):
        Dataset.open(tmp_path)
    for content in ("{", "[]"):
        (tmp_path / "dataset_description.json").write_text(content)
        with pytest.raises(UnreadableFileError):
            Dataset.open(tmp_path)


def test_results_never_lie_among_raw_data(tmp_path):
    for wrong in (tmp_path, tmp_path / "sub-01", tmp_path / "results"):
        with pytest.raises(UsageError, match="raw data"):
            require_apart(tmp_path, wrong)
    require_apart(tmp_path, tmp_path / "derivatives" / "x")
    require_apart(tmp_path, tmp_path.parent / "elsewhere")


def test_a_plan_says_what_is_used_and_on_request_what_is_not(tmp_path):
    sessions = make(tmp_path / "d", "sub-1/anat/sub-1_T1w.nii", "sub-1/anat/sub-1_angio.nii").sessions()
    assert list(plan_lines(sessions, verbose=False)) == ["sub-1: 1 image(s)", "  use  sub-1_T1w.nii"]
    assert list(plan_lines(sessions, verbose=True))[-1].startswith("  skip sub-1_angio.nii: angio is not among")
