"""The sample scans against their reference answers, which come from how the scans were drawn, not from this program."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.domain.volume import Study
from miliary_seg.report.volume_files import write_nifti

SERIES, SCAN = "dicom_t1c_miliary", "sub-normal_ce-gadolinium_T1w"


@pytest.fixture(scope="module")
def answers(sample_data: Path) -> dict:
    return json.loads((sample_data / "reference_answers.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def truth(sample_data: Path) -> list[dict[str, str]]:
    text = (sample_data / f"{SERIES}_lesions.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def miliary_study(sample_data: Path) -> Study:
    return ms.load_study(sample_data / SERIES)


@pytest.fixture(scope="module")
def miliary(miliary_study: Study) -> ms.CaseResult:
    return ms.analyze(miliary_study)


@pytest.fixture(scope="module")
def normal(sample_data: Path) -> ms.CaseResult:
    return ms.analyze(ms.load_study(sample_data / f"{SCAN}.nii.gz"))


def test_verdicts(miliary: ms.CaseResult, normal: ms.CaseResult, answers: dict) -> None:
    assert str(miliary.decision.verdict) == answers[SERIES]["verdict"] == "MET"
    assert str(normal.decision.verdict) == answers[f"{SCAN}.nii.gz"]["verdict"] == "NOT_MET"


def test_the_series_is_placed_as_it_was_drawn(miliary_study: Study, answers: dict) -> None:
    volume = miliary_study.volumes[0]
    assert (str(volume.sequence.sequence), str(volume.modality), volume.plane) == ("t1c", "MR", "axial")
    assert volume.n_slices == len(answers[SERIES]["slice_counts"]) == len(volume.source.sop_instance_uids)
    assert volume.thickness_mm == pytest.approx(3.0)


def test_most_lesions_are_found_on_the_side_where_they_are(miliary: ms.CaseResult, truth: list[dict[str, str]]) -> None:
    series = miliary.series[0]
    centres = np.array([[float(row[f"centre_ras_mm_{axis}"]) for axis in "xyz"] for row in truth])
    found = np.array([lesion.centroid_ras_mm for lesion in series.lesions])
    distance = np.linalg.norm(centres[:, None] - found[None], axis=2)
    assert (distance.min(axis=1) < 2.5).mean() >= 0.5
    sides = {place.lesion_id: place for place in series.assignments}
    wrong = checked = 0
    for column, lesion in enumerate(series.lesions):
        row, place = truth[int(distance[:, column].argmin())], sides[lesion.id]
        if distance[:, column].min() < 2.5 and place.side_confidence > 0.99:
            checked += 1
            wrong += str(place.side) != row["side"]
    assert checked > 100
    assert wrong == 0


def test_counts_follow_the_true_counts(miliary: ms.CaseResult, answers: dict) -> None:
    found = np.array(miliary.series[0].decision.slice_counts)
    true = np.array(answers[SERIES]["slice_counts"])
    assert np.corrcoef(found, true)[0, 1] > 0.9


def test_a_head_without_lesions_stays_far_below(normal: ms.CaseResult) -> None:
    assert max(normal.series[0].decision.slice_counts) <= 8


def test_nifti_in_another_orientation_gives_the_same_answer(
    miliary: ms.CaseResult, miliary_study: Study, tmp_path: Path
) -> None:
    path = write_nifti(miliary_study.volumes[0], tmp_path / "first_ce-gd_T1w.nii.gz")
    image = nib.Nifti1Image.from_filename(path)
    turned = image.as_reoriented(nib.orientations.axcodes2ornt(("S", "P", "L")))
    nib.save(turned, tmp_path / "turned_ce-gd_T1w.nii.gz")
    again = ms.analyze(ms.load_study(tmp_path / "turned_ce-gd_T1w.nii.gz"))
    assert again.decision.verdict is miliary.decision.verdict
    ours, theirs = miliary.series[0].decision, again.series[0].decision
    assert sorted(theirs.slice_counts) == pytest.approx(sorted(ours.slice_counts), abs=1)
    assert dict(theirs.quadrant_counts) == pytest.approx(dict(ours.quadrant_counts), abs=3)
