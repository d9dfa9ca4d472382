"""The pattern descriptors in the document and in the table of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miliary_seg.domain.pattern import Distribution, Homogeneity, Pattern, RandomnessTest
from miliary_seg.report import case_document, case_rows, validate

NEAREST = RandomnessTest(observed=9.0, expected=10.0, ratio=0.9, ratio_low=0.92, ratio_high=1.08, p_value=0.01)
WITHIN = RandomnessTest(observed=3.0, expected=2.0, ratio=1.5, ratio_low=0.8, ratio_high=1.2, p_value=0.02)
FOUND = Homogeneity(
    distribution=Distribution.CLUSTERED,
    nearest_neighbour=NEAREST,
    neighbours_within=WITHIN,
    radius_mm=20.0,
    n_simulations=199,
)
PATTERN = Pattern(n_lesions=5, below_3_mm_fraction=0.25, diameter_cv=0.3, largest_over_median=2.0, homogeneity=FOUND)


@pytest.fixture
def described(case):
    return replace(case, series=(replace(case.series[0], pattern=PATTERN),))


def test_document_holds_every_descriptor(described):
    document = case_document(described)
    validate(document)
    pattern = document["series"][0]["pattern"]
    assert pattern["below_3_mm_fraction"] == 0.25
    assert pattern["diameter_iqr_over_median"] is None
    assert pattern["homogeneity"]["distribution"] == "clustered"
    assert pattern["homogeneity"]["nearest_neighbour"]["ratio_low"] == 0.92
    assert pattern["homogeneity"]["neighbours_within_radius"]["observed"] == 3.0


def test_table_of_cases_holds_the_ratios(described):
    (row,) = case_rows(described)
    assert (row["diameter_cv"], row["largest_over_median"], row["below_3_mm_fraction"]) == (0.3, 2.0, 0.25)
    assert (row["distribution"], row["clark_evans_ratio"], row["clark_evans_p_value"]) == ("clustered", 0.9, 0.01)
    assert (row["ripley_k_ratio"], row["ripley_k_p_value"]) == (1.5, 0.02)


def test_a_series_without_descriptors_says_how_many_lesions_alone(case):
    pattern = case_document(case)["series"][0]["pattern"]
    assert pattern["n_lesions"] == 5
    assert {value for key, value in pattern.items() if key != "n_lesions"} == {None}
    (row,) = case_rows(case)
    assert row["distribution"] is None
