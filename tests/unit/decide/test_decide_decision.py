from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miliary_seg.decide import REASONS, all_interpretations, decide, decide_study, default_interpretation
from miliary_seg.decide.reasons import coverage_reasons, reason, unique
from miliary_seg.decide.regions import INFRATENTORIAL_SHARE
from miliary_seg.domain.compartment import Coverage, MaskTrust, Registration
from miliary_seg.domain.decision import Decision, Verdict
from miliary_seg.domain.reason import Reason
from miliary_seg.errors import UsageError
from miliary_seg.settings import DecideSettings

DOCS = Path(__file__).resolve().parents[3] / "docs" / "criteria.md"
SMALL = DecideSettings(mri_lesions_per_slice=4, slice="native")
"""The plain rule on the slices that are there (as in tests/conformance/criteria.toml)."""
BOTH = replace(SMALL, slice="both")


def codes(decision: Decision) -> list[str]:
    return [item.code for item in decision.reasons]


def test_evidence_names_slices_by_place_and_uid(build: Any) -> None:
    facts = build.facts(10, sop_instance_uids=tuple(f"1.{k}" for k in range(10)))
    decision = decide(*build.crowd({2: 5, 4: 4, 7: 4}), facts, SMALL)
    first, second = decision.evidence_slices
    assert (first.index, first.n_lesions, first.sop_instance_uid, first.image) == (2, 5, "1.2", "slice")
    assert (second.index, second.position_mm, second.centre_ras_mm) == (4, 4.0, (1.0, 2.0, 4.0))
    count, bilateral, levels = decision.criteria
    assert count.evidence == ("slice 2: 5 lesions", "slice 4: 4 lesions")
    assert count.observed == "second-best admissible slice 4, best 5"
    assert bilateral.observed == "left 7, right 6"
    assert bilateral.evidence[0] == "left: lesions 1, 4, 5, 8, 9 ..."
    assert levels.threshold == ">= 1 in each"
    assert "10.1038/s41416-020-1008-2" in count.citation


def test_evidence_of_slabs_is_the_slice_in_their_middle(build: Any) -> None:
    settings = replace(SMALL, slice="equivalent", slab_mm=3.0)
    decision = decide(*build.crowd({2: 2, 3: 2, 8: 4}), build.facts(12), settings)
    assert [(e.index, e.n_lesions, e.image) for e in decision.evidence_slices] == [(2, 4, "slab"), (8, 4, "slab")]
    assert decision.slab_counts == (2, 4, 4, 2, 0, 0, 4, 4, 4, 0, 0, 0)
    assert decision.slice_counts == (0, 0, 2, 2, 0, 0, 0, 0, 4, 0, 0, 0)


def test_evidence_without_geometry_or_uids(build: Any) -> None:
    decision = decide(*build.crowd({2: 4, 7: 4}), build.facts(10, slice_centres_ras_mm=()), SMALL)
    assert [(e.centre_ras_mm, e.sop_instance_uid) for e in decision.evidence_slices] == [(None, None)] * 2
    assert decide([], [], build.facts(10), SMALL).evidence_slices == ()


def test_a_single_crowded_slice_is_shown_though_it_decides_nothing(build: Any) -> None:
    decision = decide(*build.crowd({2: 9}), build.facts(10), SMALL)
    assert [e.index for e in decision.evidence_slices] == [2]
    assert (decision.verdict, decision.margin) == (Verdict.NOT_MET, -4)


def sagittal(build: Any) -> tuple[list[Any], list[Any], Any]:
    """Eight lesions, one on each sagittal slice, all at the heights 0 and 20 mm: crowded on two axial planes only."""
    heights = [0.0] * 4 + [20.0] * 4
    lesions = [build.lesion(i + 1, [i], centroid_ras_mm=(float(i), 0.0, z)) for i, z in enumerate(heights)]
    places = [build.place(i + 1, *build.corners[i % 4]) for i in range(8)]
    facts = build.facts(10, slice_centres_ras_mm=tuple((float(k), 0.0, 0.0) for k in range(10)))
    return lesions, places, facts


def test_an_axial_reformat_is_counted_for_sagittal_slices(build: Any) -> None:
    lesions, places, facts = sagittal(build)
    decision = decide(lesions, places, facts, SMALL)
    answers = {r.name: r for r in decision.readings}
    assert decision.verdict is Verdict.NOT_MET
    assert answers["axial/native/pairwise/independent/1"].verdict is Verdict.MET
    assert answers["axial/native/separate-runs/independent/1"].margin == 0
    told = next(item.text for item in decision.reasons if item.code == "readings_disagree")
    assert "; MET if axial reformats are counted" in told
    axial = decide(lesions, places, facts, replace(SMALL, plane="axial"))
    assert axial.verdict is Verdict.MET
    assert [(e.image, e.n_lesions) for e in axial.evidence_slices] == [("axial plane", 4)] * 2
    assert all(0 <= e.index < 10 for e in axial.evidence_slices)


def test_without_a_known_plane_the_axial_reading_has_no_answer(build: Any) -> None:
    facts = build.facts(10, slice_centres_ras_mm=())
    decision = decide(*build.crowd({2: 4, 7: 4}), facts, replace(SMALL, plane="axial"))
    assert decision.verdict is Verdict.INDETERMINATE
    assert codes(decision) == ["plane_unknown", "readings_disagree"]
    assert (decision.margin, decision.probability, decision.count_distribution) == (-4, None, ())
    assert decision.evidence_slices == ()
    assert decision.criteria[0].observed == "not counted"
    assert not decision.borderline
    assert decision.readings[-1].margin is None


def test_a_scan_without_slices_is_indeterminate(build: Any) -> None:
    decision = decide([], [], build.facts(0), SMALL)
    assert decision.verdict is Verdict.INDETERMINATE
    assert "no_slices" in codes(decision)
    assert (decision.slice_counts, decision.slab_counts) == ((), ())


def test_quadrant_counts_hold_every_lesion_once(build: Any) -> None:
    lesions, places = build.crowd({2: 8})
    places[0] = replace(places[0], side_confidence=0.6)
    places[1] = replace(places[1], side=None)
    decision = decide(lesions, places[:-1], build.facts(10), SMALL)
    counts = dict(decision.quadrant_counts)
    assert sum(counts.values()) == 8
    assert counts["unassigned"] == 2
    assert "near a boundary" in decision.criteria[1].observed


def test_ids_may_not_repeat(build: Any) -> None:
    lesions, places = build.crowd({2: 2})
    with pytest.raises(UsageError, match="share an id"):
        decide([lesions[0], lesions[0]], places, build.facts(5), SMALL)
    with pytest.raises(UsageError, match="share an id"):
        decide(lesions, [places[0], places[0]], build.facts(5), SMALL)


@pytest.mark.parametrize("field", ["slice_centres_ras_mm", "sop_instance_uids"])
def test_what_is_given_per_slice_is_given_for_every_slice(build: Any, field: str) -> None:
    with pytest.raises(UsageError, match="differ in number"):
        decide([], [], build.facts(5, **{field: (("x"),) * 4}), SMALL)


def test_an_untrusted_fit_hands_its_own_reasons_on(build: Any) -> None:
    why = Reason(code="fit_poor", text="match .06 < .085")
    facts = build.facts(5, registration=Registration(trusted=False, trust=0.1, reasons=(why,)))
    assert codes(decide([], [], facts, SMALL)) == ["registration_untrusted", "fit_poor"]
    trusted = replace(facts, registration=replace(facts.registration, trusted=True))
    assert "fit_poor" not in codes(decide([], [], trusted, SMALL))


def test_no_negative_rests_on_a_mask_that_is_not_trusted(build: Any) -> None:
    facts = build.facts(5)
    assert decide([], [], facts, SMALL).verdict is Verdict.NOT_MET
    why = Reason(code="mask_incomplete", text="the brain mask leaves out 40 % of the fitted brain")
    doubted = replace(facts, mask_trust=MaskTrust(trusted=False, trust=0.0, reasons=(why,)))
    answer = decide([], [], doubted, SMALL)
    assert answer.verdict is Verdict.INDETERMINATE
    assert codes(answer)[:2] == ["mask_untrusted", "mask_incomplete"]
    assert answer.probability is None


def test_partial_coverage_says_what_is_missing(build: Any) -> None:
    facts = build.facts(10, coverage=Coverage(left_infratentorial=0.5, right_infratentorial=0.25))
    decision = decide(*build.crowd({2: 5, 7: 5}), facts, SMALL)
    told = next(item.text for item in decision.reasons if item.code == "partial_coverage_met")
    assert "left infratentorial 50% in view, right infratentorial 25% in view" in told


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ((), []),
        ((3, 4), ["coverage_infratentorial"]),
        ((1, 3), ["coverage_left"]),
        ((2, 4), ["coverage_right"]),
        ((1,), ["coverage_supratentorial"]),
        ((1, 4), ["coverage_supratentorial", "coverage_infratentorial"]),
        ((1, 3, 4), ["coverage_infratentorial", "coverage_left"]),
        ((1, 2, 3, 4), ["coverage_supratentorial", "coverage_infratentorial", "coverage_left", "coverage_right"]),
    ],
)
def test_coverage_is_named_by_level_or_side(short: tuple[int, ...], expected: list[str]) -> None:
    names = ["left_supratentorial", "right_supratentorial", "left_infratentorial", "right_infratentorial"]
    coverage = Coverage(**{name: 0.2 if k in short else 1.0 for k, name in enumerate(names, 1)})
    assert [item.code for item in coverage_reasons(coverage, 0.9)] == expected


def test_rates_of_cross_sections_become_numbers_of_lesions(build: Any) -> None:
    """A false lesion that shows on four thin slices is one lesion: the bar for a region is a quarter as high."""
    from miliary_seg.decide.regions import regions_of

    facts, settings = build.facts(80, evidence_false_positives_per_slice=0.4), DecideSettings()
    single = regions_of([build.lesion(1, [3])], [], facts, settings)
    fourfold = regions_of([build.lesion(1, [3, 4, 5, 6])], [], facts, settings)
    quarter = regions_of([], [], replace(facts, evidence_false_positives_per_slice=0.1), settings)
    assert fourfold.error_limit == quarter.error_limit
    assert fourfold.error_limit["left"] < single.error_limit["left"]


def test_false_positives_are_expected_by_region(build: Any) -> None:
    """0.5 a slice on 100 slices: 50, of which 15 below the tentorium.

    95 % of negative binomial counts of mean 15 and shape 2 lie at or below 37.
    """
    facts = build.facts(100, false_positives_per_slice=0.5)
    settings = DecideSettings(mri_lesions_per_slice=20)
    assert pytest.approx(0.3) == INFRATENTORIAL_SHARE
    supra = [(side, "supratentorial") for side in ("left", "right")]
    for below, verdict in ((37, Verdict.INDETERMINATE), (38, Verdict.MET)):
        lesions = [build.lesion(i, [10 if i <= 100 else 40]) for i in range(1, 201)]
        lesions += [build.lesion(300 + i, [60]) for i in range(below)]
        places = [build.place(i, *supra[i % 2]) for i in range(1, 201)]
        places += [build.place(300 + i, "left", "infratentorial") for i in range(below)]
        decision = decide(lesions, places, facts, settings)
        assert decision.verdict is verdict
        assert decide(lesions, places, facts, replace(settings, region_error_quantile=0.0)).verdict is Verdict.MET
        assert decide(lesions, places, replace(facts, n_brain_slices=60), settings).verdict is Verdict.MET


def test_improbable_lesions_count_but_are_no_evidence_for_a_side(build: Any) -> None:
    settings = replace(SMALL, min_met_probability=0.0)
    lesions = [replace(build.lesion(i, [2, 6]), probability=0.9 if i % 2 else 0.3) for i in range(1, 9)]
    places = [build.place(i, "left" if i % 2 else "right", "supratentorial") for i in range(1, 9)]
    lesions += [replace(build.lesion(20 + i, [8]), probability=0.9) for i in range(4)]
    places += [build.place(20 + i, "left", "infratentorial") for i in range(4)]
    open_facts, strict_facts = build.facts(10), build.facts(10, evidence_probability=0.5)
    assert decide(lesions, places, open_facts, settings).verdict is Verdict.MET
    strict = decide(lesions, places, strict_facts, settings)
    assert strict.verdict is Verdict.INDETERMINATE
    assert "boundary_evidence_only" in [item.code for item in strict.reasons]
    assert strict.slice_counts == decide(lesions, places, open_facts, settings).slice_counts


def test_readings_name_the_smallest_changes_that_decide(build: Any) -> None:
    """Slabs are crowded where slices are not; with five lesions asked for on each side two points must change."""
    settings = replace(SMALL, slab_mm=3.0, non_contiguous="separate-runs")
    lesions, places = build.crowd({2: 2, 3: 2, 8: 2, 9: 2})
    decision = decide(lesions, places, build.facts(12), settings)
    told = next(item.text for item in decision.reasons if item.code == "readings_disagree")
    assert re.search(r"\d+ MET, \d+ NOT_MET of 48 readings; MET if what thick slices would have shown is counted", told)
    strict = replace(settings, min_per_region=5)
    both = next(
        i.text for i in decide(lesions, places, build.facts(12), strict).reasons if i.code == "readings_disagree"
    )
    assert "MET if what thick slices would have shown is counted and a region must hold at least 1 lesion" in both


def test_every_combination_is_read_once_and_the_default_is_among_them() -> None:
    for settings in (DecideSettings(), DecideSettings(min_per_region=5, bilateral="quadrants", plane="axial")):
        readings = all_interpretations(settings)
        assert len({r.name for r in readings}) == len(readings) == 2 * 2 * 3 * 2 * 2
        assert default_interpretation(settings) in readings
    assert {r.min_per_region for r in all_interpretations(DecideSettings(min_per_region=5))} == {1, 5}
    assert [point for point, _ in default_interpretation(DecideSettings()).choices] == [
        "plane", "slice", "non_contiguous", "bilateral", "min_per_region",
    ]  # fmt: skip


def test_reasons_are_sentences_and_given_once() -> None:
    assert reason("thick_slices").text == REASONS["thick_slices"].sentence
    assert all(kind.sentence.endswith(".") and kind.code == code for code, kind in REASONS.items())
    assert [r.text for r in unique([reason("no_contrast", "t1"), reason("no_contrast", "ct")])] == [
        "An unenhanced scan with few visible lesions says little (t1)."
    ]
    with pytest.raises(KeyError):
        reason("no_such_code")


def test_the_page_lists_every_reason_with_its_sentence_and_effect() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = {code: (sentence, effect) for code, sentence, effect in rows if code in REASONS}
    assert listed == {code: (kind.sentence, str(kind.effect)) for code, kind in REASONS.items()}


def test_a_series_that_could_not_be_read_leaves_a_negative_open() -> None:
    negative = {"flair": Decision(verdict=Verdict.NOT_MET, margin=-5)}
    study = decide_study(negative, not_analysed=("t1c",))
    assert study.verdict is Verdict.INDETERMINATE
    assert [item.code for item in study.reasons] == ["series_not_analysed"]
    assert decide_study({"flair": Decision(verdict=Verdict.MET)}, not_analysed=("t1c",)).verdict is Verdict.MET


def test_a_study_of_unlike_reasons_lists_each_once() -> None:
    doubt = (reason("no_contrast"), reason("thick_slices"))
    study = decide_study(
        {
            "a": Decision(verdict=Verdict.INDETERMINATE, reasons=doubt, margin=-3),
            "b": Decision(verdict=Verdict.INDETERMINATE, reasons=doubt[:1], margin=-3),
        }
    )
    assert [item.code for item in study.reasons] == ["no_contrast", "thick_slices"]


def test_equal_input_gives_equal_decisions(build: Any) -> None:
    lesions, places = build.crowd({2: 15, 5: 15, 7: 12}, p=0.7)
    assert decide(lesions, places, build.facts(10), SMALL) == decide(lesions, places, build.facts(10), SMALL)


@pytest.mark.parametrize(("confidence", "verdict"), [(0.99, Verdict.MET), (0.9899, Verdict.INDETERMINATE)])
def test_a_lesion_as_sure_as_asked_for_is_evidence(build: Any, confidence: float, verdict: Verdict) -> None:
    lesions, places = build.crowd({2: 4, 7: 4})
    unsure = [replace(place, side_confidence=confidence, level_confidence=confidence) for place in places]
    assert decide(lesions, unsure, build.facts(10), SMALL).verdict is verdict


def told(decision: Decision, code: str) -> str:
    return next(item.text for item in decision.reasons if item.code == code)


def test_native_and_thick_slices_are_answered_side_by_side(build: Any) -> None:
    decision = decide(*build.crowd({10: 2, 11: 2, 20: 2, 21: 2}), build.facts(30), BOTH)
    native, thick = decision.slice_answers
    assert (native.slice, native.thickness_mm, native.count, native.count_range) == ("native", 1.0, 2, (2, 2))
    assert (thick.slice, thick.thickness_mm, thick.count, thick.count_range) == ("equivalent", 5.0, 4, (2, 4))
    assert (native.verdict, thick.verdict, decision.verdict) == (
        Verdict.NOT_MET,
        Verdict.MET,
        Verdict.INDETERMINATE,
    )
    assert (native.count_interval, thick.count_interval) == ((2, 2, 2), (4, 4, 4))
    assert (native.probability, thick.probability, decision.probability) == (0.0, 1.0, 0.0)
    assert "negative_not_exclusion" not in codes(decision)
    assert decision.margin == -2


def test_where_thickness_decides_the_readings_name_both(build: Any) -> None:
    decision = decide(*build.crowd({10: 2, 11: 2, 20: 2, 21: 2}), build.facts(30), BOTH)
    assert told(decision, "readings_disagree").endswith(
        "; NOT_MET if slices count as thin as they are; MET if what thick slices would have shown is counted)."
    )


def test_changes_of_other_points_are_told_for_both_thicknesses_together(build: Any) -> None:
    """Every slice qualifies, thin or thick: read as separate runs there is one run, on slices of either thickness."""
    decision = decide(*build.crowd(dict.fromkeys(range(30), 4)), build.facts(30), BOTH)
    assert decision.verdict is Verdict.MET
    assert told(decision, "readings_disagree").endswith(
        "readings; NOT_MET if two slices must lie in separate runs of full ones)."
    )


def test_a_probability_that_is_unknown_for_one_thickness_is_unknown(build: Any) -> None:
    """Part of the brain is not in view: what is shown on thick slices stays shown, thin slices show nothing."""
    facts = build.facts(30, coverage=Coverage(left_supratentorial=0.5))
    decision = decide(*build.crowd({10: 2, 11: 2, 20: 2, 21: 2}), facts, BOTH)
    native, thick = decision.slice_answers
    assert (native.probability, thick.probability, decision.probability) == (None, 1.0, None)
    assert {"slice_thickness_decides", "coverage_supratentorial"} <= set(codes(decision))


def test_slices_that_are_thick_already_have_one_answer(build: Any) -> None:
    """5 mm slices every 2.5 mm overlap; two of them joined would be 7.5 mm thick."""
    lesions, places = build.crowd({10: 2, 11: 2, 20: 2, 21: 2})
    for thickness, n_answers in ((5.0, 1), (3.0, 1), (2.9, 2)):
        decision = decide(lesions, places, build.facts(30, 2.5, thickness_mm=thickness), BOTH)
        assert len(decision.slice_answers) == n_answers
        assert decision.slice_answers[-1].count_range == ((2, 2) if n_answers == 1 else (2, 4))
    thick = decide(lesions, places, build.facts(30, 5.0), replace(SMALL, slice="equivalent"))
    assert [(a.slice, a.thickness_mm, a.count) for a in thick.slice_answers] == [("equivalent", 5.0, 2)]


def test_an_axial_reformat_has_a_thickness_of_its_own(build: Any) -> None:
    lesions, places, facts = sagittal(build)
    decision = decide(lesions, places, facts, replace(BOTH, plane="axial"))
    assert [(a.thickness_mm, a.count) for a in decision.slice_answers] == [(1.0, 4), (5.0, 4)]
    unknown = decide(lesions, places, replace(facts, slice_centres_ras_mm=()), replace(BOTH, plane="axial"))
    assert [(a.count, a.count_range, a.count_interval) for a in unknown.slice_answers] == [(None, None, None)]


def test_a_count_reached_on_thick_slices_speaks_against_a_negative_of_another_series(build: Any) -> None:
    crowd = build.crowd({10: 2, 11: 2, 20: 2, 21: 2})
    open_series = decide(*crowd, build.facts(30), BOTH)
    negative = decide(*build.crowd({10: 1, 20: 1}), build.facts(30), BOTH)
    study = decide_study({"thin": open_series, "other": negative})
    assert (study.verdict, study.deciding_series) == (Verdict.INDETERMINATE, ("thin",))
    assert "series_conflict" in [item.code for item in study.reasons]
    assert decide_study({"thin": negative, "other": negative}).verdict is Verdict.NOT_MET


@pytest.mark.parametrize(("gap", "code"), [(0.1, None), (0.3, "narrow_slice_gaps"), (0.4, "slice_gaps")])
def test_gaps_are_judged_by_their_share_of_the_thickness(build: Any, gap: float, code: str | None) -> None:
    decision = decide(*build.crowd({2: 1, 7: 1}), build.facts(10, gap_mm=gap), SMALL)
    assert [c for c in codes(decision) if "gaps" in c] == ([code] if code else [])
    assert (decision.verdict is Verdict.INDETERMINATE) == (code == "slice_gaps")


def test_the_limits_of_the_probability_are_settings(build: Any) -> None:
    """Eleven marked lesions of 0.5 on two slices: P(at least 4) is 0.887 each and 0.79 on both; of 7 it is 0.27."""
    lesions, places = build.crowd({2: 11, 7: 11}, p=0.5)
    assert decide(lesions, places, build.facts(10), SMALL).verdict is Verdict.INDETERMINATE
    lenient = replace(SMALL, min_met_probability=0.7)
    assert decide(lesions, places, build.facts(10), lenient).verdict is Verdict.MET
    missed = build.facts(10, lesion_sensitivity=0.6)
    three = build.crowd({2: 3, 7: 3})
    assert "count_limited_by_detection" in codes(decide(*three, missed, SMALL))
    assert decide(*three, missed, replace(SMALL, max_not_met_probability=0.9)).verdict is Verdict.NOT_MET
