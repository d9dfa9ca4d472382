"""The notebooks of the documentation run from their own folder, and were executed before they were committed."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(path: Path):
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
@pytest.mark.filterwarnings("default")  # of jupyter, not of ours
def test_a_notebook_runs(path):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib.font_manager")  # its first import may talk on stderr, if it takes five seconds
    notebook = read(path)
    resources = {"metadata": {"path": str(FOLDER)}}
    patient = {"timeout": None, "startup_timeout": 600}
    nbclient.NotebookClient(notebook, kernel_name="python3", resources=resources, **patient).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    warned = [o.text for cell in cells for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
    assert not warned


def test_both_notebooks_are_there_small_and_executed():
    assert [path.stem for path in NOTEBOOKS] == ["one_scan", "stages"]
    for path in NOTEBOOKS:
        assert path.stat().st_size < 2_000_000
        cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        outputs = [o for cell in cells for o in cell.outputs]
        assert not [o for o in outputs if o.output_type == "error"]
        assert any("image/png" in o.get("data", {}) for o in outputs)
        assert str(Path.home()) not in path.read_text("utf-8")
