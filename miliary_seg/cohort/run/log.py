"""What a run leaves behind about itself: a ledger of the run, and one log a case. Neither holds a patient's identity.

Ledger: JSON lines under ``OUTPUT/ledger/``, one file a run, appended to by one process only; every line is handed to
the disk before the next case is waited for, so that a crash costs at most a torn last line, which readers skip. Log:
``OUTPUT/logs/<case>.log``, appended to by every attempt. Both carry the clock: they are the only files that differ
between two runs of equal input. The fields are described in docs/cohorts.md.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from miliary_seg.cohort.run.manifest import LEDGER, LOGS
from miliary_seg.cohort.run.plan import CaseOutcome
from miliary_seg.errors import MiliaryError
from miliary_seg.report.atomic_folder import make_folder


def now() -> str:
    """The time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Ledger:
    """Appends one event a line. A ledger that cannot be written stops no case: the trouble is kept in ``trouble``.

    Parameters
    ----------
    output
        Output folder of the run.
    """

    def __init__(self, output: Path) -> None:
        started = now().translate(str.maketrans("", "", "-:."))
        self.path = output / LEDGER / f"{started}-{socket.gethostname()}-{os.getpid()}.jsonl"
        self.trouble: OSError | None = None

    def append(self, event: str, **facts: Any) -> None:
        """Write one line and hand it to the disk."""
        line = json.dumps({"time": now(), "event": event, **facts}) + "\n"
        try:
            make_folder(self.path.parent)
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.trouble = self.trouble or error

    def append_outcome(self, outcome: CaseOutcome, place: str = "") -> None:
        """Write how a case ended; ``place`` is that of the input below which it was found."""
        facts: dict[str, Any] = {"case": outcome.case, "input": place}
        if outcome.folder is not None:
            facts |= {"verdict": outcome.verdict, "folder": outcome.folder.name}
        if outcome.error is not None:
            facts |= said(outcome.error)
        facts |= {
            "seconds": round(outcome.seconds, 3),
            "timings_s": {stage: round(seconds, 3) for stage, seconds in outcome.timings_s.items()},
            "peak_memory_mb": round(outcome.peak_memory_mb, 1),
        }
        self.append(outcome.status, **facts)


def said(error: MiliaryError) -> dict[str, str]:
    """An error without its path, which could name a patient."""
    return {"code": error.code, "cause": error.what, "todo": error.todo}


def read_ledger(output: Path) -> Iterator[dict[str, Any]]:
    """Every event of every run into an output folder, the oldest run first; torn lines are left out.

    Parameters
    ----------
    output
        Output folder of the runs.
    """
    for path in sorted((output / LEDGER).glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    yield event


class CaseLog:
    """The log of one case; where it cannot be written, the case goes on without.

    Parameters
    ----------
    path
        The file; None = no log is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = None
        if path is not None:
            with suppress(OSError):
                make_folder(path.parent)
                self._file = path.open("a", encoding="utf-8", newline="\n")

    def __enter__(self) -> CaseLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    @property
    def file(self) -> IO[str] | None:
        """The open file, for the dump of a crash."""
        return self._file

    def write(self, text: str) -> None:
        """Append one line with the time."""
        if self._file is not None:
            with suppress(OSError):
                self._file.write(f"{now()} {text}\n")
                self._file.flush()


def log_path(output: Path, folder: str) -> Path:
    """The log of a case by its folder below the output folder."""
    return output / LOGS / f"{folder.replace('/', '_')}.log"
