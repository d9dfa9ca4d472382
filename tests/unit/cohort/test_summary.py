"""A whole summary: joined tables, files, and what is refused."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import pytest

from miliary_seg.cohort import SummaryPlan, read_cases, summarise, write_cohort_summary
from miliary_seg.errors import InputError, OutputError, SettingsError, UsageError

PARTICIPANTS = """
participant_id subtype leptomeningeal months died
sub-01 HER2 yes 3.5 1
sub-02 HR no 11 1
sub-03 HER2 yes 4 yes
sub-04 HR n/a 20 0
sub-05 TN no 9 2
sub-06 TN no 7 0
sub-99 HR no 1 0
"""
VERDICTS = {
    "sub-01": "MET",
    "sub-02": "MET",
    "sub-03": "MET",
    "sub-04_ses-1": "NOT_MET",
    "sub-04_ses-2": "INDETERMINATE",
    "sub-05": "NOT_MET",
    "sub-06": "NOT_MET",
    "sub-07": "NOT_MET",
}


@pytest.fixture
def plan(finished, participants_file) -> SummaryPlan:
    return SummaryPlan(
        runs=(finished(VERDICTS),),
        participants=participants_file(PARTICIPANTS),
        findings=("leptomeningeal",),
        groups=("subtype", "leptomeningeal"),
        time="months",
        event="died",
        by="subtype",
    )


def test_the_published_cohort_prints_its_figures(finished, cli, tmp_path: Path) -> None:
    folder = finished({f"p{i:03d}": "MET" if i < 21 else "NOT_MET" for i in range(546)})
    done = cli("cohort", "summary", folder, "-o", tmp_path / "summary")
    assert done.code == 0, done.err
    assert "21 of 546 patients meet the proposed criteria: 3.8 % (Wilson 95 % 2.53-5.81)" in done.out


def test_everything_is_joined_and_nobody_vanishes(plan: SummaryPlan) -> None:
    document = summarise(plan)
    assert document["incidence"]["n_patients"] == 7
    assert document["incidence"]["n_indeterminate"] == 1
    assert document["unmatched"] == {
        "patients_not_in_participants": ["sub-07"],
        "participants_without_case": ["sub-99"],
        "cases_without_owner": [],
    }
    finding = document["co_occurrence"][0]
    assert (finding["among_met"]["count"], finding["among_met"]["total"], finding["n_unknown"]) == (2, 3, 0)
    subtype, leptomeningeal = document["groups"]
    shares = {g["group"]: g["comparison"]["first"]["total"] for g in subtype["comparisons"]["decided"]["groups"]}
    assert shares == {"HER2": 2, "HR": 1, "TN": 2}
    as_met = subtype["comparisons"]["indeterminate_as_met"]["groups"]
    assert {g["group"]: g["comparison"]["first"]["count"] for g in as_met} == {"HER2": 2, "HR": 2, "TN": 0}
    assert leptomeningeal["comparisons"]["decided"]["kind"] == "two"
    assert leptomeningeal["n_unknown"] == 2
    assert [c["n"] for c in document["survival"]["curves"]] == [2, 1]
    assert any("Kaplan" in paragraph for paragraph in document["methods"])


def test_survival_by_the_answer_over_all_patients(plan: SummaryPlan) -> None:
    from dataclasses import replace

    document = summarise(replace(plan, by="verdict", among="all", competing=True))
    found = document["survival"]
    assert found["kind"] == "cumulative_incidence"
    assert {c["group"]: c["n"] for c in found["curves"]} == {"MET": 3, "INDETERMINATE": 1, "NOT_MET": 2}
    assert found["n_left_out"] == 1


def test_the_files_are_written_whole_and_twice_the_same(plan: SummaryPlan, tmp_path: Path) -> None:
    document = summarise(plan)
    first = write_cohort_summary(document, tmp_path / "one")
    second = write_cohort_summary(document, tmp_path / "two")
    names = sorted(p.name for p in first.iterdir())
    assert {"cohort.json", "cohort.html", "methods.md", "patients.csv", "survival.svg", "survival.png"} <= set(names)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)
    assert json.loads((first / "cohort.json").read_text("utf-8")) == json.loads(json.dumps(document))
    for picture in first.glob("*.svg"):
        table = first / f"{picture.stem}.csv"
        assert len(list(csv.reader(table.read_text("utf-8").splitlines()))) > 1, picture.name
    with pytest.raises(OutputError, match="--force"):
        write_cohort_summary(document, first)
    assert write_cohort_summary(document, first, force=True) == first


def test_a_folder_of_something_else_is_never_replaced(plan: SummaryPlan, tmp_path: Path) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("work of years")
    with pytest.raises(OutputError, match="not a result"):
        write_cohort_summary(summarise(plan), other, force=True)
    assert (other / "chapter.txt").exists()


def test_hostile_text_stays_text(finished, participants_file, tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    table = participants_file(f"participant_id {nasty}\nsub-01 <b>x</b>\nsub-02 =1+1\nsub-03 =1+1")
    verdicts = {"sub-01": "MET", "sub-02": "NOT_MET", "sub-03": "MET"}
    plan = SummaryPlan(runs=(finished(verdicts),), participants=table, groups=(nasty,))
    folder = write_cohort_summary(summarise(plan), tmp_path / "out")
    page = (folder / "cohort.html").read_text("utf-8")
    assert "<script" not in page
    assert "<b>x" not in page
    assert "default-src 'none'" in html.unescape(page)
    texts = [path.read_text("utf-8") for path in folder.glob("groups_*.csv")]
    cells = [cell for text in texts for row in csv.reader(text.splitlines()) for cell in row]
    assert "'=1+1" in cells
    assert not any(re.match(r"[=+@]", cell) for cell in cells)
    assert all(path.parent == folder for path in folder.rglob("*"))


def test_other_names_of_cases_need_a_table_of_owners(finished, participants_file, tmp_path: Path) -> None:
    folder, table = finished({"scan1": "MET", "scan2": "NOT_MET"}), participants_file("participant_id age\nsub-01 60")
    with pytest.raises(InputError, match="no participant has a case"):
        summarise(SummaryPlan(runs=(folder,), participants=table))
    owners = tmp_path / "owners.tsv"
    owners.write_text("case\tparticipant_id\nscan1\tsub-01\nscan2\tsub-01\n", "utf-8")
    document = summarise(SummaryPlan(runs=(folder,), participants=table, owners=owners))
    assert document["patients"] == [{"id": "sub-01", "verdict": "MET", "cases": ["scan1", "scan2"]}]
    owners.write_text("scan\tparticipant_id\n", "utf-8")
    with pytest.raises(InputError, match="whose the cases are"):
        summarise(SummaryPlan(runs=(folder,), owners=owners))


def test_cohorts_of_different_settings_are_not_pooled(finished) -> None:
    one, two = finished({"a": "MET"}, "one"), finished({"b": "MET"}, "two", settings_digest="b" * 64)
    with pytest.raises(SettingsError, match="1 with aaaaaaaaaaaa, 1 with bbbbbbbbbbbb"):
        read_cases([one, two])
    three = finished({"c": "MET"}, "three", software_version="9.9")
    with pytest.raises(SettingsError, match="versions"):
        read_cases([one, three])


def test_a_case_given_twice_is_refused(finished) -> None:
    one, two = finished({"a": "MET"}, "one"), finished({"a": "MET"}, "two")
    with pytest.raises(InputError, match="case a is in"):
        read_cases([one, two])


@pytest.mark.parametrize("content", ["", "case,verdict\na,MET\n", "\xff"])
def test_a_foreign_table_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "cases.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"cases\.csv"):
        read_cases([tmp_path])


def test_a_table_without_cases_is_refused(finished) -> None:
    with pytest.raises(InputError, match="no finished case"):
        read_cases([finished({})])
    with pytest.raises(InputError, match="has no verdict"):
        read_cases([finished({"a": "PERHAPS"}, "bad")])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"participants": None}, UsageError),
        ({"event": ""}, UsageError),
        ({"among": "some"}, UsageError),
        ({"groups": ("nothing",)}, InputError),
        ({"event": "subtype"}, InputError),
    ],
)
def test_impossible_plans_are_refused(plan: SummaryPlan, change: dict[str, object], error: type[Exception]) -> None:
    from dataclasses import replace

    with pytest.raises(error):
        summarise(replace(plan, **change))


def test_a_column_of_one_value_makes_no_groups(finished, participants_file) -> None:
    table = participants_file("participant_id site\na X\nb X")
    plan = SummaryPlan(runs=(finished({"a": "MET", "b": "NOT_MET"}),), participants=table, groups=("site",))
    with pytest.raises(InputError, match="fewer than two values"):
        summarise(plan)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, cli, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = cli("cohort", "summary", tmp_path, "-o", tmp_path / "out")
    assert done.code == 2
    assert "miliary-seg[cohort]" in done.err


def test_a_scan_that_failed_leaves_its_patient_open(finished) -> None:
    from miliary_seg.cohort.run.log import Ledger

    folder = finished({"sub-01_ses-1": "NOT_MET", "sub-02": "MET", "sub-03": "NOT_MET"})
    ledger = Ledger(folder)
    for case, event in (("sub-01_ses-2", "failed"), ("sub-02", "failed"), ("sub-02", "done"), ("sub-04", "failed")):
        ledger.append(event, case=case)
    document = summarise(SummaryPlan(runs=(folder,)))
    verdicts = {patient["id"]: patient["verdict"] for patient in document["patients"]}
    expected = {"sub-01": "INDETERMINATE", "sub-02": "MET", "sub-03": "NOT_MET", "sub-04": "INDETERMINATE"}
    assert verdicts == expected
    assert document["failed_cases"] == ["sub-01_ses-2", "sub-04"]
    assert any("2 could not be" in paragraph for paragraph in document["methods"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [("scan1\ta\nscan1\tb", "a second time"), ("scan9\ta", "not among those that were run"), ("scan1\t", "lacks")],
)
def test_a_table_of_owners_is_read_strictly(finished, tmp_path: Path, rows: str, said: str) -> None:
    owners = tmp_path / "owners.tsv"
    owners.write_text(f"case\tparticipant_id\n{rows}\n", "utf-8")
    with pytest.raises(InputError, match=said):
        summarise(SummaryPlan(runs=(finished({"scan1": "MET", "scan2": "MET"}),), owners=owners))


def test_cases_without_an_owner_are_named(finished, tmp_path: Path) -> None:
    owners = tmp_path / "owners.tsv"
    owners.write_text("case\tparticipant_id\nscan1\tp\n", "utf-8")
    document = summarise(SummaryPlan(runs=(finished({"scan1": "MET", "scan2": "MET"}),), owners=owners))
    assert document["unmatched"]["cases_without_owner"] == ["scan2"]
