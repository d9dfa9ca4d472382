from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from miliary_seg.decide.slice_counts import (
    ContiguityRule,
    acquired_stack,
    axial_stack,
    deciding_pair,
    has_holes,
    is_axial,
    second_best,
    second_best_by_phase,
    slab_stack,
)
from miliary_seg.domain.compartment import Registration
from miliary_seg.errors import UsageError

PAIRWISE = ContiguityRule(kind="pairwise", separation_mm=10.0, threshold=3)


def test_slices_are_ordered_by_place_not_by_index(build: Any) -> None:
    lesions = [build.lesion(1, [0]), build.lesion(2, [0]), build.lesion(3, [1])]
    facts = build.facts(4, slice_positions_mm=(5.0, 0.0, 10.0, 15.0))
    stack = acquired_stack(lesions, facts)
    assert stack.indices.tolist() == [1, 0, 2, 3]
    assert stack.counts.tolist() == [1, 2, 0, 0]
    assert stack.distance_mm.tolist() == [0, 5, 10, 15]


def test_descending_positions_keep_the_order_of_the_index(build: Any) -> None:
    stack = acquired_stack([build.lesion(1, [0])], build.facts(3, slice_positions_mm=(9.0, 6.0, 3.0)))
    assert stack.indices.tolist() == [0, 1, 2]
    assert stack.distance_mm.tolist() == [0, 3, 6]


def test_slices_out_of_file_order_are_neighbours_by_place(build: Any) -> None:
    """Slices 0 and 2 of the file lie side by side: 20 and 20 on them are contiguous."""
    facts = build.facts(4, slice_positions_mm=(0.0, 10.0, 5.0, 15.0))
    stack = acquired_stack([build.lesion(i, [k]) for i, k in enumerate([0] * 4 + [2] * 4, 1)], facts)
    assert second_best(stack.counts[:, None], stack, PAIRWISE).tolist() == [0]


def test_a_repeat_keeps_the_image_with_most_lesions(build: Any) -> None:
    facts = build.facts(4, slice_positions_mm=(0.0, 1.0, 1.0, 2.0))
    stack = acquired_stack([build.lesion(1, [1]), build.lesion(2, [2]), build.lesion(3, [2])], facts)
    assert stack.indices.tolist() == [0, 2, 3]
    assert stack.counts.tolist() == [0, 2, 0]


def test_a_lesion_cannot_lie_outside_the_scan(build: Any) -> None:
    for wrong in (-1, 4):
        with pytest.raises(UsageError, match="lesion 7 lies on slices"):
            acquired_stack([build.lesion(7, [0, wrong])], build.facts(4))
    with pytest.raises(UsageError, match="not a finite number"):
        acquired_stack([], build.facts(2, slice_positions_mm=(0.0, float("nan"))))


def test_a_scan_without_slices_has_an_empty_stack(build: Any) -> None:
    stack = acquired_stack([], build.facts(0))
    assert stack.counts.size == 0
    assert slab_stack(stack, 5.0) is stack
    assert deciding_pair(stack, PAIRWISE) == ()
    assert second_best(stack.counts[:, None], stack, PAIRWISE).tolist() == [0]


def test_missing_slices_beyond_the_stack_are_ignored(build: Any) -> None:
    stack = acquired_stack([build.lesion(1, [0, 1])], build.facts(3, missing_slices=(1, 99, -4)))
    assert stack.usable.tolist() == [True, False, True]
    assert stack.counts.tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("positions", "holes"),
    [
        ([], False),
        ([3.0], False),
        ([0, 1, 2, 3], False),
        ([0, 1, 1, 2], False),
        ([0, 1, 3, 4, 5], True),
        ([5, 4, 3, 1], True),
        ([0, 1, 2, 3.49, 4.5], False),
    ],
)
def test_holes_show_in_the_positions(positions: list[float], holes: bool) -> None:
    assert has_holes(positions) is holes


@pytest.mark.parametrize(
    ("spacing", "joined"),
    [(0.5, 10), (0.9, 6), (1.0, 5), (1.5, 3), (2.0, 3), (3.0, 2), (3.3, 2), (3.4, 1), (5.0, 1), (6.0, 1)],
)
def test_a_slab_joins_the_nearest_whole_number_of_slices(build: Any, spacing: float, joined: int) -> None:
    n = 24
    lesions = [build.lesion(k + 1, [k]) for k in range(n)]
    stack = slab_stack(acquired_stack(lesions, build.facts(n, spacing)), 5.0)
    assert stack.counts.tolist() == [min(joined, n - k) for k in range(n)]
    assert sorted(np.concatenate(stack.phases).tolist()) == list(range(n - joined + 1))
    assert len(stack.phases) == joined
    assert all(np.all(np.diff(phase) == joined) for phase in stack.phases)
    assert stack.middles[0] == (joined - 1) // 2
    assert stack.distance_mm[0] == pytest.approx((joined - 1) * spacing / 2)


def test_a_lesion_counts_once_in_a_slab(build: Any) -> None:
    stack = slab_stack(acquired_stack([build.lesion(1, [2, 3, 4])], build.facts(10)), 5.0)
    assert stack.counts.tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_a_scan_thinner_than_a_slab_is_one_slab(build: Any) -> None:
    stack = slab_stack(acquired_stack([build.lesion(1, [0]), build.lesion(2, [2])], build.facts(3)), 5.0)
    assert stack.counts[0] == 2
    assert [phase.tolist() for phase in stack.phases] == [[0]]


def test_no_slab_reaches_across_a_hole(build: Any) -> None:
    lesions = [build.lesion(k + 1, [k]) for k in range(6)]
    facts = build.facts(6, slice_positions_mm=(0.0, 1.0, 2.0, 9.0, 10.0, 11.0))
    assert slab_stack(acquired_stack(lesions, facts), 3.0).counts.tolist() == [3, 2, 1, 3, 2, 1]


def test_a_slab_of_slices_that_nobody_acquired_is_not_usable(build: Any) -> None:
    facts = build.facts(6, missing_slices=(2, 3))
    assert slab_stack(acquired_stack([], facts), 2.0).usable.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize(
    ("centres", "oriented", "axial"),
    [
        ([(0, 0, 0), (0, 0, 5)], True, True),
        ([(0, 2, 5), (0, 0, 0)], True, True),  # tilted, descending
        ([(0, 0, 0), (0, 5, 2)], True, False),
        ([(0, 0, 0), (5, 0, 0)], True, False),
        ([(0, 0, 0), (0, 0, 5)], False, None),
        ([(0, 0, 0)], True, None),
        ([], True, None),
        ([(1, 1, 1), (1, 1, 1)], True, None),
        ([(0, 0, 0), (0, 0, 5), (0, 0, 0)], True, True),
    ],
)
def test_the_plane_is_read_from_the_centres(build: Any, centres: list[Any], oriented: bool, axial: bool | None) -> None:
    fit = Registration(trusted=True, trust=1.0, orientation_known=oriented)
    assert is_axial(build.facts(2, slice_centres_ras_mm=tuple(centres), registration=fit)) is axial


def test_axial_planes_cut_the_sphere_of_each_lesion(build: Any) -> None:
    lesions = [
        build.lesion(1, [4, 5, 6], centroid_ras_mm=(0.0, 0.0, 10.0), equivalent_diameter_mm=4.0),  # planes 8 to 12
        build.lesion(
            2, [9], centroid_ras_mm=(0.0, 0.0, 12.4), equivalent_diameter_mm=0.5
        ),  # between planes: the nearest
        build.lesion(3, [], centroid_ras_mm=(0.0, 0.0, -1.0), equivalent_diameter_mm=1.0),
    ]
    stack = axial_stack(lesions, 1.0)
    assert stack.distance_mm[0] == 0
    assert stack.counts.tolist() == [1] + [0] * 8 + [1, 1, 1, 1, 2]  # planes -1 to 12
    assert stack.middles[9] == 5
    assert stack.middles[5] == 0
    coarse = axial_stack(lesions, 5.0)
    assert coarse.counts.tolist() == [1, 0, 2]  # planes at 0, 5 and 10 mm
    assert axial_stack([], 1.0).counts.size == 0


def counts_in_a_row(build: Any, counts: list[int], step_mm: float = 1.0) -> Any:
    lesions = [build.lesion(i, [k]) for i, k in enumerate((k for k, n in enumerate(counts) for _ in range(n)), 1)]
    return acquired_stack(lesions, build.facts(len(counts), step_mm))


@pytest.mark.parametrize(
    ("counts", "kind", "best", "pair"),
    [
        ([3, 3], "pairwise", 0, (0,)),
        ([3, 3, 3], "pairwise", 3, (0, 2)),
        ([3, 3, 3], "separate-runs", 0, (0,)),
        ([3, 2, 3], "separate-runs", 3, (0, 2)),
        ([2, 1, 2], "separate-runs", 2, (0, 2)),
        ([5, 9, 8, 0, 6, 7], "pairwise", 7, (1, 5)),
        ([5, 9, 8, 0, 6, 7], "separate-runs", 7, (1, 5)),
        ([4, 5, 6, 7], "pairwise", 5, (1, 3)),
        ([4, 0, 4, 0, 3], "separation-mm", 3, (0, 4)),
        ([4, 0, 4, 0], "separation-mm", 0, (0,)),
        ([0, 0, 0], "pairwise", 0, ()),
    ],
)
def test_the_deciding_pair(build: Any, counts: list[int], kind: str, best: int, pair: tuple[int, ...]) -> None:
    stack = counts_in_a_row(build, counts)
    apart = ContiguityRule(kind=kind, separation_mm=4.0, threshold=3)
    assert second_best(stack.counts[:, None], stack, apart).tolist() == [best]
    assert deciding_pair(stack, apart) == pair


def test_many_counts_at_once_give_the_same_as_one_by_one(build: Any) -> None:
    rng = np.random.default_rng(3)
    stack = slab_stack(counts_in_a_row(build, [1] * 17), 3.0)
    counts = rng.integers(0, 6, (17, 200))
    for kind in ("pairwise", "separate-runs", "separation-mm"):
        apart = ContiguityRule(kind=kind, separation_mm=7.0, threshold=3)
        together = second_best(counts, stack, apart)
        assert together.tolist() == [int(second_best(column[:, None], stack, apart)[0]) for column in counts.T]


def faded(build: Any, slices: list[int], enhancement: float, n: int = 20) -> list[int]:
    stack = acquired_stack([build.lesion(1, slices)], build.facts(n))
    return slab_stack(stack, 5.0, np.array([enhancement])).counts[: n - 4].tolist()


@pytest.mark.parametrize(
    ("slices", "enhancement", "starts"),
    [
        ([8], 2.0, []),  # a fifth of its contrast is too little, however bright
        ([8, 9], 0.3, [5, 6, 7, 8]),  # two fifths, of 0.3: 0.12
        ([8, 9], -0.3, [5, 6, 7, 8]),  # dark lesions fade alike
        ([8, 9], 0.2, []),  # 0.08
        ([8, 9, 10], 0.2, [6, 7, 8]),  # three fifths: 0.12; two fifths on the slabs beside
        ([8, 9, 10], 0.5, [5, 6, 7, 8, 9]),
        ([6, 7, 8, 9, 10, 11], 0.11, [6, 7]),  # longer than the slab: whole slabs
        ([8], float("nan"), [4, 5, 6, 7, 8]),  # not measured: every slab that it touches
    ],
)
def test_partial_volume_fades_what_fills_little_of_a_slab(
    build: Any, slices: list[int], enhancement: float, starts: list[int]
) -> None:
    assert [k for k, n in enumerate(faded(build, slices, enhancement)) if n] == starts


def test_the_median_over_where_slabs_start_decides(build: Any) -> None:
    """Lesions two slices apart share three slabs of five; five apart, none."""
    apart = [4 * (k in (10, 12, 30, 32)) for k in range(40)]
    stack = slab_stack(counts_in_a_row(build, apart), 5.0)
    by_phase = second_best_by_phase(stack.counts[:, None], stack, PAIRWISE)[:, 0]
    assert sorted(by_phase.tolist()) == [4, 4, 8, 8, 8]
    assert second_best(stack.counts[:, None], stack, PAIRWISE).tolist() == [8]
    assert [int(stack.counts[k]) for k in deciding_pair(stack, PAIRWISE)] == [8, 8]
