"""From a scan to a fit: pose search, affine, deformation, and its quality figures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import Float64Array
from miliary_seg.locate.affine_fit import AffineFit, fit_affine
from miliary_seg.locate.atlas import load_atlas, template_points
from miliary_seg.locate.bias_field import bias_corrected
from miliary_seg.locate.deform import (
    BENDING_WEIGHT,
    Deformation,
    atlas_at_lattice,
    fit_deformation,
    lattice,
    no_deformation,
    to_template,
)
from miliary_seg.locate.mutual_information import normalized_mutual_information
from miliary_seg.locate.pose import Pose, head_centre, search_pose
from miliary_seg.locate.pyramid import (
    BRAIN_WINDOW_HU,
    HEAD_WINDOW_HU,
    BlockMeans,
    GreyScale,
    WorkingScan,
    ct_grey_scale,
    mr_grey_scale,
)
from miliary_seg.locate.quality import NO_BRAIN_NATS, RUNNER_UP_FROM, inner_signs
from miliary_seg.locate.transform import UNIT, apply, distance_mm, from_pose, inverse, tilt_deg

COARSE_ITERATIONS = 15
"""Of the affine fit at 8 mm, which chooses between the poses."""
NEAR_TIE_NATS = 0.06
"""Fits at 8 mm whose score is this close to the best are refined at 4 mm, too."""
DIFFERENT_MM = 8.0
"""Transforms further apart than this at the brain's corners are different answers."""
SAME_ANSWER_SHARE = 0.02
"""A fit counts as right if fewer of the brain's voxels get a wrong compartment (``quality.assess_trust``)."""
T1_LIKENESS, TISSUE_DEPTH_MM = 0.25, 4.0
"""From this correlation with the template's T1 on, a scan counts as T1-weighted (docs/measurements/compartments.md,
"Near ties of affine fits")."""
MAX_AFFINE_STARTS = 3
SMALLER_START = 0.86
"""About brain over scalp of a child: from this scale, a fit stretched to the scalp returns to the brain."""
SMALL_HEAD_START, SMALL_HEAD_LOG_SCALE = 0.80, float(np.log(0.72))
"""Brain over scalp, and over the template, of a head of three quarters of an adult's size."""
AFFINE_POINT_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """Where the template lies in the scan."""

    matrix: Float64Array
    """MNI mm to scan RAS+ mm, shape (4, 4)."""
    deformation: Deformation
    score: float
    """Of the affine fit: information minus penalty, in nats."""
    figures: dict[str, float] = field(default_factory=dict)
    """Quality figures: names and units in docs/compartments.md."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolutions:
    """One scan at the resolutions that the steps work on."""

    fine: WorkingScan
    """2 mm, the brain's grey levels."""
    medium_brain: WorkingScan
    """4 mm, the brain's grey levels; for MR the same as ``medium``."""
    medium: WorkingScan
    """4 mm, the head's grey levels."""
    coarse: WorkingScan
    coarse_blocks: BlockMeans
    is_ct: bool


def resolutions(blocks: BlockMeans, is_ct: bool) -> Resolutions:
    """Block means of about 2, 4 and 8 mm (4 mm where slices are thick and the head would be lost) as grey levels."""
    fine = blocks.windowed(HEAD_WINDOW_HU) if is_ct else blocks
    fine = fine.coarser(2.0)
    brain = blocks.without_bone().windowed(BRAIN_WINDOW_HU).coarser(2.0) if is_ct else fine
    medium = fine.coarser(4.0)
    coarse = medium.coarser(8.0)
    scale = ct_grey_scale(HEAD_WINDOW_HU) if is_ct else mr_grey_scale(medium)
    brain_scale: GreyScale = ct_grey_scale(BRAIN_WINDOW_HU) if is_ct else scale
    medium_scan = scale.scan(medium)
    return Resolutions(
        fine=brain_scale.scan(brain),
        medium_brain=brain_scale.scan(brain.coarser(4.0)) if is_ct else medium_scan,
        medium=medium_scan,
        coarse=scale.scan(coarse),
        coarse_blocks=coarse,
        is_ct=is_ct,
    )


def register(scan: Resolutions, deform: bool) -> Fit | None:
    """Fit the template; None where nothing head-like is in the scan."""
    aligned = fit_affine_multistart(scan)
    return None if aligned is None else completed(scan, aligned, deform)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AffineAlignment:
    """What pose search and affine fit found."""

    poses: list[Pose]
    fits: list[AffineFit]
    best: AffineFit


def fit_affine_multistart(scan: Resolutions) -> AffineAlignment | None:
    """Pose search and affine fit; None where nothing head-like is in the scan."""
    centre = head_centre(scan.coarse_blocks, scan.coarse, scan.is_ct)
    if centre is None:
        return None
    poses = search_pose(scan.coarse, centre)
    fits = fit_near_ties(scan, poses)
    if not fits:
        return None
    best = max(fits, key=lambda fit: fit.score)
    smaller = fit_from_smaller(scan, best)
    if smaller is not None:
        fits, best = [*fits, smaller], smaller
    child = fit_small_head(scan, best)
    if child is not None:
        fits, best = [child], child
    return AffineAlignment(poses=poses, fits=fits, best=best)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Deformed:
    """An affine fit and what deformation made of it."""

    affine: AffineFit
    fine: WorkingScan
    deformation: Deformation

    @property
    def match(self) -> float:
        """Information after deformation less its penalty, in nats."""
        return self.deformation.information_after


def completed(scan: Resolutions, aligned: AffineAlignment, deform: bool) -> Fit:
    """Deform on top of the best affine fit, and measure how good the whole is.

    On a T1-weighted scan affine fits that almost tie with the best, somewhere else, are deformed as well, and the best
    match is taken: deformation works on the brain's own grey levels, while bright scalp presses those of the affine
    fit into few. On others the template's tissues can match as well where they do not lie.
    """
    first = _deformed(scan, aligned.best, deform)
    tied = [fit for fit in aligned.fits if deform and _almost_ties(fit, aligned.best)]
    if tied and _likeness_to_t1(first) < T1_LIKENESS:
        tied = []
    every = [first, *(_deformed(scan, fit, deform) for fit in tied)]
    best = max(every, key=lambda one: one.match)
    figures = inner_signs(best.fine, best.affine.matrix, best.deformation) | _figures(scan, aligned, best)
    if tied:
        figures["runner_up_ratio"] = _runner_up_ratio(scan, every, best)
    return Fit(matrix=best.affine.matrix, deformation=best.deformation, score=best.affine.score, figures=figures)


def _almost_ties(fit: AffineFit, best: AffineFit) -> bool:
    return fit.score > RUNNER_UP_FROM * best.score and distance_mm(fit.matrix, best.matrix) > DIFFERENT_MM


def _deformed(scan: Resolutions, fit: AffineFit, deform: bool) -> _Deformed:
    fine = scan.fine if scan.is_ct else bias_corrected(scan.fine, scan.medium, fit.matrix)
    deformation = no_deformation()
    if deform:
        deformation = fit_deformation(fine, fit.matrix, BENDING_WEIGHT["CT" if scan.is_ct else "MR"])
    return _Deformed(affine=fit, fine=fine, deformation=deformation)


def _likeness_to_t1(one: _Deformed) -> float:
    """Correlation of the scan's grey levels with the template's T1 intensity, deep enough for fluid not to matter."""
    points = lattice().points
    placed = _placed(one)
    which = (atlas_at_lattice()[0] < -TISSUE_DEPTH_MM) & one.fine.contains(one.fine.to_ijk(placed))
    levels, classes = one.fine.sample(placed[:, which]), points.classes[which]
    if levels.size == 0 or levels.std() == 0 or classes.std() == 0:
        return 0.0
    return float(np.corrcoef(levels, classes)[0, 1])


def _placed(one: _Deformed) -> Float64Array:
    """Where the lattice's points lie in the scan."""
    grid = lattice()
    moved = grid.points.positions_mm + grid.field(one.deformation.coefficients)[:, grid.used]
    return apply(one.affine.matrix, moved)


def _runner_up_ratio(scan: Resolutions, every: list[_Deformed], best: _Deformed) -> float:
    """Match of the best other answer over that of the one taken; 1 where affine fit and deformation disagree.

    Fits that give the same compartments, but for the share that a right fit may mislabel, are one answer.
    """
    others = [one for one in every if one is not best and _share_apart(scan, best, one) > SAME_ANSWER_SHARE]
    if not others:
        return 0.0
    if best is not every[0] or best.match <= 0:
        return 1.0
    return max(one.match for one in others) / best.match


def _share_apart(scan: Resolutions, one: _Deformed, other: _Deformed) -> float:
    """Share of the brain's points in view that get another compartment from the other fit."""
    grid, atlas = lattice(), load_atlas()
    outside, tentorium = atlas_at_lattice()
    placed = _placed(one)
    which = (outside < 0) & (np.abs(grid.points.positions_mm[0]) > 0) & scan.fine.contains(scan.fine.to_ijk(placed))
    if not which.any():
        return 1.0
    there = to_template(placed[:, which], other.affine.matrix, other.deformation)
    below = ndi.map_coordinates(atlas.tentorium_mm, apply(inverse(atlas.affine), there), order=1, mode="nearest") > 0
    right = there[0] > 0
    differ = (below != (tentorium[which] > 0)) | (right != (grid.points.positions_mm[0, which] > 0))
    return float(differ.mean())


def fit_near_ties(scan: Resolutions, poses: list[Pose]) -> list[AffineFit]:
    """Affine fits at 4 mm from the best of those at 8 mm and from others that fit almost as well somewhere else.

    A pose has one scale for all axes. For a narrow head a wrong pose can match better; twelve parameters correct that.
    """
    tried = (
        fit_affine(scan.coarse, scan.coarse, template_points(8), from_pose(p.parameters), iterations=COARSE_ITERATIONS)
        for p in poses
    )
    rough = sorted((fit for fit in tried if fit is not None), key=lambda fit: -fit.score)
    followed: list[AffineFit] = []
    for fit in rough:
        if len(followed) == MAX_AFFINE_STARTS or fit.score < rough[0].score - NEAR_TIE_NATS:
            break
        if all(distance_mm(fit.matrix, other.matrix) >= DIFFERENT_MM for other in followed):
            followed.append(fit)
    points = template_points(4, AFFINE_POINT_SHARE)
    fits = (fit_affine(scan.medium, scan.medium_brain, points, fit.parameters) for fit in followed)
    return [fit for fit in fits if fit is not None]


def fit_from_smaller(scan: Resolutions, best: AffineFit) -> AffineFit | None:
    """Another and better fit from a smaller start; None where there is none.

    The scalp of a small head, with dark bone below it, can pass for the cortex of a large one with fluid around it.
    """
    start = best.parameters.copy()
    start[6:9] += np.log(SMALLER_START) / UNIT
    fit = fit_affine(scan.medium, scan.medium_brain, template_points(4, AFFINE_POINT_SHARE), start)
    if fit is None or distance_mm(fit.matrix, best.matrix) < DIFFERENT_MM:
        return None
    better = fit.score > best.score and fit.brain_information > best.brain_information
    return fit if better else None


def fit_small_head(scan: Resolutions, best: AffineFit) -> AffineFit | None:
    """Another fit for which a small head is as likely as a usual one otherwise; None where it does not match better.

    The usual sizes of brains hold a fit to the scalp of a head of 0.7 to 0.8 of an adult's size, however well the
    brain matches. There, head and brain both match better (0.6 and 0.27 nats against 0.5 and 0.1); in adults, neither.
    """
    start = best.parameters.copy()
    start[6:9] += np.log(SMALL_HEAD_START) / UNIT
    fit = fit_affine(
        scan.medium,
        scan.medium_brain,
        template_points(4, AFFINE_POINT_SHARE),
        start,
        mean_log_scale=SMALL_HEAD_LOG_SCALE,
    )
    if fit is None or distance_mm(fit.matrix, best.matrix) < DIFFERENT_MM:
        return None
    least = max(best.brain_information, NO_BRAIN_NATS["brain_mutual_information_nats"])  # more than a ball in a shell
    better = fit.head_information > best.head_information and fit.brain_information > least
    return fit if better else None


def _figures(scan: Resolutions, aligned: AffineAlignment, taken: _Deformed) -> dict[str, float]:
    best, deformation = taken.affine, taken.deformation
    matrix = best.matrix
    others = [fit.score for fit in aligned.fits if distance_mm(fit.matrix, matrix) > DIFFERENT_MM]
    scales = np.exp(best.parameters[6:9] * 0.02)
    points = template_points(4, AFFINE_POINT_SHARE)
    return {
        "pose_normalized_mutual_information": aligned.poses[0].score,
        "head_normalized_mutual_information": normalized_mutual_information(scan.medium, points, matrix),
        "head_mutual_information_nats": best.head_information,
        "brain_mutual_information_nats": best.brain_information,
        "deformed_mutual_information_nats": deformation.information_after,
        "share_in_view": best.share_in_view,
        "tilt_deg": tilt_deg(matrix),
        "smallest_scale": float(scales.min()),
        "largest_scale": float(scales.max()),
        **_proportions(scales),
        "runner_up_ratio": max(others, default=0.0) / best.score if best.score > 0 else 1.0,
        "midline_deformation_mm": deformation.midline_deformation_mm,
    }


def _proportions(scales: Float64Array) -> dict[str, float]:
    """Scale along each axis over the geometric mean of the other two."""
    ratios = scales**1.5 / np.sqrt(scales.prod())
    return dict(zip(("width_ratio", "length_ratio", "height_ratio"), ratios.tolist(), strict=True))
