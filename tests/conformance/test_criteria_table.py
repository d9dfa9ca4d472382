"""Run the truth table: every row states its scan, its lesions and the answer in words."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from miliary_seg.decide import REASONS, decide, decide_study
from miliary_seg.domain.compartment import Assignment, Coverage, Level, MaskTrust, Registration, Side
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
    *("sensitivity", "false_positives_per_slice", "hole_after", "diameter_mm", "enhancement"),
    *("detector", "unmarked", "slices", "told"),
}
PLACEMENT = re.compile(
    r"(?P<n>\d+) (?:unplaced|"
    r"(?P<side>left|right|sideless)(?P<side_unsure>\??) (?P<level>supra|infra)(?P<level_unsure>\??))"
    r" on (?P<first>\d+)(?:-(?P<last>\d+))?(?: at (?P<chance>0\.\d+))?"
)
DOUBTFUL = re.compile(r"(?P<n>\d+) on (?P<first>\d+) at (?P<chance>0\.\d+)")
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
            lesions.append(lesion(case, len(lesions) + 1, slices, float(match["chance"] or 1)))
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


def lesion(case: dict[str, Any], number: int, slices: tuple[int, ...], chance: float) -> Lesion:
    height = case["spacing_mm"] * sum(slices) / len(slices)
    return Lesion(
        id=number,
        centroid_ras_mm=(0.0, 0.0, height),
        centroid_ijk=(0.0, 0.0, height),
        volume_mm3=10.0,
        equivalent_diameter_mm=case.get("diameter_mm", 2.7),
        contrast=8.0,
        probability=chance,
        enhancement=case.get("enhancement"),
        slices=slices,
    )


def unmarked_of(case: dict[str, Any]) -> tuple[Lesion, ...] | None:
    if not case.get("detector"):
        return None
    found: list[Lesion] = []
    for line in case.get("unmarked", ()):
        match = DOUBTFUL.fullmatch(line)
        assert match, line
        for _ in range(int(match["n"])):
            found.append(lesion(case, -1 - len(found), (int(match["first"]),), float(match["chance"])))
    return tuple(found)


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
        mask_trust=MaskTrust(trusted=case["mask_trusted"]),
        image_doubts=tuple(Reason(code=code, text=code) for code in case["image_doubts"]),
        artefact_doubts=tuple(Reason(code=code, text=code) for code in case["artefact_doubts"]),
        lesion_sensitivity=case.get("sensitivity"),
        false_positives_per_slice=case.get("false_positives_per_slice"),
        unmarked=unmarked_of(case),
    )


def decided(case: dict[str, Any]) -> Decision:
    lesions, places = lesions_of(case)
    return decide(lesions, places, facts_of(case), DecideSettings(**TABLE["defaults"]["settings"] | case["settings"]))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case_gets_the_stated_answer(case: dict[str, Any]) -> None:
    assert set(case) <= KEYS
    decision = decided(case)
    codes = [reason.code for reason in decision.reasons]
    assert decision.verdict == case["verdict"]
    passed_over = {"readings_disagree", *(["borderline"] if case.get("detector") else [])}
    assert sorted(set(codes) - passed_over) == sorted(case["reasons"])
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
    by_thickness = [[a.slice, a.thickness_mm, a.count, list(a.count_range or ())] for a in decision.slice_answers]
    assert by_thickness == case.get("slices", by_thickness)
    assert [r.verdict for r in decision.readings if r.is_default] == [decision.slice_answers[0].verdict]
    words = " ".join(reason.text for reason in decision.reasons)
    assert [part for part in case.get("told", ()) if part not in words] == []


def test_verdicts_of_both_thicknesses_make_the_answer() -> None:
    """Met where all say met, not met where all say not met."""
    for case in CASES:
        decision = decided(case)
        said = {answer.verdict for answer in decision.slice_answers}
        assert decision.verdict is (said.pop() if len(said) == 1 else Verdict.INDETERMINATE)
        assert len(decision.slice_answers) == 1 or case["settings"]["slice"] == "both"


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
