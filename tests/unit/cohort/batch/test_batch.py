"""Many cases: whatever one does to itself, the others are done, and the cause is recorded."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from miliary_seg.cohort import BatchOptions, RunPlan, read_ledger, require_writable, run_cases
from miliary_seg.cohort.run.pool import windowed
from miliary_seg.errors import DiskFullError, OutputError

pytestmark = pytest.mark.xdist_group("machine")


def visible(folder: Path) -> dict[str, bytes]:
    skipped = {"ledger", "logs"}
    files = (p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in skipped)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


FAULTY = {
    "raise-1": ("error", "unforeseen KeyError in faulty_work.py"),
    "refuse-1": ("unreadable_file", "torn"),
    "memory-1": ("error", "memory"),
    "die-1": ("worker_lost", "SIGKILL"),
    "crash-1": ("worker_lost", "SIGSEGV"),
    "exit-1": ("worker_lost", "code 3"),
}


def test_every_kind_of_failure_stops_its_case_alone_and_is_recorded(batch, plan) -> None:
    outcomes = batch(*FAULTY, "good-1", "good-2", "print-3", jobs=2)
    assert {name for name, outcome in outcomes.items() if outcome.error is None} == {"good-1", "good-2", "print-3"}
    events = {event["case"]: event for event in read_ledger(plan.output) if "case" in event}
    for name, (code, said) in FAULTY.items():
        assert outcomes[name].error.code == code == events[name]["code"]
        assert said in outcomes[name].error.what
        assert said in events[name]["cause"]
        assert outcomes[name].folder is None
        assert said in (plan.output / "logs" / f"{name}.log").read_text()
    written = "".join(p.read_text() for p in plan.output.rglob("*") if p.is_file())
    assert "secret" not in written, "a file of the run names a patient"
    assert "faulty_work.py" in (plan.output / "logs" / "crash-1.log").read_text(), "where it crashed"
    assert {name.split("/")[0] for name in visible(plan.output)} == {"good-1", "good-2", "print-3"}


def test_a_case_that_hangs_is_stopped_and_recorded(batch, plan) -> None:
    outcomes = batch("hang-1", "hang-2", jobs=2, timeout_s=1)
    assert [outcome.error.code for outcome in outcomes.values()] == ["timeout", "timeout"]
    events = [event for event in read_ledger(plan.output) if event.get("code") == "timeout"]
    assert [event["cause"] for event in events] == ["stopped after 1 s"] * 2
    assert "stopped after 1 s" in (plan.output / "logs" / "hang-1.log").read_text()


def test_a_rerun_keeps_what_is_finished_and_redoes_the_rest(batch, plan, tmp_path) -> None:
    batch("good-1", "good-2", "die-3", "halfway-4", jobs=2)
    before = visible(plan.output)
    assert any(p.name.endswith(".draft") for p in plan.output.iterdir()) is False, "drafts of dead workers are swept"
    (tmp_path / "calls.txt").unlink()
    again = batch("good-1", "good-2", "die-3", "good-5", jobs=2)
    assert {name: outcome.status for name, outcome in again.items()} == {
        "good-1": "kept",
        "good-2": "kept",
        "die-3": "failed",
        "good-5": "done",
    }
    assert sorted(line.split()[0] for line in (tmp_path / "calls.txt").read_text().splitlines()) == ["die-3", "good-5"]
    after = visible(plan.output)
    assert {name: after[name] for name in before} == before
    assert again["good-1"].rows == (
        {"case": "good-1", "series": "s", "folder": "good-1", "n_lesions": 3, "probability": 0.5},
    )


def test_what_is_missing_of_a_result_is_said_again_when_it_is_kept(batch, tmp_path) -> None:
    first = batch("partial-1")["partial-1"]
    again = batch("partial-1")["partial-1"]
    assert len((tmp_path / "calls.txt").read_text().splitlines()) == 1
    for outcome in (first, again):
        assert outcome.error.code == "partial_output"
        assert "no such luck" in outcome.error.what
        assert outcome.folder is not None
    assert again.kept


def test_force_does_everything_again(batch, plan) -> None:
    first = batch("good-1")
    assert batch("good-1")["good-1"].kept
    again = batch("good-1", plan=replace(plan, force=True))
    assert again["good-1"].status == "done"
    assert again["good-1"].rows == first["good-1"].rows


def test_one_case_runs_here_without_a_pool(batch, plan, tmp_path) -> None:
    import os

    batch("good-1", records=False)
    assert (tmp_path / "calls.txt").read_text().split()[:2] == ["good-1", str(os.getpid())]
    assert sorted(p.name for p in plan.output.iterdir()) == ["good-1"], "no ledger and no log were asked for"


def test_two_cases_never_run_here(batch, tmp_path) -> None:
    import os

    batch("good-1", "good-2")
    pids = {line.split()[1] for line in (tmp_path / "calls.txt").read_text().splitlines()}
    assert len(pids) == 1
    assert str(os.getpid()) not in pids


def test_a_full_disk_ends_the_run_and_loses_nothing(plan, faulty, cases) -> None:
    names = ["good-1", "full-2", *(f"good-{n}" for n in range(3, 40))]
    outcomes = run_cases(cases(*names), plan, BatchOptions(jobs=1), faulty.FaultyWork())
    assert [next(outcomes).case, next(outcomes).case] == ["good-1", "full-2"]
    with pytest.raises(DiskFullError, match="more cases were not finished") as caught:
        next(outcomes)
    assert caught.value.exit_code == 6
    end = list(read_ledger(plan.output))[-1]
    assert (end["event"], end["done"], end["failed"], end["n_not_finished"]) == ("end", 1, 1, 38)
    assert (plan.output / "good-1" / "complete.json").is_file()


def test_leaving_early_kills_the_workers(plan, faulty, cases, tmp_path) -> None:
    run = run_cases(cases("good-1", "hang-2", "hang-3"), plan, BatchOptions(jobs=2), faulty.FaultyWork())
    assert next(run).case == "good-1"
    run.close()  # returns: the sleepers were killed
    assert list(read_ledger(plan.output))[-1]["n_not_finished"] == 2


def test_outcomes_come_in_the_order_in_which_they_ended() -> None:
    def submit(number: int) -> Future:
        future = Future()
        future.set_result(number)
        return future

    assert list(windowed(range(40), submit, size=lambda: 20)) == list(range(40))


def test_no_case_is_no_work(batch) -> None:
    assert batch() == {}


def test_the_output_folder_is_tried_first_and_nothing_stays_behind(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        require_writable(file / "below")
    require_writable(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    require_writable(tmp_path / "there")
    assert (tmp_path / "there").is_dir()


def test_workers_of_other_versions_are_refused(batch, plan) -> None:
    other = replace(plan, software=(("name", "miliary-seg"), ("numpy", "0.0"), ("version", "0")))
    outcome = batch("good-1", plan=other)["good-1"]
    assert "other versions" in outcome.error.what
    assert "numpy" in outcome.error.what
    assert not (plan.output / "good-1").exists()


def test_plans_cross_process_borders(plan: RunPlan) -> None:
    import pickle

    assert pickle.loads(pickle.dumps(plan)) == plan
