"""The open points of the rule and how each may be read, in words."""

from __future__ import annotations

POINTS = {
    "plane": "which slices are counted",
    "slice": "how thick they are",
    "non_contiguous": "what makes two slices non-contiguous",
    "bilateral": "how sides and levels go together",
    "min_per_region": "what counts as lesions in a region",
}
"""Open points of the rule, as docs/criteria.md names them."""
_CHOICES = {
    ("plane", "acquired"): "slices are counted as acquired",
    ("plane", "axial"): "axial reformats are counted",
    ("slice", "native"): "slices count as thin as they are",
    ("slice", "equivalent"): "what thick slices would have shown is counted",
    ("non_contiguous", "pairwise"): "two slices must not be neighbours",
    ("non_contiguous", "separate-runs"): "two slices must lie in separate runs of full ones",
    ("non_contiguous", "separation-mm"): "two slices must lie some millimetres apart",
    ("bilateral", "independent"): "both sides and both levels must hold lesions",
    ("bilateral", "quadrants"): "each side must hold lesions at both levels",
}


def choice_in_words(point: str, choice: str) -> str:
    """How an open point is read, as a clause.

    Examples
    --------
    >>> choice_in_words("plane", "axial"), choice_in_words("min_per_region", "3")
    ('axial reformats are counted', 'a region must hold at least 3 lesions')
    """
    if point == "min_per_region":
        return f"a region must hold at least {choice} lesion{'' if choice == '1' else 's'}"
    return _CHOICES.get((point, choice), f"{point} {choice}".replace("_", " "))
