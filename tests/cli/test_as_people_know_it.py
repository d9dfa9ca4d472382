"""The command line behaves as others do: short options, dry runs, capitals, ~, pipes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import miliary_seg.cli as entry
from miliary_seg.cohort import read_ledger
from miliary_seg.cohort.run.case import peak_memory_mb

COMMAND = [sys.executable, "-m", "miliary_seg.cli"]


def save(path: Path, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 900, (8, 8, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


VERBS = ("run", "inspect", "phantom", "demo", "settings", "bids", "bench", "cohort", "cohort summary", "bench score")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_answers_to_h(cli, verb: str) -> None:
    short, long = cli(*verb.split(), "-h"), cli(*verb.split(), "--help")
    assert short.code == long.code == 0
    assert short.out == long.out
    assert "Usage" in short.out


def test_the_first_help_is_whole_on_a_narrow_terminal(cli, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = cli("--help")
    assert "..." not in done.out.split("Commands:")[1]
    assert all(f"\n  {verb.split()[0]} " in done.out for verb in VERBS)
    assert "--install-completion" in done.out


def test_version_in_short_and_long(cli) -> None:
    assert cli("-V").out == cli("--version").out
    assert cli("-V").out.startswith("miliary-seg ")


def test_home_is_expanded_where_the_shell_does_not(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = ["run", "~/scans", "--output=~/out", "-o~/out", "~", "a~b", "~other", "--set", "x=~y", "--case=~"]
    assert entry.with_home(given) == [
        *("run", "/home/me/scans", "--output=/home/me/out", "-o/home/me/out", "/home/me", "a~b", "~other"),
        *("--set", "x=~y", "--case=/home/me"),
    ]


def test_output_below_home(cli, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    scan = save(tmp_path / "scan.nii")
    plan = json.loads(cli("run", scan, "--output=~/results", "--dry-run", "--json").out)
    assert plan["cases"][0]["folder"] == str(tmp_path / "results" / "scan")


@pytest.mark.parametrize(
    "options", [("--sequence", "T1C"), ("--sequence", "Auto"), ("--sensitivity", "HIGH"), ("--seg", "LabelMap")]
)
def test_values_in_any_case(cli, tmp_path, options) -> None:
    assert cli("run", save(tmp_path / "scan.nii"), "-o", tmp_path / "out", "--dry-run", *options).code == 0


@pytest.fixture
def results(tmp_path: Path, cli) -> tuple[Path, Path]:
    """Scans and an output folder: one finished, one of another program, one torn, one new."""
    from miliary_seg.cohort import RunPlan
    from miliary_seg.cohort.run.case import versions
    from miliary_seg.cohort.run.manifest import Manifest, files_of, origin_of
    from miliary_seg.load import find_cases
    from miliary_seg.settings import Settings

    scans, output = tmp_path / "scans", tmp_path / "out"
    for number, name in enumerate(("done", "new", "other")):
        save(scans / name / "t1c.nii.gz", number)
    (scans / "torn.nii.gz").write_bytes(b"torn")
    plan = RunPlan(output=output, settings=Settings())
    case = find_cases([scans / "done"]).cases[0]
    folder = output / "t1c"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    origin = origin_of(case, plan, dict(versions()))
    Manifest(case="t1c", verdict="MET", origin=origin, rows=(), files=files_of(folder)).write(folder)
    (output / "other-t1c").mkdir()
    (output / "other-t1c" / "thesis.docx").write_text("x")
    return scans, output


def test_a_dry_run_says_what_would_be_run_kept_and_refused_and_writes_nothing(cli, results) -> None:
    scans, output = results
    before = sorted(output.rglob("*"))
    told = json.loads(cli("run", scans, "-o", output, "--dry-run", "--json").out)
    assert {case["case"]: case["action"] for case in told["cases"]} == {
        "t1c": "keep",
        "new-t1c": "run",
        "other-t1c": "refuse",
    }
    assert [problem["case"] for problem in told["problems"]] == ["torn"]
    table = cli("run", scans, "-o", output, "--dry-run")
    assert table.code == 0
    lines = {line.split()[0]: line for line in table.out.splitlines()}
    assert set(lines) == {"would", "keep", "run", "refuse", "unreadable"}
    assert str(scans / "new" / "t1c.nii.gz") in lines["run"], "paths are whole"
    assert str(output / "new-t1c") in lines["run"]
    assert "not a result of miliary-seg" in lines["refuse"]
    assert "finished: MET" in lines["keep"]
    assert "1 keep, 1 refuse, 1 run, 1 unreadable" in table.err
    assert sorted(output.rglob("*")) == before
    again = json.loads(cli("run", scans / "done", "-o", output, "--dry-run", "--json", "--force").out)
    assert again["cases"][0]["action"] == "run again"
    nowhere = output.parent / "nowhere"
    assert cli("run", scans, "-o", nowhere, "--dry-run").code == 0
    assert not nowhere.exists()


def test_inspect_is_a_table_with_paths_also_of_what_has_no_geometry(cli, tmp_path, monkeypatch) -> None:
    from miliary_seg.domain.sequence import SequenceEvidence
    from miliary_seg.load import cases
    from miliary_seg.load.inventory import SeriesInfo

    scan = save(tmp_path / "scans" / "t1c.nii.gz")
    localizer = SeriesInfo(
        id="localizer", format="DICOM", modality=None, sequence=SequenceEvidence(), eligible=False, why="a localizer"
    )
    real = cases.choose
    monkeypatch.setattr(cases, "choose", lambda series, settings: (*real(series, settings), localizer))
    done = cli("inspect", tmp_path / "scans")
    (row,) = [line for line in done.out.splitlines() if " t1c " in line and line.startswith("yes")]
    assert "8 x 8 x 6" in row
    assert str(scan) in row
    (odd,) = [line for line in done.out.splitlines() if "localizer" in line]
    assert " of  mm" not in odd
    assert "," not in odd.replace("a localizer", "")
    assert odd.split()[:2] == ["no", "localizer"]


def test_quiet_says_results_and_errors_alone(cli, results, tmp_path) -> None:
    scans, output = results
    done = cli("run", scans / "done", scans / "torn.nii.gz", "-o", output, "-q", "-j", 1)
    assert done.code == 1
    assert [line.split()[:2] for line in done.out.splitlines()] == [["t1c:", "MET"]]
    assert [line.split()[1] for line in done.err.splitlines()] == ["unreadable_file:"]


def begun(output: Path) -> bool:
    return any((output / "ledger").glob("*.jsonl"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_the_way_on_and_ends_its_ledger(small_scan, tmp_path, number, code) -> None:
    scans, output = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for n in range(6):
        (scans / f"scan{n}_ce-gd_T1w.nii.gz").write_bytes(small_scan.read_bytes())
    run = subprocess.Popen(
        [*COMMAND, "run", str(scans), "-o", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - what runs in the background ignores it
    )
    for _ in range(3000):
        if begun(output):
            break
        time.sleep(0.05)
    run.send_signal(number)
    _, err = run.communicate()
    assert run.returncode == code, err
    assert "Traceback" not in err
    assert "interrupted: " in err
    assert " done, run again to go on" in err
    last = list(read_ledger(output))[-1]
    assert (last["event"], last["interrupted"]) == ("end", True)
    assert not list(output.glob(".*.draft"))


def test_ctrl_c_while_the_program_starts_is_no_traceback(monkeypatch, capsys) -> None:
    class Stop:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "miliary_seg.cli.program":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "miliary_seg.cli.program", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Stop(), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["miliary-seg", "--help"])
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 130
    assert capsys.readouterr().err == "miliary-seg: interrupted\n"


def test_the_entry_point_imports_next_to_nothing() -> None:
    """What is imported before ``main`` can end in a traceback at Ctrl-C."""
    code = "import sys; before = set(sys.modules); import miliary_seg.cli; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = [name for name in run.stdout.split() if name.startswith("miliary_seg")]
    assert ours == ["miliary_seg", "miliary_seg.cli", "miliary_seg.software"]
    assert not {"typer", "click", "numpy", "rich"} & set(run.stdout.split())


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
@pytest.mark.parametrize("arguments", [("settings",), ("inspect", "SCANS"), ("--help",), ("run", "SCANS", "-o", "OUT")])
def test_a_reader_that_has_enough_is_no_error(results, tmp_path, arguments) -> None:
    scans, output = results
    words = [{"SCANS": str(scans / "done"), "OUT": str(output)}.get(word, word) for word in arguments]
    run = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run.stdout.close()
    err = run.stderr.read()
    run.stderr.close()
    assert run.wait() == 0, err
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="sh")
@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&- 2>&- <&-", ">&-", "2>&-"])
def test_streams_that_are_closed_from_the_start(results, closed) -> None:
    scans, output = results
    words = " ".join(["run", str(scans / "done"), "-o", str(output)])
    run = subprocess.run(
        ["sh", "-c", f"'{sys.executable}' -m miliary_seg.cli {words} {closed}"], capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert b"Traceback" not in run.stderr
    assert b"Error" not in run.stderr
    if closed == ">&-":
        assert b"kept" in run.stderr


def test_a_terminal_of_few_letters_gets_escapes(results, tmp_path) -> None:
    scans, output = results
    (scans / "new").rename(scans / "日本")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    run = subprocess.run(
        [*COMMAND, "run", str(scans), "-o", str(output), "--dry-run"], capture_output=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    assert rb"\u65e5\u672c-t1c" in run.stdout


def test_a_system_without_the_resource_module(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory_mb() == 0.0
