"""Options that take several values in a row, as BIDS Apps do: ``--participant-label 01 02``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from typer.core import TyperCommand


class SpaceSeparated(TyperCommand):
    """A verb whose repeatable options may be followed by several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, after every further value got its option repeated before it."""
        names = {name for p in self.params if getattr(p, "multiple", False) for name in p.opts}
        return super().parse_args(ctx, repeated(args, names))


def repeated(args: Sequence[str], names: Iterable[str]) -> list[str]:
    """Put the option's name before each value that follows it, up to the next option.

    Examples
    --------
    >>> repeated(["in", "out", "--session-id", "1", "2", "-v", "x"], {"--session-id"})
    ['in', 'out', '--session-id', '1', '--session-id', '2', '-v', 'x']
    """
    several, result, current, n_values = set(names), [], "", 0
    for word in args:
        if word.startswith("-"):
            current, n_values = (word if word in several else ""), 0
            result.append(word)
            continue
        if current and n_values:
            result.append(current)
        n_values += 1
        result.append(word)
    return result
