"""Many cases: run each in isolation, keep what finished, record why the others failed."""

from miliary_seg.cohort.run import CaseOutcome, RunPlan, require_writable, run_cases

__all__ = ["CaseOutcome", "RunPlan", "require_writable", "run_cases"]
