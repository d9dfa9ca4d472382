"""Options that several verbs share, and how an error is said."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from miliary_seg.errors import MiliaryError, UsageError

if TYPE_CHECKING:
    from miliary_seg.settings import Settings

HELP = {"help_option_names": ["-h", "--help"]}
"""Of every verb: ``-h`` as well."""

Inputs = Annotated[list[Path], typer.Argument(help="Files or folders: DICOM, NIfTI, or mixed and nested.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
Config = Annotated[Path | None, typer.Option(help="Settings as a TOML file.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may repeat.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Worker processes.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more: the reasons of every answer.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


def resolved(config: Path | None, changes: Sequence[str] | None, options: dict[str, str] | None = None) -> Settings:
    """Settings from a file, then ``--set``, then options of their own (empty ones and ``auto`` change nothing)."""
    from miliary_seg.settings import Settings

    base = Settings.from_toml(config) if config else Settings()
    chosen = {key: value for key, value in (options or {}).items() if value.lower() not in ("", "auto")}
    return base.with_options(changes or []).updated(chosen)


def print_version(wanted: bool) -> None:
    """Print the version and stop, where it is asked for."""
    if wanted:
        from miliary_seg import __version__

        typer.echo(f"miliary-seg {__version__}")
        raise typer.Exit


def print_error(error: MiliaryError) -> None:
    """One line on stderr: code, then what, where and what to do; control characters are made harmless."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    say(f"miliary-seg: {error.code}: {line}\n", err=True)


def say(text: str, *, err: bool = False) -> None:
    """Write to stdout or stderr at once; where the reader is gone, everything more is dropped and the work goes on."""
    stream = sys.stderr if err else sys.stdout  # as it is now: a bar that is shown prints it above itself
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2 if err else 1)


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
