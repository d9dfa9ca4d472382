"""What became of a patient's lesions since an earlier scan, as the page of the later scan says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One scan beside the one before it."""

    earlier: str
    """Name of the earlier case."""
    earlier_date: str
    date: str
    """Both ISO 8601, as the table of scans states them."""
    days: int
    counts: Mapping[str, int]
    """Number of lesions by what became of them: ``new``, ``grown``, ``stable``, ``shrunk``, ``gone``, ``uncertain``,
    and ``size not compared`` (there in both scans, measured in one)."""
    became: Mapping[int, str]
    """The same for each lesion of this scan, by its id."""
    causes: Mapping[str, int]
    """Why lesions are uncertain, in words, and how many are so."""
    undecided: Mapping[str, str]
    """Dates of earlier scans that are neither MET nor NOT_MET, and why."""
    text: str
    """When the criteria were first met and from what, or what leaves that open; whole sentences."""
    page: str
    """Address of the page of all scans, relative to the page of the case."""
