"""``index.html``: every case of an output folder on one self-contained page, to sort and to filter by answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miliary_seg.report.html.environment import asset, data_uri, whole_page
from miliary_seg.report.json_document import DISCLAIMER, PROPOSED_CRITERIA
from miliary_seg.report.tables import CASES

HOME = "miliary_seg.cohort.pages"
ORDER = ("MET", "INDETERMINATE", "failed", "NOT_MET")
"""What a reader looks at first stands first."""
MAX_PICTURES = 1000
"""Cases with a picture on the page, in this order: about 10 MB; the others have theirs in their folder."""
MAX_ROWS = 10_000
"""Cases on the page: a browser sorts them in a second; all of them are in cases.csv."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCase:
    """One case for the page."""

    case: str
    status: str
    """MET, NOT_MET, INDETERMINATE or failed."""
    row: Mapping[str, Any]
    """The series that decided, as in cases.csv; empty where the case failed."""
    n_series: int = 0
    report: str = ""
    """Path of its report below the output folder."""
    thumbnail: str = ""
    """Path of its picture below the output folder."""
    cause: str = ""
    """Why it failed."""

    @property
    def remarks(self) -> list[str]:
        """What else to look at before the answer is used."""
        remarks = ["borderline"] if self.row.get("borderline") else []
        remarks += ["readings differ"] if self.row.get("readings_disagree") else []
        reasons = str(self.row.get("reasons") or "") if self.status == "INDETERMINATE" else ""
        return remarks + [reason for reason in reasons.split(";") if reason]


def deciding_row(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of the rows of a case, the one that its answer rests on: the study's verdict, the highest probability."""
    return max(
        rows, key=lambda r: (r.get("verdict") == r.get("study_verdict"), r.get("probability") or 0.0), default={}
    )


def cases_page(
    cases: Sequence[PageCase],
    pictures: Mapping[str, bytes],
    *,
    digest: str,
    versions: Sequence[str],
    n_unreadable: int = 0,
) -> str:
    """The page.

    Parameters
    ----------
    cases
        Every case, in any order.
    pictures
        PNG by name of the case; a case may have none.
    digest
        Of the settings that all cases share.
    versions
        Of the program that made them.
    n_unreadable
        Inputs of the last run that are no case.

    Returns
    -------
    str
        HTML without any reference to another host; its one script is named in its security policy by digest.
    """
    shown = in_order(cases)[:MAX_ROWS]
    unknown = dict.fromkeys(column.name for column in CASES)  # an older version may have had fewer
    counts = Counter(case.status for case in cases)
    return whole_page(
        "cases.html.j2",
        HOME,
        sheets=("style.css", "cases.css"),
        scripts=[asset("templates/cases.js", HOME)],
        cases=[
            {
                "case": case,
                "row": {**unknown, **case.row},
                "picture": data_uri(pictures[case.case]) if case.case in pictures else "",
            }
            for case in shown
        ],
        counts={status: counts[status] for status in ORDER},
        n_cases=len(cases),
        n_unreadable=n_unreadable,
        digest=digest,
        versions=list(versions),
        disclaimer=DISCLAIMER,
        criteria_note=PROPOSED_CRITERIA,
    )


def in_order(cases: Sequence[PageCase]) -> list[PageCase]:
    """By what a reader looks at first, then by name."""
    return sorted(cases, key=lambda case: (ORDER.index(case.status) if case.status in ORDER else len(ORDER), case.case))
