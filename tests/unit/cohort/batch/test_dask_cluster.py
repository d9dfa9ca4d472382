"""A real scheduler and real workers on this machine's loopback: same files, and a lost worker costs no case."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from miliary_seg.cohort import BatchOptions, run_cases
from miliary_seg.cohort.dask_pool import _outcome, _Ticket
from miliary_seg.errors import MissingLibraryError, UsageError

pytest.importorskip("distributed")

QUIET = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""Sockets of a cluster that was killed on purpose."""


@pytest.fixture
def cluster(tmp_path: Path, faulty) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """Address of a scheduler, and its two workers."""
    contact = tmp_path / "scheduler.json"
    paths = [str(Path(faulty.__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def start(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments]
        return subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    scheduler = start(
        "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(contact)
    )
    address = json.loads(_content(contact))["address"]
    workers = [start("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)]
    try:
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


def _content(path: Path) -> str:
    for _ in range(600):
        if path.is_file() and path.read_text().endswith("}"):
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError("the scheduler never began")


def visible(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in {"ledger", "logs"})
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def until(condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


@QUIET
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_case_of_a_lost_worker_is_done_by_another(cluster, plan, faulty, cases, tmp_path) -> None:
    address, workers = cluster
    names = ["die-1", *(f"held-{n}" for n in range(2, 7))]
    options = BatchOptions(scheduler=address, timeout_s=100)
    run = run_cases(cases(*names), plan, options, faulty.FaultyWork())
    outcomes = [next(run)]
    calls = tmp_path / "calls.txt"

    def held() -> dict[int, str]:
        """The case that each worker is held up by."""
        lines = [line.split() for line in calls.read_text().splitlines()]
        return {int(worker): name for name, _, worker in lines if name.startswith("held")}

    until(held)
    lost, name = held().popitem()
    assert lost in {worker.pid for worker in workers}
    os.kill(lost, signal.SIGKILL)
    (tmp_path / "go").touch()
    outcomes += run
    ended = {outcome.case: outcome for outcome in outcomes}
    assert {name: outcome.status for name, outcome in ended.items()} == {
        name: "failed" if name == "die-1" else "done" for name in names
    }
    assert "SIGKILL" in ended["die-1"].error.what, "what a case does to its own process stays its own failure"
    assert [line.split()[0] for line in calls.read_text().splitlines()].count(name) == 2, "retried elsewhere"
    there = visible(plan.output)
    for left in sorted(plan.output.rglob("*"), reverse=True):
        left.rmdir() if left.is_dir() else left.unlink()
    list(run_cases(cases(*names[1:]), plan, BatchOptions(jobs=2), faulty.FaultyWork()))
    assert visible(plan.output) == there


@QUIET
@pytest.mark.slow
def test_a_cluster_of_our_own(batch, plan) -> None:
    outcomes = batch("good-1", "exit-2", "good-3", jobs=2, scheduler="local")
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "good-1": "done",
        "exit-2": "failed",
        "good-3": "done",
    }
    assert "code 3" in outcomes["exit-2"].error.what


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'secret'"), ZeroDivisionError()])
def test_what_a_worker_raises_outside_of_the_case_is_one_failed_case(error) -> None:
    class Future:
        def result(self) -> None:
            raise error

    outcome = _outcome(_Ticket(case="c", future=Future(), start=0.0))
    assert outcome.status == "failed"
    assert type(error).__name__ in outcome.error.what
    assert "secret" not in str(outcome.error)


@QUIET
@pytest.mark.slow
def test_a_scheduler_without_workers_is_not_waited_for_for_ever(cluster, batch, monkeypatch) -> None:
    address, workers = cluster
    for worker in workers:
        worker.kill()
        worker.wait()
    monkeypatch.setattr("miliary_seg.cohort.dask_pool.FIRST_WORKER_S", 0.5)
    with pytest.raises(UsageError, match="no worker is with the Dask scheduler"):
        batch("good-1", scheduler=address)


@QUIET
def test_no_scheduler_at_the_address(batch, monkeypatch) -> None:
    monkeypatch.setattr("miliary_seg.cohort.dask_pool.CONNECT_S", 0.5)
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        batch("good-1", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        batch("good-1", scheduler="nonsense://")


def test_without_the_library(batch, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingLibraryError, match="not installed") as caught:
        batch("good-1", scheduler="local")
    assert "miliary-seg[dask]" in caught.value.todo
