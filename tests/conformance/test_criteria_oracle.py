"""A second, tiny implementation of the rule, written from its text alone, against the real one on random scans.

It is slow and simple on purpose: every pair of images, every world of real and false lesions. It shares no code with
the program.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from miliary_seg.decide import decide
from miliary_seg.domain.compartment import Assignment, Coverage, Level, Registration, Side
from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence
from miliary_seg.settings import DecideSettings

THRESHOLD, SLAB, SEPARATION = 3, 3, 4  # lesions, slices of 1 mm, mm: small, so that random scans straddle every border
TRUE, OPEN, FALSE = 1.0, 0.5, 0.0
WORDS = {TRUE: "MET", OPEN: "INDETERMINATE", FALSE: "NOT_MET"}

Scan = dict[str, Any]


def random_scan(rng: np.random.Generator) -> Scan:
    n = int(rng.integers(1, 15))
    lesions = []
    for _ in range(int(rng.integers(0, 14))):
        first = int(rng.integers(0, n))
        lesions.append(
            {
                "slices": list(range(first, min(n, first + int(rng.integers(1, 4))))),
                "side": rng.choice(["left", "right", None], p=[0.5, 0.45, 0.05]),
                "level": rng.choice(["supra", "infra", None], p=[0.5, 0.45, 0.05]),
                "side_sure": rng.random() < 0.85,
                "level_sure": rng.random() < 0.85,
                "p": float(rng.choice([1.0, 1.0, 1.0, 0.55, 0.72])),
                "enhancement": rng.choice([None, 0.12, 0.4, -0.5]),
            }
        )
    if rng.random() < 0.3:  # a crowd on two slices, so that MET is not rare
        for k in rng.integers(0, n, 2):
            for side, level in product(["left", "right"], ["supra", "infra"]):
                lesions.append(
                    {
                        "slices": [int(k)],
                        "side": side,
                        "level": level,
                        "side_sure": True,
                        "level_sure": True,
                        "p": 1.0,
                        "enhancement": rng.choice([None, None, 0.35]),
                    }
                )
    return {
        "n": n,
        "lesions": lesions,
        "doubt": rng.random() < 0.25,
        "covered": rng.random() < 0.75,
        "trusted": rng.random() < 0.85,
        "oriented": rng.random() < 0.85,
        "artefact": rng.random() < 0.15,
    }


# ----------------------------------------------------------------------------------- the rule, from its text


def image_sequences(scan: Scan, lesions: list[dict[str, Any]], thin: bool) -> list[list[int]]:
    """Counts of the images of every scan that could have been made: one of slices, several of slabs."""
    n = scan["n"]
    if thin:
        return [[sum(k in lesion["slices"] for lesion in lesions) for k in range(n)]]
    thick = min(SLAB, n)
    return [
        [
            sum(shows_on_slab(lesion, range(k, k + thick)) for lesion in lesions)
            for k in range(start, n - thick + 1, thick)
        ]
        for start in range(min(thick, n - thick + 1))
    ]


def shows_on_slab(lesion: dict[str, Any], slab: range) -> bool:
    """Partial volume: half of the lesion (or slab) lies in it, a quarter of the contrast stays, 10 % at least."""
    within = len(set(lesion["slices"]) & set(slab))
    if lesion["enhancement"] is None:
        return within > 0
    kept = within / len(slab)
    half = within >= min(len(lesion["slices"]), len(slab)) / 2
    return half and kept >= 0.25 and kept * abs(lesion["enhancement"]) >= 0.1


def second_best(counts: list[int], apart: str, step_mm: int) -> int:
    """The lower count of the best pair of images that are not contiguous."""
    best = 0
    for a, b in combinations(range(len(counts)), 2):
        if b == a + 1:
            continue
        if apart == "separate-runs" and all(counts[k] >= THRESHOLD for k in range(a + 1, b)):
            continue
        if apart == "separation-mm" and (b - a) * step_mm < SEPARATION:
            continue
        best = max(best, min(counts[a], counts[b]))
    return best


def deciding_count(scan: Scan, lesions: list[dict[str, Any]], thin: bool, apart: str) -> int:
    """The median over where the slabs could start; of an even number of places the lower one in the middle."""
    places = [second_best(c, apart, 1 if thin else SLAB) for c in image_sequences(scan, lesions, thin)]
    return sorted(places)[(len(places) - 1) // 2]


def regions(quadrants: bool) -> list[tuple[str | None, str | None]]:
    levels: list[tuple[str | None, str | None]] = [(None, "supra"), (None, "infra")]
    sides: list[tuple[str | None, str | None]] = [("left", None), ("right", None)]
    return levels + (list(product(["left", "right"], ["supra", "infra"])) if quadrants else sides)


def evidence(lesions: list[dict[str, Any]], side: str | None, level: str | None) -> int:
    """Lesions that certainly lie in a region."""
    return sum(
        (side is None or (x["side"] == side and x["side_sure"]))
        and (level is None or (x["level"] == level and x["level_sure"]))
        for x in lesions
    )


def candidates(lesions: list[dict[str, Any]], side: str | None, level: str | None) -> int:
    """Lesions that lie in a region as far as is known."""
    return sum(
        (side is None or x["side"] in (side, None)) and (level is None or x["level"] in (level, None)) for x in lesions
    )


def worlds(lesions: list[dict[str, Any]]) -> list[tuple[list[dict[str, Any]], float]]:
    """Every choice of real and false lesions, with its probability."""
    choices = [[(True, 1.0)] if x["p"] == 1 else [(True, x["p"]), (False, 1 - x["p"])] for x in lesions]
    return [
        ([x for x, (real, _) in zip(lesions, world, strict=True) if real], float(np.prod([p for _, p in world])))
        for world in product(*choices)
    ]


def chance_of_count(scan: Scan, thin: bool, apart: str) -> float:
    return sum(p for real, p in worlds(scan["lesions"]) if deciding_count(scan, real, thin, apart) >= THRESHOLD)


def answer(scan: Scan, thin: bool, apart: str, quadrants: bool, fewest: int, reached: float) -> float:
    lesions = scan["lesions"]
    can_refute = scan["covered"] and scan["trusted"] and not scan["doubt"]
    parts = []
    if deciding_count(scan, lesions, thin, apart) >= THRESHOLD:
        parts.append(OPEN if scan["artefact"] or reached < 0.8 else TRUE)
    else:
        parts.append(FALSE if can_refute and reached <= 0.05 else OPEN)
    for side, level in regions(quadrants):
        if not scan["trusted"] or (side is not None and not scan["oriented"]):
            parts.append(OPEN)
        elif evidence(lesions, side, level) >= fewest:
            parts.append(TRUE)
        else:
            parts.append(FALSE if can_refute and candidates(lesions, side, level) < fewest else OPEN)
    return min(parts)  # Kleene's conjunction


def on_both(native: float, equivalent: float) -> float:
    """Met where both are, not met where neither is, else open."""
    return native if native == equivalent else OPEN


def chance(scan: Scan, thin: bool, apart: str, quadrants: bool, fewest: int) -> float:
    """Sum over all worlds of real and false lesions."""
    return sum(
        p
        for real, p in worlds(scan["lesions"])
        if deciding_count(scan, real, thin, apart) >= THRESHOLD
        and all(evidence(real, side, level) >= fewest for side, level in regions(quadrants))
    )


# ----------------------------------------------------------------------------------- the program on the same scan


def program(scan: Scan) -> Any:
    lesions, places = [], []
    for k, x in enumerate(scan["lesions"], 1):
        lesions.append(
            Lesion(
                id=k,
                centroid_ras_mm=(0.0, 0.0, 0.0),
                centroid_ijk=(0.0, 0.0, 0.0),
                volume_mm3=5.0,
                equivalent_diameter_mm=2.0,
                contrast=5.0,
                probability=x["p"],
                enhancement=x["enhancement"],
                slices=tuple(x["slices"]),
            )
        )
        places.append(
            Assignment(
                lesion_id=k,
                side=None if x["side"] is None else Side(x["side"]),
                level=None if x["level"] is None else Level(x["level"] + "tentorial"),
                boundary_distance_mm=1.0,
                midline_distance_mm=1.0,
                tentorium_distance_mm=1.0,
                side_confidence=1.0 if x["side_sure"] else 0.7,
                level_confidence=1.0 if x["level_sure"] else 0.7,
            )
        )
    n = scan["n"]
    facts = ScanFacts(
        modality=Modality.MR,
        sequence=SequenceEvidence(sequence=Sequence.T1C, confidence="user"),
        slice_positions_mm=tuple(float(k) for k in range(n)),
        slice_centres_ras_mm=tuple((0.0, 0.0, float(k)) for k in range(n)),
        coverage=Coverage() if scan["covered"] else Coverage(left_infratentorial=0.5),
        registration=Registration(trusted=scan["trusted"], trust=0.5, orientation_known=scan["oriented"]),
        image_doubts=(Reason(code="noise", text="noise"),) if scan["doubt"] else (),
        artefact_doubts=(Reason(code="lines", text="lines"),) if scan["artefact"] else (),
    )
    settings = DecideSettings(mri_lesions_per_slice=THRESHOLD, slab_mm=float(SLAB), separation_mm=float(SEPARATION))
    return decide(lesions, places, facts, settings)


def few_uncertain(rng: np.random.Generator, most: int) -> Scan:
    """A random scan with so few uncertain lesions that every world can be gone through."""
    while True:
        scan = random_scan(rng)
        if sum(x["p"] < 1 for x in scan["lesions"]) <= most:
            return scan


APART = ("pairwise", "separate-runs", "separation-mm")


@pytest.mark.parametrize("seed", range(8))
def test_every_reading_answers_as_the_text_of_the_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = set()
    for _ in range(30):
        scan = few_uncertain(rng, 4)
        reached = {(thin, apart): chance_of_count(scan, thin, apart) for thin in (True, False) for apart in APART}
        for reading in program(scan).readings:
            choice = dict(reading.choices)
            if choice["plane"] == "axial":
                continue
            thin, apart = choice["slice"] == "native", choice["non_contiguous"]
            quadrants, fewest = choice["bilateral"] == "quadrants", int(choice["min_per_region"])
            expected = answer(scan, thin, apart, quadrants, fewest, reached[thin, apart])
            assert reading.verdict == WORDS[expected], (scan, reading)
            seen.add(str(reading.verdict))
    assert seen == set(WORDS.values())


def test_native_and_equivalent_slices_must_agree() -> None:
    rng = np.random.default_rng(50)
    differ = set()
    for _ in range(150):
        scan = few_uncertain(rng, 4)
        decision = program(scan)
        said = [
            answer(scan, thin, "pairwise", False, 1, chance_of_count(scan, thin, "pairwise")) for thin in (True, False)
        ]
        chances = [chance(scan, thin, "pairwise", False, 1) for thin in (True, False)]
        assert decision.verdict == WORDS[on_both(*said)], (scan, decision)
        told = {reason.code for reason in decision.reasons}
        assert ("slice_thickness_decides" in told) == (said[0] != said[1])
        differ.add(tuple(said))
        if scan["trusted"] and scan["oriented"] and scan["covered"]:
            assert decision.probability == pytest.approx(min(chances), abs=1e-9)
    assert {(TRUE, TRUE), (FALSE, FALSE)} <= differ
    assert any(native != equivalent for native, equivalent in differ)


@pytest.mark.parametrize("seed", range(4))
def test_the_probability_is_the_sum_over_all_worlds(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    n_between = 0
    for _ in range(90):
        scan = few_uncertain(rng, 5)
        for reading in program(scan).readings[::5]:
            choice = dict(reading.choices)
            if choice["plane"] == "axial":
                continue
            if not (scan["trusted"] and scan["oriented"]):
                assert reading.probability is None
                continue
            if not scan["covered"] and reading.verdict != "MET":
                assert reading.probability is None
                continue
            expected = chance(
                scan,
                choice["slice"] == "native",
                choice["non_contiguous"],
                choice["bilateral"] == "quadrants",
                int(choice["min_per_region"]),
            )
            assert reading.probability == pytest.approx(expected, abs=1e-9), (scan, reading)
            n_between += 0 < expected < 1
    assert n_between > 5
