"""``miliary-seg inspect``: what is there, which series would be used and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miliary_seg.cli.options import AsJson, Changes, Config, Inputs, resolved

if TYPE_CHECKING:
    from rich.tree import Tree

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
    from miliary_seg.pipeline import look_at

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
    from rich.console import Console

    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=240)
    console.print(_tree(inventory))


def _tree(inventory: dict[str, Any]) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    files = ", ".join(f"{count} {status}" for status, count in sorted(inventory["files"].items()))
    root = Tree(Text(f"{len(inventory['cases'])} case(s); files: {files or 'none'}"))
    for case in inventory["cases"]:
        branch = root.add(Text(str(case["id"]), style="bold"))
        for series in case["series"]:
            _add_series(branch, series)
        for caveat in case["caveats"]:
            branch.add(Text(f"caveat: {caveat['text']}", style="yellow"))
    for problem in inventory["problems"]:
        root.add(Text(f"problem: {problem['path']}: {problem['what']}; {problem['todo']}", style="red"))
    _add_unused(root, inventory["not_used"])
    return root


def _add_series(branch: Tree, series: dict[str, Any]) -> None:
    from rich.text import Text

    mark, style = ("use ", "green") if series["used"] else ("skip", "dim")
    leaf = branch.add(Text(f"{mark} {series['id']}: {_geometry(series)}", style=style))
    leaf.add(Text(f"why: {series['why']}" + (f"; {series['todo']}" if series["todo"] else "")))
    for sentence in series["evidence"]:
        leaf.add(Text(f"sequence: {sentence}"))
    if series["conflict"]:
        leaf.add(Text(f"contradiction: {series['conflict']}", style="red"))
    for warning in series["warnings"]:
        leaf.add(Text(f"warning: {warning['text']}", style="yellow"))


def _add_unused(root: Tree, entries: list[dict[str, Any]], most: int = 10) -> None:
    """Files that take no part, the first few by name (``--json`` lists all)."""
    from rich.text import Text

    if entries:
        branch = root.add(Text(f"{len(entries)} file(s) not used", style="dim"))
        for entry in entries[:most]:
            branch.add(Text(f"{entry['status']}: {entry['path']}: {entry['reason']}", style="dim"))
        if len(entries) > most:
            branch.add(Text(f"... and {len(entries) - most} more (--json lists all)", style="dim"))


def _geometry(series: dict[str, Any]) -> str:
    shape = " x ".join(map(str, series["shape"]))
    spacing = " x ".join(f"{mm:.2f}" for mm in series["spacing_mm"])
    kind = f"{series['modality']} {series['sequence']} ({series['confidence']} confidence)"
    files = f"{series['n_files']} {series['format']} file(s)"
    return f"{kind}, {series['plane']}, {shape} voxels of {spacing} mm, {series['orientation']}, {files}"
