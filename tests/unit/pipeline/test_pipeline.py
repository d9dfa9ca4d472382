from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.scan_facts import scan_facts
from miliary_seg.domain.sequence import Modality
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.errors import InputError, NoBrainError, NoImageError
from miliary_seg.lab.host_scan import make_phantom
from miliary_seg.lab.phantom import preset
from miliary_seg.pipeline import analyze
from miliary_seg.software import software


@pytest.fixture(scope="module")
def study(small_phantom) -> Study:
    return Study(case="phantom", volumes=(small_phantom.volume,))


@pytest.fixture(scope="module")
def result(study) -> ms.CaseResult:
    return analyze(study)


def test_every_stage_speaks(result, study) -> None:
    series = result.series[0]
    assert result.case == "phantom"
    assert set(result.timings_s) == {"locate", "detect", "assign", "decide"}
    assert series.volume is study.volumes[0]
    assert len(series.assignments) == len(series.lesions) > 0
    assert len(series.decision.slice_counts) == study.volumes[0].n_slices
    assert series.detection.lesion_labels.labels.max() == len(series.lesions)


def test_lesions_lie_where_they_were_put(result, small_phantom) -> None:
    found = np.array([lesion.centroid_ras_mm for lesion in result.series[0].lesions])
    truth = np.array([lesion.centre_ras_mm for lesion in small_phantom.truth.lesions])
    nearest = np.linalg.norm(truth[:, None] - found[None], axis=2).min(axis=1)
    assert (nearest < 5.0).mean() >= 0.7


def test_sides_are_the_patients(result, small_phantom) -> None:
    places = {a.lesion_id: a for a in result.series[0].assignments}
    truth = small_phantom.truth.lesions
    centres = np.array([lesion.centre_ras_mm for lesion in truth])
    compared = 0
    for lesion in result.series[0].lesions:
        distance = np.linalg.norm(centres - np.array(lesion.centroid_ras_mm), axis=1)
        near, place = truth[int(distance.argmin())], places[lesion.id]
        if distance.min() < 3 and place.side_confidence > 0.99:
            compared += 1
            assert str(place.side) == near.side
    assert compared >= 3


@pytest.mark.slow
def test_two_runs_are_equal(result, study) -> None:
    assert analyze(study) == result


def test_a_dozen_lesions_do_not_meet_the_rule(result) -> None:
    assert result.decision.verdict is not ms.Verdict.MET


@pytest.mark.slow
def test_a_mask_of_the_users_own_is_used(study, small_phantom) -> None:
    mask = np.asarray(small_phantom.brain_mask)
    own = analyze(study, mask=mask).series[0]
    assert np.array_equal(own.location.brain_mask, mask)
    assert "given_mask" in {caveat.code for caveat in own.caveats}


def test_a_mask_that_leaves_out_most_of_the_brain_never_gives_a_negative(study, small_phantom) -> None:
    mask = np.zeros_like(np.asarray(small_phantom.brain_mask))
    mask[tuple(slice(n // 2 - 4, n // 2 + 4) for n in mask.shape)] = True
    result = analyze(study, mask=mask)
    assert result.decision.verdict is ms.Verdict.INDETERMINATE
    assert "coverage_infratentorial" in {reason.code for reason in result.decision.reasons}


def test_a_mask_must_fit(study) -> None:
    with pytest.raises(InputError):
        analyze(study, mask=np.ones((3, 3, 3), bool))
    with pytest.raises(InputError):
        analyze(replace(study, volumes=study.volumes * 2), mask=np.ones(study.volumes[0].grid.shape, bool))


def test_nothing_to_analyse() -> None:
    with pytest.raises(NoImageError):
        analyze(Study(case="empty", volumes=()))


def noise_volume(name: str = "noise") -> Volume:
    voxels = np.random.default_rng(0).normal(100, 20, (40, 40, 40)).astype(np.float32)
    return Volume(voxels=voxels, grid=Grid(shape=(40, 40, 40), affine=np.diag([4.0, 4.0, 4.0, 1.0])), id=name)


@pytest.mark.slow
def test_a_study_without_a_brain_is_an_error() -> None:
    with pytest.raises(NoBrainError):
        analyze(Study(case="noise", volumes=(noise_volume(),)))


@pytest.mark.slow
def test_one_series_without_a_brain_is_a_caveat(study) -> None:
    mixed = analyze(replace(study, volumes=(*study.volumes, noise_volume())))
    assert [series.id for series in mixed.series] == [study.volumes[0].id]
    assert [caveat.code for caveat in mixed.caveats] == ["series_skipped_no_brain"]


def test_facts_follow_the_slices(result) -> None:
    series = result.series[0]
    facts = scan_facts(series.volume, series.location, series.detection)
    steps = np.diff(facts.slice_positions_mm)
    assert steps == pytest.approx(np.full(len(steps), series.volume.slice_spacing_mm), abs=1e-4)
    middle = np.array(series.volume.grid.shape) / 2 - 0.5
    index = facts.n_slices // 2
    middle[series.volume.slice_axis] = index
    assert facts.slice_centres_ras_mm[index] == pytest.approx(series.volume.grid.to_ras_mm(middle), abs=1e-3)


def test_candidates_that_were_not_marked_reach_the_criteria(result) -> None:
    series = result.series[0]
    facts = scan_facts(series.volume, series.location, series.detection)
    improbable = {r.candidate.id for r in series.detection.rejections if r.rule == "probability"}
    assert facts.unmarked is not None
    assert {lesion.candidate_id for lesion in facts.unmarked} <= improbable
    assert sum(p for _, p in series.decision.count_distribution) == pytest.approx(1)
    assert next(answer.slice for answer in series.decision.slice_answers) == "native"


def test_software_names_versions() -> None:
    assert software()["version"] == ms.__version__


def test_no_truth_is_made_of_a_host_whose_fit_is_not_trusted(study, result, monkeypatch) -> None:
    place = result.series[0].location
    doubtful = replace(place, registration=replace(place.registration, trusted=False))
    monkeypatch.setattr(import_module("miliary_seg.load"), "load_study", lambda *_, **__: study)
    monkeypatch.setattr(import_module("miliary_seg.locate"), "locate", lambda *_: doubtful)
    with pytest.raises(NoBrainError, match="not trusted"):
        make_phantom(preset("normal"), host=Path("scan.nii.gz"))


def test_ct_in_another_scale_is_doubted(result) -> None:
    series = result.series[0]
    voxels = np.clip(series.volume.voxels, 0, None) / series.volume.voxels.max() * 4095
    for modality, codes in ((Modality.CT, ["ct_not_hounsfield"]), (Modality.MR, [])):
        volume = replace(series.volume, voxels=voxels, modality=modality)
        facts = scan_facts(volume, series.location, series.detection)
        assert [doubt.code for doubt in facts.image_doubts] == codes
