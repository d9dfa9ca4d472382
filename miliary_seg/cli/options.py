"""Options that several verbs share, and how an error is said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from miliary_seg.errors import MiliaryError, UsageError

if TYPE_CHECKING:
    from miliary_seg.settings import Settings

Inputs = Annotated[list[Path], typer.Argument(help="Files or folders: DICOM, NIfTI, or mixed and nested.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Config = Annotated[Path | None, typer.Option(help="Settings as a TOML file.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may repeat.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def resolved(config: Path | None, changes: Sequence[str] | None, options: dict[str, str] | None = None) -> Settings:
    """Settings from a file, then ``--set``, then options of their own (empty ones and ``auto`` change nothing)."""
    from miliary_seg.settings import Settings

    base = Settings.from_toml(config) if config else Settings()
    chosen = {key: value for key, value in (options or {}).items() if value not in ("", "auto")}
    return base.with_options(changes or []).updated(chosen)


def print_error(error: MiliaryError) -> None:
    """One line on stderr: code, then what, where and what to do; control characters are made harmless."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    sys.stderr.write(f"miliary-seg: {error.code}: {line}\n")  # as it is now: a bar that is shown prints it above itself


def need_extra(*modules: str, extra: str) -> None:
    """Stop with a clear error where an optional extra is not installed.

    Raises
    ------
    UsageError
        If a module is missing.
    """
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        todo = f"pip install 'miliary-seg[{extra}]'"
        raise UsageError(f"this verb needs {' and '.join(missing)}, which the extra {extra!r} brings", todo=todo)
