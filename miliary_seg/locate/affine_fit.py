"""Affine fit: mutual information of the head and of the brain, with a prior on size, by its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.locate.atlas import TemplatePoints
from miliary_seg.locate.mutual_information import mutual_information, mutual_information_slope
from miliary_seg.locate.pyramid import WorkingScan
from miliary_seg.locate.transform import MEAN_LOG_SCALE, UNIT, affine_jacobian, affine_matrix, apply, size_penalty

RELATIVE_CHANGE = 1e-6
"""The fits stop when a step changes the cost by less than this share."""


def _minimize(cost: Callable[[Float64Array], Any], start: Float64Array, **how: Any) -> Any:
    """``scipy.optimize.minimize``, whose import takes half a second: only a fit needs it."""
    from scipy.optimize import minimize

    search: Any = minimize
    return search(cost, start, **how)


def descend(
    cost: Callable[[Float64Array], tuple[float, Float64Array]], start: Float64Array, *, iterations: int, line_steps: int
) -> tuple[Float64Array, float]:
    """Minimise a cost that returns value and gradient (L-BFGS); returns the minimum's position and value."""
    options = {"maxiter": iterations, "maxls": line_steps, "ftol": RELATIVE_CHANGE}
    found = _minimize(cost, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


def descend_along_lines(
    cost: Callable[[Float64Array], float], start: Float64Array, *, evaluations: int, first_steps: Float64Array
) -> tuple[Float64Array, float]:
    """Minimise a cost without gradient (Powell); returns the minimum's position and value."""
    options = {"maxfev": evaluations, "xtol": 0.3, "ftol": 1e-4, "direc": np.diag(first_steps)}
    found = _minimize(cost, start, method="Powell", options=options)
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


BRAIN_WEIGHT = 2.0
"""Weight of the brain's own information: with the rings alone, a brain stretched to the scalp fits as well."""
SIZE_WEIGHT = 0.010
"""Weight in nats of the size penalty."""
ITERATIONS = 40
MIN_BRAIN_SHARE = 0.03
"""Share of the brain that must be in view at the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineFit:
    """Twelve parameters and how well they fit."""

    parameters: Float64Array
    score: float
    """Information minus penalty, in nats: what was maximised."""
    head_information: float
    brain_information: float
    share_in_view: float
    """Share of the template's points inside the scan at the start."""

    @property
    def matrix(self) -> Float64Array:
        """MNI mm to scan mm, shape (4, 4)."""
        return affine_matrix(self.parameters)


def fit_affine(
    scan: WorkingScan,
    brain_scan: WorkingScan,
    points: TemplatePoints,
    start: Float64Array,
    *,
    iterations: int = ITERATIONS,
    mean_log_scale: float = MEAN_LOG_SCALE,
) -> AffineFit | None:
    """Best affine near a start of twelve parameters; None if hardly any of the brain is in view.

    ``scan`` has the head's grey levels, ``brain_scan`` the brain's (for MR they are one). The points used are those
    inside the scan at the start, so that the fit cannot gain by pushing the brain out.
    """
    inside = scan.contains(scan.to_ijk(apply(affine_matrix(start), points.positions_mm)))
    used = points.only(inside)
    in_brain = used.in_brain
    if in_brain.sum() < MIN_BRAIN_SHARE * points.in_brain.sum():
        return None
    homogeneous = np.vstack([used.positions_mm, np.ones(used.classes.size)])
    brain_classes, brain_places = used.classes[in_brain], homogeneous[:, in_brain]

    def cost(parameters: Float64Array) -> tuple[float, Float64Array]:
        matrix = affine_matrix(parameters)[:3]
        levels, gradient = scan.sample_with_gradient(matrix @ homogeneous)
        inner, inner_gradient = levels[in_brain], gradient[:, in_brain]
        if brain_scan is not scan:
            inner, inner_gradient = brain_scan.sample_with_gradient(matrix @ brain_places)
        head, slope = mutual_information_slope(levels, used.classes, used.n_classes)
        brain, brain_slope = mutual_information_slope(inner, brain_classes, used.n_tissues)
        by_matrix = (gradient * slope) @ homogeneous.T
        by_matrix += BRAIN_WEIGHT * (inner_gradient * brain_slope) @ brain_places.T
        uphill = (affine_jacobian(parameters) * by_matrix).sum(axis=(1, 2))
        penalty, penalty_slope = size_penalty(parameters[6:9] * UNIT, mean_log_scale)
        uphill[6:9] -= SIZE_WEIGHT * penalty_slope * UNIT
        return SIZE_WEIGHT * penalty - head - BRAIN_WEIGHT * brain, -uphill

    parameters, value = descend(cost, start, iterations=iterations, line_steps=15)
    matrix = affine_matrix(parameters)[:3]
    levels, inner = scan.sample(matrix @ homogeneous), brain_scan.sample(matrix @ brain_places)
    return AffineFit(
        parameters=parameters,
        score=-value,
        head_information=mutual_information(levels, used.classes, used.n_classes),
        brain_information=mutual_information(inner, brain_classes, used.n_tissues),
        share_in_view=float(inside.mean()),
    )
