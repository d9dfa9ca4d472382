"""``miliary-seg bench``: how good it is, against references or on phantoms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from miliary_seg.cli.options import AsJson, Changes, Config, Force, Output, resolved

if TYPE_CHECKING:
    from miliary_seg.lab.bench.scoring.matching import MatchRule
    from miliary_seg.lab.bench.sections import Section
    from miliary_seg.lab.bench.sides import ReadOptions

T = TypeVar("T")

bench = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@bench.callback()
def _bench() -> None:
    """Score a run, or anybody's masks, against references; or the program on phantoms."""


@bench.command()
def score(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    output: Output,
    predictions: Annotated[
        Path | None, typer.Argument(help="Output folder of a run, or masks, label maps or CSV of centres.")
    ] = None,
    references: Annotated[Path | None, typer.Argument(help="Masks, label maps, CSV of centres, or phantoms.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV: case, prediction, reference[, truth]; in place of both folders.")
    ] = None,
    truths: Annotated[Path | None, typer.Option(help="CSV: case, truth (MET or NOT_MET), for the decision.")] = None,
    match: Annotated[str, typer.Option(help="auto, overlap (share a voxel) or distance (of centres).")] = "auto",
    tolerance_mm: Annotated[float, typer.Option(help="Centres may lie this far apart, in mm.")] = 2.0,
    labels: Annotated[str, typer.Option(help="auto, instances (a value a lesion) or mask (its pieces).")] = "auto",
    frame: Annotated[str, typer.Option(help="Frame of CSV columns called x, y, z: ras or lps.")] = "ras",
    series: Annotated[str, typer.Option(help="Of a result with several series: the one that starts so.")] = "",
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out cases that only one side has.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score predicted lesions against references: a run of this program, or any other program's masks."""
    from miliary_seg.lab.bench.agreement import ScorePlan
    from miliary_seg.lab.bench.agreement import score as scored
    from miliary_seg.lab.bench.document import agreement_document
    from miliary_seg.lab.bench.write import agreement_sections, require_free, write_agreement

    plan = ScorePlan(
        predictions=predictions,
        references=references,
        pairs=pairs,
        truths=truths,
        rule=_rule(match, tolerance_mm),
        options=_options(labels, frame, series),
        skip_missing=skip_missing,
    )
    require_free(output, force)
    agreement = scored(plan, behind_bar)
    page = write_agreement(agreement, output, force=force)
    if as_json:
        typer.echo(json.dumps(agreement_document(agreement), indent=2))
        return
    show(agreement_sections(agreement))
    typer.echo(str(page))


@bench.command()
def readers(
    first: Annotated[Path, typer.Argument(help="Output folder of a run: the first reader, or both.")],
    second: Annotated[Path | None, typer.Argument(help="Output folder of another run over the same scans.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two detectors, or a reader and the program, over a cohort: verdicts (Cohen's kappa), lesions, counts."""
    from miliary_seg.lab.bench.readers import read_twice, readers_document, readers_sections

    found = read_twice(first, second)
    if as_json:
        typer.echo(json.dumps(readers_document(found), indent=2))
    else:
        show(readers_sections(found))


@bench.command()
def phantoms(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    output: Output,
    hosts: Annotated[
        list[Path] | None, typer.Option(help="Lesion-free scans or FreeSurfer label maps of your own; may repeat.")
    ] = None,
    heads: Annotated[int, typer.Option(min=1, help="Heads drawn from the shipped template (without --hosts).")] = 3,
    thickness_mm: Annotated[
        list[float] | None, typer.Option(help="Slice thickness in mm; may repeat (default 1, 3, 5).")
    ] = None,
    count: Annotated[
        list[int] | None, typer.Option(help="True lesions on two slices; may repeat (default 0 to 40).")
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="lesions, free, curve, negative; may repeat (default all).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal phantoms.")] = 0,
    sensitivity: Annotated[str, typer.Option(help="Operating point: high, balanced or specific.")] = "",
    config: Config = None,
    changes: Changes = None,
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Try the program on phantoms: heads with lesions whose every place is known, and heads without.

    Ends with 1 where a phantom could not be made or analysed: it is named, and the figures are without it.
    """
    from miliary_seg.lab.bench.hosts import given_hosts
    from miliary_seg.lab.bench.scenes import COUNTS, FAMILIES, THICKNESSES_MM, BenchPlan, drawn_hosts
    from miliary_seg.lab.bench.selftest import run
    from miliary_seg.lab.bench.selftest_pages import write_selftest
    from miliary_seg.lab.bench.write import require_free

    settings = resolved(config, changes, {"detect.sensitivity": sensitivity})
    require_free(output, force)
    plan = BenchPlan(
        hosts=given_hosts(hosts) if hosts else drawn_hosts(heads, seed),
        thicknesses_mm=tuple(thickness_mm or THICKNESSES_MM),
        counts=tuple(count if count is not None and count != [] else COUNTS),
        families=tuple(family or FAMILIES),  # type: ignore[arg-type]
        seed=seed,
    )
    test = run(plan, settings, jobs=jobs, watch=_watched)
    page, sections, document = write_selftest(test, output, force=force)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        show(sections)
        typer.echo(str(page))
    if test.failed:
        raise typer.Exit(1)


@bench.command()
def decision(  # noqa: PLR0913, PLR0917 - a verb's options are its interface
    output: Output,
    hosts: Annotated[list[Path], typer.Argument(help="Lesion-free thin scans or FreeSurfer label maps.")],
    thickness_mm: Annotated[
        list[float] | None, typer.Option(help="Slice thickness in mm; may repeat (default 1, 3, 5).")
    ] = None,
    count: Annotated[
        list[int] | None, typer.Option(help="True lesions on the second-best slice; may repeat (default 0 to 60).")
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="spread, one-sided, supratentorial, few-large; may repeat (default spread)."),
    ] = None,
    draws: Annotated[int, typer.Option(min=1, help="Scenes for every host, thickness, count and pattern.")] = 1,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal scenes.")] = 0,
    config: Config = None,
    changes: Changes = None,
    force: Force = False,
) -> None:
    """Hold the answer and its count interval against the truth: lesions put into scans, by slice thickness and count.

    Ends with 1 where a scene could not be made or analysed: it is named, and the figures are without it.
    """
    from miliary_seg.lab.bench.decisions import (
        COUNTS,
        RUNS,
        THICKNESSES_MM,
        DecisionPlan,
        decision_sections,
        run,
        write_decisions,
    )
    from miliary_seg.lab.bench.hosts import given_hosts
    from miliary_seg.lab.bench.write import require_free

    require_free(output, force, RUNS)
    plan = DecisionPlan(
        hosts=given_hosts(hosts),
        thicknesses_mm=tuple(thickness_mm or THICKNESSES_MM),
        counts=tuple(count if count else COUNTS),
        patterns=tuple(pattern or ("spread",)),
        draws=draws,
        seed=seed,
    )
    runs, failed = _without_failures(run(plan, resolved(config, changes)))
    page = write_decisions(runs, failed, output, force=force)
    _end(page, decision_sections(runs, failed), failed)


@bench.command()
def masks(
    output: Output,
    scans: Annotated[list[Path], typer.Argument(help="Scans, or folders of them, whose brain masks were looked at.")],
    config: Config = None,
    changes: Changes = None,
    force: Force = False,
) -> None:
    """Hold the trust of brain masks against the truth: each scan's mask as found, and spoiled in many ways.

    Ends with 1 where a scan could not be located: it is named, and the figures are without it.
    """
    from miliary_seg.lab.bench.hosts import given_hosts
    from miliary_seg.lab.bench.masks import MASKS, mask_sections, run, write_masks
    from miliary_seg.lab.bench.write import require_free

    require_free(output, force, MASKS)
    runs, failed = _without_failures(run(given_hosts(scans), resolved(config, changes)))
    page = write_masks(runs, failed, output, force=force)
    _end(page, mask_sections(runs, failed), failed)


def _without_failures(outcomes: Iterable[T | str]) -> tuple[list[T], list[str]]:
    """What was measured, and the sentences about what could not be."""
    runs: list[T] = []
    failed: list[str] = []
    for outcome in outcomes:
        if isinstance(outcome, str):
            failed.append(outcome)
        else:
            runs.append(outcome)
    return runs, failed


def _end(page: Path, sections: Sequence[Section], failed: Sequence[str]) -> None:
    """Show the figures and where their page is; 1 where something is missing from them."""
    show(sections)
    typer.echo(str(page))
    if failed:
        raise typer.Exit(1)


def show(sections: Sequence[Section]) -> None:
    """Tables to the terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    width = None if console.is_terminal else 160  # a pipe has no width: 80 columns would break the cells
    console = Console(width=width)
    for section in sections:
        if not (section.on_terminal and section.rows):
            continue
        table = Table(*section.header, title=section.title, title_justify="left", box=box.SIMPLE)
        for row in section.rows:
            table.add_row(*row)
        console.print(table, markup=False)


def behind_bar(items: Sequence[T]) -> Sequence[T]:
    """The same items behind a progress bar on stderr, silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    bar = track(items, "scans", console=console, disable=not console.is_terminal, transient=True)
    return cast("Sequence[T]", bar)


def _watched(outcomes: Iterable[T], total: int) -> Iterable[T]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(outcomes, "phantoms", total=total, console=console, disable=not console.is_terminal, transient=True)


def _rule(kind: str, tolerance_mm: float) -> MatchRule:
    from miliary_seg.lab.bench.scoring.matching import MatchRule

    return MatchRule(kind=kind, tolerance_mm=tolerance_mm)  # type: ignore[arg-type]


def _options(labels: str, frame: str, series: str) -> ReadOptions:
    from miliary_seg.lab.bench.sides import ReadOptions

    return ReadOptions(labels=labels, frame=frame, series=series)  # type: ignore[arg-type]
