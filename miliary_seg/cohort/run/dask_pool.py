"""The same cases on the workers of a Dask cluster: the same call, the same files, the same outcomes.

Every worker sees the same output folder (a shared file system) and writes its cases there itself; only outcomes travel.
On a worker each case runs in a child process of its own, as on one machine: what a case does to its process is the
failure of that case. A worker that is lost as a whole (node gone, job preempted) is Dask's matter: the case is given
to another one, ``distributed.scheduler.allowed-failures`` times (3 by default), and only then recorded as failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
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

NO_WORKER_S = 600.0
"""Seconds that cases may wait while no worker is with the scheduler (clusters that grow on demand begin only then)."""
LOOK_EVERY_S = 2.0
"""Seconds between two looks whether a worker is there."""

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
        If no scheduler answers at the address, or no worker is with it for ``NO_WORKER_S`` while cases wait.
    """
    with _client(options) as client:
        yield from _windowed(client, cases, replace(call, plan=replace(call.plan, software=versions())), options)


def _windowed(
    client: Any, cases: Iterable[CaseInfo], call: CaseCall, options: BatchOptions
) -> Generator[CaseOutcome, None, None]:
    """Keep a few cases handed out for every worker, so that a long list neither waits nor weighs on the scheduler."""
    waiting = iter(cases)
    run = partial(_in_child, call, timeout_s=options.timeout_s)
    tickets: dict[str, _Ticket] = {}
    ended: SimpleQueue[Any] = SimpleQueue()
    watch = _Watch(client, options.waiting or (lambda _: None))
    while True:
        while len(tickets) < AHEAD * max(1, watch.n_threads()):
            case = next(waiting, None)
            if case is None:
                break
            future = client.submit(run, case, pure=False)
            tickets[future.key] = _Ticket(case=case.id, future=future, start=perf_counter())
            future.add_done_callback(ended.put)
        if not tickets:
            return
        ticket = tickets.pop(watch.next_of(ended).key)
        yield _outcome(ticket)
        ticket.future.release()


class _Watch:
    """Waits for cases to end, and not longer than is promised while no worker is there."""

    def __init__(self, client: Any, say: Callable[[str], None]) -> None:
        self._client, self._say = client, say
        self._alone_since: float | None = None

    def n_threads(self) -> int:
        """Of all workers together; 0 where the scheduler does not answer."""
        try:
            return sum(self._client.nthreads().values())
        except OSError:
            return 0

    def next_of(self, ended: SimpleQueue[Any]) -> Any:
        """The next future that ended.

        Raises
        ------
        UsageError
            If no worker was there for ``NO_WORKER_S``.
        """
        while True:
            try:
                future = ended.get(timeout=min(LOOK_EVERY_S, NO_WORKER_S))
            except Empty:
                self._look()
            else:
                self._found()
                return future

    def _found(self) -> None:
        if self._alone_since is not None:
            self._say("")
        self._alone_since = None

    def _look(self) -> None:
        if self.n_threads():
            self._found()
            return
        now = perf_counter()
        self._alone_since = self._alone_since or now
        if now - self._alone_since >= NO_WORKER_S:
            what = f"no worker is with the Dask scheduler for {NO_WORKER_S:g} s"
            raise UsageError(what, todo="start workers (dask worker ADDRESS), then the same command again")
        self._say(f"no worker is with the Dask scheduler; waiting {NO_WORKER_S:g} s for one")


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
