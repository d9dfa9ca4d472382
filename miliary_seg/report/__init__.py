"""CaseResult -> files: what a person looks at, what a script reads, and what a viewer overlays.

``case_document`` turns a result into plain values and ``validate`` holds them to the published schema. ``write_case``
writes them with the page, the tables and the label maps in one atomic step; ``write_cases_table`` keeps one row for
every series of every case. Nothing here measures or decides.

The modules by what they make:

- values: ``document``, ``decision_document``, ``columns``, ``tables``, ``validation``, ``reference``, ``statements``;
- pictures: ``views`` (how a plane is turned), ``canvas``, ``figures``, ``outlines``, ``plots``, ``palette``,
  ``thumbnail``;
- pages: ``html`` (templates, escaping, policy), ``report_page`` with ``page_data`` and ``viewer_volumes`` for its
  script, ``cases_page``, ``timeline_page``, ``cohort_summary`` and ``cohort_figures``; ``templates/`` and ``vendor/``
  (NiiVue);
- files of other worlds: ``nifti`` and ``volume_files``, ``dicom_*``; ``notebook/`` shows the nouns themselves;
- all of a case at once: ``write``, with ``file_names`` and ``plain_text`` (texts and names made inert).
"""

from __future__ import annotations

from miliary_seg.report.cohort_summary import write_cohort_summary
from miliary_seg.report.document import SCHEMA_VERSION, case_document
from miliary_seg.report.nifti import write_label_map
from miliary_seg.report.report_page import report_html
from miliary_seg.report.statements import CITATION, PROPOSED_CRITERIA
from miliary_seg.report.tables import case_rows, write_cases_table
from miliary_seg.report.timeline_page import TIMELINE, write_timelines
from miliary_seg.report.validation import schema, validate
from miliary_seg.report.write import require_free, write_case

__all__ = [
    "CITATION",
    "PROPOSED_CRITERIA",
    "SCHEMA_VERSION",
    "TIMELINE",
    "case_document",
    "case_rows",
    "report_html",
    "require_free",
    "schema",
    "validate",
    "write_case",
    "write_cases_table",
    "write_cohort_summary",
    "write_label_map",
    "write_timelines",
]
