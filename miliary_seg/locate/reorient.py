"""Heads under a wrong header: the same search with the scan's axes turned by quarter turns.

A rotation is found this way, a reflection cannot be: the template equals its own mirror image. So a head found here
has an upper and a lower end, but no left and right.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np

from miliary_seg.domain.grid import Float64Array
from miliary_seg.locate.pose import head_centre, quick_score
from miliary_seg.locate.register import Alignment, Fit, Resolutions, align, completed
from miliary_seg.locate.transform import inverse, tilt_deg
from miliary_seg.locate.trust import MAX_TILT_DEG
from miliary_seg.locate.working_scan import Blocks, WorkingScan

TURNS_FOLLOWED = 2
"""So many of the 23 quarter turns with the best quick scores are fitted (docs/compartments.md, "Wrong headers")."""


def register_turned(scan: Resolutions, deform: bool) -> Fit | None:
    """Best fit under any quarter turn of the scan's axes but none; its matrix is that of the scan as it was given."""
    turns = quarter_turns()
    scores = [_score(turned(scan, turn)) for turn in turns]
    best: tuple[Alignment, int] | None = None
    for n in np.argsort(scores)[::-1][:TURNS_FOLLOWED]:
        aligned = align(turned(scan, turns[n])) if scores[n] > 0 else None
        if aligned is None or tilt_deg(aligned.best.matrix) > MAX_TILT_DEG:
            continue  # a head found lying askew lies straight under another turn
        if best is None or aligned.best.score > best[0].best.score:
            best = (aligned, int(n))
    if best is None:
        return None
    turn = turns[best[1]]
    fit = completed(turned(scan, turn), best[0], deform)
    return replace(fit, matrix=inverse(turn) @ fit.matrix)


def quarter_turns() -> list[Float64Array]:
    """The 23 rotations, shape (4, 4), that carry axes onto axes and are not the identity."""
    turns = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        turn = np.eye(4)
        turn[:3, :3] = np.diag(signs) @ np.eye(3)[list(order)]
        if np.linalg.det(turn) > 0 and not np.array_equal(turn, np.eye(4)):
            turns.append(turn)
    return turns


def turned(scan: Resolutions, turn: Float64Array) -> Resolutions:
    """The same voxels in a turned world."""
    medium = _turned_scan(scan.medium, turn)
    return replace(
        scan,
        fine=_turned_scan(scan.fine, turn),
        medium_brain=medium if scan.medium_brain is scan.medium else _turned_scan(scan.medium_brain, turn),
        medium=medium,
        coarse=_turned_scan(scan.coarse, turn),
        coarse_blocks=Blocks(voxels=scan.coarse_blocks.voxels, affine=turn @ scan.coarse_blocks.affine),
    )


def _turned_scan(scan: WorkingScan, turn: Float64Array) -> WorkingScan:
    return replace(scan, affine=turn @ scan.affine, inverse=scan.inverse @ inverse(turn))


def _score(scan: Resolutions) -> float:
    centre = head_centre(scan.coarse_blocks, scan.coarse, scan.is_ct)
    return 0.0 if centre is None else quick_score(scan.coarse, centre)
