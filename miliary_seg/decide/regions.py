"""How many lesions are evidence for each side, level and quadrant.

A lesion near the midline or the tentorium counts on its slices, but is no evidence for a side or a level: the atlas
may be wrong by a few millimetres there. It may be the missing evidence, though, and then the answer is open.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.compartment import Assignment, Compartment, Level, Side
from miliary_seg.domain.decision import ScanFacts
from miliary_seg.domain.false_positives import count_quantile
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.sequence import Sequence
from miliary_seg.errors import UsageError
from miliary_seg.settings import DecideSettings

SIDES = (str(Side.LEFT), str(Side.RIGHT))
LEVELS = (str(Level.SUPRATENTORIAL), str(Level.INFRATENTORIAL))
QUADRANTS = tuple(compartment.name.lower() for compartment in Compartment)
REGIONS = (*SIDES, *LEVELS, *QUADRANTS)

INFRATENTORIAL_SHARE = 0.3
"""Share of the false positives that lie below the tentorium. It holds 13 % of the brain, but the vessels around the
posterior fossa gather false positives there: 28 % and 49 % of them on the two lesion-free post-contrast heads, 10 % and
less on most others (docs/scans.md)."""

LEAST_SHARE = {
    **dict.fromkeys(SIDES, 0.3),
    LEVELS[0]: 0.5,
    LEVELS[1]: 0.1,
    **{c.name.lower(): 0.05 if c.level is Level.INFRATENTORIAL else 0.2 for c in Compartment},
}
"""Least shares of the lesions found in a brain that the disease has reached on both sides and levels: a fifth of
metastases lie below the tentorium (Delattre 1988, Arch Neurol 45:741-744), where about two thirds as many are found as
above on T1 (docs/detection.md); sides are alike."""
FOUND_BELOW = frozenset({Sequence.T1, Sequence.T1C})
"""On other sequences it was not measured how many lesions below the tentorium are found, so that none there shows
nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regions:
    """Evidence per region; matrices are (lesions, regions) in the order of ``REGIONS``."""

    ids: tuple[int, ...]
    """Ids of the lesions, in the order of the rows."""
    sure: BoolArray
    """Lies there, outside the uncertainty band, and is probable enough to be evidence."""
    likely: BoolArray
    """More likely there than on the other side of the boundary; ``sure`` included."""
    unknown: BoolArray
    """Could lie there: its side or level is not known."""
    error_limit: Mapping[str, int]
    """Most lesions of each region that the detector's false positives alone explain; 0 where not measured."""
    expected_true: float
    """Sum of the lesions' probabilities: what is marked by mistake shows nothing of where others lie."""
    least_share: Mapping[str, float] | None = None
    """Least share of the seen lesions that a region holds where the pattern is bilateral and above and below the
    tentorium; None = the lesions are all that there are, so an empty region is empty."""

    def sure_ids(self, region: str) -> tuple[int, ...]:
        """Lesions that are evidence for a region, ascending."""
        return tuple(sorted(self.ids[row] for row in np.flatnonzero(self.sure[:, REGIONS.index(region)])))

    def n_sure(self, region: str) -> int:
        """Lesions that are evidence for a region."""
        return int(self.sure[:, REGIONS.index(region)].sum())

    def n_likely(self, region: str) -> int:
        """Lesions that more likely than not lie in a region."""
        return int(self.likely[:, REGIONS.index(region)].sum())

    def n_possible(self, region: str) -> int:
        """Lesions that may lie in a region."""
        column = REGIONS.index(region)
        return int((self.likely | self.unknown)[:, column].sum())

    def chance_unseen(self, region: str, fewest: int) -> float:
        """P(so few seen in a region | the disease is there as it usually is), from all true lesions that are seen.

        1 where nothing speaks against lesions there; 0 where lesions are taken as all that there are.
        """
        if self.least_share is None:
            return 0.0
        if self.n_sure(region) >= fewest:
            return 1.0
        most = max(0, fewest - 1)  # bdtr is not defined beyond the number of trials
        seen = math.floor(self.expected_true)
        return float(bdtr(most, seen, self.least_share[region])) if most < seen else 1.0

    @property
    def n_unassigned(self) -> int:
        """Lesions without a compartment."""
        quadrants = [REGIONS.index(quadrant) for quadrant in QUADRANTS]
        return int((~self.likely[:, quadrants].any(axis=1)).sum())


def regions_of(
    lesions: Collection[Lesion], assignments: Collection[Assignment], facts: ScanFacts, settings: DecideSettings
) -> Regions:
    """Collect the evidence for every region.

    A lesion without an assignment is of unknown place; assignments without a lesion are ignored.

    Raises
    ------
    UsageError
        If two lesions, or two assignments, share an id.
    """
    places = {place.lesion_id: place for place in assignments}
    if len(places) < len(assignments) or len({lesion.id for lesion in lesions}) < len(lesions):
        raise UsageError("two lesions or two assignments share an id", todo="number the lesions 1, 2, 3 ...")
    sure = np.zeros((len(lesions), len(REGIONS)), dtype=np.bool_)
    likely, unknown = sure.copy(), sure.copy()
    for row, lesion in enumerate(lesions):
        place = places.get(lesion.id)
        side, level = (None, None) if place is None else (place.side, place.level)
        probable = lesion.probability >= facts.evidence_probability
        surely_side = probable and place is not None and place.side_confidence >= settings.min_assignment_confidence
        surely_level = probable and place is not None and place.level_confidence >= settings.min_assignment_confidence
        for column, (in_side, in_level) in enumerate(_MEMBERS):
            likely[row, column] = fits = in_side in (None, side) and in_level in (None, level)
            sure[row, column] = fits and (surely_side or not in_side) and (surely_level or not in_level)
            possible = (side is None or in_side in (None, side)) and (level is None or in_level in (None, level))
            unknown[row, column] = possible and not fits
    ids = tuple(lesion.id for lesion in lesions)
    shown = [len(lesion.slices) for lesion in lesions if lesion.slices]
    limits = _error_limits(facts, settings, sum(shown) / len(shown) if shown else 1.0)
    return Regions(
        ids=ids,
        sure=sure,
        likely=likely,
        unknown=unknown,
        error_limit=limits,
        expected_true=sum(lesion.probability for lesion in lesions),
        least_share=None if facts.unmarked is None else _least_share(facts.sequence.sequence),
    )


def _least_share(sequence: Sequence) -> Mapping[str, float]:
    """Least share of each region on a sequence; 0 where none may be found in it."""
    if sequence in FOUND_BELOW:
        return LEAST_SHARE
    hidden = {LEVELS[1], *(c.name.lower() for c in Compartment if c.level is Level.INFRATENTORIAL)}
    return {region: 0.0 if region in hidden else share for region, share in LEAST_SHARE.items()}


def _error_limits(facts: ScanFacts, settings: DecideSettings, slices_per_lesion: float) -> dict[str, int]:
    """Most false lesions to be expected in each region, at a quantile; rates are of cross-sections."""
    rate = facts.evidence_false_positives_per_slice
    rate = facts.false_positives_per_slice if rate is None else rate
    n_slices = facts.n_slices if facts.n_brain_slices is None else facts.n_brain_slices
    expected = (rate or 0.0) * n_slices / slices_per_lesion
    below = {LEVELS[0]: 1 - INFRATENTORIAL_SHARE, LEVELS[1]: INFRATENTORIAL_SHARE}
    shares = dict.fromkeys(SIDES, 0.5) | below
    shares |= {c.name.lower(): below[c.level] / 2 for c in Compartment}
    quantile = settings.region_error_quantile
    return {region: count_quantile(expected * share, quantile) for region, share in shares.items()}


_MEMBERS: tuple[tuple[Side | None, Level | None], ...] = (
    *((side, None) for side in Side),
    *((None, level) for level in Level),
    *((compartment.side, compartment.level) for compartment in Compartment),
)
"""Side and level of each of ``REGIONS``; None = any."""
