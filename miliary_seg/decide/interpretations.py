"""The readings of the rule's open points, and every combination of them.

The published rule leaves five points open (docs/criteria.md). None is settled silently: each is a setting, and the
answer is given under every combination.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import product

from miliary_seg.settings import DecideSettings

PLANES = ("acquired", "axial")
SLICES = ("native", "equivalent")
SEPARATIONS = ("pairwise", "separate-runs", "separation-mm")
BILATERALS = ("independent", "quadrants")

FEW_LESIONS = 2
"""A side or level that rests on at most this many lesions is flagged (docs/criteria.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """One choice for each open point."""

    plane: str
    slice: str
    non_contiguous: str
    bilateral: str
    min_per_region: int

    @property
    def name(self) -> str:
        """For instance ``acquired/native/pairwise/independent/1``."""
        return "/".join(text for _, text in self.choices)

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """(open point, reading) pairs."""
        return tuple((f.name, str(getattr(self, f.name))) for f in fields(self))


def default_interpretation(settings: DecideSettings) -> Interpretation:
    """Return the reading that gives the verdict; where slices are read both ways, that of native slices."""
    return Interpretation(
        plane=settings.plane,
        slice="native" if settings.slice == "both" else settings.slice,
        non_contiguous=settings.non_contiguous,
        bilateral=settings.bilateral,
        min_per_region=settings.min_per_region,
    )


def all_interpretations(settings: DecideSettings) -> tuple[Interpretation, ...]:
    """Every combination, in a fixed order.

    ``min_per_region`` is read as 1 and as the larger number of the settings; where the settings say 1, as one more
    than what counts as few.

    Examples
    --------
    >>> len(all_interpretations(DecideSettings()))
    48
    """
    fewest = (1, settings.min_per_region if settings.min_per_region > 1 else FEW_LESIONS + 1)
    return tuple(
        Interpretation(plane=plane, slice=thin, non_contiguous=apart, bilateral=sides, min_per_region=n)
        for plane, thin, apart, sides, n in product(PLANES, SLICES, SEPARATIONS, BILATERALS, fewest)
    )
