"""Counting by the stated rule, against hand arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from miliary_seg.lab.phantom import LesionTruth, Truth
from miliary_seg.lab.phantom.truth import counts_of, slice_share


def lesion(number=1, z=0.0, diameter=3.0, slices=(), side="left", level="supratentorial") -> LesionTruth:
    return LesionTruth(
        id=number,
        centre_ras_mm=(0.0, 0.0, z),
        diameter_mm=diameter,
        semi_axes_mm=(diameter / 2,) * 3,
        extent_mm=diameter,
        kind="solid",
        polarity="bright",
        amplitude=10.0,
        contrast_noise=5.0,
        contrast_local=4.0,
        peak_contrast=4.5,
        side=side,
        level=level,
        region=None,
        slices=slices,
    )


def truth(lesions, positions=tuple(float(z) for z in range(40)), slab=5.0) -> Truth:
    return Truth(
        name="t",
        seed=0,
        spec={"slice_normal": [0.0, 0.0, 1.0]},
        lesions=tuple(lesions),
        mimics=(),
        noise_sigma=1.0,
        slice_axis=2,
        slice_positions_mm=positions,
        thickness_mm=1.0,
        slab_mm=slab,
        visible_contrast=3.0,
        host="none",
    )


@pytest.mark.parametrize(
    ("centre", "extent", "position", "thickness", "share"),
    [
        (0.0, 4.0, 0.0, 1.0, 1.0),  # slice within lesion
        (0.0, 4.0, 2.0, 1.0, 0.5),  # the edge is the slice's middle
        (0.0, 4.0, 2.5, 1.0, 0.0),  # they only touch
        (0.0, 2.0, 1.0, 5.0, 1.0),  # lesion within slice
        (0.0, 2.0, 2.5, 5.0, 0.5),  # lesion half in a thick slice
        (0.0, 2.0, 10.0, 5.0, 0.0),
    ],
)
def test_share_by_hand(centre, extent, position, thickness, share):
    found = slice_share(np.array([centre]), np.array([extent]), np.array([position]), thickness)
    assert found[0, 0] == pytest.approx(share, abs=1e-6)


def test_counts_of_slices():
    assert counts_of([(0, 1), (1,), ()], 3) == (1, 2, 0)
    assert counts_of([], 2) == (0, 0)


def test_slab_counts_start_at_the_near_edge_of_a_slice():
    """Half of a 3 mm ball at z = 10 or more lies in the slab [s - 0.5, s + 4.5] for s from 5.5 to 10.5."""
    counts = truth([lesion(z=10.0)]).slab_counts
    assert [s for s, n in enumerate(counts) if n] == [6, 7, 8, 9, 10]


def test_slab_counts_follow_descending_slices():
    positions = tuple(float(z) for z in range(39, -1, -1))
    counts = truth([lesion(z=10.0)], positions).slab_counts
    assert [positions[s] for s, n in enumerate(counts) if n] == [14.0, 13.0, 12.0, 11.0, 10.0]


def test_no_lesion_gives_zero_counts():
    assert truth([]).slab_counts == (0,) * 40
    assert truth([]).slice_counts == (0,) * 40
    assert not truth([]).meets_rule()


def spread(n, slices, **more):
    """n lesions on the given slices, sides and levels in turn."""
    return [
        lesion(
            number=i + 1,
            slices=slices,
            side=("left", "right")[i % 2],
            level=("supratentorial", "infratentorial")[i // 2 % 2],
            **more,
        )
        for i in range(n)
    ]


def test_the_rule_on_the_truth():
    assert truth(spread(20, (4, 6))).meets_rule()
    assert not truth(spread(20, (4, 5))).meets_rule()
    assert not truth(spread(19, (4, 6))).meets_rule()
    assert truth(spread(10, (4, 6))).meets_rule(threshold=10)
    assert not truth([replace(one, side="left") for one in spread(20, (4, 6))]).meets_rule()
    assert not truth([replace(one, level="supratentorial") for one in spread(20, (4, 6))]).meets_rule()


def test_rows_and_document_agree():
    made = truth([*spread(4, (2, 3)), lesion(number=5, side=None, level=None)])
    document = made.as_dict()
    assert document["n_lesions"] == 5
    assert document["compartment_counts"]["unassigned"] == 1
    assert sum(document["compartment_counts"].values()) == 5
    assert [row["n_lesions"] for row in made.slice_rows()][:5] == [0, 0, 4, 4, 0]
    row = made.lesion_rows()[0]
    assert row["centre_ras_mm_z"] == 0.0
    assert row["volume_mm3"] == pytest.approx(14.1372, abs=1e-3)
