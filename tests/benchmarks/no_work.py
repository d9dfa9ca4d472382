"""Work that takes no time: what is left is the cost of the batch itself. A module of its own, so that it pickles."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from miliary_seg.cohort import CaseProduct, RunPlan, Seal
from miliary_seg.load import FoundCase


@dataclass(frozen=True)
class NoWork:
    def folder(self, case: str) -> str:
        return case

    def __call__(self, case: FoundCase, plan: RunPlan, seal: Seal) -> CaseProduct:
        target = plan.output / case.id
        draft = target.with_name(f".{case.id}.{uuid4().hex}.draft")
        draft.mkdir(parents=True)
        (draft / "result.json").write_text("{}")
        rows = ({"case": case.id, "series": "s", "folder": case.id},)
        seal(draft, "NOT_MET", rows)
        draft.rename(target)
        return CaseProduct(folder=target, verdict="NOT_MET", rows=rows)
