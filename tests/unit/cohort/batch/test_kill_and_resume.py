"""kill -9 at some moments, then the same again: the files are those of an undisturbed run (20 moments: benchmarks)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from miliary_seg.cohort import RunPlan, read_ledger, read_manifest, run_cases, write_tables
from miliary_seg.load import CaseInfo
from miliary_seg.settings import Settings

pytestmark = pytest.mark.xdist_group("machine")

NAMES = ("held-0", "good-1", "good-2", "held-3", "good-4", "held-5")
RUN = f"""
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from faulty_work import FaultyWork
from miliary_seg.cohort import BatchOptions, RunPlan, run_cases, write_tables
from miliary_seg.load import CaseInfo
from miliary_seg.settings import Settings
cases = [CaseInfo(id=name, path=Path("/in", name), series=()) for name in {NAMES}]
plan = RunPlan(output=Path(sys.argv[2]) / "out", settings=Settings())
outcomes = list(run_cases(cases, plan, BatchOptions(jobs=2), FaultyWork()))
write_tables(plan.output, plan.settings)
sys.exit(any(outcome.error is not None for outcome in outcomes))
"""


def start(folder: Path, faulty) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, str(Path(faulty.__file__).parent), str(folder)]
    return subprocess.Popen(command, start_new_session=True)


def visible(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in {"ledger", "logs"})
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_twice_and_run_again(faulty, tmp_path) -> None:
    whole = RunPlan(output=tmp_path / "whole" / "out", settings=Settings())
    killed = tmp_path / "killed"
    for folder in (whole.output.parent, killed):
        folder.mkdir()
    let_go(whole.output.parent, *NAMES)
    cases = [CaseInfo(id=name, path=Path("/in", name), series=()) for name in NAMES]
    assert {o.status for o in run_cases(cases, whole, work=faulty.FaultyWork())} == {"done"}
    write_tables(whole.output, whole.settings)

    for held, whole_session in ((("held-0", "held-3"), False), (("held-3", "held-5"), True)):
        calls = killed / "calls.txt"
        calls.write_text("")
        run = start(killed, faulty)

        def called(calls: Path = calls) -> dict[str, int]:
            """Process by case."""
            return {case: int(process) for case, process, _ in map(str.split, calls.read_text().splitlines())}

        faulty.until(lambda held=held, called=called: set(held) <= set(called()))  # both workers are in a case
        os.killpg(run.pid, signal.SIGKILL) if whole_session else os.kill(run.pid, signal.SIGKILL)
        run.wait()
        for case in held:
            faulty.wait_for_end(killed, called()[case])  # also where the supervisor alone was killed
        folders = {p.name: p for p in (killed / "out").iterdir() if p.name in NAMES}
        assert set(folders) == set(NAMES) - ({"held-3", "held-5"} if whole_session else {*held, "good-4", "held-5"})
        assert all(read_manifest(folder).verify(folder) == [] for folder in folders.values())
        let_go(killed, held[0])

    let_go(killed, "held-5")
    assert start(killed, faulty).wait() == 0
    assert visible(killed / "out") == visible(whole.output)
    events = [event["event"] for event in read_ledger(killed / "out")]
    assert events.count("begin") == 3
    assert events.count("end") == 1, "a run without an end was killed"
    assert "kept" in events


def let_go(folder: Path, *cases: str) -> None:
    for case in cases:
        (folder / f"go-{case}").touch()
