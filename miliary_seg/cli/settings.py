"""``miliary-seg settings``."""

from __future__ import annotations

import typer

from miliary_seg.cli.options import Changes, Config, resolved


def settings(config: Config = None, changes: Changes = None) -> None:
    """Print the resolved settings as TOML."""
    typer.echo(resolved(config, changes).to_toml(), nl=False)
