"""A scan before contrast agent beside the one after it: what lesions took up, and every reason not to use the pair."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.contrast_pair import pair_reasons, paired
from miliary_seg.detect import given_detection, match
from miliary_seg.detect.uptake import with_uptake
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion_source import OURS, GivenLesions
from miliary_seg.domain.pair import Enhances
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.domain.volume import Source, Study, Volume
from miliary_seg.lab import phantom
from miliary_seg.lab.phantom import Phantom
from miliary_seg.load.stored_case import read_stored_series
from miliary_seg.locate.transform import rotation
from miliary_seg.pipeline import analyze


def as_read(volume: Volume, sequence: Sequence, name: str) -> Volume:
    return replace(volume, id=name, sequence=SequenceEvidence(sequence=sequence, confidence="high"))


def scanned_before(seed: int = 5, lesions: int = 0) -> Volume:
    """The head of ``small_phantom`` (seed 5) before contrast agent; lesions in it do not need the agent to shine."""
    spec = phantom.preset("few-large")
    drawn = replace(spec.lesions, count=lesions, diameter_mm=(5.0, 7.0), contrast=(25.0, 30.0), ring_fraction=0.0)
    scanner = replace(spec.scanner, pixel_mm=1.6, thickness_mm=4.0)
    mimics = replace(spec.mimics, vessels=0, sheets=0, choroid=0, dots=0, sinuses=False)
    spec = replace(spec, sequence=Sequence.T1, scanner=scanner, mimics=mimics, lesions=drawn)
    made = phantom.make(spec, seed=seed).volume
    noise = np.random.default_rng(seed).normal(0, 12, made.voxels.shape).astype(np.float32)
    return as_read(replace(made, voxels=made.voxels + noise), Sequence.T1, "before")


def moved(volume: Volume, shift_mm: tuple[float, float, float], turn_deg: float = 0.0) -> Volume:
    """The same voxels, stated to lie elsewhere."""
    change = np.eye(4)
    change[:3, :3] = rotation(np.radians(turn_deg), 0.0, 0.0)
    change[:3, 3] = shift_mm
    return replace(volume, grid=Grid(shape=volume.grid.shape, affine=change @ volume.grid.affine))


@pytest.fixture(scope="module")
def after(small_phantom: Phantom) -> Volume:
    return as_read(small_phantom.volume, Sequence.T1C, "after")


@pytest.fixture(scope="module")
def before() -> Volume:
    return scanned_before()


@pytest.fixture(scope="module")
def alone(after: Volume) -> ms.CaseResult:
    return analyze(Study(case="one", volumes=(after,)))


@pytest.fixture(scope="module")
def compared(after: Volume, before: Volume) -> ms.CaseResult:
    return analyze(Study(case="one", volumes=(after,), before_contrast=(moved(before, (2.0, -1.5, 1.0), 2.0),)))


def codes(after: Volume, mask: np.ndarray, before: Volume) -> list[str]:
    found = paired(after, mask, [before])
    assert found is not None
    assert (found.matched is None) is bool(found.pair.reasons) is not found.pair.used
    return [reason.code for reason in found.pair.reasons]


def test_lesions_that_shine_by_contrast_agent_enhance(compared: ms.CaseResult, small_phantom: Phantom) -> None:
    series = compared.series[0]
    assert series.pair is not None
    assert series.pair.used
    assert series.pair.before == "before"
    assert 2.0 < series.pair.moved_mm < 8.0
    truth = np.array([lesion.centre_ras_mm for lesion in small_phantom.truth.lesions])
    real = [l for l in series.lesions if np.linalg.norm(truth - np.array(l.centroid_ras_mm), axis=1).min() < 4]  # noqa: E741
    assert len(real) >= 8
    said = [lesion.uptake.enhances for lesion in real]
    assert said.count(Enhances.YES) >= 0.9 * len(said)
    assert Enhances.NO not in said


def test_the_pair_changes_no_lesion_and_no_answer(alone: ms.CaseResult, compared: ms.CaseResult) -> None:
    one, other = alone.series[0], compared.series[0]
    assert one.pair is None
    assert [replace(lesion, uptake=None) for lesion in other.lesions] == list(one.lesions)
    assert other.detection.candidates == one.detection.candidates
    assert other.decision == one.decision
    assert compared.decision == alone.decision


@pytest.mark.slow
def test_lesions_that_were_bright_before_do_not_enhance(after: Volume, small_phantom: Phantom) -> None:
    labels = small_phantom.labels
    n = int(labels.labels.max())
    given = GivenLesions(labels=labels, probabilities=(1.0,) * n, source=OURS)
    mask = small_phantom.brain_mask
    detection = given_detection(after, mask, given)
    voxels = after.voxels.copy()
    vessel = tuple(axis[:1500] for axis in np.nonzero(mask & (labels.labels == 0)))
    voxels[vessel] *= 2  # something takes it up
    found = paired(replace(after, voxels=voxels), mask, [scanned_before(lesions=12)])
    assert found is not None
    assert found.matched is not None
    said = [lesion.uptake.enhances for lesion in with_uptake(detection, found.matched).lesions]
    assert len(said) == n
    assert said.count(Enhances.NO) >= 0.9 * n
    assert Enhances.YES not in said


def test_results_say_what_was_used(compared: ms.CaseResult, tmp_path: Path) -> None:
    folder = compared.write(tmp_path)
    document = json.loads((folder / "result.json").read_text("utf-8"))
    (series,) = document["series"]
    pair, lesions = series["pair"], series["lesions"]
    assert (pair["before"], pair["used"], pair["reasons"]) == ("before", True, [])
    assert pair["n_enhancing"] == sum(lesion["enhances"] == "yes" for lesion in lesions) > 0
    with (folder / "after" / "lesions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["enhances"] for row in rows] == [lesion["enhances"] for lesion in lesions]
    assert [float(row["uptake"]) for row in rows] == pytest.approx([one["uptake"] for one in lesions], abs=1e-6)
    page = (folder / "report.html").read_text("utf-8")
    assert "Scan before contrast agent" in page
    assert "Compared with before, before contrast agent" in page
    assert "enhances: yes (uptake" in page


def test_a_single_scan_says_nothing_of_a_pair(alone: ms.CaseResult, tmp_path: Path) -> None:
    folder = alone.write(tmp_path)
    document = json.loads((folder / "result.json").read_text("utf-8"))
    assert "pair" not in document["series"][0]
    assert not {"uptake", "enhances"} & set(document["series"][0]["lesions"][0])
    assert "uptake" not in (folder / "after" / "lesions.csv").read_text("utf-8").splitlines()[0]
    assert "before contrast agent" not in (folder / "report.html").read_text("utf-8").lower()


def test_a_refused_pair_is_said(after: Volume, before: Volume, small_phantom: Phantom) -> None:
    late = replace(before, source=replace(before.source, acquired="20260102120000"))
    scan = replace(after, source=replace(after.source, acquired="20260102180000"))
    study = Study(case="one", volumes=(scan,), before_contrast=(late,))
    series = analyze(study, mask=small_phantom.brain_mask).series[0]
    assert series.pair is not None
    assert not series.pair.used
    assert "pair_hours" in [caveat.code for caveat in series.caveats]
    assert all(lesion.uptake is None for lesion in series.lesions)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"frame_of_reference_uid": "1.2.3"}, ["pair_frames"]),
        ({"acquired": "20260102100000"}, ["pair_hours"]),
        ({"acquired": "20260101123000"}, ["pair_hours"]),
        ({"acquired": "20260102123500"}, ["pair_order"]),
        ({"acquired": "20260102122000.5"}, []),
        ({"acquired": "122000"}, []),
    ],
)
def test_what_headers_say_against_it(changed: dict[str, str], expected: list[str]) -> None:
    scan = Volume.from_array(np.zeros((4, 4, 4)), np.eye(4), sequence="t1c")
    source = Source(format="DICOM", frame_of_reference_uid="1.2.9", acquired="20260102123000")
    other = replace(scan, source=replace(source, **changed))
    assert [r.code for r in pair_reasons(replace(scan, source=source), other)] == expected


def test_slices_and_orientation_are_asked_for() -> None:
    scan = Volume.from_array(np.zeros((4, 4, 4)), np.eye(4), sequence="t1c")
    thick = Volume.from_array(np.zeros((4, 4, 4)), np.diag([1, 1, 5, 1]), sequence="t1")
    assert [r.code for r in pair_reasons(scan, thick)] == ["pair_thickness"]
    assert pair_reasons(thick, scan) == ()
    assert [r.code for r in pair_reasons(scan, replace(scan, orientation_known=False))] == ["pair_orientation"]


def test_another_person_is_not_used(after: Volume, small_phantom: Phantom) -> None:
    said = codes(after, small_phantom.brain_mask, scanned_before(seed=23))
    assert said == ["pair_person"]


def test_a_mirrored_scan_is_recognised(after: Volume, before: Volume, small_phantom: Phantom) -> None:
    mirrored = replace(before, voxels=before.voxels[::-1].copy())
    assert codes(after, small_phantom.brain_mask, mirrored) == ["pair_mirrored"]


def test_two_scans_after_contrast_agent_are_no_pair(after: Volume, small_phantom: Phantom) -> None:
    again = as_read(after, Sequence.T1, "again")
    assert codes(after, small_phantom.brain_mask, again) == ["pair_no_agent"]


def test_part_of_the_head_is_not_enough(after: Volume, before: Volume, small_phantom: Phantom) -> None:
    n = before.n_slices // 2
    upper = Grid(shape=(*before.grid.shape[:2], before.grid.shape[2] - n), affine=before.grid.affine.copy())
    affine = upper.affine.copy()
    affine[:3, 3] = before.grid.to_ras_mm([0, 0, n])
    part = replace(before, voxels=before.voxels[:, :, n:], grid=Grid(shape=upper.shape, affine=affine))
    assert "pair_partial_view" in codes(after, small_phantom.brain_mask, part)


def test_a_head_far_from_where_the_header_says_is_not_used(
    after: Volume, before: Volume, small_phantom: Phantom
) -> None:
    mask = small_phantom.brain_mask
    assert codes(after, mask, moved(before, (40.0, 0.0, 30.0), 40.0))
    assert codes(after, mask, moved(before, (900.0, 0.0, 0.0))) == ["pair_no_overlap"]


def test_a_head_that_moved_while_it_was_scanned_is_not_used(
    after: Volume, before: Volume, small_phantom: Phantom
) -> None:
    """Slices of one pass lie 12 mm beside those of the other, as where the head moved between two packages."""
    torn = before.voxels.copy()
    torn[:, :, ::2] = np.roll(torn[:, :, ::2], 8, axis=0)
    said = codes(after, small_phantom.brain_mask, replace(before, voxels=torn))
    assert set(said) & {"pair_registration", "pair_unlike"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_do_not_spread(
    after: Volume, before: Volume, small_phantom: Phantom, value: float
) -> None:
    broken = before.voxels.copy()
    broken[:6] = value
    found = paired(after, small_phantom.brain_mask, [replace(before, voxels=broken)])
    assert found is not None
    assert found.pair.used


def test_no_scan_before_contrast_agent_is_no_pair(after: Volume, before: Volume, small_phantom: Phantom) -> None:
    flair = as_read(before, Sequence.FLAIR, "flair")
    assert paired(after, small_phantom.brain_mask, [flair]) is None
    assert paired(before, small_phantom.brain_mask, [after]) is None


def test_the_scan_of_like_slices_is_taken(after: Volume, before: Volume, small_phantom: Phantom) -> None:
    thick = replace(before, id="thick", slice_thickness_mm=20.0)
    found = paired(after, small_phantom.brain_mask, [thick, before])
    assert found is not None
    assert found.pair.before == "before"


def test_a_stored_case_keeps_what_lesions_took_up(compared: ms.CaseResult, tmp_path: Path) -> None:
    stored = read_stored_series(compared.write(tmp_path))
    assert [lesion.uptake.enhances for lesion in stored.lesions] == [
        lesion.uptake.enhances for lesion in compared.series[0].lesions
    ]


def on_ct(sequence: Sequence, lesions: int, noise_hu: float, seed: int) -> tuple[Phantom, Volume]:
    """One head on CT in HU with noise of its own; lesions 15-50 HU above their surroundings."""
    spec = phantom.preset("few-large")
    agent = sequence is Sequence.CTC
    drawn = replace(spec.lesions, count=lesions, diameter_mm=(5.0, 7.0), enhancement=(15.0, 50.0), ring_fraction=0.0)
    scanner = replace(spec.scanner, pixel_mm=1.2, thickness_mm=3.0, noise=0.002)
    mimics = replace(spec.mimics, vessels=60 if agent else 0, sheets=0, choroid=0, dots=0, sinuses=agent)
    made = phantom.make(replace(spec, sequence=sequence, scanner=scanner, mimics=mimics, lesions=drawn), seed=5)
    noise = np.random.default_rng(seed).normal(0, noise_hu, made.volume.voxels.shape).astype(np.float32)
    return made, as_read(replace(made.volume, voxels=made.volume.voxels + noise), sequence, str(sequence))


@pytest.mark.slow
@pytest.mark.parametrize("noise_hu", [5.0, 2.0])
def test_two_cts_are_compared_through_their_noise(noise_hu: float) -> None:
    made, after = on_ct(Sequence.CTC, 12, noise_hu, seed=1)
    _, before = on_ct(Sequence.CT, 0, noise_hu, seed=2)
    found = paired(after, made.brain_mask, [moved(before, (2.0, -1.5, 1.0), 2.0)])
    assert found is not None
    assert found.matched is not None, found.pair.reasons
    n = len(made.truth.lesions)
    given = GivenLesions(labels=made.labels, probabilities=(1.0,) * n, source=OURS)
    lesions = with_uptake(given_detection(after, made.brain_mask, given), found.matched).lesions
    said = [lesion.uptake.enhances for lesion in lesions if lesion.uptake is not None]
    assert said.count(Enhances.YES) >= 0.8 * n
    assert Enhances.NO not in said


@pytest.mark.slow
def test_the_same_ct_twice_shows_no_agent() -> None:
    made, after = on_ct(Sequence.CTC, 0, 3.0, seed=1)
    _, again = on_ct(Sequence.CTC, 0, 3.0, seed=2)
    assert codes(after, made.brain_mask, as_read(again, Sequence.CT, "before")) == ["pair_no_agent"]


def test_a_few_voxels_of_brain_are_too_little(after: Volume, before: Volume, small_phantom: Phantom) -> None:
    few = np.zeros_like(small_phantom.brain_mask)
    middle = tuple(n // 2 for n in few.shape)
    few[middle] = True
    matched = match(after, few, before, np.eye(4))
    assert isinstance(matched, Reason)
    assert matched.code == "pair_too_little_brain"
