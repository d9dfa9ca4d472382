"""The ledger survives crashes and says nothing of patients."""

from __future__ import annotations

import json
from pathlib import Path

from miliary_seg.cohort import read_ledger, run_cases
from miliary_seg.cohort.run.log import CaseLog, Ledger
from miliary_seg.cohort.run.plan import BatchOptions
from miliary_seg.errors import UnreadableFileError
from miliary_seg.load import Problem


def test_lines_as_documented(batch, plan) -> None:
    batch("good-1", "refuse-2", jobs=2)
    events = list(read_ledger(plan.output))
    begin, end = events[0], events[-1]
    assert (begin["event"], end["event"]) == ("begin", "end")
    assert (begin["n_cases"], begin["jobs"], begin["settings_digest"]) == (2, 2, plan.settings.digest)
    assert end["done"] == end["failed"] == end["n_not_finished"] == 1
    page = (Path(__file__).parents[4] / "docs" / "cohorts.md").read_text("utf-8")
    for key in {key for event in events for key in event}:
        assert f"| `{key}` |" in page, f"docs/cohorts.md does not describe {key}"


def test_a_torn_line_is_skipped(batch, plan) -> None:
    batch("good-1", "good-2")
    (path,) = (plan.output / "ledger").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"time": "2026", "eve')
    assert len(list(read_ledger(plan.output))) == len(whole.splitlines())
    path.write_bytes(b'\xff\xfe\n[1]\n"x"\n' + whole)
    assert len(list(read_ledger(plan.output))) == len(whole.splitlines())


def test_unreadable_input_is_entered_without_its_path(plan, faulty, tmp_path) -> None:
    path = tmp_path / "DOE^JANE.dcm"
    problem = Problem(path=path, error=UnreadableFileError("cut short", where=path, todo="copy it again"))
    list(run_cases([], plan, BatchOptions(), faulty.FaultyWork(), problems=[problem]))
    (event,) = [event for event in read_ledger(plan.output) if event["event"] == "unreadable"]
    assert event["cause"] == "cut short"
    assert len(event["place"]) == 8
    assert "DOE" not in json.dumps(event)


def test_a_ledger_that_cannot_be_written_stops_nothing(plan) -> None:
    plan.output.mkdir()
    (plan.output / "ledger").write_text("a file in its place")
    (plan.output / "logs").write_text("and here")
    ledger = Ledger(plan.output)
    ledger.append("begin")
    assert ledger.trouble is not None
    with CaseLog(plan.output / "logs" / "a.log") as log:
        log.write("nothing")
        assert log.file is None


def test_no_ledger_no_events(tmp_path) -> None:
    assert list(read_ledger(tmp_path)) == []
