"""Failed, partial and unreadable scans count the same in tables, pages, incidence and the text of methods."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from miliary_seg.cohort import BatchOptions, patients_of, read_cases, read_manifest, run_cases, write_tables
from miliary_seg.cohort.run.log import Ledger
from miliary_seg.cohort.run.manifest import place_of
from miliary_seg.cohort.run.unanswered import unanswered
from miliary_seg.cohort.statistics.patients import read_failed, read_unreadable
from miliary_seg.cohort.statistics.summary import SummaryPlan, summarise
from miliary_seg.domain.decision import Verdict
from miliary_seg.load import find_cases


def table_of(output: Path, verdict: str = "MET") -> None:
    """A table of cases with what the work of these tests does not write."""
    table = output / "cases.csv"
    rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
    facts = {"study_verdict": verdict, "settings_digest": "d", "software_version": "0"}
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, **facts} for row in rows)


def verdicts(output: Path) -> dict[str, str]:
    patients = patients_of(read_cases([output]), failed=read_failed([output]))
    return {patient.id: str(patient.verdict) for patient in patients}


def test_a_partial_result_is_finished_everywhere(batch, plan) -> None:
    """A MET patient whose DICOM object could not be made became INDETERMINATE."""
    outcomes = batch("partial-1", "good-2", "refuse-3")
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "partial-1": "partial",
        "good-2": "done",
        "refuse-3": "failed",
    }
    collected = write_tables(plan.output, plan.settings)
    assert (collected.n_cases, collected.failed_again) == (2, ())
    assert read_failed([plan.output]) == ("refuse-3",)
    table_of(plan.output)
    expected = {"partial-1": "MET", "good-2": "MET", "refuse-3": "INDETERMINATE"}
    assert verdicts(plan.output) == expected
    assert verdicts(plan.output / "cases.csv") == expected, "the table in its folder stands for it"
    page = (plan.output / "index.html").read_text("utf-8")
    assert page.count('data-status="failed"') == 1
    document = summarise(SummaryPlan(runs=(plan.output,)))
    assert document["incidence"]["n_patients"] == 3
    assert document["incidence"]["screened"]["total"] == 3
    assert any("2 scans were analysed and 1 could not be, 0 of them" in text for text in document["methods"])


def test_an_earlier_ledger_called_a_partial_result_failed(batch, plan) -> None:
    batch("partial-1")
    Ledger(plan.output).append("failed", case="partial-1", code="partial_output", cause="no SEG")
    assert read_failed([plan.output]) == ()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    import nibabel as nib
    import numpy as np

    for name in ("P1", "P2"):
        (tmp_path / "scans" / name).mkdir(parents=True)
    voxels = np.random.default_rng(1).integers(0, 900, (8, 8, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "scans" / "P1" / "t1c.nii.gz")
    (tmp_path / "scans" / "P2" / "t1c.nii.gz").write_bytes(b"torn")
    return tmp_path / "scans"


def run(archive: Path, plan, faulty, *paths: Path) -> None:
    inputs = paths or (archive,)
    found = find_cases(inputs)
    options = BatchOptions(inputs=inputs)
    list(run_cases(found.cases, plan, options, faulty.FaultyWork(), problems=found.problems))
    write_tables(plan.output, plan.settings)


def test_an_unreadable_scan_is_a_patient_without_an_answer_until_it_is_done(archive, plan, faulty) -> None:
    run(archive, plan, faulty)
    assert read_failed([plan.output]) == read_unreadable([plan.output]) == ("P2-t1c",)
    table_of(plan.output)
    assert verdicts(plan.output) == {"P1-t1c": "MET", "P2-t1c": "INDETERMINATE"}
    assert 'data-case="P2-t1c"' in (plan.output / "index.html").read_text("utf-8")
    document = summarise(SummaryPlan(runs=(plan.output,)))
    assert document["unreadable_inputs"] == ["P2-t1c"]
    assert document["incidence"]["n_indeterminate"] == 1
    assert any("1 could not be, 1 of them" in text for text in document["methods"])
    run(archive, plan, faulty, archive / "P1")
    assert read_failed([plan.output]) == ("P2-t1c",), "a run over something else does not clear it"
    torn = archive / "P2" / "t1c.nii.gz"
    torn.write_bytes((archive / "P1" / "t1c.nii.gz").read_bytes()[:-1] + b"\0")
    torn.unlink()
    run(archive, plan, faulty)
    assert read_failed([plan.output]) == (), "it is gone from the same input"


def test_an_unreadable_file_of_a_case_that_is_there_is_said_by_that_case(archive, plan, faulty) -> None:
    whole = archive / "P1" / "t1c.nii.gz"
    (archive / "sub-01_T1w.nii.gz").write_bytes(whole.read_bytes())
    (archive / "sub-01_FLAIR.nii.gz").write_bytes(b"torn")
    run(archive, plan, faulty)
    assert read_failed([plan.output]) == ("P2-t1c",)
    (case,) = [case for case in find_cases([archive]).cases if case.id == "sub-01"]
    assert [caveat.code for caveat in case.caveats] == ["series_not_readable"]
    assert [series.error is not None for series in case.series] == [False, True]


def test_a_case_that_lost_files_is_a_scan_without_an_answer(batch, plan) -> None:
    batch("good-1", "good-2")
    (plan.output / "good-1" / "result.json").write_text("")
    write_tables(plan.output, plan.settings)
    assert read_failed([plan.output]) == ("good-1",)
    assert 'data-status="failed" data-case="good-1"' in (plan.output / "index.html").read_text("utf-8")


def test_every_event_counts_by_one_rule(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    place = place_of(tmp_path)
    for event, case in (
        ("failed", "a"),
        ("done", "a"),
        ("unreadable", "b"),
        ("failed", "c"),
        ("partial", "d"),
        ("kept", "e"),
        ("unreadable", ""),
    ):
        ledger.append(event, case=case, input=place, cause="x")
    assert set(unanswered(tmp_path).causes) == {"b", "c"}
    ledger.append("begin", inputs=["other"])
    assert set(unanswered(tmp_path).causes) == {"b", "c"}
    ledger.append("begin", inputs=[place])
    assert set(unanswered(tmp_path).causes) == {"c"}


def test_a_failed_scan_that_its_input_holds_no_longer_counts_no_more(tmp_path: Path) -> None:
    """It was renamed or taken out: else it would be a patient for ever."""
    ledger, place = Ledger(tmp_path), place_of(tmp_path)
    for event, facts in (
        ("begin", {"inputs": [place]}),
        ("failed", {"case": "P1-t1c", "input": place, "cause": "x"}),
        ("failed", {"case": "P2-t1c", "input": place, "cause": "x"}),
        ("end", {"interrupted": False}),
        ("begin", {"inputs": [place]}),
    ):
        ledger.append(event, **facts)
    assert set(unanswered(tmp_path).failed) == {"P1-t1c", "P2-t1c"}, "not before that run ends"
    ledger.append("end", interrupted=True)
    assert set(unanswered(tmp_path).failed) == {"P1-t1c", "P2-t1c"}, "an interrupted run did not come to all"
    ledger.append("begin", inputs=[place])
    ledger.append("failed", case="P2-t1c", input=place, cause="again")
    ledger.append("done", case="Q1-t1c", input=place)
    ledger.append("end", interrupted=False)
    assert unanswered(tmp_path).failed == {"P2-t1c": "again"}


def test_a_failed_session_is_in_the_group_table_of_bids(plan, faulty, batch, tmp_path) -> None:
    from miliary_seg.bids.group import write_group

    batch("good-1")
    mark = read_manifest(plan.output / "good-1")
    (plan.output / "good-1").rename(plan.output / "sub-01")
    row = {**mark.rows[0], "case": "sub-01", "study_verdict": "MET"}
    replace(mark, case="sub-01", rows=(row,)).write(plan.output / "sub-01")
    Ledger(plan.output).append("failed", case="sub-02", code="no_brain", cause="none")
    import json

    from miliary_seg.bids.derivatives import thumbnail_name

    (plan.output / "sub-01" / thumbnail_name("sub-01")).parent.mkdir(parents=True, exist_ok=True)
    (plan.output / "sub-01" / thumbnail_name("sub-01")).write_bytes(b"png")
    write_group(plan.output)
    summary = json.loads((plan.output / "group_desc-miliary_summary.json").read_text())
    assert summary["n_participants"] == 2
    assert summary["sessions_without_answer"] == ["sub-02"]
    assert summary["incidence_of_participants"]["screened"]["total"] == 2
    assert Verdict.MET == "MET"
