"""Work on cases that misbehave as their name says; importable in worker processes."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from miliary_seg.cohort import CaseProduct, RunPlan, Seal
from miliary_seg.errors import DiskFullError, PartialOutputError, UnreadableFileError
from miliary_seg.load.found import FoundCase
from miliary_seg.report.drafts import hidden_name


@dataclass(frozen=True)
class FaultyWork:
    """``die-1`` kills its process, ``hang-2`` sleeps, ``held-3`` waits for a file ``go``, ``good-4`` is done ...

    ``calls.txt`` gets a line for each call: case, process, parent process.
    """

    def folder(self, case: str) -> str:
        return case

    def __call__(self, case: FoundCase, plan: RunPlan, seal: Seal) -> CaseProduct:
        kind = case.id.partition("-")[0]
        with (plan.output.parent / "calls.txt").open("a") as calls:
            calls.write(f"{case.id} {os.getpid()} {os.getppid()}\n")
        if kind == "held":
            _wait_for(plan.output.parent / "go")
        if kind in FAULTS:
            FAULTS[kind]()
        target = plan.output / case.id
        draft = target.with_name(hidden_name(target.name, "draft"))
        draft.mkdir(parents=True)
        (draft / "result.json").write_text(json.dumps({"case": case.id}))
        rows = ({"case": case.id, "series": "s", "folder": case.id, "n_lesions": 3, "probability": 0.5},)
        if kind == "halfway":
            os._exit(9)
        missing = "lesions.seg.dcm: no such luck" if kind == "partial" else ""
        seal(draft, "NOT_MET", rows, missing)
        if target.exists():
            (target / "result.json").unlink()
            (target / "complete.json").unlink(missing_ok=True)
            target.rmdir()
        draft.rename(target)
        error = PartialOutputError(missing, where=target, todo="nothing") if missing else None
        return CaseProduct(folder=target, verdict="NOT_MET", rows=rows, timings_s={"all": 0.1}, error=error)


def _raise(error: Exception) -> None:
    raise error


def _wait_for(path: Path) -> None:
    for _ in range(2400):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path.name)


def _kill(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


FAULTS = {
    "raise": lambda: _raise(KeyError("secret name")),
    "refuse": lambda: _raise(UnreadableFileError("torn", where="/home/secret name", todo="mend it")),
    "memory": lambda: _raise(MemoryError()),
    "full": lambda: _raise(DiskFullError("no space is left", where="out", todo="free some")),
    "die": lambda: _kill(signal.SIGKILL),
    "crash": lambda: _kill(signal.SIGSEGV),
    "exit": lambda: os._exit(3),
    "hang": lambda: time.sleep(120),
    "slow": lambda: time.sleep(1.0),
    "brief": lambda: time.sleep(0.2),
    "print": lambda: print("disturbing", flush=True),
}


def parent_id(_: object) -> int:
    return os.getppid()


def environment(name: str) -> str:
    return os.environ.get(name, "")


def sleep_and_tell(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(120)
