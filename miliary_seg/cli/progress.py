"""The bar while files are looked through: on stderr, silent where that is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

SHOW_EVERY = 100
"""Files between two strokes: drawing each of 20 000 would cost more than reading it."""


@contextmanager
def counting_files(*, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of files seen; their total is not known before the last folder is listed."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed} files looked at"), TimeElapsedColumn())
    shown = console.is_terminal and not quiet
    bar = Progress(*columns, console=console, disable=not shown, transient=True)
    with bar if shown else nullcontext():  # rich before 15 ends a bar that is not shown with an empty line
        task = bar.add_task("files", total=None)

        def seen(n_files: int) -> None:
            if n_files % SHOW_EVERY == 0:
                bar.update(task, completed=n_files)

        yield seen
