"""``miliary-seg settings`` and ``miliary-seg schema``."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from miliary_seg.cli.options import Changes, Config, resolved


def settings(
    config: Config = None,
    changes: Changes = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of the settings instead.")] = False,
) -> None:
    """Print the resolved settings as TOML."""
    if schema:
        print_schema("settings")
        return
    typer.echo(resolved(config, changes).to_toml(), nl=False)


def print_schema(
    document: Annotated[
        Literal["result", "bench", "settings"], typer.Argument(help="result.json, bench.json or settings.")
    ],
) -> None:
    """Print the JSON Schema (2020-12) of a document, made from the code that writes and checks it."""
    from miliary_seg import report
    from miliary_seg import settings as tree
    from miliary_seg.lab.bench import document as bench

    made = {"result": report.schema, "bench": bench.schema, "settings": tree.schema}[document]()
    typer.echo(json.dumps(made, indent=1, ensure_ascii=False))
