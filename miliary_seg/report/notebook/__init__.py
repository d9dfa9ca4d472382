"""Results in a notebook: ``cards`` (HTML of the nouns), ``frames`` (pandas), ``plots`` (matplotlib), ``viewer``.

The nouns call these (``result.plot_counts()``, ``series.lesions_frame()``, ``_repr_html_``), so nobody else needs to.
Cards need nothing beyond the package; the others need the extra ``notebook`` and say so where it is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from miliary_seg.errors import MissingLibraryError

__all__ = ["library"]


def library(name: str) -> Any:
    """Import a library of the extra ``notebook``.

    Raises
    ------
    MissingLibraryError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        todo = "pip install 'miliary-seg[notebook]'"
        raise MissingLibraryError(f"{name.split('.', maxsplit=1)[0]} is not installed", todo=todo) from error
