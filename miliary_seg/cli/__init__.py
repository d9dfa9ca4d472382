"""Command line: one module a verb; options become calls and errors become exit codes. No science.

Exit codes: 0 done, whatever the verdict; 1 some cases failed, the others are done; 2 usage; 3 unreadable or unsuitable
input; 4 geometry; 5 settings; 6 output; 130 and 143 interrupted (Ctrl-C, SIGTERM). Results go to stdout, everything
else to stderr.

Nothing is imported here before ``main`` can answer for it: Ctrl-C in the first tenth of a second is no traceback.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miliary_seg.cli.program import app

__all__ = ["app", "main"]

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""


def main() -> None:
    """Entry point: expected errors become one line on stderr and an exit code."""
    try:
        _fill_closed_streams()
        sys.argv[1:] = with_home(sys.argv[1:])
        from miliary_seg.cli.program import answered
    except KeyboardInterrupt:
        sys.stderr.write("miliary-seg: interrupted\n")
        sys.exit(INTERRUPTED)
    sys.exit(answered())


def with_home(arguments: Sequence[str]) -> list[str]:
    """Arguments with ``~`` made the home folder also where the shell does not: after ``--output=``, and in quotes.

    Examples
    --------
    >>> with_home(["run", "a~b", "--set", "x=~y"])
    ['run', 'a~b', '--set', 'x=~y']
    """
    return [_with_home(argument) for argument in arguments]


def _with_home(argument: str) -> str:
    head, sign, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    if argument.startswith("-o~"):
        head, value = "-o", argument[2:]
    return head + sign + (os.path.expanduser(value) if value == "~" or value.startswith("~/") else value)  # noqa: PTH111


def _fill_closed_streams() -> None:
    """Open the standard streams that the caller closed: else a result would get the number of one, and mixed up.

    A name in letters that the terminal does not know is written with escapes, not refused.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def __getattr__(name: str) -> Any:
    if name == "app":
        from miliary_seg.cli.program import app

        return app
    raise AttributeError(f"module 'miliary_seg.cli' has no attribute {name!r}")
