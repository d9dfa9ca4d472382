"""True masks in, the true answer out: what remains of an error is location and decision, not detection."""

from __future__ import annotations

from dataclasses import replace

import pytest

import miliary_seg as ms
from miliary_seg.domain.volume import Study
from miliary_seg.lab import phantom


@pytest.mark.slow
@pytest.mark.parametrize("thickness_mm", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("name", ["miliary", "one-sided", "supratentorial-only", "few-large"])
def test_the_verdict_is_that_of_the_truth(name: str, thickness_mm: float) -> None:
    spec = phantom.preset(name)
    made = phantom.make(replace(spec, scanner=replace(spec.scanner, thickness_mm=thickness_mm, pixel_mm=1.2)), seed=11)
    result = ms.analyze(Study(case="truth", volumes=(made.volume,)), lesions=made.labels)
    (series,) = result.series
    assert len(series.lesions) == len(made.truth.lesions)
    assert str(series.decision.verdict) == ("MET" if made.truth.meets_rule() else "NOT_MET")
    apart = [a - b for a, b in zip(series.decision.slice_counts, made.truth.slice_counts, strict=True)]
    assert sum(map(abs, apart)) <= 0.25 * sum(made.truth.slice_counts)
