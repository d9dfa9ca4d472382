"""Work on cases that misbehave as their name says; importable in worker processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from miliary_seg.cohort import CaseProduct, Finalize, RunPlan
from miliary_seg.errors import DiskFullError, PartialOutputError, UnreadableFileError
from miliary_seg.load.inventory import CaseInfo
from miliary_seg.report.atomic_folder import temp_name


@dataclass(frozen=True)
class FaultyWork:
    """``die-1`` kills its process, ``hang-2`` never ends, ``held-3`` waits for ``go-held-3``, ``good-4`` is done ...

    ``calls.txt`` gets a line for each call: case, process, parent process. A process that was held keeps
    ``alive-<process>`` locked until it has ended: see ``wait_for_end``.
    """

    def folder(self, case: str) -> str:
        return case

    def __call__(self, case: CaseInfo, plan: RunPlan, seal: Finalize) -> CaseProduct:
        kind = case.id.partition("-")[0]
        folder = plan.output.parent
        if kind == "held":
            _lock(folder / f"alive-{os.getpid()}")
        with (folder / "calls.txt").open("a") as calls:
            calls.write(f"{case.id} {os.getpid()} {os.getppid()}\n")
        if kind == "held":
            until((folder / f"go-{case.id}").exists)
        if kind in FAULTS:
            FAULTS[kind]()
        target = plan.output / case.id
        draft = target.with_name(temp_name(target.name, "draft"))
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


def until(condition: Callable[[], object]) -> None:
    """Wait for something that surely comes; the limit is there for a test that has failed already."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError("waited in vain")


@cache
def _lock(path: Path) -> None:
    import fcntl

    fcntl.flock(os.open(path, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)


def wait_for_end(folder: Path, process: int) -> None:
    """Return when a process that was held has ended, and not before."""
    import fcntl

    with (folder / f"alive-{process}").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


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
    "hang": lambda: time.sleep(10_000),
    "print": lambda: print("disturbing", flush=True),
}


def parent_id(_: object) -> int:
    return os.getppid()


def environment(name: str) -> str:
    return os.environ.get(name, "")


def tell_and_sleep(path: Path) -> None:
    """Open a named pipe for as long as this process lives."""
    with path.open("w") as pipe:
        print(os.getpid(), file=pipe, flush=True)
        time.sleep(10_000)
