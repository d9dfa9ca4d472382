"""The same cases on the workers of a Dask cluster: the same call, the same files, the same outcomes.

Every worker sees the same output folder (a shared file system) and writes its cases there itself; only outcomes travel.
On a worker each case runs in a child process of its own, as on one machine: what a case does to its process is the
failure of that case. A worker that is lost as a whole (node gone, job preempted) is Dask's matter: the case is given
to another one, ``distributed.scheduler.allowed-failures`` times (3 by default), and only then recorded as failed.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from miliary_seg.cohort.run.case import CaseCall, versions
from miliary_seg.cohort.run.plan import BatchOptions, CaseOutcome
from miliary_seg.cohort.run.pool import AHEAD, supervised
from miliary_seg.cohort.run.worker import Worker
from miliary_seg.errors import MissingLibraryError, UsageError, WorkerLostError

if TYPE_CHECKING:
    from miliary_seg.load import CaseInfo

LOCAL = "local"
CONNECT_S = 30.0
"""Seconds that a scheduler may take to answer."""

FIRST_WORKER_S = 600.0
"""Seconds that the first worker may take to join once cases wait (clusters that grow on demand begin only then)."""

_mine = threading.local()


def run_on_dask(cases: Iterable[CaseInfo], call: CaseCall, options: BatchOptions) -> Generator[CaseOutcome, None, None]:
    """Run every case on a Dask cluster and yield each outcome as it ends.

    Parameters
    ----------
    cases
        What ``miliary_seg.load.find_cases`` found; taken one by one, so that it may be long.
    call
        What to do with each. Workers must run the same versions; where they do not, the case fails and says so.
    options
        ``scheduler``: an address, or ``local`` for ``jobs`` worker processes on this machine. ``timeout_s`` holds.

    Raises
    ------
    MissingLibraryError
        Where distributed is not installed.
    UsageError
        If no scheduler answers at the address, or no worker joins it.
    """
    with _client(options) as client:
        yield from _windowed(client, cases, replace(call, plan=replace(call.plan, software=versions())), options)


def _windowed(
    client: Any, cases: Iterable[CaseInfo], call: CaseCall, options: BatchOptions
) -> Generator[CaseOutcome, None, None]:
    """Keep a few cases handed out for every worker, so that a long list neither waits nor weighs on the scheduler."""
    from distributed import as_completed

    waiting = iter(cases)
    run = partial(_in_child, call, timeout_s=options.timeout_s)
    tickets: dict[str, _Ticket] = {}
    ended = as_completed()
    while True:
        while len(tickets) < AHEAD * max(1, sum(client.nthreads().values())):
            case = next(waiting, None)
            if case is None:
                break
            future = client.submit(run, case, pure=False)
            tickets[future.key] = _Ticket(case=case.id, future=future, start=perf_counter())
            ended.add(future)
        if not tickets:
            return
        _require_worker(client)
        ticket = tickets.pop(next(ended).key)
        yield _outcome(ticket)
        ticket.future.release()


def _require_worker(client: Any) -> None:
    if client.nthreads():
        return
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_S)
    except TimeoutError as error:
        what = f"no worker is with the Dask scheduler for {FIRST_WORKER_S:g} s"
        todo = "start workers (dask worker ADDRESS), then the same command again"
        raise UsageError(what, todo=todo) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ticket:
    """A case that was handed to the cluster."""

    case: str
    future: Any
    start: float


def _outcome(ticket: _Ticket) -> CaseOutcome:
    from distributed import CancelledError, KilledWorker

    try:
        outcome: CaseOutcome = ticket.future.result()
    except (KilledWorker, CancelledError, OSError) as error:
        n_lost = getattr(error, "allowed_failures", 0) + 1
        what = f"{n_lost} workers were lost with this case ({type(error).__name__})"
        lost = WorkerLostError(what, where=ticket.case, todo="look at its log and at the workers' memory")
        return CaseOutcome(case=ticket.case, error=lost, seconds=perf_counter() - ticket.start)
    except Exception as error:  # raised on the worker, outside of the case: its text could name a patient
        what = f"a worker could not run this case ({type(error).__name__})"
        failed = WorkerLostError(what, where=ticket.case, todo="install the same environment on every worker")
        return CaseOutcome(case=ticket.case, error=failed, seconds=perf_counter() - ticket.start)
    return outcome


def _in_child(call: CaseCall, case: CaseInfo, *, timeout_s: float | None) -> CaseOutcome:
    """On a Dask worker: run the case in the child process of this thread."""
    if not hasattr(_mine, "worker"):
        _mine.worker = Worker()
    return supervised(_mine.worker, call, case, timeout_s)


@contextmanager
def _client(options: BatchOptions) -> Generator[Any, None, None]:
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError as error:
        what = f"--scheduler needs {error.name}, which is not installed"
        raise MissingLibraryError(what, todo="pip install 'miliary-seg[dask]'") from error
    if options.scheduler == LOCAL:
        with (
            LocalCluster(n_workers=options.jobs, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(options.scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        what = f"no Dask scheduler answers at {options.scheduler!r}"
        raise UsageError(what, todo="tcp://HOST:PORT of a running one, or local") from error
    with client:
        yield client
