"""First guess: position, rotation and size of the head, from many starts at 8 mm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, Float32Array, Float64Array
from miliary_seg.locate.affine_fit import descend_along_lines
from miliary_seg.locate.atlas import template_points
from miliary_seg.locate.mutual_information import normalized_mutual_information
from miliary_seg.locate.pyramid import BlockMeans, WorkingScan
from miliary_seg.locate.transform import MEAN_LOG_SCALE, UNIT, affine_matrix, from_pose, size_penalty

PITCHES_DEG = (-40, -20, 0, 20, 40, 60)
"""Against MNI most heads are pitched 0 to 30 degrees forward as they lie in the scanner."""
ROLLS_DEG = (-15, 0, 15)
YAWS_DEG = (-20, 0, 20)
HEIGHTS_MM = (-40, -15, 10, 35)
FEW_TURNS_DEG = ((-20, 0, 0), (0, 0, 0), (20, 0, 0), (40, 0, 0))
HEAD_HEIGHT_MM = 140.0
"""The head's centre is computed from this height below its top, so that neck and shoulders do not pull it down."""
SIZE_WEIGHT = 0.009
"""Weight of the size penalty against normalized mutual information, whose useful span is about 0.3."""
REFINED = 8
"""Number of the best distinct starts that are refined."""
EVALUATIONS = 60
"""Per pose."""
BRAIN_WEIGHT = 1.0
"""Of what the brain's own grey levels say: with the rings alone, a brain stretched to the scalp or pushed up and back
by 2 cm fits as well (docs/measurements/compartments.md, "People who do not exist")."""
DISTINCT_UNITS = 8.0
"""Starts closer than this in every parameter count as the same."""
FIRST_STEPS = np.array([6.0] * 6 + [3.0])
CT_TISSUE_HU = -50.0


@dataclass(frozen=True, slots=True)
class Pose:
    """Seven parameters (translation, rotation, log scale; see ``transform``) and how well they fit."""

    parameters: Float64Array
    score: float


def head_centre(blocks: BlockMeans, scan: WorkingScan, is_ct: bool) -> Float64Array | None:
    """World position in mm of the middle of the head; None where there is no foreground."""
    foreground = _foreground(blocks, scan, is_ct)
    indices = np.argwhere(foreground)
    if len(indices) == 0:
        return None
    world = indices @ blocks.affine[:3, :3].T + blocks.affine[:3, 3]
    top = world[:, 2].max()
    centre: Float64Array = world[world[:, 2] > top - HEAD_HEIGHT_MM].mean(axis=0)
    return centre


def quick_score(scan: WorkingScan, centre: Float64Array) -> float:
    """How well the best of a few starts fits after one round of refinement: enough to rank orientations."""
    cost = _cost(scan)
    start = min(_starts(centre, FEW_TURNS_DEG), key=cost)
    return -descend_along_lines(cost, start, evaluations=EVALUATIONS, first_steps=FIRST_STEPS)[1]


def search_pose(scan: WorkingScan, centre: Float64Array) -> list[Pose]:
    """Refined poses, best first; starts cover the rotations that scanners and patients produce."""
    cost = _cost(scan)
    turns = list(product(PITCHES_DEG, ROLLS_DEG, YAWS_DEG))
    starts = sorted(_starts(centre, turns), key=cost)
    chosen: list[Float64Array] = []
    for start in starts:
        if len(chosen) < REFINED and all(np.abs(start - other).max() >= DISTINCT_UNITS for other in chosen):
            chosen.append(start)
    refined = (descend_along_lines(cost, s, evaluations=EVALUATIONS, first_steps=FIRST_STEPS) for s in chosen)
    return sorted((Pose(found, -value) for found, value in refined), key=lambda pose: -pose.score)


def _cost(scan: WorkingScan) -> Callable[[Float64Array], float]:
    points = template_points(8)

    def cost(pose: Float64Array) -> float:
        matrix = affine_matrix(from_pose(pose))
        fit = normalized_mutual_information(scan, points, matrix, brain_weight=BRAIN_WEIGHT)
        return SIZE_WEIGHT * size_penalty(pose[6:7] * UNIT)[0] - fit

    return cost


def _starts(centre: Float64Array, turns_deg: Iterable[tuple[int, int, int]]) -> list[Float64Array]:
    angles = [np.radians(turn) / UNIT for turn in turns_deg]
    heights = [centre + np.array([0.0, 0.0, height]) for height in HEIGHTS_MM]
    return [np.concatenate([place, turn, [MEAN_LOG_SCALE / UNIT]]) for turn in angles for place in heights]


def _foreground(blocks: BlockMeans, scan: WorkingScan, is_ct: bool) -> BoolArray:
    """The largest bright piece, holes filled."""
    levels = scan.inside_levels
    bright = blocks.voxels > CT_TISSUE_HU if is_ct else levels > 0.6 * _otsu(levels)
    labels, n = ndi.label(ndi.binary_opening(bright))
    if n:
        bright = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    filled: BoolArray = ndi.binary_fill_holes(bright)
    return filled


def _otsu(levels: Float32Array) -> float:
    """Threshold that separates two classes best (Otsu 1979, doi:10.1109/TSMC.1979.4310076)."""
    counts, edges = np.histogram(levels, 64)
    shares = counts / counts.sum()
    below = np.cumsum(shares)
    mean = np.cumsum(shares * edges[:-1])
    between = (mean[-1] * below - mean) ** 2 / np.maximum(below * (1 - below), 1e-9)
    return float(edges[np.argmax(between)])
