"""``miliary-seg inspect``: what is there, which series would be used and why."""

from __future__ import annotations

import json
from typing import Any

import typer

from miliary_seg.cli.options import AsJson, Changes, Config, Inputs, resolved
from miliary_seg.cli.tables import print_table


def inspect(inputs: Inputs, config: Config = None, changes: Changes = None, as_json: AsJson = False) -> None:
    """Show what is there, which series would be used and why; write nothing."""
    from miliary_seg.cli.progress import counting_files
    from miliary_seg.load import inspect as inspect_inputs

    with counting_files() as seen:
        inventory = inspect_inputs(inputs, resolved(config, changes), progress=seen).as_dict()
    if as_json:
        typer.echo(json.dumps(inventory, indent=2))
        return
    files = ", ".join(f"{count} {status}" for status, count in sorted(inventory["files"].items()))
    typer.echo(f"{len(inventory['cases'])} case(s); files: {files or 'none'}")
    for case in inventory["cases"]:
        _print_case(case)
    if inventory["problems"]:
        typer.echo("\nproblems")
        rows = [(p["path"], p["what"], p["todo"]) for p in inventory["problems"]]
        print_table(("path", "what is wrong", "what to do"), rows)
    _print_unused(inventory["not_used"])


COLUMNS = ("use", "series", "kind", "plane", "voxels", "mm", "files", "path", "why")


def _print_case(case: dict[str, Any]) -> None:
    """One case: a line a series, and below what was seen and what is doubtful."""
    typer.echo(f"\n{case['id']}  {case['path']}")
    styles = ["" if series["used"] else "dim" for series in case["series"]]
    print_table(COLUMNS, [_row(series) for series in case["series"]], styles)
    for series in case["series"]:
        for sentence in series["evidence"]:
            typer.echo(f"  {series['id']}: sequence: {sentence}")
        for warning in series["warnings"]:
            typer.echo(f"  {series['id']}: warning: {warning['text']}")
    for caveat in case["caveats"]:
        typer.echo(f"  caveat: {caveat['text']}")


def _row(series: dict[str, Any]) -> tuple[str, ...]:
    kind = f"{series['modality'] or ''} {series['sequence']} ({series['confidence']})".strip()
    return (
        "yes" if series["used"] else "no",
        series["id"],
        kind,
        " ".join(filter(None, (series["plane"], series["orientation"]))) or "-",
        " x ".join(map(str, series["shape"])) or "-",
        " x ".join(f"{mm:.2f}" for mm in series["spacing_mm"]) or "-",
        f"{series['n_files']} {series['format']}",
        series["path"],
        series["why"] + (f"; {series['todo']}" if series["todo"] else ""),
    )


def _print_unused(entries: list[dict[str, Any]], most: int = 10) -> None:
    """Files that take no part, the first few by name (``--json`` lists all)."""
    if entries:
        typer.echo(f"\n{len(entries)} file(s) not used")
        rows = [(e["status"], e["path"], e["reason"]) for e in entries[:most]]
        print_table(("file", "path", "why"), rows)
        if len(entries) > most:
            typer.echo(f"  ... and {len(entries) - most} more (--json lists all)")
