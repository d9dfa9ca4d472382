"""The look of a lesion set as a whole: described, never used for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Distribution(StrEnum):
    """Whether lesions lie as if thrown at random into the brain."""

    RANDOM = "random"
    """No departure from complete spatial randomness was shown: homogeneous as far as this count can tell."""
    CLUSTERED = "clustered"
    REGULAR = "regular"


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomnessTest:
    """One statistic of the lesions' places against the same statistic of random places in the same brain mask."""

    observed: float
    """In the statistic's own unit."""
    expected: float
    """Mean over the simulations."""
    ratio: float
    """Observed over expected."""
    ratio_low: float
    """Lower end of the band that holds 95 % of the simulations, as a ratio to the same mean."""
    ratio_high: float
    p_value: float
    """Two-sided Monte Carlo p-value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Homogeneity:
    """Lesion centres against complete spatial randomness inside the brain mask."""

    distribution: Distribution
    nearest_neighbour: RandomnessTest
    """Mean distance to the nearest other lesion in mm; its ratio is the Clark-Evans index (below 1 = clustered)."""
    neighbours_within: RandomnessTest
    """Mean number of other lesions within ``radius_mm``; its ratio is Ripley's K over its expectation (above 1 =
    clustered)."""
    radius_mm: float
    n_simulations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Uniformity, dominance and homogeneity of one lesion set (docs/pattern.md)."""

    n_lesions: int
    below_3_mm_fraction: float | None = None
    """Part of the lesions below the size that Bot 2020 calls miliary enhancement."""
    diameter_cv: float | None = None
    """Standard deviation over mean of the equivalent diameters."""
    diameter_iqr_over_median: float | None = None
    """Interquartile range over median of the equivalent diameters: as ``diameter_cv``, but blind to a few outliers."""
    largest_over_median: float | None = None
    """Largest over median diameter: high where one lesion dominates."""
    homogeneity: Homogeneity | None = None
    """None with too few lesions or without a brain mask."""
