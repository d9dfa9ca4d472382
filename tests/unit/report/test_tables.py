"""CSV tables: columns, counts, formulas made inert, and one table for several runs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from miliary_seg.errors import OutputError
from miliary_seg.report import case_rows, write_case, write_cases_table
from miliary_seg.report import tables as columns
from miliary_seg.report.sanitise import csv_cell, csv_column, safe_name
from miliary_seg.report.series_records import LISTED_FROM
from miliary_seg.report.tables import candidates_table, lesions_table, slices_table

HOSTILE = '=HYPERLINK("http://x","y")'


def read(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_lesions(case):
    rows = read(lesions_table(case.series[0]).csv())
    assert list(rows[0]) == [column.name for column in columns.LESIONS]
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["compartment"] for row in rows[:4]] == [
        "left_supratentorial", "right_supratentorial", "left_infratentorial", "right_infratentorial",
    ]  # fmt: skip
    assert float(rows[0]["centroid_r_mm"]) == pytest.approx(-36.0, abs=1.6)
    assert rows[0]["level_confidence"] == ""
    assert rows[0]["slices"].split(";") == [str(k) for k in case.series[0].lesions[0].slices]


def test_slices_count_by_region(case):
    rows = read(slices_table(case.series[0], identified=False).csv())
    assert list(rows[0]) == [column.name for column in columns.SLICES]
    assert len(rows) == 40
    low = rows[10]  # S = -38 mm: one lesion on each side below the tentorium
    assert (low["n_lesions"], low["n_left"], low["n_right"], low["n_infratentorial"]) == ("2", "1", "1", "2")
    assert low["n_supratentorial"] == "0"
    assert (low["threshold"], low["slab_thickness_mm"], low["reaches_threshold"]) == ("20", "5", "false")
    assert {row["sop_instance_uid"] for row in rows} == {""}
    named = read(slices_table(case.series[0], identified=True).csv())
    assert named[3]["sop_instance_uid"].endswith(".4")


def test_candidates_hold_lesions_and_rejections(case):
    rows = read(candidates_table(case.series[0]).csv())
    assert [row["accepted"] for row in rows] == ["true"] * 5 + ["false"]
    assert (rows[-1]["rule"], rows[-1]["lesion_id"]) == ("probability", "")
    assert rows[-1]["contrast"] == "-0.5"
    assert rows[-1]["feature_only_here"] == "3"
    assert rows[0]["feature_only_here"] == ""
    assert rows[0]["feature_elongation"] == ""


def test_unlikely_candidates_are_left_out_unless_all_are_asked_for(tmp_path, make_case):
    case = make_case()
    series = case.series[0]
    refused = series.detection.rejections[0]
    unlikely = replace(refused, candidate=replace(refused.candidate, probability=LISTED_FROM / 2))
    detection = replace(series.detection, rejections=(unlikely,))
    case = replace(case, series=(replace(series, detection=detection),))
    listed = {}
    for name, settings in (("few", case.settings), ("all", {**case.settings, "report": {"all_candidates": True}})):
        folder = write_case(replace(case, settings=settings), tmp_path / name, False)
        (values,) = json.loads((folder / "result.json").read_text("utf-8"))["series"]
        rows = read((folder / values["files"]["candidates"]).read_bytes().decode())
        listed[name] = [row["accepted"] for row in rows]
        assert values["candidates_from_probability"] == (LISTED_FROM if name == "few" else None)
        assert values["detection"]["n_candidates"] == len(series.detection.candidates)
    assert listed == {"few": ["true"] * 5, "all": ["true"] * 5 + ["false"]}


@pytest.mark.parametrize(
    "column",
    [
        [0.1, -2.5, 1e-12],
        [1.5, None, float("nan"), -0.0, float("inf")],
        ["=a", "=a", None, "b,c", ""],
        [True, False, True],
        [1, None, 0],
        [1, True, 1.0, "1", None],
        [None, None],
        [],
        [np.float64(1.25), 2.5, None],
    ],
)
def test_a_column_has_the_cells_of_its_values(column):
    assert csv_column(column) == [csv_cell(value) for value in column]


def test_formulas_are_inert_in_every_table(make_case):
    case = make_case(text=HOSTILE, case="=cmd|' /C calc'!A0", series_id="s")
    texts = [lesions_table(case.series[0]).csv(), candidates_table(case.series[0]).csv()]
    texts.append(slices_table(case.series[0], identified=True).csv())
    cells = [cell for text in texts for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert any(HOSTILE in cell for cell in cells)
    for cell in cells:
        assert cell[:1] not in set("=+@\t\r\n\0")
        if cell[:1] == "-":
            float(cell)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("+1", "'+1"),
        ("-1+2", "'-1+2"),
        ("@x", "'@x"),
        ("\tx", "'x"),
        ("\x1b=1", "'=1"),
        ("\0x", "'x"),
        (-1.5, "-1.5"),
        (3, "3"),
        (True, "true"),
        (float("nan"), ""),
        (None, ""),
        ("a,b", "a,b"),
    ],
)
def test_cells(value, cell):
    assert csv_cell(value) == cell


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/abs", "a\\b", ".hidden", "", "..", "x" * 300, "naïve", "a b", "CON:"]
)
def test_safe_names(name):
    safe = safe_name(name)
    assert safe
    assert len(safe) <= 64
    assert all(letter.isalnum() or letter in "._-" for letter in safe)
    assert not safe.startswith((".", "-"))
    assert safe_name("a/b") != safe_name("a_b")


def test_case_rows_have_the_documented_columns(case):
    (row,) = case_rows(case)
    assert list(row) == [column.name for column in columns.CASES]
    assert row["n_left_supratentorial"] == 1
    assert row["n_right_supratentorial"] == 2
    assert row["coverage_left_infratentorial_fraction"] == 0.875
    assert row["readings_disagree"] is True
    assert row["most_lesions_on_a_slice"] == max(case.series[0].decision.slice_counts)
    assert row["caveats"] == "note;series_note"
    assert row["slice_thickness_mm"] == pytest.approx(4.0)


def test_cases_table_holds_the_rows_given_in_order_and_nothing_else(tmp_path, make_case):
    (tmp_path / "cases.csv").write_text("a,b\n1,2\n")
    names = ("sub-02", "sub-01")
    path = write_cases_table([row for name in names for row in case_rows(make_case(case=name))], tmp_path)
    assert [row["case"] for row in read(path.read_text("utf-8"))] == ["sub-01", "sub-02"]
    assert {p.name for p in tmp_path.iterdir()} <= {"cases.csv", "cases.parquet"}


def test_the_parquet_table_is_the_same_with_types(tmp_path, make_case):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write_cases_table(case_rows(make_case()), tmp_path)
    table = parquet.read_table(tmp_path / "cases.parquet")
    assert table.column_names == [column.name for column in columns.CASES]
    (typed,), (text,) = table.to_pylist(), read(path.read_text("utf-8"))
    assert {name: csv_cell(value) for name, value in typed.items()} == text
    assert isinstance(typed["n_lesions"], int)
    assert isinstance(typed["registration_trusted"], bool)
    assert isinstance(typed["slice_thickness_mm"], float)


def test_parquet_columns_keep_types_and_gaps_and_need_no_pandas():
    pytest.importorskip("pyarrow.parquet")
    script = """
import io, sys
from miliary_seg.report.tables import _parquet
rows = [
    {"text": "a;\u00e4", "truth": True, "whole": 1, "number": 1.5, "mixed": 2},
    {"text": None, "truth": None, "whole": None, "number": None, "mixed": 2.5},
    {"text": "", "truth": False, "whole": -3, "number": float("inf"), "mixed": None},
]
written = _parquet([*rows[0], "nothing"], rows)
assert "pandas" not in sys.modules
import pyarrow.parquet
read = lambda file: pyarrow.parquet.read_table(io.BytesIO(file), use_threads=False)  # its threads may outlive Python
table = read(written)
table.validate(full=True)
assert table.to_pylist() == [{**row, "nothing": None} for row in rows]
assert [str(kind) for kind in table.schema.types] == ["string", "bool", "int64", "double", "double", "string"]
assert read(_parquet(["text"], [])).num_rows == 0
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_cases_table_that_cannot_be_written(tmp_path, case):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="table"):
        write_cases_table(case_rows(case), tmp_path / "file")
    (tmp_path / "cases.csv").mkdir()
    with pytest.raises(OutputError):
        write_cases_table(case_rows(case), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cases.csv", "file"]
