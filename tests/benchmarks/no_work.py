"""Work that takes no time: what is left is the cost of the batch itself. A module of its own, so that it pickles."""

from __future__ import annotations

from dataclasses import dataclass

from miliary_seg.cohort import CaseProduct, RunPlan, Seal
from miliary_seg.load import FoundCase
from miliary_seg.report.drafts import hidden_name


@dataclass(frozen=True)
class NoWork:
    def folder(self, case: str) -> str:
        return case

    def __call__(self, case: FoundCase, plan: RunPlan, seal: Seal) -> CaseProduct:
        target = plan.output / case.id
        draft = target.with_name(hidden_name(case.id, "draft"))
        draft.mkdir(parents=True)
        (draft / "result.json").write_text("{}")
        rows = ({"case": case.id, "series": "s", "folder": case.id},)
        seal(draft, "NOT_MET", rows)
        draft.rename(target)
        return CaseProduct(folder=target, verdict="NOT_MET", rows=rows)
