"""What every figure drawn by matplotlib shares: colours, and files whose bytes follow from their numbers alone.

matplotlib comes with the extras ``figures``, ``cohort`` and ``notebook``; who draws asks ``can_draw`` first.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito, Color Universal Design (2008): told apart by people with any kind of colour vision."""
STYLES = ("-", "--", "-.", ":")
"""Second sign beside the colour, for paper without colour."""
DOTS_PER_INCH = 200


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without pyplot: no display, no state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def rendered(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """The figure as a file; the same numbers give the same bytes (no date, fixed identifiers)."""
    import matplotlib as mpl

    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "miliary-seg", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()
