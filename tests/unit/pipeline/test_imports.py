"""What a run does not need is not imported: each of these takes a tenth of a second to a whole one."""

from __future__ import annotations

import subprocess
import sys

import pytest

STAGES = "miliary_seg.load, miliary_seg.locate, miliary_seg.detect, miliary_seg.decide, miliary_seg.pipeline"
TABLES = "miliary_seg.correction, miliary_seg.report.tables, miliary_seg.report.write, miliary_seg.cohort"


@pytest.mark.parametrize(
    ("imported", "not_needed"),
    [
        (STAGES, ("scipy.stats", "scipy.optimize", "skimage", "jinja2", "highdicom", "pandas", "jsonschema")),
        (TABLES, ("scipy.stats", "scipy.optimize", "scipy.spatial", "skimage", "jinja2", "highdicom", "pandas")),
    ],
)
def test_the_stages_import_only_what_they_need(imported: str, not_needed: tuple[str, ...]) -> None:
    code = f"import sys, {imported}; print(*(name for name in {not_needed} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
