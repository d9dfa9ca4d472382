"""Throughput, overhead, memory and file descriptors of a batch (docs/cohorts.md).

    python tests/benchmarks/batch_scale.py FOLDER [--cases 200] [--compare 40] [--empty 500]

Runs ``miliary-seg run`` over small phantom heads with 1 and 2 workers and with Dask, watches the memory and the open
files of every process while the longest run goes on, and times cases without work. Only ratios and CPU times mean
much on a shared machine.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean

import psutil
from batch_scans import make_scans
from no_work import NoWork

from miliary_seg.cohort import BatchOptions, RunPlan, read_ledger, run_cases
from miliary_seg.load import CaseInfo
from miliary_seg.settings import Settings

SAMPLE_S = 1.0


def command(scans: list[Path], output: Path, *options: str) -> list[str]:
    shutil.rmtree(output, ignore_errors=True)
    quick = ("--set", "locate.deform=false")
    return [sys.executable, "-m", "miliary_seg.cli", "run", *map(str, scans), "-o", str(output), *quick, *options]


def timed(scans: list[Path], output: Path, *options: str) -> tuple[float, float]:
    """Wall and CPU seconds a case, children included."""
    before, start = children_cpu(), time.perf_counter()
    subprocess.run(command(scans, output, *options), check=True, capture_output=True)
    wall = time.perf_counter() - start
    done = sum(event["event"] == "done" for event in read_ledger(output))
    assert done == len(scans), done
    return wall / len(scans), (children_cpu() - before) / len(scans)


def children_cpu() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def watched(scans: list[Path], output: Path, *options: str) -> None:
    """Memory and open files of every process over a long run: the second tenth against the last."""
    with subprocess.Popen(
        command(scans, output, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        memory: dict[int, list[float]] = defaultdict(list)
        files: dict[int, list[int]] = defaultdict(list)
        parent = psutil.Process(run.pid)
        while run.poll() is None:
            for process in (parent, *parent.children(recursive=True)):
                try:
                    rss, n_files = process.memory_info().rss / 2**20, process.num_fds()
                except psutil.Error:
                    continue
                memory[process.pid].append(rss)
                files[process.pid].append(n_files)
            time.sleep(SAMPLE_S)
    print(f"\n{len(scans)} cases, {' '.join(options)}; second tenth of the run against the last")
    print(
        "| process | MB early | MB late | growth | open files early | late | samples |\n|---|---|---|---|---|---|---|"
    )
    for pid, series in memory.items():
        if len(series) < 20:
            continue
        tenth = len(series) // 10
        early, late = mean(series[tenth : 2 * tenth]), mean(series[-tenth - 1 : -1])
        role = "supervisor" if pid == run.pid else "worker"
        opened = f"{mean(files[pid][tenth : 2 * tenth]):.1f} | {mean(files[pid][-tenth - 1 : -1]):.1f}"
        print(f"| {role} | {early:.1f} | {late:.1f} | {100 * (late / early - 1):+.1f} % | {opened} | {len(series)} |")


def empty(n: int, folder: Path) -> None:
    """Seconds a case that does nothing, with its mark, log and ledger line."""
    cases = [CaseInfo(id=f"case{k:05d}", path=folder / f"{k}", series=()) for k in range(n)]
    print(f"\n{n} cases without work\n| engine | wall ms a case | supervisor CPU ms a case |\n|---|---|---|")
    for name, options in (
        ("one process a worker, 1 worker", BatchOptions(jobs=1)),
        ("one process a worker, 2 workers", BatchOptions(jobs=2)),
        ("Dask, 2 workers", BatchOptions(jobs=2, scheduler="local")),
    ):
        output = folder / "empty"
        shutil.rmtree(output, ignore_errors=True)
        outcomes = run_cases(cases, RunPlan(output=output, settings=Settings()), options, NoWork())
        next(outcomes)  # workers have started
        start, cpu = time.perf_counter(), time.process_time()
        rest = sum(outcome.error is None for outcome in outcomes)
        assert rest == n - 1, rest
        wall = 1000 * (time.perf_counter() - start) / rest
        print(f"| {name} | {wall:.1f} | {1000 * (time.process_time() - cpu) / rest:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--compare", type=int, default=40)
    parser.add_argument("--empty", type=int, default=500)
    options = parser.parse_args()
    scans = sorted(make_scans(options.folder / "scans", options.cases).glob("*.nii.gz"))[: options.cases]
    if options.empty:
        empty(options.empty, options.folder)
    few = scans[: options.compare]
    if few:
        print("\n| engine | wall s a case | CPU s a case |\n|---|---|---|")
        for engine in (("--jobs", "1"), ("--jobs", "2"), ("--jobs", "2", "--scheduler", "local")):
            wall, cpu = timed(few, options.folder / "few", *engine)
            print(f"| {' '.join(engine)} | {wall:.2f} | {cpu:.2f} |", flush=True)
    watched(scans, options.folder / "many", "--jobs", "2")


if __name__ == "__main__":
    main()
