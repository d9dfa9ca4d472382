"""A child process that runs calls one at a time, so that its death is the failure of one call and of nothing else.

Parent and child speak in pickles over the child's standard input and output. Unlike the pools of the standard library,
one that is killed breaks no other; unlike ``multiprocessing``, it needs no guarded main module (notebooks) and starts
inside the workers of Dask, which may have no children of that kind. The child ends when its parent does, whatever
ended that: its input is then closed. One thread a child: cores are shared out by the number of children.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from miliary_seg.errors import CaseTimeoutError, WorkerLostError

T = TypeVar("T")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
_PATH = "MILIARY_SEG_WORKER_PATH"
_BOOT = (
    f"import json, os, sys; sys.path[:] = json.loads(os.environ.pop({_PATH!r})); "
    "from miliary_seg.cohort.run.worker import serve; serve()"
)
LIKELIER_VICTIM = 500
"""Added to a child's score with the kernel's out-of-memory killer (-1000 to 1000): it shall not take the parent."""


class Worker:
    """One child process; started when first called, and again after it was lost."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._is_booting = False
        self._n_killed = 0
        self._starting = threading.Lock()
        """Held while a child is started or let go: ``close`` must not miss one that another thread just starts."""

    def call(self, function: Callable[[Any], T], argument: object, timeout_s: float | None = None) -> T:
        """Run ``function(argument)`` in the child and wait for what it returns; both must pickle.

        Raises
        ------
        CaseTimeoutError
            If it took longer than ``timeout_s``; the child was killed.
        WorkerLostError
            If the child died, or the call raised, or this worker was closed.
        """
        late = threading.Event()
        child = self._started()

        def stop() -> None:
            late.set()
            child.kill()

        clock = threading.Timer(timeout_s or 0.0, stop)
        clock.daemon = True
        try:
            self._send(child, function, argument)
            self._wait_for_start(child)
            if timeout_s is not None:
                clock.start()
            answer, trouble = pickle.load(child.stdout)  # type: ignore[arg-type] # noqa: S301 - written by ``serve``
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:  # ValueError: ``close`` was quicker
            cause, of_memory = self._cause(child)
            self._let_go()
            if late.is_set():
                what = f"stopped after {timeout_s:g} s"
                raise CaseTimeoutError(what, todo="give a longer --timeout, or look at its log") from error
            lost = WorkerLostError(cause, todo="look at its log, and report it if it happens again")
            lost.of_memory = of_memory
            raise lost from error
        finally:
            clock.cancel()
            if clock.ident is not None:
                clock.join()
            if late.is_set():
                self._let_go()  # the answer came as the time ended: the next call must not get a child that was killed
        if trouble:
            raise WorkerLostError(f"the worker could not run it ({trouble})", todo="please report it")
        result: T = answer
        return result

    def close(self) -> None:
        """Kill the child for good; a call that waits for it in another thread ends, and no other can begin."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        """Kill the child; the next call gets a new one."""
        with self._starting:
            child, self._child = self._child, None
        if child is not None:
            with suppress(OSError):
                child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self._let_go()  # it died while it had nothing to do
        with self._starting:
            if self._closed:
                raise WorkerLostError("the run was left before this case began", todo="run the same command again")
            if self._child is None:
                environment = {**os.environ, **dict.fromkeys(THREADS, "1"), _PATH: json.dumps(sys.path)}
                self._child = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                    [sys.executable, "-P", "-c", _BOOT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # libraries print names of files there
                    env=environment,
                )
                self._is_booting = True
                self._n_killed = _n_killed_for_memory()
            return self._child

    def _wait_for_start(self, child: subprocess.Popen[bytes]) -> None:
        """Wait for what ``serve`` says first: the time of a call does not count how long its process took to start."""
        if self._is_booting:
            pickle.load(child.stdout)  # type: ignore[arg-type] # noqa: S301 - written by ``serve``
            self._is_booting = False

    @staticmethod
    def _send(child: subprocess.Popen[bytes], function: Callable[[Any], Any], argument: object) -> None:
        if child.stdin is None:
            raise OSError("the child has no input")
        child.stdin.write(
            pickle.dumps(pickle.dumps((function, argument)))
        )  # a call that does not unpickle costs no more
        child.stdin.flush()

    def _cause(self, child: subprocess.Popen[bytes]) -> tuple[str, bool]:
        """How a child ended, in words (not its own: they could name a patient), and whether memory was the cause."""
        with suppress(OSError):
            child.kill()
        code = child.wait()
        if code >= 0:
            return f"the worker process ended with code {code}", False
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        of_memory = -code == getattr(signal, "SIGKILL", 9)
        why = ""
        if of_memory:
            sure = _n_killed_for_memory() > self._n_killed
            why = ": the system had no memory left" if sure else " (most often the system's answer to a lack of memory)"
        return f"the worker process was ended by {name}{why}", of_memory


def _n_killed_for_memory() -> int:
    """Processes that the kernel ended for want of memory since it started; 0 where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def serve() -> None:
    """Child: run what comes in on standard input, write what it returns to standard output, until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints from here on cannot disturb the answers
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(str(LIKELIER_VICTIM))
    pickle.dump("ready", answers)
    answers.flush()
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(calls,), daemon=True).start()
    while True:
        pickle.dump(_answer(calls.get()), answers)
        answers.flush()


def _answer(call: bytes) -> tuple[Any, str]:
    """What a call returned, and what went wrong."""
    try:
        function, argument = pickle.loads(call)  # noqa: S301 - written by ``Worker``
        return function(argument), ""
    except Exception as error:  # the text of an error could name a patient: its kind is enough
        return None, type(error).__name__


def _read(calls: queue.SimpleQueue[bytes]) -> None:
    """Feed the queue; when the parent is gone, end at once, also in the middle of a call."""
    try:
        while True:
            calls.put(pickle.load(sys.stdin.buffer))  # noqa: S301 - written by ``Worker``
    finally:
        os._exit(0)
