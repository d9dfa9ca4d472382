"""Work that takes no time: what is left is the cost of the batch itself. A module of its own, so that it pickles."""

from __future__ import annotations

from dataclasses import dataclass

from miliary_seg.cohort import CaseProduct, Finalize, RunPlan
from miliary_seg.load import CaseInfo
from miliary_seg.report.atomic_folder import temp_name


@dataclass(frozen=True)
class NoWork:
    def folder(self, case: str) -> str:
        return case

    def __call__(self, case: CaseInfo, plan: RunPlan, seal: Finalize) -> CaseProduct:
        target = plan.output / case.id
        draft = target.with_name(temp_name(case.id, "draft"))
        draft.mkdir(parents=True)
        (draft / "result.json").write_text("{}")
        rows = ({"case": case.id, "series": "s", "folder": case.id},)
        seal(draft, "NOT_MET", rows)
        draft.rename(target)
        return CaseProduct(folder=target, verdict="NOT_MET", rows=rows)
