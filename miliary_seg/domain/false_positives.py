"""How many false lesions one scan may show, when only the mean over heads is known."""

from __future__ import annotations

import numpy as np
from scipy.special import nbdtr

RATE_SHAPE = 2
"""Shape of the gamma distribution of false-positive rates over heads: a coefficient of variation of 0.7. Measured over
unseen heads the rate varies within a factor of 2 to 3 (docs/detection.md); this is the wider end."""


def count_quantile(mean: float, quantile: float) -> int:
    """Smallest count that is not exceeded with at least this probability; 0 for quantile 0.

    The rate differs from head to head: a Poisson number whose mean is gamma-distributed, which is negative binomial.

    Examples
    --------
    >>> count_quantile(4.5, 0.999), count_quantile(4.5, 0.0), count_quantile(0.0, 0.999)
    (24, 0, 0)
    """
    if mean <= 0:
        return 0
    counts = np.arange(int(mean + 10 * (mean + mean**2 / RATE_SHAPE) ** 0.5) + 10)
    below = nbdtr(counts, RATE_SHAPE, RATE_SHAPE / (RATE_SHAPE + mean))
    return int(np.searchsorted(below, quantile))
