"""What a reader takes in: three lines with numbers, sizes and places; what is unknown is never counted as none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miliary_seg.domain.compartment import Region, Tissue
from miliary_seg.domain.lesion import Lesion
from miliary_seg.report.burden import lesion_sizes, region_counts
from miliary_seg.report.headline import lines, slice_answers, summary, why_no_probability
from miliary_seg.report.html.second_look import likeliest
from miliary_seg.report.json_document import case_document, validate
from miliary_seg.report.tables import case_rows, lesions_table, slices_table


def untrusted(case):
    series = case.series[0]
    fit = replace(series.location.registration, trusted=False)
    places = tuple(replace(place, side=None, level=None, region=None) for place in series.assignments)
    decision = replace(
        series.decision,
        probability=None,
        quadrant_counts=(*((name, None) for name, _ in series.decision.quadrant_counts[:4]), ("unassigned", 5)),
    )
    changed = replace(
        series, location=replace(series.location, registration=fit), assignments=places, decision=decision
    )
    return replace(case, series=(changed,))


def sized(lesion: Lesion, diameter: float, probability: float, **changes: object) -> Lesion:
    return replace(
        lesion, equivalent_diameter_mm=diameter, max_diameter_mm=diameter, probability=probability, **changes
    )


def test_three_lines_with_numbers(case):
    count, sides, levels = lines(case.series[0])
    places = case.series[0].assignments
    assert count.asked == "20 asked on each"
    assert sides.numbers == ", ".join(f"{sum(p.side == s for p in places)} {s}" for s in ("left", "right"))
    assert levels.numbers.endswith("below")
    text = summary(case.series[0])
    assert text.startswith("The pattern")
    assert all(line.numbers in text for line in (count, sides, levels))


def test_unknown_is_never_none(case):
    blind = untrusted(case)
    series = blind.series[0]
    assert [line.numbers for line in lines(series)[1:]] == ["unknown", "unknown"]
    assert region_counts(series) is None
    assert why_no_probability(series) == "the atlas fit is not trusted"
    document = case_document(blind)
    validate(document)
    row = document["series"][0]
    assert row["region_counts"] is None
    assert set(row["decision"]["quadrant_counts"].values()) == {None, 5}
    for lesion in row["lesions"]:
        unknown = ("side", "side_confidence", "level_confidence", "midline_distance_mm", "region", "region_confidence")
        assert all(lesion[key] is None for key in unknown)
    (cells,) = case_rows(blind)
    assert all(cells[key] is None for key in ("n_left_supratentorial", "n_cerebellum", "probability"))
    assert all(cell["n_left"] is None for cell in slices_table(series, identified=False).rows)


def test_maxima_are_those_of_sure_lesions(case):
    series = case.series[0]
    point = replace(series.detection.operating_point, evidence_probability=0.6)
    first, second, third, *others = series.lesions
    lesions = (
        sized(first, 13.8, 0.29),
        sized(second, 12.0, 0.9, perpendicular_diameter_mm=6.0, slices=(3, 4)),
        sized(third, 11.0, 0.9, perpendicular_diameter_mm=4.9, slices=(3, 4)),
        *(sized(lesion, 4.0, 0.9) for lesion in others),
    )
    sizes = lesion_sizes(replace(series, detection=replace(series.detection, lesions=lesions, operating_point=point)))
    assert (sizes["largest_mm"], sizes["largest_lesion"], sizes["largest_doubtful_mm"]) == (12.0, second.id, 13.8)
    assert (sizes["n_measurable"], sizes["sum_of_targets_mm"]) == (1, 12.0)
    assert (sizes["n_above_10_mm"], sizes["n_below_5_mm"], sizes["n_sure"]) == (3, len(others), len(lesions) - 1)


def test_places_are_counted_by_side(case):
    series = case.series[0]
    places = tuple(
        replace(place, region=Region.PONS if n == 0 else Region.FRONTAL_LOBE, tissue=None if n == 0 else Tissue.CORTEX)
        for n, place in enumerate(series.assignments)
    )
    counts = region_counts(replace(series, assignments=places))
    assert counts["groups"] == {"lobe": len(places) - 1, "deep grey": 0, "brain stem": 1, "cerebellum": 0}
    assert sum(counts["regions"]["frontal_lobe"].values()) == counts["tissues"]["cortex"] == len(places) - 1


def test_image_numbers_of_the_archive(case):
    series = case.series[0]
    source = replace(series.volume.source, instance_numbers=tuple(range(100, 100 + series.volume.n_slices)))
    named = replace(series, volume=replace(series.volume, source=source))
    rows = slices_table(named, identified=False).rows
    assert [row["image_number"] for row in rows] == list(source.instance_numbers)
    assert sorted(row["number_from_end"] for row in rows) == list(range(1, len(rows) + 1))
    lesion = lesions_table(named).rows[0]
    assert lesion["image_numbers"] == [100 + k for k in lesion["slices"]]


def test_second_looks_hold_no_double_of_a_lesion(case):
    series = case.series[0]
    rejection = series.detection.rejections[0]
    on_a_lesion = replace(
        rejection,
        rule="contrast",
        candidate=replace(
            rejection.candidate, id=901, centroid_ras_mm=series.lesions[0].centroid_ras_mm, probability=0.9
        ),
    )
    free = replace(
        rejection,
        rule="contrast",
        candidate=replace(rejection.candidate, id=902, centroid_ras_mm=(500.0, 0.0, 0.0), probability=0.2),
    )
    twice = replace(free, candidate=replace(free.candidate, id=903, probability=0.1))
    overlap = replace(free, rule="overlap", candidate=replace(free.candidate, id=904, probability=0.99))
    found = likeliest(
        replace(series, detection=replace(series.detection, rejections=(on_a_lesion, free, twice, overlap)))
    )
    assert [item.candidate.id for item in found] == [902]


@pytest.mark.parametrize("known", [True, False])
def test_both_slice_thicknesses_or_none(case, known):
    decision = case.series[0].decision
    series = case.series[0] if known else replace(case.series[0], decision=replace(decision, readings=()))
    assert len(slice_answers(series)) in ((0, 2) if known else (0,))
