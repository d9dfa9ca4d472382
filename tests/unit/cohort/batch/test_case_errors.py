"""An error of a case names the case, its file and the way out; one for want of memory says what it needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from miliary_seg.cohort import run_cases
from miliary_seg.cohort.run import worker as worker_module
from miliary_seg.cohort.run.case_errors import located, memory_advice
from miliary_seg.cohort.run.pool import supervised
from miliary_seg.cohort.run.worker import Worker
from miliary_seg.errors import NoBrainError, UnreadableFileError, WorkerLostError
from miliary_seg.load import find_cases
from miliary_seg.load.inventory import CaseInfo


@pytest.fixture
def case(tmp_path: Path) -> CaseInfo:
    path = tmp_path / "scans" / "P1" / "t1c.nii.gz"
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(100, 5, (20, 20, 12)).astype(np.float32), np.eye(4)), path)
    return find_cases([tmp_path / "scans"]).cases[0]


@pytest.mark.parametrize("place", ["", "t1c", "P1-t1c", "root"])
def test_the_place_of_an_error_is_the_case_and_its_file(case, place) -> None:
    where = str(case.path) if place == "root" else place
    error = located(NoBrainError("no brain", where=where, todo="look"), case)
    assert isinstance(error, NoBrainError)
    assert error.where == f"P1-t1c ({case.path})"
    assert error.todo == "look"


def test_a_file_that_the_error_names_already_stays(case, tmp_path) -> None:
    error = located(UnreadableFileError("torn", where=tmp_path / "im003.dcm"), case)
    assert error.where == f"P1-t1c ({tmp_path / 'im003.dcm'})"
    assert "inspect" in error.todo, "there is always a way out"


@pytest.mark.parametrize("kind", ["raise", "refuse", "memory", "die", "crash", "exit"])
def test_every_failure_of_a_batch_names_case_and_way_out(batch, kind) -> None:
    error = batch(f"{kind}-1", "good-2")[f"{kind}-1"].error
    assert error.where.startswith(f"{kind}-1 (")
    assert error.todo


def test_no_brain_in_a_run_names_the_file_and_how_it_was_read(case, plan) -> None:
    (outcome,) = run_cases([case], plan)
    assert outcome.error.code == "no_brain"
    assert outcome.error.where == f"P1-t1c ({case.path})"
    assert "read as T1C" in outcome.error.what
    assert "--sequence" in outcome.error.todo


def test_what_a_case_needs_follows_its_largest_series(case) -> None:
    small = memory_advice(case)
    assert "it needs about 0.2 GB" in small
    large = replace(case, series=(*case.series, replace(case.series[0], shape=(512, 512, 400))))
    assert "it needs about 4.9 GB" in memory_advice(large)
    assert "fewer --jobs" in small


@pytest.mark.parametrize("counted", [0, 1])
def test_a_case_killed_for_memory_says_so_and_what_it_needs(case, monkeypatch, counted) -> None:
    counts = iter([3, 3 + counted])
    monkeypatch.setattr(worker_module, "_n_killed_for_memory", lambda: next(counts))
    worker = Worker()
    with pytest.raises(WorkerLostError) as lost:
        worker.call(exec, "import os; os.kill(os.getpid(), 9)")
    worker.close()
    assert lost.value.of_memory
    assert ("the system had no memory left" in lost.value.what) is bool(counted)

    class Lost:
        def call(self, *_: object) -> None:
            raise lost.value

    class Call:
        def log_path(self, _: CaseInfo) -> None:
            return None

    outcome = supervised(Lost(), Call(), case, None)
    assert outcome.error.todo.startswith("if memory was short: it needs about 0.2 GB")
    assert outcome.error.where == f"P1-t1c ({case.path})"


def test_the_kernel_is_asked_how_many_it_killed() -> None:
    assert worker_module._n_killed_for_memory() >= 0
