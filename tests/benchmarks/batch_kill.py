"""kill -9 of a batch at random moments, then the same command again (docs/cohorts.md).

    python tests/benchmarks/batch_kill.py FOLDER [--cases 12] [--broken 0] [--kills 20] [--longest 0.6] [--pixel-mm 2.4]

A run lives for at most ``--longest`` of the time that the undisturbed one took. After every kill each folder under a
final name must be complete to the byte, by its own completion mark. In the end all files but logs and ledger must equal
those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from batch_scans import make_scans

from miliary_seg.cohort import read_manifest

CLOCKED = {"ledger", "logs"}


def start(scans: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "miliary_seg.cli", "run", str(scans), "-o", str(output), "--jobs", "2"]
    return subprocess.Popen(
        [*command, "--set", "locate.deform=false", "--set", "report.viewer=false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def complete(output: Path) -> int:
    """Finished cases; raises if anything under a final name is not whole."""
    n = 0
    for folder in sorted(p for p in output.iterdir() if p.is_dir() and p.name not in CLOCKED and p.name[0] != "."):
        mark = read_manifest(folder)
        if mark is None or mark.verify(folder):
            raise SystemExit(f"{folder.name} has its final name but is not complete")
        n += 1
    return n


def contents(output: Path) -> dict[str, bytes]:
    files = (p for p in output.rglob("*") if p.is_file() and p.relative_to(output).parts[0] not in CLOCKED)
    return {p.relative_to(output).as_posix(): p.read_bytes() for p in files}


def break_copies(scans: Path, n: int) -> None:
    """Torn, empty, text, noise and no brain at all, in turn, beside the good scans."""
    good = sorted(scans.glob("scan*.nii.gz"))[:1]
    whole = good[0].read_bytes() if good else b""
    for k in range(n):
        path = scans / f"broken{k:03d}_ce-gd_T1w.nii.gz"
        content = (whole[: len(whole) // (2 + k)], b"", b"no image\n" * 9, os.urandom(500))
        if path.is_file():
            continue
        if k % 5 < 4:
            path.write_bytes(content[k % 5])
        else:
            noise = np.random.default_rng(k).normal(100, 5, (24, 24, 12)).astype(np.float32)
            nib.save(nib.Nifti1Image(noise, np.diag([-8.0, 8.0, 10.0, 1.0])), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--broken", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pixel-mm", type=float, default=2.4, help="coarser scans are quicker")
    parser.add_argument("--longest", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scans = make_scans(options.folder / f"scans{options.cases}-{options.broken}", options.cases, options.pixel_mm)
    break_copies(scans, options.broken)
    output, expected = options.folder / "killed", 1 if options.broken else 0
    for folder in (output, options.folder / "whole"):
        shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    if start(scans, options.folder / "whole").wait() != expected:
        raise SystemExit("the undisturbed run failed")
    whole_s = time.perf_counter() - began
    reference = contents(options.folder / "whole")
    rows = reference["cases.csv"].count(b"\n") - 1
    print(f"undisturbed: {whole_s:.0f} s, {len(reference)} files, {rows} rows in cases.csv", flush=True)
    moments = random.Random(options.seed)
    finished = kills = rounds = 0
    while kills < options.kills:
        run = start(scans, output)
        try:
            run.wait(timeout=moments.uniform(0.0, options.longest * whole_s))
        except subprocess.TimeoutExpired:
            # half of the kills take the supervisor alone, as the system would; the others take the whole session
            os.kill(run.pid, signal.SIGKILL) if kills % 2 else os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            kills += 1
            finished = complete(output) if output.is_dir() else 0
            print(f"kill {kills}: {finished} of {options.cases} finished", flush=True)
            continue
        check(output, reference)
        rounds += 1
        shutil.rmtree(output)
    if start(scans, output).wait() != expected:
        raise SystemExit("the last run failed")
    check(output, reference)
    print(f"{kills} kills, {rounds + 1} runs to the end: all files equal to the undisturbed run, nothing left over")


def check(output: Path, reference: dict[str, bytes]) -> None:
    found = contents(output)
    differing = sorted(name for name in {*found, *reference} if found.get(name) != reference.get(name))
    if differing:
        raise SystemExit(f"not as undisturbed: {differing[:5]}")


if __name__ == "__main__":
    main()
