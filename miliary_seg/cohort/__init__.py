"""Many cases: run each in isolation, keep what finished, record why the others failed; then patients and statistics."""

from miliary_seg.cohort.groups import compare_several, compare_two
from miliary_seg.cohort.participants import read_participants
from miliary_seg.cohort.patients import patients_of, read_cases
from miliary_seg.cohort.proportions import co_occurrence, incidence, wilson
from miliary_seg.cohort.run import CaseOutcome, RunPlan, require_writable, run_cases
from miliary_seg.cohort.summary import SummaryPlan, summarise
from miliary_seg.cohort.survival import Subject, cumulative_incidence, survival

__all__ = [
    "CaseOutcome",
    "RunPlan",
    "Subject",
    "SummaryPlan",
    "co_occurrence",
    "compare_several",
    "compare_two",
    "cumulative_incidence",
    "incidence",
    "patients_of",
    "read_cases",
    "read_participants",
    "require_writable",
    "run_cases",
    "summarise",
    "survival",
    "wilson",
]
