"""How far the work is, for whoever watches: the command line's bar. Where nobody does, telling it costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watch = Callable[[str, int, int], None]
"""Called with the stage, and how many of its steps are done out of how many; 0 of 0 where it has none."""

_WATCH: ContextVar[Watch | None] = ContextVar("miliary_seg_watch", default=None)


def report_progress(stage: str, done: int = 0, total: int = 0) -> None:
    """Tell whoever watches which stage runs, and how far it is; a detector that takes long may call it too."""
    watch = _WATCH.get()
    if watch is not None:
        watch(stage, done, total)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """While the block runs, ``watch`` is called with the progress of what runs in this thread.

    Examples
    --------
    >>> with watching(lambda stage, done, total: print(stage, done, total)):
    ...     report_progress("detect", 1, 8)
    detect 1 8
    """
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)
