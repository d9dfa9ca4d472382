"""Cases side by side on this machine: a thread for each child process, which takes the next case when it is free."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from miliary_seg.cohort.run.case_errors import located, memory_advice
from miliary_seg.cohort.run.log import CaseLog
from miliary_seg.cohort.run.plan import CaseOutcome
from miliary_seg.cohort.run.worker import Worker
from miliary_seg.errors import CaseTimeoutError, WorkerLostError

if TYPE_CHECKING:
    from miliary_seg.cohort.run.case import CaseCall
    from miliary_seg.load import CaseInfo

AHEAD = 2
"""Cases handed out for each worker: one in work, one waiting."""


def run_on_processes(
    cases: Iterable[CaseInfo], call: CaseCall, jobs: int, timeout_s: float | None = None
) -> Generator[CaseOutcome, None, None]:
    """Run every case in one of ``jobs`` child processes and yield each outcome as it ends.

    A case whose process dies or takes too long becomes a failed outcome; its process is replaced. When the iteration
    is left early, by an error or Ctrl-C, the children are killed.

    Parameters
    ----------
    cases
        What ``miliary_seg.load.find_cases`` found; taken one by one, so that it may be long.
    call
        What to do with each.
    jobs
        Child processes.
    timeout_s
        Seconds that one case may take; None = no limit.
    """
    workers = [Worker() for _ in range(jobs)]
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def run(case: CaseInfo) -> CaseOutcome:
        worker = free.get()
        try:
            return supervised(worker, call, case, timeout_s)
        finally:
            free.put(worker)

    threads = ThreadPoolExecutor(jobs, thread_name_prefix="case")
    try:
        yield from windowed(cases, lambda case: threads.submit(run, case), lambda: AHEAD * jobs)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.close()
        threads.shutdown(wait=True)


def supervised(worker: Worker, call: CaseCall, case: CaseInfo, timeout_s: float | None) -> CaseOutcome:
    """Run one case in a child process; its death or delay becomes part of the outcome."""
    start = perf_counter()
    try:
        return worker.call(call, case, timeout_s)
    except (CaseTimeoutError, WorkerLostError) as error:
        with CaseLog(call.log_path(case)) as log:
            log.write(f"failed {error.code}: {error.what}")
        killed = isinstance(error, WorkerLostError) and error.of_memory
        todo = f"if memory was short: {memory_advice(case)}" if killed else error.todo
        told = located(type(error)(error.what, todo=todo), case)
        return CaseOutcome(case=case.id, error=told, seconds=perf_counter() - start)


class Pending(Protocol):
    """A case that was handed out: a ``Future``, or what another engine gives for one."""

    def add_done_callback(self, call: Callable[[Any], object], /) -> None:
        """Have ``call`` called with this when the case has ended, from any thread."""
        ...

    def result(self) -> CaseOutcome:
        """How the case ended."""
        ...


def windowed(
    cases: Iterable[CaseInfo],
    submit: Callable[[CaseInfo], Pending],
    size: Callable[[], int],
    wait: Callable[[SimpleQueue[Pending]], Pending] = SimpleQueue.get,
) -> Generator[CaseOutcome, None, None]:
    """Submit cases so that at most ``size()`` are under way, and yield the outcomes in the order in which they end.

    A long list of cases is taken one by one; ``wait`` takes the next that ended from a queue.
    """
    waiting = iter(cases)
    ended: SimpleQueue[Pending] = SimpleQueue()
    under_way: set[Pending] = set()
    while True:
        while len(under_way) < size() and (case := next(waiting, None)) is not None:
            pending = submit(case)
            under_way.add(pending)
            pending.add_done_callback(ended.put)
        if not under_way:
            return
        pending = wait(ended)
        under_way.remove(pending)
        yield pending.result()
