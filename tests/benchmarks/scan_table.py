"""Runs every development scan through ``miliary-seg run`` and prints the table of docs/scans.md.

    python tests/benchmarks/scan_table.py OUTPUT [--only GLOB]

One process a scan; time and peak memory are the operating system's own accounting of that process.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SHARED = Path(os.environ.get("MILIARY_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"
SCANS = [
    "ms_26_mni/T1.nii.gz",
    "ms_26_mni/T1POST.nii.gz",
    "ms_26_mni/T2.nii.gz",
    "ms_26_mni/FLAIR.nii.gz",
    "ms_12_raw/study1_FLAIR.nii.gz",
    "ms_12_raw/study1_T1W.nii.gz",
    "ms_12_raw/study1_T2W.nii.gz",
    "ms_12_raw/study2_FLAIR.nii.gz",
    "ms_12_raw/study2_T1W.nii.gz",
    "ms_12_raw/study2_T2W.nii.gz",
    "dicom_t1_child",
    "dicom_t1_2d_sagittal",
    "heads/t1_crop.nii.gz",
    "heads/t1_otsu.nii.gz",
    "heads/t2_2mm.nii.gz",
    "heads/t1c_brain_only.nii.gz",
    "heads/t1_ccbync.nii.gz",
    "heads/pd_ccbync.nii.gz",
    "templates/scct.nii.gz",
    "templates/GG-366-FLAIR-2.0mm-8mmFWHM.nii.gz",
]
NOT_FILLED = [
    *(f"gad_heads/btp{n:02d}_{visit}_T1c.nii.gz" for n in (1, 2, 3, 4, 5, 6, 8) for visit in ("pre", "post")),
    "gad_heads/remind_T1c.nii.gz",
    "gad_heads/remind_T2.nii.gz",
    "heads/ct_visible_human_f.nii.gz",
]
"""Only run as they are: most hold a tumour. `implant_table` fills the others with lesions."""
EXTRA = {"heads/t1c_brain_only.nii.gz": ["--sequence", "t1c"]}
COLUMNS = (
    "scan",
    "shape",
    "sequence",
    "s",
    "MB",
    "candidates",
    "lesions",
    "most a slice (second)",
    "slab",
    "trust",
    "verdict",
    "reasons",
)


def line(values: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in values) + " |"


class Run(NamedTuple):
    """What a command cost: the operating system's own accounting."""

    code: int
    wall_s: float
    megabytes: float
    error: str
    processor_s: float


def measured(command: list[str]) -> Run:
    """Exit code, wall seconds, peak MB, stderr and processor seconds of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    code, wall = os.waitstatus_to_exitcode(status), time.perf_counter() - start
    return Run(code, wall, usage.ru_maxrss / 1024, error, usage.ru_utime + usage.ru_stime)


def row(scan: str, output: Path) -> str:
    case = scan.replace("/", "_").removesuffix(".nii.gz")
    folder = output / case
    command = [sys.executable, "-m", "miliary_seg.cli", "run", str(SHARED / scan), "--case", case, "--force"]
    code, seconds, megabytes, error, _ = measured([*command, "--output", str(output), *EXTRA.get(scan, [])])
    name, cost = f"`{scan}`", (f"{seconds:.1f}", f"{megabytes:.0f}")
    if code != 0:
        return line((name, "", "", *cost, "", "", "", "", "", f"exit {code}", error.strip().splitlines()[-1:]))
    document = json.loads((folder / "result.json").read_text())
    return "\n".join(line((name, *cells(series, cost))) for series in document["series"])


def cells(series: dict, cost: tuple[str, str]) -> tuple[object, ...]:
    decision = series["decision"]
    counts = [*sorted((s["n_lesions"] for s in series["slices"]), reverse=True), 0, 0]
    slabs = [s.get("n_lesions_slab", 0) or 0 for s in series["slices"]]
    shape = "x".join(map(str, series["geometry"]["shape"]))
    most = f"{counts[0]} ({counts[1]})"
    trust = f"{series['registration'].get('trust', float('nan')):.2f}"
    reasons = ", ".join(reason["code"] for reason in decision["reasons"])
    found = (series["detection"]["n_candidates"], len(series["lesions"]), most, max(slabs, default=0), trust)
    return (shape, series["sequence"], *cost, *found, decision["verdict"], reasons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", default="*")
    arguments = parser.parse_args()
    print(line(COLUMNS), line(["---"] * len(COLUMNS)), sep="\n")
    for scan in fnmatch.filter(SCANS + NOT_FILLED, arguments.only):
        print(row(scan, arguments.output), flush=True)


if __name__ == "__main__":
    main()
