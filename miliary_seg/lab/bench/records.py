"""Keys of ``bench.json`` (how to add one: ``miliary_seg.schema``)."""

from operator import itemgetter
from typing import Any, Literal

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

    value: float | None = key("The figure; null where it cannot be told.")
    low: float | None = key("Lower end of the interval; null with fewer than 3 heads.")
    high: float | None = key("Upper end.")
    n: Count = key("What it is over: lesions, slices or scans.")
    method: Literal["", "wilson", "exact", "bootstrap over heads"] = key("How the interval was made.")


class IntervalsRecord(Record):
    """How intervals were made."""

    confidence: float = key("Coverage.", source=lambda _: CONFIDENCE)
    resamples: Count = key("Resamples of heads.", source=lambda _: N_RESAMPLES)
    seed: Count = key("Seed of the resamples.", source=lambda _: SEED)


class MatchingRecord(Record):
    """When two lesions may be the same."""

    rule: Literal["auto", "overlap", "distance"] = key("As asked for.", source="kind")
    tolerance_mm: float = key("Centres may lie this far apart.", unit="mm")


class FiguresRecord(Record):
    """Every figure of the agreement."""

    sensitivity: EstimateRecord = key("Lesions found / lesions in the reference.")
    precision: EstimateRecord = key("Matched / predicted lesions.")
    false_per_scan: EstimateRecord = key("Predicted lesions without a reference lesion, a scan.", unit="lesions")
    false_per_slice: EstimateRecord = key(
        "The same, over the number of slices: each counted once.", unit="lesions / slice"
    )
    false_sections_per_slice: EstimateRecord = key(
        "False cross-sections a slice: each false lesion counted on every slice that shows it.",
        unit="lesions / slice",
    )
    repeats_per_scan: EstimateRecord = key(
        "False ones that touch a lesion which another one found (split lesions).", unit="lesions"
    )
    merged_per_scan: EstimateRecord = key(
        "Missed ones that touch a matched prediction (merged lesions).", unit="lesions"
    )
    count_error_mean_absolute: EstimateRecord = key(
        "Mean over slices of |predicted - reference count|.", unit="lesions"
    )
    count_error_bias: EstimateRecord = key("Mean over slices of predicted - reference count.", unit="lesions")
    dice_median: EstimateRecord = key("Median Dice of matched lesions.")
    dice_median_from_4_mm: EstimateRecord = key("The same for reference lesions of at least 4 mm.")
    volume_error_median: EstimateRecord = key(
        "Median of (predicted - reference) / reference volume of matched lesions.", unit="fraction"
    )
    volume_error_median_absolute: EstimateRecord = key("The same, absolute.", unit="fraction")


Ends = tuple[float | None, float | None]


class BinRecord(Record):
    """Sensitivity for lesions of one size, contrast, or both."""

    diameter_mm: Ends | None = key("Bin of reference diameters; null = all; a missing upper end is null.", unit="mm")
    contrast: Ends | None = key("Bin of reference contrasts; null = all.", unit="noise SD")
    sensitivity: EstimateRecord = key()


class FrocPointRecord(Record):
    """One point of the curve."""

    threshold: float | None = key("Marks with at least this score count.")
    sensitivity: float | None = key("Lesions found.")
    low: float | None = key("Lower end, bootstrap over heads.")
    high: float | None = key("Upper end.")
    false_per_scan: float | None = key("False marks a scan.")
    false_per_slice: float | None = key("False marks over slices.")


class RateRecord(Record):
    """The curve at one rate."""

    false_per_scan: float = key("False marks a scan.", source=itemgetter(0))
    sensitivity: EstimateRecord = key(source=itemgetter(1))


class AnswersRecord(Record):
    """Scans by answer."""

    MET: Count = key("Scans answered so.", source=itemgetter(ORDER.index(Verdict.MET)))
    INDETERMINATE: Count = key("Scans answered so.", source=itemgetter(ORDER.index(Verdict.INDETERMINATE)))
    NOT_MET: Count = key("Scans answered so.", source=itemgetter(ORDER.index(Verdict.NOT_MET)))


class ProportionRecord(Record):
    """One proportion with both intervals."""

    wilson: EstimateRecord = key(source=itemgetter(0))
    exact: EstimateRecord = key(source=itemgetter(1))


class VerdictsRecord(Record):
    """Answers against truths."""

    truth_met: AnswersRecord = key("Scans whose truth meets the criteria.", source="met")
    truth_not_met: AnswersRecord = key("Scans whose truth does not.", source="not_met")
    figures: dict[str, ProportionRecord] = key(
        "Proportions with Wilson and Clopper-Pearson intervals.", source=lambda table: table.figures()
    )


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

    n_scans: Count = key("Scans.")
    n_heads: Count = key("Heads: scans of one head are resampled together.")
    n_reference: Count = key("Reference lesions.")
    n_predicted: Count = key("Predicted lesions.")
    figures: FiguresRecord = key(
        "Every figure of the agreement.",
        source=lambda pool: {name: fill(EstimateRecord, found) for name, found in pool.figures.items()},
    )
    by_diameter: list[BinRecord] = key("Sensitivity by diameter.")
    by_contrast: list[BinRecord] = key("Sensitivity by contrast.")
    by_diameter_and_contrast: list[BinRecord] = key("Sensitivity by both.", source="by_both")
    froc: list[FrocPointRecord] | None = key(
        "Points of the curve, falling thresholds; null without scores.", source=_points
    )
    sensitivity_at_false_per_scan: list[RateRecord] = key(
        "The curve read at fixed rates.", source=lambda pool: pool.froc_points.items()
    )
    verdicts: VerdictsRecord | None = key("Answers against truths; null where no truth is known.")


class CaseRecord(Record):
    """One scan."""

    case: str = key("Name of the case.", source="given.case")
    head: str = key("Unit of resampling.")
    group: str = key("Group of scans that it belongs to; empty = none.", source="given.group")
    matched_by: Literal["overlap", "distance"] = key("The rule that was applied.", source="rule")
    n_reference: Count = key("Reference lesions.", source=lambda s: len(s.hit))
    n_predicted: Count = key("Predicted lesions.", source=lambda s: len(s.false))
    n_found: Count = key("Reference lesions found.", source=lambda s: s.hit.sum())
    n_false: Count = key("Predicted lesions without one.", source=lambda s: s.false.sum())
    n_split: Count = key("False ones that touch a found lesion.", source="repeats")
    n_merged: Count = key("Missed ones that touch a matched prediction.", source="merged")
    n_slices: Count | None = key("Slices that rates are over.", source=lambda s: s.n_slices or None)
    n_false_sections: Count | None = key("False lesions, counted on every slice.", source="false_sections")
    count_error_mean_absolute: float | None = key(
        "Mean absolute count error a slice.",
        unit="lesions",
        source=lambda s: _mean(None if s.count_error is None else np.abs(s.count_error)),
    )
    count_error_bias: float | None = key(
        "Mean count error a slice.", unit="lesions", source=lambda s: _mean(s.count_error)
    )
    dice_median: float | None = key("Median Dice of matched lesions.", source=lambda s: _median(s.dice))
    volume_error_median: float | None = key(
        "Median relative volume error.", unit="fraction", source=lambda s: _median(s.volume_error)
    )
    verdict: Verdict | None = key("The answer.", source="given.verdict")
    probability: float | None = key("Predicted P(criteria met).", source="given.probability")
    truth_met: bool | None = key("Whether the truth meets the criteria.", source="given.truth_met")
    notes: list[str] = key("Codes of what to be careful about.", source="given.notes")


class SceneRecord(CaseRecord):
    """One phantom."""

    family: Literal["lesions", "free", "curve", "negative"] = key("What the scene is for.", source="scene.family")
    kind: str = key("Preset, or the true count.", source="scene.kind")
    true_count: Count = key("True lesions on the second-best slice apart.")
    found_count: int = key("The same, as found.")
    worst_slice: Count = key("Most lesions found on any slice.")
    borderline: bool = key("Whether the answer is borderline.")


class CalibrationBinRecord(Record):
    """One bin."""

    low: float | None = key("Lower border.")
    high: float | None = key("Upper border.")
    mean_predicted: float | None = key("Mean of the predictions.")
    observed: EstimateRecord = key("Share that came true, Wilson interval.")


class CalibrationRecord(Record):
    """Predicted against observed."""

    n: Count = key("Predictions.")
    expected_error: float | None = key("Expected calibration error.")
    brier: float | None = key("Brier score.")
    bins: list[CalibrationBinRecord] = key("Bins that hold a prediction.")


class PlanRecord(Record):
    """What was tried."""

    hosts: list[str] = key("Heads.", source=lambda plan: [host.name for host in plan.hosts])
    thicknesses_mm: list[float] = key("Slice thicknesses of drawn heads and label maps.", unit="mm")
    counts: list[int] = key("True counts on the deciding slices.")
    families: list[str] = key("Families of scenes.")
    seed: int = key("Seed of the plan.")


class FailedRecord(Record):
    """A scene that could not be made or analysed."""

    scene: str = key("Its name.", source=itemgetter(0))
    why: str = key("The error.", source=itemgetter(1))


class GoalRecord(Record):
    """One kind of lesion."""

    group: str = key("Slice thickness.")
    lesions: str = key("Diameters and contrasts.")
    false_per_scan: float | None = key("False marks a scan.")
    sensitivity: EstimateRecord = key()


class LesionFreeRecord(Record):
    """Heads of one kind."""

    group: str = key("Slice thickness.")
    kind: str = key("Preset.")
    scans: Count = key("Scans.")
    false_per_slice: EstimateRecord = key()
    false_sections_per_slice: EstimateRecord = key()
    worst_slice: Count = key("Most on any slice.")
    met: EstimateRecord = key("Share answered MET, Clopper-Pearson interval.")


class CurveRecord(Record):
    """Scans of one count."""

    group: str = key("Slice thickness.")
    count: Count = key("True lesions on each of two slices.")
    met: EstimateRecord = key("Share answered MET, Wilson interval.")
    indeterminate: Count = key("Scans.")
    not_met: Count = key("Scans.")
    borderline: Count = key("Scans said to be borderline.")
    true_count: float | None = key("Mean true count on the second-best slice apart.")
    found_count: float | None = key("Mean found count.")
    truth_met: Count = key("Scans whose truth meets the rule.")


class CountErrorRecord(Record):
    """One thickness."""

    group: str = key("Slice thickness.")
    slices: Count = key("Slices with 5 to 40 true lesions.")
    mean_absolute: EstimateRecord = key()
    bias: EstimateRecord = key()


class NegativeRecord(Record):
    """One pattern."""

    group: str = key("Slice thickness.", source=lambda row: row[0][0])
    kind: str = key("Preset.", source=lambda row: row[0][1])
    verdicts: VerdictsRecord = key(source=itemgetter(1))


class AgreementRecord(Record):
    """Predictions against references (bench score)."""

    schema_version: str = key("Version of this document (semantic).", source=lambda _: SCHEMA_VERSION)
    kind: Literal["agreement"] = key("What was benched.", source=lambda _: "agreement")
    software: dict[str, str] = key("Versions that the figures depend on.", source=lambda _: software())
    intervals: IntervalsRecord = key("How intervals were made.", source=lambda found: found)
    matching: MatchingRecord = key("When two lesions may be the same.", source="rule")
    left_out: list[str] = key("Cases that only one side has.")
    pooled: PooledRecord = key()
    cases: list[CaseRecord] = key("Every scan.", source="scores")


class PhantomsRecord(Record):
    """The program on phantoms (bench phantoms)."""

    schema_version: str = key("Version of this document (semantic).", source=lambda _: SCHEMA_VERSION)
    kind: Literal["phantoms"] = key("What was benched.", source=lambda _: "phantoms")
    software: dict[str, str] = key("Versions that the figures depend on.", source=lambda _: software())
    intervals: IntervalsRecord = key("How intervals were made.", source=lambda found: found)
    settings_digest: str = key("SHA-256 of the resolved settings.", source="test.settings.digest")
    sensitivity: str = key("Operating point.", source="test.settings.detect.sensitivity")
    plan: PlanRecord = key("What was tried.", source="test.plan")
    failed: list[FailedRecord] = key("Scenes left out.", source="test.failed")
    lesions: dict[str, PooledRecord] = key(
        "Slice thickness -> figures over scans with lesions of every size and contrast."
    )
    goals: list[GoalRecord] = key("Sensitivity at rates that goals are stated for.")
    lesion_free: list[LesionFreeRecord] = key("Heads without lesions.", source="free")
    curve: list[CurveRecord] = key("Answers against the true count.")
    counts: list[CountErrorRecord] = key("Error of the count of a slice.")
    negatives: list[NegativeRecord] = key(
        "Patterns that fail one part of the rule.", source=lambda summary: summary.negatives.items()
    )
    verdicts: VerdictsRecord = key()
    decision_calibration: CalibrationRecord | None = key(
        "Predicted against observed, of the answers; null without predictions."
    )
    lesion_calibration: CalibrationRecord | None = key(
        "Predicted against observed, of the lesions; null without predictions."
    )
    cases: list[SceneRecord] = key(
        "Every phantom.", source=lambda summary: [_scene(scene) for scene in summary.test.scores]
    )


def _scene(scene: SceneScore) -> Json:
    return fill(CaseRecord, scene.score) | fill(SceneRecord, scene, own=True)


def _mean(values: Any) -> float | None:
    return None if values is None or not values.size else float(values.mean())


def _median(values: Any) -> float | None:
    return float(np.median(values)) if values.size else None
