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
from miliary_seg.cohort.run.pool import AHEAD, Pending, supervised, windowed
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
        call = replace(call, plan=replace(call.plan, software=versions()))
        run = partial(_in_child, call, timeout_s=options.timeout_s)
        watch = _Watch(client, options.waiting or (lambda _: None))

        def submit(case: CaseInfo) -> _Ticket:
            return _Ticket(case=case.id, future=client.submit(run, case, pure=False), start=perf_counter())

        yield from windowed(cases, submit, lambda: AHEAD * max(1, watch.n_threads()), watch.next_of)


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

    def next_of(self, ended: SimpleQueue[Pending]) -> Pending:
        """The next case that ended.

        Raises
        ------
        UsageError
            If no worker was there for ``NO_WORKER_S``.
        """
        while True:
            try:
                pending = ended.get(timeout=min(LOOK_EVERY_S, NO_WORKER_S))
            except Empty:
                self._look()
            else:
                self._found()
                return pending

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ticket:
    """A case that was handed to the cluster."""

    case: str
    future: Any
    start: float

    def add_done_callback(self, call: Callable[[_Ticket], object], /) -> None:
        """Have ``call`` called with this when the case has ended."""
        self.future.add_done_callback(lambda _: call(self))

    def result(self) -> CaseOutcome:
        """How the case ended; the cluster may forget it then."""
        outcome = _outcome(self)
        self.future.release()
        return outcome


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
