"""Many cases: each runs alone, what is finished is kept, why others failed is recorded; then patients and statistics.

::

    run_cases(cases, plan, options, work)   every case, on this machine or on many; outcomes as they end
    write_tables(output, settings)          cases.csv and index.html over all finished cases of a folder
    read_ledger(output)                     what happened, run by run
    summarise(plan)                         patients, incidence, groups, survival
"""

from __future__ import annotations

from miliary_seg.cohort.batch import require_writable, run_cases
from miliary_seg.cohort.case import AnalyzeAndWrite, analyzed
from miliary_seg.cohort.collect import write_tables
from miliary_seg.cohort.fates import Fate, LesionFate, lesion_fates
from miliary_seg.cohort.groups import compare_several, compare_two
from miliary_seg.cohort.mark import Mark, read_mark
from miliary_seg.cohort.participants import read_participants
from miliary_seg.cohort.patients import patients_of, read_cases
from miliary_seg.cohort.plan import BatchOptions, CaseOutcome, CaseProduct, CaseWork, RunPlan, Seal
from miliary_seg.cohort.proportions import co_occurrence, incidence, wilson, yes_or_no
from miliary_seg.cohort.records import read_ledger
from miliary_seg.cohort.summary import SummaryPlan, summarise
from miliary_seg.cohort.survival import Subject, cumulative_incidence, survival
from miliary_seg.cohort.timeline import DatedScan, TimelinePlan, compare, read_scans, timelines

__all__ = [
    "AnalyzeAndWrite",
    "BatchOptions",
    "CaseOutcome",
    "CaseProduct",
    "CaseWork",
    "DatedScan",
    "Fate",
    "LesionFate",
    "Mark",
    "RunPlan",
    "Seal",
    "Subject",
    "SummaryPlan",
    "TimelinePlan",
    "analyzed",
    "co_occurrence",
    "compare",
    "compare_several",
    "compare_two",
    "cumulative_incidence",
    "incidence",
    "lesion_fates",
    "patients_of",
    "read_cases",
    "read_ledger",
    "read_mark",
    "read_participants",
    "read_scans",
    "require_writable",
    "run_cases",
    "summarise",
    "survival",
    "timelines",
    "wilson",
    "write_tables",
    "yes_or_no",
]
