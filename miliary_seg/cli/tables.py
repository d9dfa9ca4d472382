"""Tables on the terminal: as wide as it is there; whole lines where a file or a pipe reads them."""

from __future__ import annotations

from collections.abc import Sequence

from miliary_seg.cli.options import say

WIDE = 1000
"""Columns where no terminal limits them: a path is never cut."""


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print rows under a header, in columns; long cells are folded at a terminal's width, and never cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(Text(name, style="bold"), overflow="fold")
    for number, row in enumerate(rows):
        style = styles[number] if styles else ""
        table.add_row(*(Text(_one_line(cell), style=style) for cell in row))
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    console = Console(highlight=False, width=WIDE)
    with console.capture() as shown:
        console.print(table)
    say("".join(f"{line.rstrip()}\n" for line in shown.get().splitlines()))


def _one_line(cell: str) -> str:
    """One line of visible text: names of files are the user's."""
    return " ".join("".join(c if c.isprintable() else " " for c in cell).split())
