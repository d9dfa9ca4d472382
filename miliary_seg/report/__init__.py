"""CaseResult -> files: what a person looks at, what a script reads, and what a viewer overlays.

``case_document`` turns a result into plain values and ``validate`` holds them to the published schema. ``write_case``
writes them with the page, the tables and the label maps in one atomic step; ``write_cases_table`` keeps one row for
every series of every case. Nothing here measures or decides.

``json_document`` and ``tables`` hold the values, ``html/`` the page and its pictures, ``dicom/`` the DICOM objects,
``notebook/`` shows the nouns themselves, ``volume_files`` writes NIfTI, ``write`` puts a case together with
``file_names``, ``sanitise`` (texts and names made inert) and ``atomic_folder``. The public names are imported when
first used: a table needs no page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from miliary_seg.lazy_names import lazy_names

if TYPE_CHECKING:
    from miliary_seg.report.html.page import report_html
    from miliary_seg.report.json_document import (
        CITATION,
        PROPOSED_CRITERIA,
        SCHEMA_VERSION,
        case_document,
        schema,
        validate,
    )
    from miliary_seg.report.tables import case_rows, write_cases_table
    from miliary_seg.report.volume_files import write_label_map
    from miliary_seg.report.write import require_free, write_case

_HOME = {
    "html.page": ("report_html",),
    "json_document": ("CITATION", "PROPOSED_CRITERIA", "SCHEMA_VERSION", "case_document", "schema", "validate"),
    "tables": ("case_rows", "write_cases_table"),
    "volume_files": ("write_label_map",),
    "write": ("require_free", "write_case"),
}
"""Where each public name is."""

__all__ = [
    "CITATION",
    "PROPOSED_CRITERIA",
    "SCHEMA_VERSION",
    "case_document",
    "case_rows",
    "report_html",
    "require_free",
    "schema",
    "validate",
    "write_case",
    "write_cases_table",
    "write_label_map",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
