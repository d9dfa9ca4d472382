"""How many, how large and where the lesions of a series are, as the field counts them: described, never the answer."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from miliary_seg.domain.compartment import Region, RegionGroup, Tissue
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.result import SeriesResult

MILIARY_MM, SMALL_MM, LARGE_MM = 3.0, 5.0, 10.0
"""Ends of the classes of equivalent diameter: miliary (Bot 2020), small, and RANO-BM's measurable size."""
TARGETS = 5
"""RANO-BM sums at most so many target lesions."""


def sure_lesions(series: SeriesResult) -> list[Lesion]:
    """Lesions probable enough to be evidence by themselves (``operating_point.evidence_probability``)."""
    least = series.detection.operating_point.evidence_probability
    return [lesion for lesion in series.lesions if lesion.probability >= least]


def lesion_sizes(series: SeriesResult) -> dict[str, Any]:
    """Sizes of the lesions and what they add up to; maxima are those of sure lesions, doubtful ones stand apart.

    Returns
    -------
    dict
        ``{"n": 0}`` where there are none; numbers that no sure lesion gives are None.
    """
    lesions = series.lesions
    if not lesions:
        return {"n": 0}
    sure = sure_lesions(series)
    diameters = sorted(lesion.equivalent_diameter_mm for lesion in lesions)
    largest = max(sure, key=lambda lesion: lesion.equivalent_diameter_mm, default=None)
    doubtful = {lesion.id for lesion in lesions} - {lesion.id for lesion in sure}
    apart = [lesion.equivalent_diameter_mm for lesion in lesions if lesion.id in doubtful]
    q1, q3 = (float(q) for q in np.percentile(diameters, [25, 75]))
    middle = median(diameters)
    return {
        "n": len(diameters),
        "n_sure": len(sure),
        "smallest_mm": diameters[0],
        "quartile_1_mm": q1,
        "median_mm": middle,
        "quartile_3_mm": q3,
        "largest_mm": None if largest is None else largest.equivalent_diameter_mm,
        "largest_lesion": None if largest is None else largest.id,
        "largest_doubtful_mm": max(apart, default=None),
        "largest_over_median": largest.equivalent_diameter_mm / middle if largest is not None and middle > 0 else None,
        "n_below_3_mm": sum(d < MILIARY_MM for d in diameters),
        "n_below_5_mm": sum(d < SMALL_MM for d in diameters),
        "n_5_to_10_mm": sum(SMALL_MM <= d <= LARGE_MM for d in diameters),
        "n_above_10_mm": sum(d > LARGE_MM for d in diameters),
        **_rano(sure),
        "total_volume_mm3": sum(lesion.volume_mm3 for lesion in lesions),
        "sure_volume_mm3": sum(lesion.volume_mm3 for lesion in sure),
    }


def _rano(sure: list[Lesion]) -> dict[str, Any]:
    """Measurable lesions of RANO-BM and the sum of the longest diameters of the largest five."""
    longest = sorted((lesion.max_diameter_mm or 0.0 for lesion in sure if lesion.measurable), reverse=True)
    return {"n_measurable": len(longest), "sum_of_targets_mm": sum(longest[:TARGETS]) if longest else None}


def region_counts(series: SeriesResult) -> dict[str, Any] | None:
    """Lesions by region, by coarse group and by layer of a lobe; None where the atlas fit is not trusted.

    Returns
    -------
    dict or None
        Counts under ``regions`` (side and region), ``groups`` and ``tissues``; with a trusted fit, none of them is
        unknown, so a 0 is a 0.
    """
    if not series.location.registration.levels_usable:
        return None
    places = [place for place in series.assignments if place.region is not None]
    names = [region.name.lower() for region in Region]
    sides = {name: {"left": 0, "right": 0, "unknown": 0} for name in names}
    for place in places:
        if place.region is not None:
            sides[place.region.name.lower()][str(place.side or "unknown")] += 1
    return {
        "regions": sides,
        "groups": {
            str(group): sum(1 for place in places if place.region is not None and place.region.group is group)
            for group in RegionGroup
        },
        "tissues": {str(tissue): sum(1 for place in places if place.tissue is tissue) for tissue in Tissue},
        "n_without_region": len(series.lesions) - len(places),
    }
