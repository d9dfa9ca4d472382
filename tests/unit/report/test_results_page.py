"""docs/results.md against the schema and the columns, and the pictures' code that other tests pass by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miliary_seg.report import tables as columns
from miliary_seg.report.docs_reference import reference
from miliary_seg.report.html.canvas import contours
from miliary_seg.report.html.environment import percent

PAGE = Path(__file__).parents[3] / "docs" / "results.md"


def test_the_page_holds_the_reference_as_it_is():
    assert PAGE.read_text("utf-8").endswith(reference())


def test_every_column_states_its_unit():
    units = {"_mm": "mm", "_mm3": "mm³", "_fraction": "fraction"}
    for table in (columns.LESIONS, columns.SLICES, columns.CANDIDATES, columns.CASES):
        names = [column.name for column in table]
        assert len(names) == len(set(names))
        for column in table:
            assert column.text.endswith(".")
            for ending, unit in units.items():
                if column.name.endswith(ending):
                    assert column.unit == unit


def test_nested_keys_are_in_the_reference():
    text = reference()
    for key in (
        "series[].lesions[].volume_mm3",
        "series[].geometry.gaps[].width_mm",
        "series[].coverage.left_supratentorial",
    ):
        assert f"| `{key}` |" in text


def test_unknown_percent_and_thin_pictures():
    assert percent(None) == "–"
    assert contours(np.zeros((1, 5), np.float32), 0.0) == []
