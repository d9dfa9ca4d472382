"""An archive that grows in five steps through ``miliary-seg run``, and one under Dask whose workers are all lost.

    python tests/benchmarks/batch_archive.py FOLDER [--cases 12] [--broken 3]

Growing: a first file alone, its folder, more patients, moved folders, a changed and a copied scan: after each step the
table must hold every scan once. Dask: all workers are killed again and again, and one returns each time; in the end all
files but logs and ledger must equal those of a run with ``--jobs 2``.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from batch_kill import break_copies, contents
from batch_scans import make_scans

QUICK = ("--set", "locate.deform=false")


def run(output: Path, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "miliary_seg.cli", "run", *map(str, arguments), "-o", str(output), *QUICK]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def table(output: Path) -> list[str]:
    return [row["case"] for row in csv.DictReader((output / "cases.csv").read_text("utf-8").splitlines())]


def grow(scans: list[Path], folder: Path) -> None:
    archive, output = folder / "archive", folder / "grown"
    for old in (archive, output):
        shutil.rmtree(old, ignore_errors=True)

    def put(number: int, patient: str) -> Path:
        (archive / patient).mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(scans[number], archive / patient / "t1c.nii.gz"))

    def step(name: str, expected: list[str], *paths: Path) -> None:
        err = run(output, *(paths or (archive,))).communicate()[1].decode()
        found = table(output)
        print(f"{name}: {found}", flush=True)
        if found != expected:
            raise SystemExit(f"{name}: expected {expected}\n{err}")

    first = put(0, "P1")
    step("one file", ["t1c"], first)
    put(1, "P2")
    step("its archive, with a second patient", ["P2-t1c", "t1c"])
    put(2, "P2/follow-up")
    put(3, "日本")
    step("a follow-up and a name in other letters", ["P2-follow-up-t1c", "P2-t1c", "t1c", "日本-t1c"])
    (archive / "P1").rename(archive / "patient-1")
    shutil.copytree(archive / "P2", archive / "P2 copy")
    step("a folder renamed, another copied", ["P2-follow-up-t1c", "P2-t1c", "t1c", "日本-t1c"])
    put(4, "P2")
    step("a scan exchanged", ["P2-copy-t1c", "P2-follow-up-t1c", "P2-t1c", "t1c", "日本-t1c"])


def workers_lost(scans: Path, folder: Path) -> None:
    whole, output, contact = folder / "whole", folder / "lost", folder / "scheduler.json"
    for old in (whole, output):
        shutil.rmtree(old, ignore_errors=True)
    contact.unlink(missing_ok=True)
    run(whole, scans, "--jobs", 2).communicate()
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", contact],
        **quiet,
    )
    while not contact.is_file() or not contact.read_text().endswith("}"):
        time.sleep(0.1)
    address = json.loads(contact.read_text())["address"]

    def worker() -> subprocess.Popen[bytes]:
        return subprocess.Popen([*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"], **quiet)

    workers, moments, losses = [worker(), worker()], random.Random(0), 0
    going = run(output, scans, "--scheduler", address)
    try:
        while going.poll() is None and losses < 2:
            time.sleep(moments.uniform(20, 40))
            for lost in workers:
                lost.kill()
                lost.wait()
            losses += 1
            time.sleep(5)
            workers = [worker()]
        err = going.communicate()[1].decode()
    finally:
        for process in (*workers, scheduler):
            process.kill()
    one, two = contents(whole), contents(output)
    differing = sorted(name for name in {*one, *two} if one.get(name) != two.get(name))
    if differing:
        raise SystemExit(f"not as without losses: {differing[:5]}\n{err}")
    waited = sum("no worker" in line for line in err.splitlines())
    print(f"Dask: all workers lost {losses} times (told {waited} times), {len(two)} files equal to those of --jobs 2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--broken", type=int, default=3)
    options = parser.parse_args()
    scans = make_scans(options.folder / f"scans{options.cases}-{options.broken}", options.cases)
    grow(sorted(scans.glob("scan*.nii.gz")), options.folder)
    break_copies(scans, options.broken)
    workers_lost(scans, options.folder)


if __name__ == "__main__":
    main()
