"""Sidecars: what an image inherits from the folders above it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miliary_seg.load.nifti.sidecar import MAX_BYTES, read_sidecar


@pytest.fixture
def image(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset" / "sub-01" / "ses-a" / "anat"
    folder.mkdir(parents=True)
    say(tmp_path / "dataset" / "dataset_description.json", Name="x")
    return folder / "sub-01_ses-a_ce-gd_T1w.nii.gz"


def say(path: Path, **facts: object) -> None:
    path.write_text(json.dumps(facts))


def test_the_nearer_sidecar_speaks_first(image: Path) -> None:
    root = image.parents[3]
    say(root / "T1w.json", SliceThickness=5, EchoTime=0.003, Modality="MR")
    say(root / "sub-01" / "sub-01_T1w.json", SliceThickness=4, FlipAngle=9)
    say(image.with_name("sub-01_ses-a_ce-gd_T1w.json"), SliceThickness=1)
    assert read_sidecar(image) == {"SliceThickness": 1, "FlipAngle": 9, "EchoTime": 0.003, "Modality": "MR"}


def test_the_one_with_more_entities_goes_first_within_a_folder(image: Path) -> None:
    root = image.parents[3]
    say(root / "T1w.json", SliceThickness=5)
    say(root / "ce-gd_T1w.json", SliceThickness=2)
    assert read_sidecar(image)["SliceThickness"] == 2


@pytest.mark.parametrize("name", ["T2w.json", "acq-x_T1w.json", "sub-02_T1w.json", "run-1_ce-gd_T1w.json"])
def test_what_speaks_of_other_images_is_not_heard(image: Path, name: str) -> None:
    say(image.parents[3] / name, SliceThickness=5)
    assert read_sidecar(image) == {}


def test_nothing_is_inherited_from_above_or_without_a_dataset(image: Path) -> None:
    root = image.parents[3]
    say(root.parent / "T1w.json", SliceThickness=7)
    assert read_sidecar(image) == {}
    say(root / "T1w.json", SliceThickness=5)
    (root / "dataset_description.json").unlink()
    assert read_sidecar(image) == {}


def test_damaged_and_huge_sidecars_say_nothing(image: Path) -> None:
    own = image.with_name("sub-01_ses-a_ce-gd_T1w.json")
    for content in ("{", "[1]", '{"a": "' + "x" * MAX_BYTES + '"}'):
        own.write_text(content)
        assert read_sidecar(image) == {}
