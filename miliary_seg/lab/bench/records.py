"""Keys of ``bench.json`` (how to add one: ``miliary_seg.schema``)."""

from operator import itemgetter
from typing import Annotated, Any, Literal

import numpy as np

from miliary_seg.domain.decision import Verdict
from miliary_seg.lab.bench.scoring import Pooled
from miliary_seg.lab.bench.scoring.intervals import CONFIDENCE, N_RESAMPLES, SEED
from miliary_seg.lab.bench.scoring.verdicts import ORDER
from miliary_seg.lab.bench.selftest import SceneScore
from miliary_seg.schema import Count, Json, Record, fill, key
from miliary_seg.software import software

SCHEMA_VERSION = "1.0.0"


class EstimateRecord(Record):
    """A figure with its 95 % interval."""

    value: Annotated[float | None, key("The figure; null where it cannot be told.")]
    low: Annotated[float | None, key("Lower end of the interval; null with fewer than 3 heads.")]
    high: Annotated[float | None, key("Upper end.")]
    n: Annotated[Count, key("What it is over: lesions, slices or scans.")]
    method: Annotated[Literal["", "wilson", "exact", "bootstrap over heads"], key("How the interval was made.")]


class IntervalsRecord(Record):
    """How intervals were made."""

    confidence: Annotated[float, key("Coverage.", source=lambda _: CONFIDENCE)]
    resamples: Annotated[Count, key("Resamples of heads.", source=lambda _: N_RESAMPLES)]
    seed: Annotated[Count, key("Seed of the resamples.", source=lambda _: SEED)]


class MatchingRecord(Record):
    """When two lesions may be the same."""

    rule: Annotated[Literal["auto", "overlap", "distance"], key("As asked for.", source="kind")]
    tolerance_mm: Annotated[float, key("Centres may lie this far apart.", unit="mm")]


class FiguresRecord(Record):
    """Every figure of the agreement."""

    sensitivity: Annotated[EstimateRecord, key("Lesions found / lesions in the reference.")]
    precision: Annotated[EstimateRecord, key("Matched / predicted lesions.")]
    false_per_scan: Annotated[
        EstimateRecord, key("Predicted lesions without a reference lesion, a scan.", unit="lesions")
    ]
    false_per_slice: Annotated[
        EstimateRecord, key("The same, over the number of slices: each counted once.", unit="lesions / slice")
    ]
    false_sections_per_slice: Annotated[
        EstimateRecord,
        key(
            "False cross-sections a slice: each false lesion counted on every slice that shows it.",
            unit="lesions / slice",
        ),
    ]
    repeats_per_scan: Annotated[
        EstimateRecord, key("False ones that touch a lesion which another one found (split lesions).", unit="lesions")
    ]
    merged_per_scan: Annotated[
        EstimateRecord, key("Missed ones that touch a matched prediction (merged lesions).", unit="lesions")
    ]
    count_error_mean_absolute: Annotated[
        EstimateRecord, key("Mean over slices of |predicted - reference count|.", unit="lesions")
    ]
    count_error_bias: Annotated[EstimateRecord, key("Mean over slices of predicted - reference count.", unit="lesions")]
    dice_median: Annotated[EstimateRecord, key("Median Dice of matched lesions.")]
    dice_median_from_4_mm: Annotated[EstimateRecord, key("The same for reference lesions of at least 4 mm.")]
    volume_error_median: Annotated[
        EstimateRecord, key("Median of (predicted - reference) / reference volume of matched lesions.", unit="fraction")
    ]
    volume_error_median_absolute: Annotated[EstimateRecord, key("The same, absolute.", unit="fraction")]


Ends = tuple[float | None, float | None]


class BinRecord(Record):
    """Sensitivity for lesions of one size, contrast, or both."""

    diameter_mm: Annotated[
        Ends | None, key("Bin of reference diameters; null = all; a missing upper end is null.", unit="mm")
    ]
    contrast: Annotated[Ends | None, key("Bin of reference contrasts; null = all.", unit="noise SD")]
    sensitivity: EstimateRecord


class FrocPointRecord(Record):
    """One point of the curve."""

    threshold: Annotated[float | None, key("Marks with at least this score count.")]
    sensitivity: Annotated[float | None, key("Lesions found.")]
    low: Annotated[float | None, key("Lower end, bootstrap over heads.")]
    high: Annotated[float | None, key("Upper end.")]
    false_per_scan: Annotated[float | None, key("False marks a scan.")]
    false_per_slice: Annotated[float | None, key("False marks over slices.")]


class RateRecord(Record):
    """The curve at one rate."""

    false_per_scan: Annotated[float, key("False marks a scan.", source=itemgetter(0))]
    sensitivity: Annotated[EstimateRecord, key(source=itemgetter(1))]


class AnswersRecord(Record):
    """Scans by answer."""

    MET: Annotated[Count, key("Scans answered so.", source=itemgetter(ORDER.index(Verdict.MET)))]
    INDETERMINATE: Annotated[Count, key("Scans answered so.", source=itemgetter(ORDER.index(Verdict.INDETERMINATE)))]
    NOT_MET: Annotated[Count, key("Scans answered so.", source=itemgetter(ORDER.index(Verdict.NOT_MET)))]


class ProportionRecord(Record):
    """One proportion with both intervals."""

    wilson: Annotated[EstimateRecord, key(source=itemgetter(0))]
    exact: Annotated[EstimateRecord, key(source=itemgetter(1))]


class VerdictsRecord(Record):
    """Answers against truths."""

    truth_met: Annotated[AnswersRecord, key("Scans whose truth meets the criteria.", source="met")]
    truth_not_met: Annotated[AnswersRecord, key("Scans whose truth does not.", source="not_met")]
    figures: Annotated[
        dict[str, ProportionRecord],
        key("Proportions with Wilson and Clopper-Pearson intervals.", source=lambda table: table.figures()),
    ]


def _points(pool: Pooled) -> list[Json] | None:
    """The points of a curve, one mapping each."""
    curve = pool.froc
    if curve is None:
        return None
    columns = (curve.thresholds, curve.sensitivity, curve.low, curve.high, curve.per_scan, curve.per_slice)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [dict(zip(FrocPointRecord.__struct_fields__, row, strict=True)) for row in rows]


class PooledRecord(Record):
    """All figures over some scans."""

    n_scans: Annotated[Count, key("Scans.")]
    n_heads: Annotated[Count, key("Heads: scans of one head are resampled together.")]
    n_reference: Annotated[Count, key("Reference lesions.")]
    n_predicted: Annotated[Count, key("Predicted lesions.")]
    figures: Annotated[
        FiguresRecord,
        key(
            "Every figure of the agreement.",
            source=lambda pool: {name: fill(EstimateRecord, found) for name, found in pool.figures.items()},
        ),
    ]
    by_diameter: Annotated[list[BinRecord], key("Sensitivity by diameter.")]
    by_contrast: Annotated[list[BinRecord], key("Sensitivity by contrast.")]
    by_diameter_and_contrast: Annotated[list[BinRecord], key("Sensitivity by both.", source="by_both")]
    froc: Annotated[
        list[FrocPointRecord] | None,
        key("Points of the curve, falling thresholds; null without scores.", source=_points),
    ]
    sensitivity_at_false_per_scan: Annotated[
        list[RateRecord], key("The curve read at fixed rates.", source=lambda pool: pool.froc_points.items())
    ]
    verdicts: Annotated[VerdictsRecord | None, key("Answers against truths; null where no truth is known.")]


class CaseRecord(Record):
    """One scan."""

    case: Annotated[str, key("Name of the case.", source="given.case")]
    head: Annotated[str, key("Unit of resampling.")]
    group: Annotated[str, key("Group of scans that it belongs to; empty = none.", source="given.group")]
    matched_by: Annotated[Literal["overlap", "distance"], key("The rule that was applied.", source="rule")]
    n_reference: Annotated[Count, key("Reference lesions.", source=lambda s: len(s.hit))]
    n_predicted: Annotated[Count, key("Predicted lesions.", source=lambda s: len(s.false))]
    n_found: Annotated[Count, key("Reference lesions found.", source=lambda s: s.hit.sum())]
    n_false: Annotated[Count, key("Predicted lesions without one.", source=lambda s: s.false.sum())]
    n_split: Annotated[Count, key("False ones that touch a found lesion.", source="repeats")]
    n_merged: Annotated[Count, key("Missed ones that touch a matched prediction.", source="merged")]
    n_slices: Annotated[Count | None, key("Slices that rates are over.", source=lambda s: s.n_slices or None)]
    n_false_sections: Annotated[Count | None, key("False lesions, counted on every slice.", source="false_sections")]
    count_error_mean_absolute: Annotated[
        float | None,
        key(
            "Mean absolute count error a slice.",
            unit="lesions",
            source=lambda s: _mean(None if s.count_error is None else np.abs(s.count_error)),
        ),
    ]
    count_error_bias: Annotated[
        float | None, key("Mean count error a slice.", unit="lesions", source=lambda s: _mean(s.count_error))
    ]
    dice_median: Annotated[float | None, key("Median Dice of matched lesions.", source=lambda s: _median(s.dice))]
    volume_error_median: Annotated[
        float | None, key("Median relative volume error.", unit="fraction", source=lambda s: _median(s.volume_error))
    ]
    verdict: Annotated[Verdict | None, key("The answer.", source="given.verdict")]
    probability: Annotated[float | None, key("Predicted P(criteria met).", source="given.probability")]
    truth_met: Annotated[bool | None, key("Whether the truth meets the criteria.", source="given.truth_met")]
    notes: Annotated[list[str], key("Codes of what to be careful about.", source="given.notes")]


class SceneRecord(CaseRecord):
    """One phantom."""

    family: Annotated[
        Literal["lesions", "free", "curve", "negative"], key("What the scene is for.", source="scene.family")
    ]
    kind: Annotated[str, key("Preset, or the true count.", source="scene.kind")]
    true_count: Annotated[Count, key("True lesions on the second-best slice apart.")]
    found_count: Annotated[int, key("The same, as found.")]
    worst_slice: Annotated[Count, key("Most lesions found on any slice.")]
    borderline: Annotated[bool, key("Whether the answer is borderline.")]


class CalibrationBinRecord(Record):
    """One bin."""

    low: Annotated[float | None, key("Lower border.")]
    high: Annotated[float | None, key("Upper border.")]
    mean_predicted: Annotated[float | None, key("Mean of the predictions.")]
    observed: Annotated[EstimateRecord, key("Share that came true, Wilson interval.")]


class CalibrationRecord(Record):
    """Predicted against observed."""

    n: Annotated[Count, key("Predictions.")]
    expected_error: Annotated[float | None, key("Expected calibration error.")]
    brier: Annotated[float | None, key("Brier score.")]
    bins: Annotated[list[CalibrationBinRecord], key("Bins that hold a prediction.")]


class PlanRecord(Record):
    """What was tried."""

    hosts: Annotated[list[str], key("Heads.", source=lambda plan: [host.name for host in plan.hosts])]
    thicknesses_mm: Annotated[list[float], key("Slice thicknesses of drawn heads and label maps.", unit="mm")]
    counts: Annotated[list[int], key("True counts on the deciding slices.")]
    families: Annotated[list[str], key("Families of scenes.")]
    seed: Annotated[int, key("Seed of the plan.")]


class FailedRecord(Record):
    """A scene that could not be made or analysed."""

    scene: Annotated[str, key("Its name.", source=itemgetter(0))]
    why: Annotated[str, key("The error.", source=itemgetter(1))]


class GoalRecord(Record):
    """One kind of lesion."""

    group: Annotated[str, key("Slice thickness.")]
    lesions: Annotated[str, key("Diameters and contrasts.")]
    false_per_scan: Annotated[float | None, key("False marks a scan.")]
    sensitivity: EstimateRecord


class LesionFreeRecord(Record):
    """Heads of one kind."""

    group: Annotated[str, key("Slice thickness.")]
    kind: Annotated[str, key("Preset.")]
    scans: Annotated[Count, key("Scans.")]
    false_per_slice: EstimateRecord
    false_sections_per_slice: EstimateRecord
    worst_slice: Annotated[Count, key("Most on any slice.")]
    met: Annotated[EstimateRecord, key("Share answered MET, Clopper-Pearson interval.")]


class CurveRecord(Record):
    """Scans of one count."""

    group: Annotated[str, key("Slice thickness.")]
    count: Annotated[Count, key("True lesions on each of two slices.")]
    met: Annotated[EstimateRecord, key("Share answered MET, Wilson interval.")]
    indeterminate: Annotated[Count, key("Scans.")]
    not_met: Annotated[Count, key("Scans.")]
    borderline: Annotated[Count, key("Scans said to be borderline.")]
    true_count: Annotated[float | None, key("Mean true count on the second-best slice apart.")]
    found_count: Annotated[float | None, key("Mean found count.")]
    truth_met: Annotated[Count, key("Scans whose truth meets the rule.")]


class CountErrorRecord(Record):
    """One thickness."""

    group: Annotated[str, key("Slice thickness.")]
    slices: Annotated[Count, key("Slices with 5 to 40 true lesions.")]
    mean_absolute: EstimateRecord
    bias: EstimateRecord


class NegativeRecord(Record):
    """One pattern."""

    group: Annotated[str, key("Slice thickness.", source=lambda row: row[0][0])]
    kind: Annotated[str, key("Preset.", source=lambda row: row[0][1])]
    verdicts: Annotated[VerdictsRecord, key(source=itemgetter(1))]


class AgreementRecord(Record):
    """Predictions against references (bench score)."""

    schema_version: Annotated[str, key("Version of this document (semantic).", source=lambda _: SCHEMA_VERSION)]
    kind: Annotated[Literal["agreement"], key("What was benched.", source=lambda _: "agreement")]
    software: Annotated[dict[str, str], key("Versions that the figures depend on.", source=lambda _: software())]
    intervals: Annotated[IntervalsRecord, key("How intervals were made.", source=lambda found: found)]
    matching: Annotated[MatchingRecord, key("When two lesions may be the same.", source="rule")]
    left_out: Annotated[list[str], key("Cases that only one side has.")]
    pooled: PooledRecord
    cases: Annotated[list[CaseRecord], key("Every scan.", source="scores")]


class PhantomsRecord(Record):
    """The program on phantoms (bench phantoms)."""

    schema_version: Annotated[str, key("Version of this document (semantic).", source=lambda _: SCHEMA_VERSION)]
    kind: Annotated[Literal["phantoms"], key("What was benched.", source=lambda _: "phantoms")]
    software: Annotated[dict[str, str], key("Versions that the figures depend on.", source=lambda _: software())]
    intervals: Annotated[IntervalsRecord, key("How intervals were made.", source=lambda found: found)]
    settings_digest: Annotated[str, key("SHA-256 of the resolved settings.", source="test.settings.digest")]
    sensitivity: Annotated[str, key("Operating point.", source="test.settings.detect.sensitivity")]
    plan: Annotated[PlanRecord, key("What was tried.", source="test.plan")]
    failed: Annotated[list[FailedRecord], key("Scenes left out.", source="test.failed")]
    lesions: Annotated[
        dict[str, PooledRecord], key("Slice thickness -> figures over scans with lesions of every size and contrast.")
    ]
    goals: Annotated[list[GoalRecord], key("Sensitivity at rates that goals are stated for.")]
    lesion_free: Annotated[list[LesionFreeRecord], key("Heads without lesions.", source="free")]
    curve: Annotated[list[CurveRecord], key("Answers against the true count.")]
    counts: Annotated[list[CountErrorRecord], key("Error of the count of a slice.")]
    negatives: Annotated[
        list[NegativeRecord],
        key("Patterns that fail one part of the rule.", source=lambda summary: summary.negatives.items()),
    ]
    verdicts: VerdictsRecord
    decision_calibration: Annotated[
        CalibrationRecord | None, key("Predicted against observed, of the answers; null without predictions.")
    ]
    lesion_calibration: Annotated[
        CalibrationRecord | None, key("Predicted against observed, of the lesions; null without predictions.")
    ]
    cases: Annotated[
        list[SceneRecord],
        key("Every phantom.", source=lambda summary: [_scene(scene) for scene in summary.test.scores]),
    ]


def _scene(scene: SceneScore) -> Json:
    return fill(CaseRecord, scene.score) | fill(SceneRecord, scene, own=True)


def _mean(values: Any) -> float | None:
    return None if values is None or not values.size else float(values.mean())


def _median(values: Any) -> float | None:
    return float(np.median(values)) if values.size else None
