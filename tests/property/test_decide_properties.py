"""What must hold for the criteria stage on any scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from miliary_seg.decide import decide, decide_study
from miliary_seg.domain.compartment import Assignment, Coverage, Level, Registration, Side
from miliary_seg.domain.decision import Decision, ScanFacts, Verdict
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, SequenceEvidence
from miliary_seg.domain.sequence import Sequence as Kind
from miliary_seg.settings import DecideSettings

SMALL = DecideSettings(mri_lesions_per_slice=3, ct_lesions_per_slice=2, slab_mm=3.0, separation_mm=4.0)
RANK = {Verdict.NOT_MET: 0, Verdict.INDETERMINATE: 1, Verdict.MET: 2}
many = budget(max_examples=30, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Scene:
    lesions: tuple[Lesion, ...]
    places: tuple[Assignment, ...]
    facts: ScanFacts

    def decided(self, settings: DecideSettings = SMALL) -> Decision:
        return decide(self.lesions, self.places, self.facts, settings)


def facts_at(positions: Sequence[float], **changes: object) -> ScanFacts:
    facts = ScanFacts(
        modality=Modality.MR,
        sequence=SequenceEvidence(sequence=Kind.T1C, confidence="high"),
        slice_positions_mm=tuple(positions),
        slice_centres_ras_mm=tuple((0.0, 0.0, z) for z in positions),
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def lesion(number: int, slices: Sequence[int], chance: float = 1.0) -> Lesion:
    return Lesion(
        id=number,
        centroid_ras_mm=(0.0, 0.0, 0.0),
        centroid_ijk=(0.0, 0.0, 0.0),
        volume_mm3=5.0,
        equivalent_diameter_mm=2.0,
        contrast=5.0,
        probability=chance,
        slices=tuple(slices),
    )


def place(number: int, side: Side | None, level: Level | None, sure: tuple[bool, bool] = (True, True)) -> Assignment:
    return Assignment(
        lesion_id=number,
        side=side,
        level=level,
        boundary_distance_mm=5.0,
        midline_distance_mm=5.0,
        tentorium_distance_mm=5.0,
        side_confidence=1.0 if sure[0] else 0.6,
        level_confidence=1.0 if sure[1] else 0.6,
    )


@st.composite
def scenes(draw: st.DrawFn, unmarked: bool = True, n_lesions: int = 12) -> Scene:
    n = draw(st.integers(1, 10))
    lesions, places = [], []
    for number in range(1, draw(st.integers(0, n_lesions)) + 1):
        first = draw(st.integers(0, n - 1))
        slices = range(first, min(n, first + draw(st.integers(1, 3))))
        lesions.append(lesion(number, slices, draw(st.sampled_from([0.0, 0.3, 0.6, 1.0]))))
        side, level = draw(st.sampled_from([*Side, *Side, None])), draw(st.sampled_from([*Level, *Level, None]))
        places.append(place(number, side, level, (draw(st.booleans()), draw(st.booleans()))))
    share = st.sampled_from([0.0, 0.5, 0.95, 1.0])
    facts = facts_at([float(k) for k in range(n)])
    if unmarked:
        facts = replace(
            facts,
            coverage=Coverage(
                left_supratentorial=draw(share),
                right_supratentorial=draw(share),
                left_infratentorial=draw(share),
                right_infratentorial=draw(share),
            ),
            registration=Registration(
                trusted=draw(st.sampled_from([True, True, False])), trust=0.5, orientation_known=draw(st.booleans())
            ),
            image_doubts=draw(st.sampled_from([(), (Reason(code="noise", text="noise"),)])),
            artefact_doubts=draw(st.sampled_from([(), (), (Reason(code="lines", text="lines"),)])),
            false_positives_per_slice=draw(st.sampled_from([None, 0.3])),
        )
    return Scene(tuple(lesions), tuple(places), facts)


def answers(decision: Decision, without: str = "no reading") -> dict[str, Verdict]:
    return {reading.name: reading.verdict for reading in decision.readings if without not in reading.name}


@st.composite
def measured(draw: st.DrawFn) -> Scene:
    """A scan searched by a measured detector. All candidates are of one size (the count depends on the mean)."""
    scene = draw(scenes())
    candidates = tuple(unmarked_one(-number, scene, draw) for number in range(1, draw(st.integers(0, 8)) + 1))
    return replace(scene, facts=replace(scene.facts, unmarked=candidates))


def unmarked_one(number: int, scene: Scene, draw: st.DrawFn) -> Lesion:
    first = draw(st.integers(0, scene.facts.n_slices - 1))
    slices = range(first, min(scene.facts.n_slices, first + draw(st.integers(1, 3))))
    return lesion(number, slices, draw(st.sampled_from([0.02, 0.2, 0.5, 0.9])))


@many
@given(measured(), st.data())
def test_one_more_unmarked_candidate_never_makes_a_negative_or_lowers_a_probability(
    scene: Scene, data: st.DataObject
) -> None:
    before = scene.decided()
    candidates = (*(scene.facts.unmarked or ()), unmarked_one(-99, scene, data.draw))
    after = replace(scene, facts=replace(scene.facts, unmarked=candidates)).decided()
    assert before.verdict is Verdict.NOT_MET or after.verdict is not Verdict.NOT_MET
    later = {reading.name: reading for reading in after.readings}
    for reading in before.readings:
        if "separate-runs" in reading.name:  # a fuller slice between two runs joins them
            continue
        assert RANK[later[reading.name].verdict] >= RANK[reading.verdict]
        if reading.probability is not None:
            higher = later[reading.name].probability
            assert higher is not None
            assert higher >= reading.probability - 1e-9


@many
@given(measured(), st.data())
def test_likelier_candidates_never_lower_the_probability(scene: Scene, data: st.DataObject) -> None:
    lesions, candidates = (
        tuple(replace(x, probability=data.draw(st.floats(x.probability, 1.0))) for x in some)
        for some in (scene.lesions, scene.facts.unmarked or ())
    )
    assume(max(sum(0 < x.probability < 1 for x in some) for some in (scene.lesions, lesions)) <= 11)  # all exact
    before = scene.decided()
    after = replace(scene, lesions=lesions, facts=replace(scene.facts, unmarked=candidates)).decided()
    later = {reading.name: reading.probability for reading in after.readings}
    for reading in before.readings:
        if reading.probability is not None and "separate-runs" not in reading.name:
            higher = later[reading.name]
            assert higher is not None
            assert higher >= reading.probability - 1e-9


@many
@given(measured(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_changes_nothing(scene: Scene, random: object) -> None:
    lesions, candidates = list(scene.lesions), list(scene.facts.unmarked or ())
    random.shuffle(lesions)  # type: ignore[attr-defined]
    random.shuffle(candidates)  # type: ignore[attr-defined]
    mixed = Scene(tuple(lesions), scene.places, replace(scene.facts, unmarked=tuple(candidates))).decided()
    straight = scene.decided()
    assert answers(mixed) == answers(straight)
    assert (mixed.verdict, mixed.margin, mixed.borderline) == (straight.verdict, straight.margin, straight.borderline)
    assert mixed.count_interval == straight.count_interval
    assert mixed.probability == pytest.approx(straight.probability)


@many
@given(scenes(unmarked=False), st.data())
def test_fading_never_adds_to_a_slab(scene: Scene, data: st.DataObject) -> None:
    bright = tuple(replace(x, enhancement=data.draw(st.floats(-2, 2))) for x in scene.lesions)
    fainter = tuple(replace(x, enhancement=(x.enhancement or 0) * data.draw(st.floats(0, 1))) for x in bright)
    unmeasured, some, less = (replace(scene, lesions=x).decided().slab_counts for x in (scene.lesions, bright, fainter))
    assert all(a >= b >= c for a, b, c in zip(unmeasured, some, less, strict=True))


@many
@given(st.integers(1, 12), st.floats(0.05, 2), st.integers(2, 8), st.integers(1, 4))
def test_what_shows_on_a_thick_slice_shows_on_a_thinner_one(long: int, bright: float, thin: int, more: int) -> None:
    one = replace(lesion(1, range(15, 15 + long)), enhancement=bright)
    scene = Scene((one,), (), facts_at([float(k) for k in range(40)], thickness_mm=0.5))
    thinner, thicker = (
        max(scene.decided(replace(SMALL, slab_mm=float(slab))).slab_counts) for slab in (thin, thin + more)
    )
    assert thinner >= thicker


@many
@given(scenes())
def test_the_answer_is_what_both_thicknesses_say(scene: Scene) -> None:
    decision = scene.decided()
    single = {replace(scene).decided(replace(SMALL, slice=one)).verdict for one in ("native", "equivalent")}
    assert decision.verdict is (single.pop() if len(single) == 1 else Verdict.INDETERMINATE)
    assert ("slice_thickness_decides" in {item.code for item in decision.reasons}) == (
        len({answer.verdict for answer in decision.slice_answers}) == 2
    )


@many
@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_lesions_changes_nothing(scene: Scene, random: object) -> None:
    lesions, places = list(scene.lesions), list(scene.places)
    random.shuffle(lesions)  # type: ignore[attr-defined]
    random.shuffle(places)  # type: ignore[attr-defined]
    mixed = Scene(tuple(lesions), tuple(places), scene.facts).decided()
    straight = scene.decided()
    alike = {"readings": (), "probability": None, "count_distribution": (), "slice_answers": ()}
    assert replace(mixed, **alike) == replace(straight, **alike)
    assert answers(mixed) == answers(straight)
    assert mixed.probability == pytest.approx(straight.probability)


@many
@given(scenes(), st.booleans(), st.floats(-500, 500))
def test_the_direction_of_the_slice_axis_changes_nothing(scene: Scene, negate: bool, shift: float) -> None:
    n = scene.facts.n_slices
    heights = [shift + (n - 1 - k) * (-1.0 if negate else 1.0) for k in range(n)]
    turned = tuple(replace(x, slices=tuple(sorted(n - 1 - k for k in x.slices))) for x in scene.lesions)
    facts = replace(
        scene.facts, slice_positions_mm=tuple(heights), slice_centres_ras_mm=tuple((0.0, 0.0, z) for z in heights)
    )
    straight, reversed_ = scene.decided(), Scene(turned, scene.places, facts).decided()
    assert answers(reversed_) == answers(straight)
    assert reversed_.slice_counts == straight.slice_counts[::-1]
    assert (reversed_.verdict, reversed_.margin) == (straight.verdict, straight.margin)
    assert reversed_.probability == pytest.approx(straight.probability)


@many
@given(scenes(), st.data())
def test_a_repeated_slice_is_no_second_image(scene: Scene, data: st.DataObject) -> None:
    n = scene.facts.n_slices
    again = data.draw(st.integers(0, n - 1))
    heights = (*scene.facts.slice_positions_mm, float(again))
    facts = replace(scene.facts, slice_positions_mm=heights, slice_centres_ras_mm=tuple((0.0, 0.0, z) for z in heights))
    twice = tuple(replace(x, slices=(*x.slices, n)) if again in x.slices else x for x in scene.lesions)
    repeated = Scene(twice, scene.places, facts).decided()
    assert answers(repeated) == answers(scene.decided())


@many
@given(scenes())
def test_a_mirrored_scan_gives_the_same_answer_with_sides_swapped(scene: Scene) -> None:
    other = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT, None: None}
    cover = scene.facts.coverage
    mirrored = Scene(
        scene.lesions,
        tuple(replace(p, side=other[p.side], midline_distance_mm=-p.midline_distance_mm) for p in scene.places),
        replace(
            scene.facts,
            coverage=Coverage(
                left_supratentorial=cover.right_supratentorial,
                right_supratentorial=cover.left_supratentorial,
                left_infratentorial=cover.right_infratentorial,
                right_infratentorial=cover.left_infratentorial,
            ),
        ),
    ).decided()
    straight = scene.decided()
    assert answers(mirrored) == answers(straight)
    swapped = {"left": "right", "right": "left"}
    counts = dict(straight.quadrant_counts)
    for name, count in mirrored.quadrant_counts:
        side, _, level = name.partition("_")
        assert count == (counts[f"{swapped[side]}_{level}"] if level else counts[name])


@many
@given(scenes(), st.data())
def test_one_more_lesion_never_takes_met_away(scene: Scene, data: st.DataObject) -> None:
    """Except read as separate runs: a lesion on the slice between two runs can join them (docs/criteria.md)."""
    before = answers(scene.decided(), without="separate-runs")
    number = len(scene.lesions) + 1
    slices = data.draw(st.lists(st.integers(0, scene.facts.n_slices - 1), min_size=1, max_size=3, unique=True))
    side, level = data.draw(st.sampled_from([*Side, None])), data.draw(st.sampled_from([*Level, None]))
    more = Scene(
        (*scene.lesions, lesion(number, sorted(slices))), (*scene.places, place(number, side, level)), scene.facts
    )
    after = answers(more.decided(), without="separate-runs")
    assert all(RANK[after[name]] >= RANK[verdict] for name, verdict in before.items())


def test_read_as_separate_runs_one_more_lesion_can_take_met_away() -> None:
    crowd = [(k, side, level) for k in (1, 3) for side in Side for level in Level]
    lesions = [lesion(i, [k]) for i, (k, _, _) in enumerate(crowd, 1)]
    lesions += [lesion(20 + i, [2]) for i in range(2)]
    places = [place(i, side, level) for i, (_, side, level) in enumerate(crowd, 1)]
    scene = Scene(tuple(lesions), tuple(places), facts_at([0.0, 1.0, 2.0, 3.0, 4.0]))
    runs = replace(SMALL, non_contiguous="separate-runs", slice="native")
    assert scene.decided(runs).verdict is Verdict.MET
    joined = replace(scene, lesions=(*scene.lesions, lesion(30, [2])))
    assert joined.decided(runs).verdict is Verdict.NOT_MET
    assert joined.decided(replace(runs, non_contiguous="pairwise")).verdict is Verdict.MET


@many
@given(scenes(), st.data())
def test_more_coverage_never_takes_met_away_and_never_gives_it(scene: Scene, data: st.DataObject) -> None:
    before = answers(scene.decided())
    cover = scene.facts.coverage
    higher = {
        name: data.draw(st.floats(getattr(cover, name), 1.0))
        for name in ("left_supratentorial", "right_supratentorial", "left_infratentorial", "right_infratentorial")
    }
    after = answers(replace(scene, facts=replace(scene.facts, coverage=Coverage(**higher))).decided())
    for name, verdict in before.items():
        assert (verdict is Verdict.MET) == (after[name] is Verdict.MET)
        assert verdict is not Verdict.NOT_MET or after[name] is Verdict.NOT_MET


@many
@given(scenes())
def test_doubts_never_turn_a_negative_into_a_positive_or_back(scene: Scene) -> None:
    clean = replace(
        scene.facts, coverage=Coverage(), image_doubts=(), artefact_doubts=(), false_positives_per_slice=None,
        registration=Registration(trusted=True, trust=1.0),
    )  # fmt: skip
    sure = answers(replace(scene, facts=clean).decided())
    for name, verdict in answers(scene.decided()).items():
        assert verdict in (Verdict.INDETERMINATE, sure[name])


@many
@given(scenes(unmarked=False))
def test_what_meets_the_rule_on_mri_meets_it_on_ct(scene: Scene) -> None:
    mri = answers(scene.decided(), without="separate-runs")
    ct_facts = replace(
        scene.facts, modality=Modality.CT, sequence=SequenceEvidence(sequence=Kind.CTC, confidence="high")
    )
    ct = answers(replace(scene, facts=ct_facts).decided(), without="separate-runs")
    assert all(RANK[ct[name]] >= RANK[verdict] for name, verdict in mri.items())


@many
@given(scenes())
def test_stricter_readings_are_never_met_where_lenient_ones_are_not(scene: Scene) -> None:
    verdicts = answers(scene.decided())
    for name, verdict in verdicts.items():
        plane, thin, apart, sides, fewest = name.split("/")
        for lenient in (
            (plane, thin, "pairwise", sides, fewest),
            (plane, thin, apart, "independent", fewest),
            (plane, thin, apart, sides, "1"),
        ):
            assert RANK[verdicts["/".join(lenient)]] >= RANK[verdict]


@many
@given(scenes())
def test_axial_slices_are_their_own_reformat(scene: Scene) -> None:
    assume(scene.facts.n_slices > 1 and scene.facts.registration.orientation_known)
    verdicts = answers(scene.decided())
    assert all(verdicts[name] == verdicts[name.replace("acquired", "axial")] for name in verdicts)


@many
@given(scenes(), st.data())
def test_probabilities_are_probabilities_and_rise_with_those_of_the_lesions(scene: Scene, data: st.DataObject) -> None:
    before = scene.decided()
    if before.count_distribution:
        assert sum(p for _, p in before.count_distribution) == pytest.approx(1)
    raised = tuple(replace(x, probability=data.draw(st.floats(x.probability, 1.0))) for x in scene.lesions)
    n_uncertain = [sum(0 < x.probability < 1 for x in some) for some in (scene.lesions, raised)]
    assume(max(n_uncertain) <= 11)  # all exact
    after = {r.name: r.probability for r in replace(scene, lesions=raised).decided().readings}
    for reading in before.readings:
        higher = after[reading.name]
        if reading.probability is None:  # may become known: what is then shown needs no full coverage
            continue
        assert higher is not None
        assert 0 <= reading.probability <= 1
        if "separate-runs" not in reading.name:
            assert higher >= reading.probability - 1e-9


@many
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 0.9)), min_size=13, max_size=30), st.data())
def test_simulated_probabilities_rise_too(drawn: list[tuple[int, float]], data: st.DataObject) -> None:
    corners = [(side, level) for side in Side for level in Level]
    lesions = tuple(lesion(i, [k], p) for i, (k, p) in enumerate(drawn, 1))
    places = tuple(place(i, *corners[i % 4]) for i in range(1, len(drawn) + 1))
    scene = Scene(lesions, places, facts_at([float(k) for k in range(6)]))
    raised = tuple(replace(x, probability=data.draw(st.floats(x.probability, 0.95))) for x in lesions)
    before, after = scene.decided().probability, replace(scene, lesions=raised).decided().probability
    assert before is not None
    assert after is not None
    assert 0 <= before <= after <= 1


@many
@given(st.lists(st.tuples(st.sampled_from(list(Verdict)), st.integers(-5, 5)), max_size=5))
def test_a_study_is_met_exactly_if_a_series_is(series: list[tuple[Verdict, int]]) -> None:
    decisions = {f"s{k}": Decision(verdict=verdict, margin=margin) for k, (verdict, margin) in enumerate(series)}
    study = decide_study(decisions)
    assert (study.verdict is Verdict.MET) == any(verdict is Verdict.MET for verdict, _ in series)
    assert study.verdict is not Verdict.NOT_MET or any(verdict is Verdict.NOT_MET for verdict, _ in series)
    assert set(study.deciding_series) <= set(decisions)
    assert all(decisions[name].verdict is study.verdict for name in study.deciding_series)
    backwards = decide_study(dict(reversed(decisions.items())))
    assert backwards.verdict is study.verdict
