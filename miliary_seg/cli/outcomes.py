"""How cases ended: a line each as they end, a bar while they run, one JSON document, the exit code."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from miliary_seg.cli import INTERRUPTED
from miliary_seg.cli.options import print_error, say
from miliary_seg.domain.progress import watching

if TYPE_CHECKING:
    from miliary_seg.cohort import CaseOutcome
    from miliary_seg.cohort.tables import Collected

VERDICT_WIDTH = len("INDETERMINATE")
MANY = 2
"""Fewer cases than this need no summary."""


class OutcomePrinter:
    """Says each outcome when it comes and keeps no more of it than the end needs.

    Parameters
    ----------
    as_json
        Nothing but one JSON document on stdout, at the end.
    quiet
        Nothing but results and errors.
    verbose
        The reasons of each answer too.
    page
        Where the page of a finished case is.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        page: Callable[[CaseOutcome, Path], Path] | None = None,
    ) -> None:
        self._as_json, self._quiet, self._verbose = as_json, quiet, verbose
        self.width = 0
        """Of the column of names; 0 = no columns."""
        self._page = page or (lambda _, folder: folder / "report.html")
        self._counts: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._folders: list[Path] = []
        self._failed: list[dict[str, str]] = []
        self._first_exit_code = 0
        self.shown: Callable[[str], None] = _say_once
        """What shows what the run waits for: the bar while there is one."""

    def waiting(self, what: str) -> None:
        """Show what the run waits for; an empty text when it waits no longer."""
        self.shown(what)

    def of_cases(self, names: Iterable[str]) -> None:
        """Make room for the names of several cases: their lines become a table."""
        widths = [len(name) + 1 for name in names]
        self.width = max(widths) if len(widths) > 1 else 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing but results and errors is said."""
        return self._quiet

    @property
    def counts(self) -> Counter[str]:
        """Outcomes so far by status: done, kept, partial, failed."""
        return self._counts

    def add(self, outcome: CaseOutcome) -> None:
        """Verdict and report to stdout; error or figures to stderr."""
        self._counts[outcome.status] += 1
        error = outcome.error
        if error is not None:
            self._first_exit_code = self._first_exit_code or error.exit_code
            print_error(error)
            if self._as_json:
                self._failed.append({"case": outcome.case, "code": error.code, "message": str(error)})
        if outcome.folder is not None:
            self._verdicts[outcome.verdict] += 1
            if self._as_json:
                self._folders.append(outcome.folder)
            else:
                self._say_result(outcome, outcome.folder)

    def _say_result(self, outcome: CaseOutcome, folder: Path) -> None:
        """One line of the table of results; figures to stderr."""
        case, verdict = f"{outcome.case}:".ljust(self.width), outcome.verdict.ljust(VERDICT_WIDTH if self.width else 0)
        say(f"{case} {verdict}  {self._page(outcome, folder)}\n")
        if not self._quiet:
            say(f"{outcome.case}: {_figures(outcome)}\n", err=True)
        if self._verbose:
            for row in outcome.rows:
                reasons = str(row.get("reasons") or "none").replace(";", ", ")
                say(
                    f"{outcome.case}: series {row.get('series')}: {row.get('n_lesions')} lesions, {reasons}\n", err=True
                )

    def print_collected(self, collected: Collected) -> None:
        """Warn of what the tables leave out."""
        for cases, said in (
            (collected.left_out, "finished case(s) of other settings are in no table"),
            (collected.failed_again, "case(s) failed when done again: the earlier result is in no table"),
            (
                collected.damaged,
                "case(s) lost files since they were finished and are in no table (--force does them again)",
            ),
        ):
            if cases:
                names = ", ".join(cases[:5]) + (", ..." if len(cases) > 5 else "")
                typer.echo(f"miliary-seg: {len(cases)} {said}: {names}", err=True)
        for cases in collected.same_scan[:5]:
            others = ", ".join(cases[1:])
            typer.echo(f"miliary-seg: {others}: the same scan as {cases[0]}, and counted once with it", err=True)
        if len(collected.versions) > 1:
            typer.echo(f"miliary-seg: the table mixes results of {', '.join(collected.versions)}", err=True)

    def end(self) -> None:
        """Summary or JSON document, and the exit code.

        0 all done; 1 some failed; where nothing was done, the code of the first error.
        """
        good = self._counts["done"] + self._counts["kept"]
        if self._as_json:
            self._print_json()
        elif self._counts.total() >= MANY and not self._quiet:
            verdicts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(self._verdicts.items()))
            partial = ("partial",) if self._counts["partial"] else ()
            statuses = ", ".join(f"{self._counts[status]} {status}" for status in ("done", "kept", *partial, "failed"))
            typer.echo(f"miliary-seg: {self._counts.total()} cases: {statuses}; {verdicts or 'no verdict'}", err=True)
        if self._counts["failed"] + self._counts["partial"]:
            raise typer.Exit(1 if good else self._first_exit_code)

    def _print_json(self) -> None:
        """One document, a case at a time: results are large and may be many."""
        typer.echo('{\n"cases": [', nl=False)
        for number, folder in enumerate(self._folders):
            text = (folder / "result.json").read_text("utf-8").rstrip()
            typer.echo(("," if number else "") + "\n" + text, nl=False)
        typer.echo('\n],\n"failed": ' + json.dumps(self._failed, indent=1) + "\n}")


@contextmanager
def interruptible(printer: OutcomePrinter) -> Iterator[None]:
    """Ctrl-C and SIGTERM end a run in order: workers are stopped, what is finished stays, and the way on is said."""
    code = [INTERRUPTED]

    def stop(number: int, _frame: object) -> None:
        code[0] = 128 + number
        raise KeyboardInterrupt

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if in_main else None
    try:
        yield
    except KeyboardInterrupt as interrupt:
        n_done = printer.counts.total() - printer.counts["failed"]
        say(f"miliary-seg: interrupted: {n_done} done, run again to go on\n", err=True)
        raise typer.Exit(code[0]) from interrupt
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


def watched(outcomes: Generator[CaseOutcome, None, None], total: int, printer: OutcomePrinter) -> None:
    """Say outcomes behind a bar with done, failed and the time left (stderr, silent when not a terminal).

    A case that runs in this process tells its stage there too.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    shown = console.is_terminal and not printer.is_quiet
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[stage]}"),
        TextColumn("[yellow]{task.fields[waiting]}"),
    )
    bar = Progress(
        *columns,
        console=console,
        disable=not shown,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # results that go to a file must not go to the bar's console
        speed_estimate_period=3600,
    )
    task = bar.add_task("cases", total=total, failed=printer.counts["failed"], stage="", waiting="")

    def show(stage: str, done: int, n_steps: int) -> None:
        bar.update(task, stage=f"{stage} {done}/{n_steps}" if n_steps else stage)

    with bar if shown else nullcontext(), watching(show):  # rich before 15 ends a hidden bar with an empty line
        if console.is_terminal:
            printer.shown = lambda what: bar.update(task, waiting=what)
        with closing(outcomes):
            for outcome in outcomes:
                printer.add(outcome)
                bar.update(task, advance=1, failed=printer.counts["failed"], stage="")


@lru_cache(maxsize=8)
def _say_once(what: str) -> None:
    """Where no bar is shown: a line, and not the same again."""
    if what:
        typer.echo(f"miliary-seg: {what}", err=True)


def _figures(outcome: CaseOutcome) -> str:
    if outcome.kept:
        return "kept: finished before, from the same input, with the same settings and version"
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in outcome.timings_s.items())
    return f"{outcome.seconds:.1f} s ({stages}), {outcome.peak_memory_mb:.0f} MB"
