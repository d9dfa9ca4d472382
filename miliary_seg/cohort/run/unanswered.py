"""Which scans of an output folder have no answer: one rule for tables, pages, incidence and texts.

==========================================================  =======================================================
what happened last                                          what it counts as
==========================================================  =======================================================
``done``, ``kept``                                          finished: its verdict counts
``partial`` (a file of the result could not be made)        finished: its verdict counts
``failed``                                                  a scan without an answer (its patient is indeterminate)
``unreadable`` (an input of which no case could be made)    the same, under the name that the case would have had
files lost since it was finished                            the same
``unreadable``, of a case that is there (a lost slice ...)  nothing of its own: the case says what it lacks
==========================================================  =======================================================

A failure counts until the scan is done, and an unreadable input until it is done, or until a later run over the same
input does not find it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miliary_seg.cohort.run.log import read_ledger
from miliary_seg.errors import PartialOutputError

FINISHED = frozenset({"done", "kept", "partial"})


@dataclass(slots=True)
class Unanswered:
    """Scans without an answer, by the ledger: name -> cause."""

    failed: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def causes(self) -> dict[str, str]:
        """Both together."""
        return {**self.unreadable, **self.failed}


def unanswered(output: Path) -> Unanswered:
    """The last word on every scan, by the clock: runs into one folder may overlap.

    Parameters
    ----------
    output
        Output folder of one or more runs.
    """
    found = Unanswered()
    inputs: dict[str, str] = {}  # unreadable scan -> the input below which it lies
    for event in sorted(read_ledger(output), key=lambda event: str(event.get("time", ""))):
        case = str(event.get("case", ""))
        if event["event"] == "begin":
            again = set(event.get("inputs", ()))
            for name in [name for name, place in inputs.items() if place in again]:
                found.unreadable.pop(name, None)
        elif event["event"] == "unreadable" and case:
            found.unreadable[case] = str(event.get("cause"))
            inputs[case] = str(event.get("input", ""))
        elif is_finished(event):
            found.failed.pop(case, None)
            found.unreadable.pop(case, None)
        elif event["event"] == "failed":
            found.failed[case] = str(event.get("cause"))
    return found


def is_finished(event: Mapping[str, Any]) -> bool:
    """Whether an event of the ledger says that a case has its answer (earlier versions called ``partial`` failed)."""
    return event["event"] in FINISHED or event.get("code") == PartialOutputError.code
