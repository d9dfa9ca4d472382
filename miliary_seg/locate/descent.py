"""Minimisers, with the few choices that the fits make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize

from miliary_seg.domain.grid import Float64Array

RELATIVE_CHANGE = 1e-6
"""The fits stop when a step changes the cost by less than this share."""

_minimize: Any = optimize.minimize


def descend(
    cost: Callable[[Float64Array], tuple[float, Float64Array]], start: Float64Array, *, iterations: int, line_steps: int
) -> tuple[Float64Array, float]:
    """Minimum of a cost that returns its value and gradient (L-BFGS): where, and the value there."""
    options = {"maxiter": iterations, "maxls": line_steps, "ftol": RELATIVE_CHANGE}
    found = _minimize(cost, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


def descend_along_lines(
    cost: Callable[[Float64Array], float], start: Float64Array, *, evaluations: int, first_steps: Float64Array
) -> tuple[Float64Array, float]:
    """Minimum of a cost without gradient (Powell): where, and the value there."""
    options = {"maxfev": evaluations, "xtol": 0.3, "ftol": 1e-4, "direc": np.diag(first_steps)}
    found = _minimize(cost, start, method="Powell", options=options)
    return np.asarray(found.x, dtype=np.float64), float(found.fun)
