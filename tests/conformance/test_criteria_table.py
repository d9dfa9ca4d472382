"""Run the truth table: every row states its scan, its lesions and the answer in words."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from miliary_seg.decide import REASONS, decide, decide_study
from miliary_seg.domain.compartment import Assignment, Coverage, Level, Registration, Side
from miliary_seg.domain.decision import Decision, ScanFacts, Verdict
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.settings import DecideSettings

TABLE = tomllib.loads((Path(__file__).parent / "criteria.toml").read_text(encoding="utf-8"))
CASES = [TABLE["defaults"] | case for case in TABLE["case"]]
KEYS = {
    *TABLE["defaults"],
    *("name", "says", "lesions", "verdict", "reasons", "margin", "criteria", "evidence", "disagree", "readings"),
    *("settings", "sensitivity", "false_positives_per_slice", "hole_after", "diameter_mm"),
}
PLACEMENT = re.compile(
    r"(?P<n>\d+) (?:unplaced|"
    r"(?P<side>left|right|sideless)(?P<side_unsure>\??) (?P<level>supra|infra)(?P<level_unsure>\??))"
    r" on (?P<first>\d+)(?:-(?P<last>\d+))?"
)
UNSURE, SURE = 0.8, 1.0


def lesions_of(case: dict[str, Any]) -> tuple[list[Lesion], list[Assignment]]:
    lesions: list[Lesion] = []
    places: list[Assignment] = []
    for line in case["lesions"]:
        match = PLACEMENT.fullmatch(line)
        assert match, line
        first = int(match["first"])
        slices = tuple(range(first, int(match["last"] or first) + 1))
        for _ in range(int(match["n"])):
            height = case["spacing_mm"] * sum(slices) / len(slices)
            lesions.append(
                Lesion(
                    id=len(lesions) + 1,
                    centroid_ras_mm=(0.0, 0.0, height),
                    centroid_ijk=(0.0, 0.0, height),
                    volume_mm3=10.0,
                    equivalent_diameter_mm=case.get("diameter_mm", 2.7),
                    contrast=8.0,
                    probability=1.0,
                    slices=slices,
                )
            )
            places.append(
                Assignment(
                    lesion_id=len(lesions),
                    side=None if match["side"] in (None, "sideless") else Side(match["side"]),
                    level=None if match["level"] is None else Level(match["level"] + "tentorial"),
                    boundary_distance_mm=10.0,
                    midline_distance_mm=10.0,
                    tentorium_distance_mm=10.0,
                    side_confidence=UNSURE if match["side_unsure"] else SURE,
                    level_confidence=UNSURE if match["level_unsure"] else SURE,
                )
            )
    return lesions, places


def facts_of(case: dict[str, Any]) -> ScanFacts:
    n, step = case["n_slices"], case["spacing_mm"]
    hole = case.get("hole_after", n)
    heights = [step * (k + (k > hole)) for k in range(n)]
    left_supra, right_supra, left_infra, right_infra = case["coverage"]
    return ScanFacts(
        modality=Modality(case["modality"]),
        sequence=SequenceEvidence(sequence=Sequence(case["sequence"]), confidence=case["confidence"]),
        slice_positions_mm=tuple(heights),
        slice_centres_ras_mm=tuple((0.0, 0.0, z) for z in heights),
        sop_instance_uids=tuple(f"1.2.{k}" for k in range(n)),
        thickness_mm=case["thickness_mm"],
        missing_slices=tuple(case["missing_slices"]),
        interpolated=case["interpolated"],
        coverage=Coverage(
            left_supratentorial=left_supra,
            right_supratentorial=right_supra,
            left_infratentorial=left_infra,
            right_infratentorial=right_infra,
        ),
        registration=Registration(
            trusted=case["trusted"],
            trust=0.9 if case["trusted"] else 0.1,
            brain_found=case["brain_found"],
            orientation_known=case["orientation_known"],
            reoriented=case["reoriented"],
        ),
        image_doubts=tuple(Reason(code=code, text=code) for code in case["image_doubts"]),
        artefact_doubts=tuple(Reason(code=code, text=code) for code in case["artefact_doubts"]),
        lesion_sensitivity=case.get("sensitivity"),
        false_positives_per_slice=case.get("false_positives_per_slice"),
    )


def decided(case: dict[str, Any]) -> Decision:
    lesions, places = lesions_of(case)
    return decide(lesions, places, facts_of(case), DecideSettings(**case.get("settings", {})))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case_gets_the_stated_answer(case: dict[str, Any]) -> None:
    assert set(case) <= KEYS
    decision = decided(case)
    codes = [reason.code for reason in decision.reasons]
    assert decision.verdict == case["verdict"]
    assert sorted(set(codes) - {"readings_disagree"}) == sorted(case["reasons"])
    assert len(codes) == len(set(codes))
    assert {c.name: c.verdict for c in decision.criteria} | case.get("criteria", {}) == {
        c.name: c.verdict for c in decision.criteria
    }
    assert decision.margin == case.get("margin", decision.margin)
    assert [e.index for e in decision.evidence_slices] == case.get(
        "evidence", [e.index for e in decision.evidence_slices]
    )
    answers = {reading.name: reading.verdict for reading in decision.readings}
    assert answers | case.get("readings", {}) == answers
    assert ("readings_disagree" in codes) == (len(set(answers.values())) > 1)
    assert ("readings_disagree" in codes) == case.get("disagree", "readings_disagree" in codes)
    assert [reading.verdict for reading in decision.readings if reading.is_default] == [decision.verdict]


@pytest.mark.parametrize("row", TABLE["study"], ids=[row["name"] for row in TABLE["study"]])
def test_study_gets_the_stated_answer(row: dict[str, Any]) -> None:
    series = {}
    for name, words in row["series"].items():
        verdict, _, reached = words.partition(", ")
        series[name] = Decision(verdict=Verdict(verdict), margin=0 if reached or verdict == "MET" else -5)
    study = decide_study(series, row.get("not_analysed", ()))
    assert study.verdict == row["verdict"]
    assert list(study.deciding_series) == row["deciding"]
    assert sorted(reason.code for reason in study.reasons) == sorted(row["reasons"])


def test_the_table_names_every_registered_reason() -> None:
    given = {code for row in (*CASES, *TABLE["study"]) for code in row["reasons"]}
    given |= {"readings_disagree"} if any(case.get("disagree") for case in CASES) else set()
    assert set(REASONS) - given == {"no_slices"}, "a code without a row"


def test_names_are_unique_and_every_row_says_what_it_tests() -> None:
    names = [row["name"] for row in (*CASES, *TABLE["study"])]
    assert len(names) == len(set(names))
    assert all(row["says"] for row in (*CASES, *TABLE["study"]))
