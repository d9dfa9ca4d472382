"""Compartments, verdicts, lesions, results."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from miliary_seg.domain.compartment import Assignment, Compartment, Coverage, Level, Registration, Side
from miliary_seg.domain.decision import Decision, ScanFacts, StudyDecision, Verdict
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion import Candidate, Lesion, Rejection
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, Detection, Location, OperatingPoint, SeriesResult
from miliary_seg.domain.sequence import Modality, Polarity, Sequence, SequenceEvidence
from miliary_seg.domain.volume import LabelMap, Volume

T, U, F = Verdict.MET, Verdict.INDETERMINATE, Verdict.NOT_MET


def assignment(**changes: object) -> Assignment:
    values: dict[str, object] = {
        "lesion_id": 1,
        "side": Side.LEFT,
        "level": Level.INFRATENTORIAL,
        "boundary_distance_mm": 3.0,
        "midline_distance_mm": -3.0,
        "tentorium_distance_mm": 8.0,
        "side_confidence": 0.98,
        "level_confidence": 1.0,
    }
    return Assignment(**(values | changes))  # type: ignore[arg-type]


def lesion(**changes: object) -> Lesion:
    values: dict[str, object] = {
        "id": 1,
        "centroid_ras_mm": (-3.0, 2.0, 1.0),
        "centroid_ijk": (1.0, 2.0, 3.0),
        "volume_mm3": 14.1,
        "equivalent_diameter_mm": 3.0,
        "contrast": 7.5,
        "enhancement": None,
        "probability": 0.9,
        "slices": (2, 3),
        "flags": ("rim",),
    }
    return Lesion(**(values | changes))  # type: ignore[arg-type]


def test_compartment_labels_are_those_of_the_published_label_map() -> None:
    assert [(c.value, c.side, c.level) for c in Compartment] == [
        (1, "left", "supratentorial"),
        (2, "right", "supratentorial"),
        (3, "left", "infratentorial"),
        (4, "right", "infratentorial"),
    ]
    assert [Compartment.of(c.side, c.level) for c in Compartment] == list(Compartment)
    assert Compartment.RIGHT_INFRATENTORIAL.text == "right infratentorial"


def test_an_assignment_without_a_side_or_level_has_no_compartment() -> None:
    assert assignment().compartment is Compartment.LEFT_INFRATENTORIAL
    assert assignment(side=None).compartment is None
    assert assignment(level=None).compartment is None


def test_coverage_is_asked_for_by_compartment() -> None:
    coverage = Coverage(
        left_supratentorial=0.1, right_supratentorial=0.2, left_infratentorial=0.3, right_infratentorial=0.4
    )
    assert [coverage.of(c) for c in Compartment] == [0.1, 0.2, 0.3, 0.4]
    assert [Coverage().of(c) for c in Compartment] == [1.0] * 4


@pytest.mark.parametrize(("a", "b"), list(product([T, U, F], repeat=2)))
def test_verdicts_follow_kleene(a: Verdict, b: Verdict) -> None:
    value = {F: 0.0, U: 0.5, T: 1.0}
    assert value[Verdict.all_of([a, b])] == min(value[a], value[b])
    assert value[Verdict.any_of([a, b])] == max(value[a], value[b])


def test_verdicts_of_nothing_and_of_generators() -> None:
    assert Verdict.all_of([]) is T
    assert Verdict.any_of([]) is F
    assert Verdict.all_of(v for v in (T, U)) is U


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_wording_claims_no_diagnosis(verdict: Verdict) -> None:
    assert verdict.text.endswith("for the proposed criteria" if verdict is U else "the proposed criteria")
    assert not any(word in verdict.text for word in ("diagnos", "confirm", "metasta"))


def test_scan_facts_assume_a_trusted_whole_brain_until_told_otherwise() -> None:
    facts = ScanFacts(modality=Modality.MR, sequence=SequenceEvidence(), slice_positions_mm=(0.0, 5.0))
    assert facts.n_slices == 2
    assert facts.registration == Registration(trusted=True, trust=1.0)
    assert facts.sequence == SequenceEvidence(sequence=Sequence.UNKNOWN, confidence="none")


def test_candidates_can_be_kept_in_sets() -> None:
    values = {"centroid_ijk": (1.0, 2.0, 3.0), "centroid_ras_mm": (0.0, 0.0, 0.0), "diameter_mm": 3.0}
    more = {"polarity": Polarity.BRIGHT, "contrast": 5.0, "probability": 0.4}
    first, twin, other = (
        Candidate(id=i, features={"isolation": 0.5}, **values, **more)  # type: ignore[arg-type]
        for i in (1, 1, 2)
    )
    assert first == twin
    assert len({first, twin, other}) == 2
    assert dict(Candidate(id=3, **values, **more).features) == {}  # type: ignore[arg-type]
    assert Rejection(candidate=first, rule="probability", reason="below 0.5").candidate is first


def series(lesions: tuple[Lesion, ...], places: tuple[Assignment, ...]) -> SeriesResult:
    shape = (3, 4, 5)
    grid = Grid(shape=shape, affine=np.eye(4))
    labels = LabelMap(labels=np.zeros(shape, dtype=np.uint16), grid=grid)
    return SeriesResult(
        volume=Volume(voxels=np.zeros(shape), grid=grid, id="t1c"),
        location=Location(
            brain_mask=np.ones(shape, dtype=bool),
            compartments=labels,
            midline_distance_mm=np.zeros(shape, dtype=np.float32),
            tentorium_distance_mm=np.zeros(shape, dtype=np.float32),
            coverage=Coverage(),
            registration=Registration(trusted=True, trust=1.0),
        ),
        detection=Detection(
            candidates=(),
            rejections=(),
            lesions=lesions,
            lesion_labels=labels,
            polarity=Polarity.BRIGHT,
            noise_sigma=1.0,
            operating_point=OperatingPoint(name="balanced", probability_threshold=0.5),
        ),
        assignments=places,
        decision=Decision(verdict=F),
    )


def test_lesion_rows_join_measurements_and_places_by_id() -> None:
    result = series((lesion(id=2), lesion()), (assignment(), assignment(lesion_id=2, side=None, level=None)))
    assert result.id == "t1c"
    assert [lesion.id for lesion in result.lesions] == [2, 1]
    rows = result.lesion_rows()
    assert [(row["id"], row["side"], row["level"]) for row in rows] == [(2, None, None), (1, "left", "infratentorial")]
    assert rows[1] == {
        "id": 1,
        "centroid_ras_mm": [-3.0, 2.0, 1.0],
        "centroid_ijk": [1.0, 2.0, 3.0],
        "equivalent_diameter_mm": 3.0,
        "volume_mm3": 14.1,
        "max_diameter_mm": None,
        "perpendicular_diameter_mm": None,
        "measurable": False,
        "contrast": 7.5,
        "enhancement": None,
        "probability": 0.9,
        "polarity": "bright",
        "side": "left",
        "level": "infratentorial",
        "boundary_distance_mm": 3.0,
        "side_confidence": 0.98,
        "level_confidence": 1.0,
        "slices": [2, 3],
        "flags": ["rim"],
        "compartment": "left_infratentorial",
        "region": None,
        "region_confidence": None,
        "tissue": None,
        "tissue_confidence": None,
        "midline_distance_mm": -3.0,
        "tentorium_distance_mm": 8.0,
        "candidate_id": None,
    }


def test_lesions_frame_needs_pandas_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    result = series((lesion(),), (assignment(),))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="notebook"):
        result.lesions_frame()
    assert result.lesion_rows()[0]["id"] == 1


def case(**changes: object) -> CaseResult:
    values: dict[str, object] = {
        "case": "a",
        "decision": StudyDecision(verdict=F),
        "series": (series((), ()),),
        "settings": {},
        "settings_digest": "0",
        "software": {},
    }
    return CaseResult(**(values | changes))  # type: ignore[arg-type]


def test_equal_results_are_equal_whatever_the_clock_said() -> None:
    one, two = case(timings_s={"detect": 1.0}), case(timings_s={"detect": 2.0})
    assert one == two
    assert one != case(caveats=(Reason(code="x", text="y"),))


def test_a_result_writes_itself_through_its_writer(tmp_path: Path) -> None:
    calls: list[tuple[object, ...]] = []

    def writer(result: CaseResult, output: Path, force: bool, date: datetime | None) -> Path:
        calls.append((result.case, output, force, date))
        return output / result.case

    day = datetime(2026, 1, 2, tzinfo=UTC)
    assert case(writer=writer).write(str(tmp_path), force=True, date=day) == tmp_path / "a"
    assert calls == [("a", tmp_path, True, day)]
    with pytest.raises(TypeError, match="write_case"):
        case().write(tmp_path)
