"""How near the count lies to the threshold, measured by the detector's own error."""

from __future__ import annotations

from dataclasses import dataclass

from miliary_seg.domain.decision import ScanFacts

TWO_SIDED_95 = 1.96
"""Standard deviations of a normal distribution that hold 95 %."""
LEAST_ERROR = 1.0
"""One lesion more or less is always within the error: readers differ by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountError:
    """Counts from ``threshold - below`` to ``threshold + above`` cannot be told from the threshold."""

    below: float
    above: float

    def holds(self, margin: int) -> bool:
        """Whether a count that is ``margin`` from the threshold lies within the error."""
        return -self.below <= margin <= self.above


def count_error(threshold: int, facts: ScanFacts, spread: float, false_share: float = 1.0) -> CountError:
    """Error of a count that is truly at the threshold.

    With a measured sensitivity s and f false cross-sections an image, the count of an image with T true lesions has
    the mean sT + f and the variance Ts(1 - s) + f (binomial and Poisson). A low count may hide as many more as are
    missed on average; a high one may hold f too many. Where nothing was measured, the variance is that of the
    lesions' probabilities.

    Parameters
    ----------
    threshold
        Lesions per image that the rule asks for.
    facts
        The detector's measured sensitivity and false positives (cross-sections an acquired slice).
    spread
        Sum of p(1 - p) over the lesions of the deciding image.
    false_share
        False lesions on an image of the reading over those on an acquired slice (more on slabs).

    Examples
    --------
    >>> from miliary_seg.domain.decision import ScanFacts
    >>> from miliary_seg.domain.sequence import Modality, SequenceEvidence
    >>> scan = ScanFacts(
    ...     modality=Modality.MR, sequence=SequenceEvidence(), slice_positions_mm=(), lesion_sensitivity=0.8
    ... )
    >>> error = count_error(20, scan, 0.0)
    >>> round(error.below, 2), round(error.above, 2)
    (7.51, 3.51)
    """
    sensitivity, false = facts.lesion_sensitivity, (facts.false_positives_per_slice or 0.0) * false_share
    missed = 0.0 if sensitivity is None else threshold * (1 - sensitivity)
    variance = (spread if sensitivity is None else missed * sensitivity) + false
    chance = TWO_SIDED_95 * float(variance) ** 0.5
    return CountError(below=max(LEAST_ERROR, chance + max(0.0, missed - false)), above=max(LEAST_ERROR, chance + false))
