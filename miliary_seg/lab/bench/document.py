"""bench.json: every figure as plain values; its keys are in ``records``."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from miliary_seg.errors import OutputError
from miliary_seg.lab.bench.agreement import Agreement
from miliary_seg.lab.bench.records import AgreementRecord, PhantomsRecord
from miliary_seg.lab.bench.scoring import CaseScore
from miliary_seg.lab.bench.summary import Summary
from miliary_seg.schema import Json, check, fill, finite, json_schema

KINDS: dict[str, type[AgreementRecord | PhantomsRecord]] = {"agreement": AgreementRecord, "phantoms": PhantomsRecord}


def agreement_document(agreement: Agreement) -> Json:
    """Predictions against references, as plain values.

    Raises
    ------
    OutputError
        If they do not follow the schema.
    """
    return _checked(fill(AgreementRecord, agreement))


def phantoms_document(summary: Summary) -> Json:
    """The program on phantoms, as plain values.

    Raises
    ------
    OutputError
        If they do not follow the schema.
    """
    return _checked(fill(PhantomsRecord, summary))


def schema() -> Json:
    """JSON Schema (2020-12) of bench.json."""
    return json_schema("miliary-seg bench.json", KINDS.values())


def validate(document: dict[str, Any]) -> None:
    """Check a document.

    Raises
    ------
    OutputError
        If it does not follow the schema; the message names the key, never the value.
    """
    kind = KINDS.get(str(document.get("kind")))
    if kind is None:
        raise OutputError("bench.json would break its schema at kind (no such value)", todo="please report it")
    check(document, kind, "bench.json")


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


def _checked(document: Json) -> Json:
    """Rounded, finite, and as the schema says."""
    cleaned: Json = finite(document)
    validate(cleaned)
    return cleaned
