"""``miliary-seg inspect``: what is there, which series would be used and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miliary_seg.cli.options import AsJson, Changes, Config, Inputs, resolved
from miliary_seg.cli.tables import print_table

if TYPE_CHECKING:
    from miliary_seg.load import CaseInfo
    from miliary_seg.settings import Settings

Look = Annotated[bool, typer.Option("--look", help="Read the pixels of the series in use and say what they look like.")]


def inspect(
    inputs: Inputs, config: Config = None, changes: Changes = None, look: Look = False, as_json: AsJson = False
) -> None:
    """Show what is there, which series would be used and why; write nothing."""
    from miliary_seg.cli.progress import counting_files
    from miliary_seg.load import inspect as inspect_inputs

    with counting_files() as seen:
        found = inspect_inputs(inputs, resolved(config, changes), progress=seen)
    inventory = found.as_dict()
    if look:
        _look(found.cases, inventory, resolved(config, changes))
    missing = any(not path.exists() for path in inputs)
    if as_json:
        typer.echo(json.dumps(inventory, indent=2))
    else:
        _print(inventory)
    if missing or (not inventory["cases"] and inventory["problems"]):
        raise typer.Exit(inventory["problems"][0]["exit_code"] if inventory["problems"] else 3)


def _look(cases: tuple[CaseInfo, ...], inventory: dict[str, Any], settings: Settings) -> None:
    """Add to every series in use what its picture says."""
    from miliary_seg.errors import MiliaryError
    from miliary_seg.load import load_case
    from miliary_seg.sequence_check import look_at

    for case, shown in zip(cases, inventory["cases"], strict=True):
        by_id = {series["id"]: series for series in shown["series"]}
        try:
            for volume in load_case(case, settings).volumes:
                weighed, seen = look_at(volume, settings)
                sentence = "the picture cannot tell" if seen is None else f"the picture: {'; '.join(seen.evidence)}"
                by_id[volume.id]["evidence"] = [*volume.sequence.evidence, sentence]
                by_id[volume.id] |= {"sequence": str(weighed.sequence), "confidence": weighed.confidence}
                by_id[volume.id]["conflict"] = weighed.conflict
        except MiliaryError as error:
            shown["caveats"].append({"code": error.code, "text": f"not looked at: {error.what}"})


def _print(inventory: dict[str, Any]) -> None:
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
        if series["conflict"]:
            typer.echo(f"  {series['id']}: contradiction: {series['conflict']}")
        for warning in series["warnings"]:
            typer.echo(f"  {series['id']}: warning: {warning['text']}")
    for caveat in case["caveats"]:
        typer.echo(f"  caveat: {caveat['text']}")


def _row(series: dict[str, Any]) -> tuple[str, ...]:
    kind = f"{series['modality'] or ''} {series['sequence']} ({series['confidence']})".strip()
    return (
        "yes" if series["used"] else "pair" if series.get("before_contrast") else "no",
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
