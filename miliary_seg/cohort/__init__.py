"""Many cases: each runs alone, what is finished is kept, why others failed is recorded; then patients and statistics.

::

    run_cases(cases, plan, options, work)   every case, on this machine or on many; outcomes as they end
    write_tables(output, settings)          cases.csv and index.html over all finished cases of a folder
    read_ledger(output)                     what happened, run by run
    summarise(plan)                         patients, incidence, groups, survival

The public names are imported when first used: a run needs no statistics, and no page over many cases until it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from miliary_seg.lazy_names import lazy_names

if TYPE_CHECKING:
    from miliary_seg.cohort.longitudinal.lesion_tracking import Change, LesionChange, track_lesions
    from miliary_seg.cohort.longitudinal.timeline import DatedScan, TimelinePlan, compare, read_scans, timelines
    from miliary_seg.cohort.pages.summary import write_cohort_summary
    from miliary_seg.cohort.pages.timeline import TIMELINE, write_timelines
    from miliary_seg.cohort.run.batch import require_writable, run_cases
    from miliary_seg.cohort.run.case import AnalyzeAndWrite, analyzed
    from miliary_seg.cohort.run.log import read_ledger
    from miliary_seg.cohort.run.manifest import Manifest, read_manifest
    from miliary_seg.cohort.run.plan import BatchOptions, CaseOutcome, CaseProduct, CaseWork, Finalize, RunPlan
    from miliary_seg.cohort.run.preview import CasePreview, preview
    from miliary_seg.cohort.statistics.groups import compare_several, compare_two
    from miliary_seg.cohort.statistics.participants import read_participants
    from miliary_seg.cohort.statistics.patients import patients_of, read_cases
    from miliary_seg.cohort.statistics.proportions import co_occurrence, incidence, wilson, yes_or_no
    from miliary_seg.cohort.statistics.summary import SummaryPlan, summarise
    from miliary_seg.cohort.statistics.survival import Subject, cumulative_incidence, survival
    from miliary_seg.cohort.tables import write_tables

_HOME = {
    "longitudinal.lesion_tracking": ("Change", "LesionChange", "track_lesions"),
    "longitudinal.timeline": ("DatedScan", "TimelinePlan", "compare", "read_scans", "timelines"),
    "pages.summary": ("write_cohort_summary",),
    "pages.timeline": ("TIMELINE", "write_timelines"),
    "run.batch": ("require_writable", "run_cases"),
    "run.case": ("AnalyzeAndWrite", "analyzed"),
    "run.log": ("read_ledger",),
    "run.manifest": ("Manifest", "read_manifest"),
    "run.plan": ("BatchOptions", "CaseOutcome", "CaseProduct", "CaseWork", "Finalize", "RunPlan"),
    "run.preview": ("CasePreview", "preview"),
    "statistics.groups": ("compare_several", "compare_two"),
    "statistics.participants": ("read_participants",),
    "statistics.patients": ("patients_of", "read_cases"),
    "statistics.proportions": ("co_occurrence", "incidence", "wilson", "yes_or_no"),
    "statistics.summary": ("SummaryPlan", "summarise"),
    "statistics.survival": ("Subject", "cumulative_incidence", "survival"),
    "tables": ("write_tables",),
}
"""Where each public name is."""

__all__ = [
    "TIMELINE",
    "AnalyzeAndWrite",
    "BatchOptions",
    "CaseOutcome",
    "CasePreview",
    "CaseProduct",
    "CaseWork",
    "Change",
    "DatedScan",
    "Finalize",
    "LesionChange",
    "Manifest",
    "RunPlan",
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
    "patients_of",
    "preview",
    "read_cases",
    "read_ledger",
    "read_manifest",
    "read_participants",
    "read_scans",
    "require_writable",
    "run_cases",
    "summarise",
    "survival",
    "timelines",
    "track_lesions",
    "wilson",
    "write_cohort_summary",
    "write_tables",
    "write_timelines",
    "yes_or_no",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
