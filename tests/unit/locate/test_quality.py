from __future__ import annotations

import pytest

from miliary_seg.locate.quality import assess_trust

GOOD = {
    "tentorium_mutual_information_nats": 0.30,
    "brain_mutual_information_nats": 0.25,
    "deep_mutual_information_nats": 0.20,
    "runner_up_ratio": 0.0,
    "tilt_deg": 12.0,
    "smallest_scale": 0.90,
    "largest_scale": 0.98,
    "width_ratio": 0.99,
    "length_ratio": 1.06,
    "height_ratio": 0.95,
    "share_in_view": 0.95,
    "head_normalized_mutual_information": 1.15,
}


def test_good_fit_is_trusted_without_remark():
    trust = assess_trust(GOOD)
    assert trust.figure > 0.9
    assert trust.brain_found
    assert trust.reasons == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tilt_deg": 75.0}, "odd_orientation"),
        ({"smallest_scale": 0.5}, "implausible_size"),
        ({"largest_scale": 1.5}, "implausible_size"),
        ({"smallest_scale": 0.80, "largest_scale": 1.0}, "uneven_size"),
        ({"height_ratio": 0.95 * 1.15}, "uneven_size"),
        ({"height_ratio": 0.95 / 1.15}, "uneven_size"),
        ({"width_ratio": 0.99 * 1.20}, "uneven_size"),
        ({"length_ratio": 1.06 * 1.20}, "uneven_size"),
        ({"share_in_view": 0.15}, "small_field_of_view"),
        ({"head_normalized_mutual_information": 1.03}, "weak_head_match"),
    ],
)
def test_a_finding_that_no_good_scan_shows_takes_the_trust(change, code):
    trust = assess_trust(GOOD | change)
    assert trust.figure < 0.5
    assert trust.brain_found
    assert [reason.code for reason in trust.reasons] == [code]


@pytest.mark.parametrize("sign", [name for name in GOOD if name.endswith("nats")])
def test_every_information_counts(sign):
    weaker = assess_trust(GOOD | {sign: 0.05})
    assert weaker.figure < assess_trust(GOOD).figure


def test_a_fit_that_is_not_unique_counts_less():
    assert assess_trust(GOOD | {"runner_up_ratio": 0.98}).figure < assess_trust(GOOD).figure


def test_weak_match_of_a_brain_and_no_brain_at_all():
    weak = assess_trust(GOOD | {name: 0.08 for name in GOOD if name.endswith("nats")} | {"runner_up_ratio": 0.9})
    assert weak.figure < 0.5
    assert weak.brain_found
    assert [reason.code for reason in weak.reasons] == ["weak_match"]
    nothing = assess_trust(GOOD | {name: 0.02 for name in GOOD if name.endswith("nats")})
    assert not nothing.brain_found
    assert nothing.reasons[0].code == "no_brain"
    assert nothing.figure < 0.05
    negative = assess_trust(GOOD | {name: -0.02 for name in GOOD if name.endswith("nats")})
    assert 0 <= negative.figure < 0.01


def test_proportions_are_not_judged_where_little_of_the_head_is_in_view():
    assert assess_trust(GOOD | {"share_in_view": 0.45, "height_ratio": 1.19}).reasons == ()
