"""A real scheduler and real workers on this machine's loopback: same files, and a lost worker costs no case."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from miliary_seg.cohort import BatchOptions, read_ledger, run_cases
from miliary_seg.cohort.run.dask_pool import _outcome, _Ticket
from miliary_seg.errors import MissingLibraryError, UsageError

pytest.importorskip("distributed")

pytestmark = pytest.mark.xdist_group("machine")

QUIET = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",  # sockets of a cluster that was killed on purpose
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:Creating scratch directories",  # it took Dask more than a second
)


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Those sockets go while their warnings are ignored, and not in another test."""
    yield
    gc.collect()


@pytest.fixture
def start(tmp_path: Path, faulty) -> Iterator[Callable[..., subprocess.Popen]]:
    """``start("worker", ...)`` -> a process of Dask that lasts as long as the test."""
    paths = [str(Path(faulty.__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    processes: list[subprocess.Popen] = []

    def begin(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen(command, env=environment, cwd=tmp_path, **silent))
        return processes[-1]

    yield begin
    for process in reversed(processes):
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(tmp_path: Path, faulty, start) -> str:
    """Address of a scheduler without workers."""
    contact = tmp_path / "scheduler.json"
    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(contact))
    faulty.until(lambda: contact.is_file() and contact.read_text().endswith("}"))
    return json.loads(contact.read_text())["address"]


def visible(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in {"ledger", "logs"})
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@QUIET
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_case_of_a_lost_worker_is_done_by_another(scheduler, start, plan, faulty, cases, tmp_path) -> None:
    workers = {start("worker", scheduler, "--nthreads", "1", "--no-nanny").pid for _ in range(2)}
    names = ["die-1", *(f"held-{n}" for n in range(2, 7))]
    options = BatchOptions(scheduler=scheduler, timeout_s=1000)
    run = run_cases(cases(*names), plan, options, faulty.FaultyWork())
    outcomes = [next(run)]
    calls = tmp_path / "calls.txt"

    def held() -> list[list[str]]:
        """Case, process and worker of each that waits."""
        lines = [line.split() for line in calls.read_text().splitlines()]
        return [line for line in lines if line[0].startswith("held")]

    faulty.until(held)
    name, process, lost = held()[0]
    assert int(lost) in workers
    os.kill(int(lost), signal.SIGKILL)
    faulty.wait_for_end(tmp_path, int(process))  # the case ends with its worker
    for case in names[1:]:
        (tmp_path / f"go-{case}").touch()
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
def test_a_scheduler_without_workers_is_not_waited_for_for_ever(scheduler, batch, plan, monkeypatch) -> None:
    monkeypatch.setattr("miliary_seg.cohort.run.dask_pool.NO_WORKER_S", 0.5)
    said: list[str] = []
    with pytest.raises(UsageError, match="no worker is with the Dask scheduler"):
        batch("good-1", scheduler=scheduler, waiting=said.append)
    assert said[0].startswith("no worker is with the Dask scheduler")
    assert list(read_ledger(plan.output))[-1]["event"] == "end"


@QUIET
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_all_workers_lost_and_one_returning(scheduler, start, plan, faulty, cases, monkeypatch) -> None:
    """The limit holds while cases are under way, too, and the run goes on with the worker that comes."""
    tmp_path = plan.output.parent
    monkeypatch.setattr("miliary_seg.cohort.run.dask_pool.LOOK_EVERY_S", 0.2)
    said: list[str] = []
    first = start("worker", scheduler, "--nthreads", "1", "--no-nanny")
    options = BatchOptions(scheduler=scheduler, waiting=said.append)
    calls = tmp_path / "calls.txt"

    def lose(worker: subprocess.Popen, n_calls: int) -> None:
        faulty.until(lambda: calls.is_file() and len(calls.read_text().splitlines()) >= n_calls)
        worker.kill()
        worker.wait()

    def returns() -> None:
        lose(first, 1)
        faulty.until(lambda: any(said))
        second = start("worker", scheduler, "--nthreads", "1", "--no-nanny")
        (tmp_path / "go-held-1").touch()
        lose(second, 3)  # held-1 twice, held-2
        monkeypatch.setattr("miliary_seg.cohort.run.dask_pool.NO_WORKER_S", 1.0)

    helper = threading.Thread(target=returns)
    helper.start()
    run = run_cases(cases("held-1", "held-2"), plan, options, faulty.FaultyWork())
    assert next(run).status == "done"
    assert "" in said
    with pytest.raises(UsageError, match="no worker is with the Dask scheduler"):
        next(run)
    helper.join()


@QUIET
@pytest.mark.slow
def test_a_time_limit_stops_the_case_and_not_the_worker(scheduler, start, batch, tmp_path) -> None:
    worker = start("worker", scheduler, "--nthreads", "1", "--no-nanny")
    outcomes = batch("hang-1", "good-2", scheduler=scheduler, timeout_s=3)
    assert {name: o.error.code if o.error else o.status for name, o in outcomes.items()} == {
        "hang-1": "timeout",
        "good-2": "done",
    }
    parents = {line.split()[2] for line in (tmp_path / "calls.txt").read_text().splitlines()}
    assert parents == {str(worker.pid)}
    assert worker.poll() is None


@QUIET
def test_no_scheduler_at_the_address(batch, monkeypatch) -> None:
    monkeypatch.setattr("miliary_seg.cohort.run.dask_pool.CONNECT_S", 0.5)
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        batch("good-1", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        batch("good-1", scheduler="nonsense://")


def test_without_the_library(batch, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingLibraryError, match="not installed") as caught:
        batch("good-1", scheduler="local")
    assert "miliary-seg[dask]" in caught.value.todo
