"""bench.json: every figure as plain values, described by ``schema/bench.schema.json``."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from miliary_seg.errors import OutputError
from miliary_seg.lab.bench.agreement import Agreement
from miliary_seg.lab.bench.scoring import CaseScore
from miliary_seg.lab.bench.scoring.intervals import CONFIDENCE, N_RESAMPLES, SEED
from miliary_seg.software import software

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

SCHEMA_VERSION = "1.0.0"
DECIMALS = 6
Json = dict[str, Any]


def agreement_document(agreement: Agreement) -> Json:
    """Predictions against references, as plain values."""
    return checked(
        {
            **head_of_document("agreement"),
            "matching": {"rule": agreement.rule.kind, "tolerance_mm": agreement.rule.tolerance_mm},
            "left_out": list(agreement.left_out),
            "pooled": agreement.pooled.as_dict(),
            "cases": [case_document(score) for score in agreement.scores],
        }
    )


def case_document(score: CaseScore) -> Json:
    """One scan, scored."""
    given, error = score.given, score.count_error
    return {
        "case": given.case,
        "head": score.head,
        "group": given.group,
        "matched_by": score.rule,
        "n_reference": len(score.hit),
        "n_predicted": len(score.false),
        "n_found": int(score.hit.sum()),
        "n_false": int(score.false.sum()),
        "n_split": score.repeats,
        "n_merged": score.merged,
        "n_slices": score.n_slices or None,
        "n_false_sections": score.false_sections,
        "count_error_mean_absolute": None if error is None or not error.size else float(np.abs(error).mean()),
        "count_error_bias": None if error is None or not error.size else float(error.mean()),
        "dice_median": float(np.median(score.dice)) if score.dice.size else None,
        "volume_error_median": float(np.median(score.volume_error)) if score.volume_error.size else None,
        "verdict": None if given.verdict is None else str(given.verdict),
        "probability": given.probability,
        "truth_met": given.truth_met,
        "notes": list(given.notes),
    }


def lesion_rows(scores: tuple[CaseScore, ...]) -> list[Json]:
    """One flat mapping a lesion of either side: ``found``, ``missed`` or ``false``."""
    rows = []
    for score in scores:
        of_reference = dict(zip(score.matching.reference.tolist(), score.matching.predicted.tolist(), strict=True))
        rows += [
            _lesion(score, "found" if n in of_reference else "missed", n, of_reference.get(n))
            for n in range(len(score.hit))
        ]
        rows += [_lesion(score, "false", None, n) for n in np.flatnonzero(score.false).tolist()]
    return rows


def document_text(document: Json) -> str:
    """JSON text, ASCII only."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def schema() -> Json:
    """JSON Schema (2020-12) of bench.json."""
    text = files("miliary_seg").joinpath("schema", "bench.schema.json").read_text("utf-8")
    loaded: Json = json.loads(text)
    return loaded


def head_of_document(kind: str) -> Json:
    """What every bench.json begins with."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "software": software(),
        "intervals": {"confidence": CONFIDENCE, "resamples": N_RESAMPLES, "seed": SEED},
    }


def _lesion(score: CaseScore, fate: str, reference: int | None, predicted: int | None) -> Json:
    given = score.given
    side, n = (given.predicted, predicted) if reference is None else (given.reference, reference)
    row: Json = {"case": given.case, "fate": fate, "reference": _one(reference), "predicted": _one(predicted)}
    row |= dict(zip(("r_mm", "a_mm", "s_mm"), side.centres_ras_mm[n].tolist(), strict=True))
    row["diameter_mm"] = float(side.diameters_mm[n])
    row["contrast"] = float(side.contrasts[n])
    row["score"] = float("nan") if predicted is None else float(given.predicted.scores[predicted])
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _one(position: int | None) -> int | None:
    return None if position is None else position + 1


def checked(document: Json) -> Json:
    """Rounded, finite, and as the schema says.

    Raises
    ------
    OutputError
        If it does not follow the schema.
    """
    from jsonschema.exceptions import best_match

    cleaned: Json = _plain(document)
    error = best_match(_validator().iter_errors(cleaned))
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the document"
        raise OutputError(f"bench.json would break its schema at {place} ({error.validator})", todo="please report it")
    return cleaned


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    return value


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())
