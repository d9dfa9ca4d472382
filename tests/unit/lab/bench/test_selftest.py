"""Scenes, hosts and the pages of the phantoms; one phantom is really made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from miliary_seg.domain.decision import Verdict
from miliary_seg.domain.sequence import Modality, Sequence
from miliary_seg.errors import NoImageError, UnsuitableImageError, UsageError
from miliary_seg.lab.bench.document import schema
from miliary_seg.lab.bench.hosts import given_hosts, head_of, painted
from miliary_seg.lab.bench.scenes import FAMILIES, BenchPlan, Host, Scene, drawn_hosts, scenes_of, spec_of
from miliary_seg.lab.bench.scoring import CaseInput, Findings, MatchRule, score_case
from miliary_seg.lab.bench.selftest import SceneScore, SelfTest, run
from miliary_seg.lab.bench.selftest_pages import write_selftest
from miliary_seg.lab.bench.summary import Summary
from miliary_seg.lab.phantom.truth import second_best
from miliary_seg.settings import Settings

PLAN = BenchPlan(hosts=drawn_hosts(3, 0))


def test_scenes_are_distinct_and_do_not_depend_on_what_is_left_out() -> None:
    scenes = scenes_of(PLAN)
    assert len({s.id for s in scenes}) == len({s.seed for s in scenes}) == len(scenes) == 3 * 3 * (1 + 3 + 10 + 3)
    assert [s.host.name for s in scenes] == sorted(s.host.name for s in scenes)
    part = scenes_of(replace(PLAN, families=("negative",)))
    assert part == [s for s in scenes if s.family == "negative"]
    assert {s.family for s in scenes} == set(FAMILIES)


def test_a_scan_keeps_its_own_slices() -> None:
    scenes = scenes_of(BenchPlan(hosts=(Host(name="mine", path=Path("x"), kind="scan"),)))
    assert {s.group for s in scenes} == {"native slices"}
    assert [s.kind for s in scenes if s.family == "free"] == ["normal"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hosts": ()}, "no head"),
        ({"families": ("spheres",)}, "unknown family"),
        ({"thicknesses_mm": (0.0,)}, "out of range"),
        ({"counts": (-1,)}, "out of range"),
    ],
)
def test_plans_that_make_no_sense(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BenchPlan(**({"hosts": drawn_hosts(1, 0)} | wrong))


@pytest.mark.parametrize(
    ("counts", "wanted"), [([20, 21], 0), ([20, 0, 21], 20), ([5, 9, 8, 0, 7], 7), ([3], 0), ([9, 9, 9], 9)]
)
def test_the_second_best_slice_apart(counts: list[int], wanted: int) -> None:
    """Neighbours are no pair."""
    assert second_best(counts) == wanted


def segmentation(path: Path, codes=(2, 3, 41, 42, 7, 8, 46, 47, 4, 1005, 2030, 16)) -> Path:
    data = np.zeros((24, 12, 12), dtype=np.int16)
    for n, code in enumerate(codes):
        data[2 * n : 2 * n + 2, 2:10, 2:10] = code
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    return path


def test_heads_painted_from_a_freesurfer_segmentation(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "sub-1" / "aseg.nii.gz")
    (host,) = given_hosts([tmp_path])
    assert (host.name, host.kind) == ("sub-1", "labels")
    head = painted(path)
    at = {int(code): index for index, code in enumerate(nib.load(path).get_fdata()[::2, 5, 5])}
    codes = head.compartments[::2, 5, 5]
    assert [int(codes[at[c]]) for c in (2, 41, 8, 47, 1005, 2030)] == [1, 2, 3, 4, 1, 2]
    assert int(codes[at[16]]) == 0  # the stem has no side
    assert head.brain[2 * at[16], 5, 5]
    assert head.regions[2 * at[4], 5, 5] == 0
    assert head.voxels[2 * at[4], 5, 5] < head.voxels[2 * at[3], 5, 5] < head.voxels[2 * at[2], 5, 5]


def test_a_segmentation_is_painted_as_the_sequence_that_is_asked_for(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "sub-1" / "aseg.nii.gz")
    (host,) = given_hosts([tmp_path])
    for asked, sequence in (("auto", Sequence.T1C), ("flair", Sequence.FLAIR), ("ctc", Sequence.CTC)):
        head = head_of(host, replace(Settings(), load=replace(Settings().load, sequence=asked)))
        assert head.sequence is sequence
        white, grey = (np.median(head.voxels[nib.load(path).get_fdata() == code]) for code in (2, 3))
        assert (grey > white) == (sequence is not Sequence.T1C)
    assert head.modality is Modality.CT
    assert head.voxels.min() < -900


def test_an_8_bit_scan_is_no_segmentation(tmp_path: Path) -> None:
    """It holds every code of one, by chance."""
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 20, axis=0) < 18
    noise = np.random.default_rng(0).integers(1, 255, ball.shape)
    nib.save(nib.Nifti1Image((noise * ball).astype(np.uint8), np.eye(4)), tmp_path / "sub-1_T1w.nii.gz")
    (host,) = given_hosts([tmp_path])
    assert host.kind == "scan"


def test_hosts_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsuitableImageError, match="FreeSurfer"):
        painted(segmentation(tmp_path / "few.nii.gz", (2, 41)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImageError, match="no head"):
        given_hosts([tmp_path / "empty"])


def test_a_phantom_from_making_to_scores() -> None:
    """The truth of the curve is exact."""
    plan = BenchPlan(hosts=drawn_hosts(1, 4), thicknesses_mm=(5.0,), counts=(4,), families=("curve",))
    settings = Settings()
    test = run(plan, settings)
    (score,) = test.scores
    assert not test.failed
    assert (score.true_count, score.score.given.truth_met, score.scene.group) == (4, False, "5 mm")
    given = score.score.given
    assert len(given.reference) == 40
    assert given.n_slices > len(given.slices) > 15
    assert max(given.reference.slice_counts(given.n_slices)) == 4
    assert 0 < score.score.hit.sum() <= 40
    assert score.score.dice.size == score.score.hit.sum()
    assert score.score.marks.n_reference == 40
    assert score.found_count <= score.worst_slice


def test_a_scene_that_cannot_be_made_is_named_and_stops_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise UsageError("no room for lesion 3 of 9")

    monkeypatch.setattr("miliary_seg.lab.bench.selftest.make", refused)
    plan = BenchPlan(hosts=drawn_hosts(1, 4), thicknesses_mm=(5.0,), counts=(4,), families=("curve",))
    test = run(plan, Settings())
    assert test.failed == (("drawn-4_5mm_count-4", "usage: no room for lesion 3 of 9"),)


def test_lesions_of_a_scan_follow_its_polarity() -> None:
    from miliary_seg.domain.sequence import Sequence, SequenceEvidence

    head = head_of(Host(name="drawn-4", seed=4), Settings())
    scene = Scene(id="s", family="curve", kind="count-3", host=Host(name="x"), thickness_mm=None, seed=1, count=3)
    assert spec_of(scene, head, 10).lesions.polarity == "bright"
    from miliary_seg.domain.volume import Volume

    volume = Volume(
        voxels=head.voxels, grid=head.grid, sequence=SequenceEvidence(sequence=Sequence.SWI, confidence="user")
    )
    spec = spec_of(scene, replace(head, volume=volume), 10)
    assert (spec.lesions.polarity, spec.sequence, spec.scanner.on_host_grid) == ("dark", "swi", True)
    assert spec.lesions.slice_targets == ((8, 3), (11, 3))


def handmade(scene: Scene, found: int) -> SceneScore:
    """A scan of 30 slices: so many lesions on slices 10 and 13, of which some are found."""
    n = scene.count or 0
    centres = np.array([[6.0 * k, 0, 0] for k in range(2 * n)]).reshape(-1, 3)
    slices = tuple((10,) if k < n else (13,) for k in range(2 * n))
    reference = Findings.of(centres, diameters_mm=np.full(2 * n, 3.0), contrasts=np.full(2 * n, 12.0), slices=slices)
    kept = [k for k in range(2 * n) if k % max(n, 1) < found]
    predicted = Findings.of(centres[kept], scores=np.full(len(kept), 0.7), slices=tuple(slices[k] for k in kept))
    given = CaseInput(
        case=scene.id,
        head=scene.host.name,
        group=scene.group,
        predicted=predicted,
        reference=reference,
        n_slices=30,
        candidates=predicted,
        verdict=Verdict.MET if found >= 20 else Verdict.NOT_MET,
        probability=0.9 if found >= 20 else 0.1,
        truth_met=n >= 20,
    )
    return SceneScore(
        scene=scene,
        score=score_case(given, MatchRule()),
        true_count=n,
        found_count=found,
        worst_slice=found,
        borderline=False,
        operating_point="balanced",
    )


@pytest.fixture
def handmade_test() -> SelfTest:
    plan = replace(PLAN, thicknesses_mm=(3.0,), counts=(10, 30))
    scores = [handmade(scene, {10: 9, 30: 27}.get(scene.count or 0, 0)) for scene in scenes_of(plan)]
    return SelfTest(plan=plan, settings=Settings(), scores=tuple(scores), failed=(("x", "usage: no room"),))


def test_figures_of_the_phantoms_by_hand(handmade_test: SelfTest) -> None:
    summary = Summary(test=handmade_test)
    low, high = summary.curve
    assert (low.count, low.met.value, low.not_met, low.truth_met, low.found_count) == (10, 0.0, 3, 0, 9.0)
    assert (high.count, high.met.value, high.truth_met) == (30, 1.0, 3)
    (counts,) = summary.counts
    assert counts.slices == 12
    assert (counts.mean_absolute.value, counts.bias.value) == (2.0, -2.0)  # 6 slices lack 1, 6 lack 3
    assert (summary.verdicts.met, summary.verdicts.not_met) == ((3, 0, 0), (0, 0, 24))
    found = summary.decision_calibration
    assert [(b.mean_predicted, b.observed.value) for b in found.bins] == [(pytest.approx(0.1), 0.0), (0.9, 1.0)]
    assert [row.kind for row in summary.free] == ["normal", "vessel-rich", "pvs-rich"]
    assert all(row.met.value == 0 for row in summary.free)


def test_what_is_written_of_the_phantoms(handmade_test: SelfTest, tmp_path: Path) -> None:
    page, sections, document = write_selftest(handmade_test, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "bench.json").read_text("utf-8")) == document
    assert document["kind"] == "phantoms"
    Draft202012Validator(schema()).validate(document)
    assert document["plan"]["hosts"] == ["drawn-0", "drawn-1", "drawn-2"]
    assert len(document["cases"]) == len(handmade_test.scores)
    titles = [section.title for section in sections]
    assert titles[0] == "Scenes that could not be made or analysed"
    assert "Decision against the true count" in titles
    text = (tmp_path / "out" / "bench.md").read_text("utf-8")
    assert "![Decision against the true count](figures/decision.svg)" in text
    drawn = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    # Scored by hand, without candidates: no FROC.
    assert drawn == {f"{name}.svg" for name in ("decision", "counts", "calibration_decision", "diameters", "contrasts")}
    assert all(f"(figures/{name})" in text for name in drawn)
    assert page.read_text("utf-8").count("<svg") == len(drawn)
    counts = (tmp_path / "out" / "figures" / "counts.svg").read_text("utf-8")
    assert "lesions on the slice, predicted" in counts
