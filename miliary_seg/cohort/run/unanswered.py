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

Either counts until the scan is done, or until a later run over the same input (to its end) does not find it any more.
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
    reading = _Reading()
    for event in sorted(read_ledger(output), key=lambda event: str(event.get("time", ""))):
        reading.take(event)
    return reading.found


@dataclass(slots=True)
class _Reading:
    """The ledger, read event by event."""

    found: Unanswered = field(default_factory=Unanswered)
    inputs: dict[str, str] = field(default_factory=dict)
    """Scan without an answer -> place of the input below which it was found."""
    looked_for: set[str] = field(default_factory=set)
    """Failed scans whose input was searched again, and which that run has not come to yet."""

    def take(self, event: Mapping[str, Any]) -> None:
        case = str(event.get("case", ""))
        kind = event["event"]
        if kind == "begin":
            again = {name for name, place in self.inputs.items() if place in set(event.get("inputs", ()))}
            self.looked_for |= again & set(self.found.failed)
            self._drop(self.found.unreadable, again)
        elif kind == "end" and not event.get("interrupted", True):
            self._drop(self.found.failed, self.looked_for)
        elif is_finished(event):
            self._drop(self.found.failed, {case})
            self._drop(self.found.unreadable, {case})
        elif kind in {"failed", "unreadable"} and case:
            self.looked_for.discard(case)
            self.inputs[case] = str(event.get("input", ""))
            causes = self.found.failed if kind == "failed" else self.found.unreadable
            causes[case] = str(event.get("cause"))

    def _drop(self, causes: dict[str, str], names: set[str]) -> None:
        for name in names & set(causes):
            del causes[name]
            self.looked_for.discard(name)


def is_finished(event: Mapping[str, Any]) -> bool:
    """Whether an event of the ledger says that a case has its answer (earlier versions called ``partial`` failed)."""
    return event["event"] in FINISHED or event.get("code") == PartialOutputError.code
