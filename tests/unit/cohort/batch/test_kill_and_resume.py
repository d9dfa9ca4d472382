"""kill -9 at some moments, then the same again: the files are those of an undisturbed run (20 moments: benchmarks)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from miliary_seg.cohort import RunPlan, read_ledger, read_mark, run_cases, write_tables
from miliary_seg.load import FoundCase
from miliary_seg.settings import Settings

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from faulty_work import FaultyWork
from miliary_seg.cohort import BatchOptions, RunPlan, run_cases, write_tables
from miliary_seg.load import FoundCase
from miliary_seg.settings import Settings
cases = [FoundCase(id=f"brief-{n}", path=Path(f"/in/{n}"), series=()) for n in range(6)]
plan = RunPlan(output=Path(sys.argv[2]) / "out", settings=Settings())
outcomes = list(run_cases(cases, plan, BatchOptions(jobs=2), FaultyWork()))
write_tables(plan.output, plan.settings)
sys.exit(any(outcome.error is not None for outcome in outcomes))
"""


def start(folder: Path, faulty) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", RUN, str(Path(faulty.__file__).parent), str(folder)]
    return subprocess.Popen(command, start_new_session=True)


def visible(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in {"ledger", "logs"})
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_twice_and_run_again(faulty, tmp_path) -> None:
    whole = RunPlan(output=tmp_path / "whole" / "out", settings=Settings())
    (tmp_path / "whole").mkdir()
    cases = [FoundCase(id=f"brief-{n}", path=Path(f"/in/{n}"), series=()) for n in range(6)]
    assert {o.status for o in run_cases(cases, whole, work=faulty.FaultyWork())} == {"done"}
    write_tables(whole.output, whole.settings)
    killed = tmp_path / "killed"
    for n_calls, whole_session in ((1, False), (3, True)):  # the supervisor alone, early; everything, later
        run = start(killed, faulty)
        calls = killed / "calls.txt"
        before = len(calls.read_text().splitlines()) if calls.exists() else 0
        while not calls.exists() or len(calls.read_text().splitlines()) < before + n_calls:
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL) if whole_session else os.kill(run.pid, signal.SIGKILL)
        run.wait()
        for folder in (p for p in (killed / "out").iterdir() if p.name.startswith("brief")):
            assert read_mark(folder).verify(folder) == []
    assert start(killed, faulty).wait() == 0
    assert visible(killed / "out") == visible(whole.output)
    events = [event["event"] for event in read_ledger(killed / "out")]
    assert events.count("begin") == 3
    assert events.count("end") == 1, "a run without an end was killed"
    assert "kept" in events
