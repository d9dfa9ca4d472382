"""The child process: what it returns, how it ends, and that it never outlives its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from miliary_seg.cohort.run.worker import Worker
from miliary_seg.errors import CaseTimeoutError, WorkerLostError

pytestmark = pytest.mark.xdist_group("machine")


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


def test_one_process_serves_many_calls_with_one_thread(worker, faulty) -> None:
    assert worker.call(faulty.parent_id, None) == os.getpid()
    assert worker.call(faulty.environment, "OMP_NUM_THREADS") == "1"


@pytest.mark.parametrize(("code", "said"), [("os._exit(3)", "code 3"), ("os.kill(os.getpid(), 9)", "SIGKILL")])
def test_a_death_is_told_and_the_next_call_gets_a_new_process(worker, faulty, code, said) -> None:
    with pytest.raises(WorkerLostError, match=said):
        worker.call(exec, f"import os; {code}")
    assert worker.call(faulty.parent_id, None) == os.getpid()


def test_a_process_that_died_idle_is_replaced(worker, faulty) -> None:
    worker.call(faulty.parent_id, None)
    worker._child.kill()
    worker._child.wait()
    assert worker.call(faulty.parent_id, None) == os.getpid()


def test_a_call_that_hangs_is_stopped(worker) -> None:
    with pytest.raises(CaseTimeoutError, match=r"stopped after 0\.5 s"):
        worker.call(time.sleep, 10_000, timeout_s=0.5)


def test_a_closed_worker_begins_nothing(worker) -> None:
    """A run that is left closes its workers while other threads may be about to call them."""
    worker.close()
    with pytest.raises(WorkerLostError, match="was left"):
        worker.call(abs, -1)
    assert worker._child is None


def test_an_answer_at_the_last_moment_costs_the_next_call_nothing(worker, monkeypatch) -> None:
    class Late(threading.Timer):
        """Goes off between the answer and its being cancelled."""

        def cancel(self) -> None:
            super().cancel()
            self.function()

    monkeypatch.setattr(threading, "Timer", Late)
    assert [worker.call(abs, -n, timeout_s=1000) for n in range(4)] == [0, 1, 2, 3]


def test_prints_do_not_disturb_the_answer(worker, faulty) -> None:
    assert worker.call(exec, "import os; print('x', flush=True); os.write(1, b'y')") is None
    assert worker.call(faulty.parent_id, None) == os.getpid()


def test_a_call_that_raises_or_cannot_be_unpickled_is_told_and_the_process_lives(worker, faulty) -> None:
    with pytest.raises(WorkerLostError, match="ZeroDivisionError"):
        worker.call(exec, "1 / 0")
    with pytest.raises(WorkerLostError, match="TypeError"):
        worker.call(exec, _Unreadable())
    assert worker.call(faulty.parent_id, None) == os.getpid()


class _Unreadable:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return int, ([],)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
def test_the_child_ends_in_the_middle_of_a_call_when_its_parent_is_killed(faulty, tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    folder = Path(faulty.__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import faulty_work; from pathlib import Path\n"
        "from miliary_seg.cohort.run.worker import Worker; "
        f"Worker().call(faulty_work.tell_and_sleep, Path({str(told)!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    with told.open() as pipe:
        assert int(pipe.readline()) != parent.pid
        parent.kill()
        parent.wait()
        assert pipe.read() == "", "the pipe ends when the child has ended"
