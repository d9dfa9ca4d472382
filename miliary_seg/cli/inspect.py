"""``miliary-seg inspect``: what is there, which series would be used and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from miliary_seg.cli.options import AsJson, Changes, Config, Inputs, resolved

if TYPE_CHECKING:
    from rich.tree import Tree


def inspect(inputs: Inputs, config: Config = None, changes: Changes = None, as_json: AsJson = False) -> None:
    """Show what is there, which series would be used and why; write nothing."""
    from miliary_seg.load import inspect as inspect_inputs

    inventory = inspect_inputs(inputs, resolved(config, changes)).as_dict()
    if as_json:
        typer.echo(json.dumps(inventory, indent=2))
        return
    from rich.console import Console

    Console(soft_wrap=True, highlight=False).print(_tree(inventory))


def _tree(inventory: dict[str, Any]) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(f"{len(inventory['cases'])} case(s)"))
    for case in inventory["cases"]:
        branch = root.add(Text(str(case["id"]), style="bold"))
        for series in case["series"]:
            mark, style = ("use ", "green") if series["eligible"] else ("skip", "dim")
            leaf = branch.add(Text(f"{mark} {series['id']}: {_geometry(series)}", style=style))
            leaf.add(Text(f"why: {series['why']}"))
            for sentence in series["sequence"]["evidence"]:
                leaf.add(Text(f"sequence: {sentence}"))
            for warning in series["warnings"]:
                leaf.add(Text(f"warning: {warning['text']}", style="yellow"))
        for caveat in case.get("caveats", []):
            branch.add(Text(f"caveat: {caveat['text']}", style="yellow"))
    for problem in inventory["problems"]:
        root.add(Text(f"problem: {problem['message']}", style="red"))
    return root


def _geometry(series: dict[str, Any]) -> str:
    shape = " x ".join(map(str, series["shape"]))
    spacing = " x ".join(f"{mm:.2f}" for mm in series["spacing_mm"])
    kind = f"{series['modality']} {series['sequence']['sequence']} ({series['sequence']['confidence']} confidence)"
    return f"{kind}, {series['plane']}, {shape} voxels of {spacing} mm, {series['orientation']}, {series['format']}"
