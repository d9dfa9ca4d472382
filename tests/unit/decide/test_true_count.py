"""The true count given all candidates. Nothing here hangs on the fitted numbers but what they may never break."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from miliary_seg.decide import decide
from miliary_seg.decide.regions import regions_of
from miliary_seg.decide.true_count import MODELS, MOST, SIZES_MM, TYPICAL_MM, at_least, model_for, true_count
from miliary_seg.domain.compartment import Coverage, Level, Side
from miliary_seg.domain.decision import Verdict, count_interval
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.errors import UsageError
from miliary_seg.settings import DecideSettings

NATIVE = DecideSettings(slice="native")
THICKNESSES = [1.0, 3.0, 5.0, 6.5, 8.0]


@pytest.mark.parametrize("sequence", [Sequence.T1C, Sequence.FLAIR, Sequence.SWI])
@pytest.mark.parametrize("thickness", THICKNESSES)
@pytest.mark.parametrize("expected", [0.0, 0.3, 7.0, 20.0, 90.0])
def test_the_distribution_is_one(sequence: Sequence, thickness: float, expected: float) -> None:
    counts, chances = zip(*true_count(expected, TYPICAL_MM, thickness, sequence), strict=True)
    assert list(counts) == list(range(len(counts)))
    assert sum(chances) == pytest.approx(1.0)
    assert min(chances) > 0


@pytest.mark.parametrize("thickness", THICKNESSES)
def test_more_candidates_never_lower_the_count(thickness: float) -> None:
    chances = [at_least(true_count(expected, TYPICAL_MM, thickness), 20) for expected in (0, 1, 5, 10, 15, 20, 30, 60)]
    assert chances == sorted(chances)
    assert chances[0] < 0.05
    assert chances[-1] > 0.8 or thickness > MODELS[Sequence.T1C][-1].up_to_mm


@pytest.mark.parametrize("sequence", MODELS)
def test_models_cover_growing_thickness_and_beyond_is_the_widest(sequence: Sequence) -> None:
    models = MODELS[sequence]
    ends = [model.up_to_mm for model in models]
    assert ends == sorted(ends)
    assert model_for(ends[0], sequence) is models[0]
    for thinner, thicker in pairwise(models):
        assert model_for(thinner.up_to_mm + 0.01, sequence) is thicker
    widest = model_for(ends[-1] + 0.01, sequence)
    assert all(widest.shape_at(20.0) < model.shape_at(20.0) for model in models)
    for other in Sequence:
        assert (model_for(ends[0], other) is widest) == (other not in MODELS)


def test_the_thickest_slices_that_are_answered_are_the_thickest_that_were_measured() -> None:
    assert DecideSettings().max_thickness_mm == MODELS[Sequence.T1C][-1].up_to_mm


@pytest.mark.parametrize("expected", [1.0, 5.0, 10.0])
def test_on_flair_few_candidates_leave_the_count_less_sure(expected: float) -> None:
    for thickness in (1.0, 3.0, 5.0):
        (low, _, high), (least, _, most) = (
            count_interval(true_count(expected, TYPICAL_MM, thickness, sequence))
            for sequence in (Sequence.T1C, Sequence.FLAIR)
        )
        assert most - least > high - low


def test_sizes_and_sums_out_of_range_are_taken_as_the_nearest_that_was_seen() -> None:
    for size, end in ((0.1, SIZES_MM[0]), (50.0, SIZES_MM[1])):
        assert true_count(10.0, size, 5.0) == true_count(10.0, end, 5.0)
    assert true_count(-1.0, TYPICAL_MM, 1.0) == true_count(0.0, TYPICAL_MM, 1.0)


def test_no_image_holds_more_than_a_brain_can() -> None:
    distribution = true_count(1e5, TYPICAL_MM, 9.0)
    assert distribution[-1][0] == MOST
    assert sum(chance for _, chance in distribution) == pytest.approx(1.0)


def test_all_candidates_of_the_second_best_image_enter(build: Any) -> None:
    """Marked 3 on slice 2 and 2 on slice 7; ten unmarked ones of 0.4 on each: the sum on the second-best image is 6."""
    unmarked = tuple(build.lesion(-i, [2, 7], p=0.4) for i in range(1, 11))
    decision = decide(*build.crowd({2: 3, 7: 2}), build.facts(10, unmarked=unmarked), NATIVE)
    assert decision.count_distribution == true_count(6.0, 2.0, 1.0)
    assert decision.count_interval == count_interval(decision.count_distribution)
    assert decision.margin == 2 - 20
    assert decision.slice_counts[2] == 3


def test_unmarked_candidates_elsewhere_change_nothing(build: Any) -> None:
    crowd = build.crowd({2: 3, 7: 3})
    elsewhere = tuple(build.lesion(-i, [4], p=0.1) for i in range(1, 6))
    with_them = decide(*crowd, build.facts(10, unmarked=elsewhere), NATIVE)
    assert with_them.count_distribution == decide(*crowd, build.facts(10, unmarked=()), NATIVE).count_distribution


def test_a_scan_without_any_candidate_is_no_scan_that_surely_holds_none(build: Any) -> None:
    decision = decide([], [], build.facts(10, unmarked=()), NATIVE)
    assert decision.count_distribution == true_count(0.0, TYPICAL_MM, 1.0)
    assert decision.count_distribution[0][1] < 1
    assert decision.verdict is Verdict.NOT_MET
    assert decision.probability is not None
    assert 0 <= decision.probability < 0.05


def test_given_lesions_are_all_that_there_are(build: Any) -> None:
    given = decide([], [], build.facts(10), NATIVE)
    assert given.count_distribution == ((0, 1.0),)
    assert given.probability == 0.0
    assert {c.name: c.verdict for c in given.criteria}["bilateral"] is Verdict.NOT_MET


def test_without_images_there_is_no_distribution(build: Any) -> None:
    facts = build.facts(10, unmarked=(), slice_centres_ras_mm=())
    decision = decide(*build.crowd({2: 20, 7: 20}), facts, replace(NATIVE, plane="axial"))
    assert (decision.count_distribution, decision.probability) == ((), None)
    assert decision.verdict is Verdict.INDETERMINATE


def test_a_probability_needs_the_whole_brain_in_view_unless_the_criteria_are_shown(build: Any) -> None:
    facts = build.facts(10, unmarked=(), coverage=Coverage(left_infratentorial=0.2))
    assert decide(*build.crowd({2: 3, 7: 3}), facts, NATIVE).probability is None
    shown = decide(*build.crowd({2: 60, 7: 60}), facts, NATIVE)
    assert shown.verdict is Verdict.MET
    assert shown.probability is not None
    assert shown.probability > 0.8


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_the_probability_of_an_unmarked_candidate_lies_between_0_and_1(build: Any, p: float) -> None:
    with pytest.raises(UsageError, match="not a number from 0 to 1"):
        decide([], [], build.facts(3, unmarked=(build.lesion(-1, [0], p=p),)), NATIVE)


def test_an_empty_side_is_the_less_likely_the_more_lesions_are_seen(build: Any) -> None:
    facts = build.facts(60, unmarked=())
    chances = []
    for n in (0, 1, 5, 20, 40):
        lesions, _ = build.crowd({5: n})
        places = [build.place(x.id, Side.LEFT, Level.SUPRATENTORIAL) for x in lesions]
        regions = regions_of(lesions, places, facts, NATIVE)
        chances.append(regions.chance_unseen("right", 1))
        assert regions.chance_unseen("left", 1) == (1.0 if n else chances[0])
        assert 0 <= regions.chance_unseen("right", 3) <= 1
        assert regions_of(lesions, places, replace(facts, unmarked=None), NATIVE).chance_unseen("right", 1) == 0
    assert chances[0] == 1.0
    assert all(b < a for a, b in pairwise(chances))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_lesions_to_show_three_leave_a_side_open(build: Any, n: int) -> None:
    lesions, _ = build.crowd({5: n})
    places = [build.place(x.id, Side.LEFT, Level.SUPRATENTORIAL) for x in lesions]
    regions = regions_of(lesions, places, build.facts(10, unmarked=()), NATIVE)
    assert regions.chance_unseen("right", 3) == 1.0


def _none_below(build: Any, sequence: Sequence, n: int, p: float = 0.95) -> float:
    """P(none seen below the tentorium | the pattern) where ``n`` lesions are marked above it."""
    lesions = [build.lesion(i, [5], p=p) for i in range(1, n + 1)]
    places = [build.place(x.id, Side.LEFT, Level.SUPRATENTORIAL) for x in lesions]
    facts = build.facts(60, unmarked=(), sequence=SequenceEvidence(sequence=sequence, confidence="high"))
    return regions_of(lesions, places, facts, NATIVE).chance_unseen("infratentorial", 1)


def test_marks_that_are_hardly_lesions_do_not_show_that_a_level_is_empty(build: Any) -> None:
    assert _none_below(build, Sequence.T1C, 60) < 0.05
    assert _none_below(build, Sequence.T1C, 60, p=0.2) > 0.2


@pytest.mark.parametrize("sequence", [Sequence.FLAIR, Sequence.T2, Sequence.DWI, Sequence.SWI])
def test_no_lesion_below_the_tentorium_shows_nothing_where_it_was_not_measured(build: Any, sequence: Sequence) -> None:
    assert _none_below(build, sequence, 500) == 1.0


def test_a_mass_says_nothing_of_the_size_of_the_other_lesions(build) -> None:
    """Large marked lesions stand for few missed ones; one tumour must not make a negative answer sure."""
    lesions, places = build.crowd({3: 4, 6: 4})
    mass = build.lesion(9, [3], equivalent_diameter_mm=40.0, flags=("mass",))
    facts = build.facts(unmarked=())

    def size_mm(more):
        there = [*places, *(build.place(one.id, *build.corners[0]) for one in more)]
        return decide([*lesions, *more], there, facts, NATIVE).slice_answers[0].size_mm

    assert size_mm([mass]) == size_mm([]) < size_mm([replace(mass, flags=())])
