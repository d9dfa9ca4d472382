from __future__ import annotations

from pathlib import Path

import pytest

from miliary_seg.cohort import CaseOutcome, RunPlan, require_writable, run_cases
from miliary_seg.cohort import run as module
from miliary_seg.errors import OutputError, UnreadableFileError
from miliary_seg.load.found import FoundCase
from miliary_seg.settings import Settings


def case(name: str, path: Path) -> FoundCase:
    return FoundCase(id=name, path=path, series=())


@pytest.fixture
def plan(tmp_path: Path) -> RunPlan:
    return RunPlan(output=tmp_path / "out", settings=Settings())


def failing(error: BaseException):
    def load(found: FoundCase, settings: Settings) -> None:
        raise error

    return load


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnreadableFileError("torn", where="x", todo="mend it"), "torn"),
        (MemoryError(), "memory"),
        (KeyError("secret name"), "unforeseen KeyError in test_run.py"),
    ],
)
def test_a_failing_case_stops_alone(plan, tmp_path, monkeypatch, error, said) -> None:
    monkeypatch.setattr("miliary_seg.load.load_case", failing(error))
    outcomes = list(run_cases([case("a", tmp_path), case("b", tmp_path)], plan))
    assert [outcome.case for outcome in outcomes] == ["a", "b"]
    for outcome in outcomes:
        assert outcome.error is not None
        assert said in str(outcome.error)
        assert "secret" not in str(outcome.error)
        assert outcome.folder is None
        assert outcome.seconds >= 0


def test_an_existing_result_is_seen_before_any_work(plan, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("miliary_seg.load.load_case", failing(AssertionError("no work expected")))
    (plan.output / "a").mkdir(parents=True)
    outcome = next(run_cases([case("a", tmp_path)], plan))
    assert isinstance(outcome.error, OutputError)


def test_the_output_folder_is_tried_first(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        require_writable(file / "below")
    require_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def _die(found: FoundCase, plan: RunPlan) -> CaseOutcome:
    import os

    os._exit(9)


def test_a_worker_that_dies_is_recorded(plan, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "run_case", _die)
    outcomes = list(run_cases([case("a", tmp_path), case("b", tmp_path)], plan, jobs=2))
    assert {outcome.case for outcome in outcomes} == {"a", "b"}
    assert all("worker process ended" in str(outcome.error) for outcome in outcomes)


def test_where_an_error_arose_without_a_traceback() -> None:
    assert module._raised_in(ValueError()) == "an unknown place"
