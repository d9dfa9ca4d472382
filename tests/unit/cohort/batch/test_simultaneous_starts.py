"""Many runs into one new output folder at once, as an array of jobs starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from miliary_seg.cohort import require_writable
from miliary_seg.cohort.run.log import CaseLog, Ledger
from miliary_seg.errors import OutputError
from miliary_seg.report.volume_files import write_bytes
from miliary_seg.report.write import install_folder

ROUNDS = 100
AT_ONCE = 8


def fails_and_leaves(folder: Path) -> None:
    """A case that fails: what it made goes, with the folders that it needed."""
    with pytest.raises(OutputError), install_folder(folder / "case", "result.json", force=False):
        raise OSError("no")


def test_no_start_is_refused_while_others_make_and_remove_folders(tmp_path: Path) -> None:
    """60 of 800 were: a probe of the same name, and folders removed that another was about to use."""

    def start(number: int) -> str:
        output = tmp_path / f"round{number // AT_ONCE}" / "deep" / "out"
        require_writable(output)
        if number % AT_ONCE == 0:
            fails_and_leaves(output)
        else:
            ledger = Ledger(output)
            ledger.append("begin", number=number)
            with CaseLog(output / "logs" / f"{number}.log") as log:
                log.write("done")
            write_bytes(output / "cases.csv", b"table", force=True)
            with install_folder(output / f"case{number}", "result.json", force=False) as draft:
                (draft / "result.json").write_text("{}")
            assert ledger.trouble is None
        return str(output)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        outputs = set(threads.map(start, range(ROUNDS * AT_ONCE)))
    for output in map(Path, outputs):
        assert len(list(output.glob("case*/result.json"))) == AT_ONCE - 1
        assert len(list(output.glob("logs/*.log"))) == AT_ONCE - 1
        assert not list(output.glob(".*")), "nothing hidden stays"


def test_processes_that_start_at_once(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from miliary_seg.cohort import require_writable
from miliary_seg.cohort.run.log import Ledger
print("ready", flush=True); sys.stdin.readline()
for n in range(50):
    require_writable(Path(sys.argv[1]) / str(n) / "out")
    Ledger(Path(sys.argv[1]) / str(n) / "out").append("begin")
"""
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for run in runs:
        run.stdout.readline()
    for run in runs:
        run.stdin.write(b"\n")
        run.stdin.close()
    assert [run.wait() for run in runs] == [0] * len(runs)
    for run in runs:
        run.stdout.close()
    for n in range(50):
        lines = [p.read_text() for p in (tmp_path / str(n) / "out" / "ledger").iterdir()]
        assert [json.loads(line)["event"] for line in lines] == ["begin"] * len(runs)


def test_a_folder_that_cannot_be_made_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "below" / "it", Path("/proc/none")):
        with pytest.raises(OutputError, match="cannot write"):
            require_writable(output)
    require_writable(tmp_path / "new" / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
