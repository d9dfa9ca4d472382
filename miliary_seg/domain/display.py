"""How the nouns show themselves in a notebook: they know that they can be shown, ``report.notebook`` knows how.

The drawing needs pictures and tables, which lie above this layer. It is fetched by name when a notebook asks for it, so
that a noun made by hand shows itself too and ``import miliary_seg`` stays quick. Nothing else reaches upwards so.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def shown(how: str, *what: Any, **choices: Any) -> Any:
    """Call ``report.notebook``'s function ``how`` on a noun.

    Parameters
    ----------
    how
        Module and function, for instance ``cards.volume``.
    what, choices
        Handed on.
    """
    module, function = how.split(".")
    return getattr(import_module(f"miliary_seg.report.notebook.{module}"), function)(*what, **choices)
