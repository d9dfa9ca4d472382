"""Two detectors, or a reader and a detector, on one scan: which lesions both have, and what each would answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from miliary_seg.domain.decision import Decision, Verdict
from miliary_seg.domain.lesion import Lesion
from miliary_seg.domain.lesion_source import LesionSource
from miliary_seg.domain.one_to_one import one_to_one
from miliary_seg.domain.volume import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The second of two detectors against the first, whose lesions are those of the series."""

    first: LesionSource
    second: LesionSource
    both: tuple[tuple[int, int], ...] = field(repr=False)
    """Lesion ids (first, second) that share a voxel, one to one."""
    only_first: tuple[int, ...] = field(repr=False)
    only_second: tuple[int, ...] = field(repr=False)
    lesions: tuple[Lesion, ...] = field(repr=False)
    """Of the second."""
    decision: Decision
    """Of the second."""
    first_verdict: Verdict

    @property
    def agree(self) -> bool:
        """Whether both come to the same answer."""
        return self.first_verdict is self.decision.verdict


def matched(first: LabelMap, second: LabelMap) -> tuple[tuple[int, int], ...]:
    """Labels of two maps on one grid that share voxels, one to one, as many as possible.

    Examples
    --------
    >>> from miliary_seg.domain.grid import Grid
    >>> grid = Grid(shape=(1, 1, 4), affine=np.eye(4))
    >>> a = LabelMap(labels=np.array([[[1, 1, 0, 2]]]), grid=grid)
    >>> b = LabelMap(labels=np.array([[[0, 5, 5, 0]]]), grid=grid)
    >>> matched(a, b)
    ((1, 5),)
    """
    shared = (first.labels > 0) & (second.labels > 0)
    mine, theirs = first.labels[shared].astype(np.int64), second.labels[shared].astype(np.int64)
    span = int(theirs.max(initial=0)) + 1
    pairs, counts = np.unique(mine * span + theirs, return_counts=True)
    rows, columns = one_to_one(pairs // span, pairs % span, counts.astype(np.float64), float(counts.sum() + 1))
    return tuple(sorted(zip(rows.tolist(), columns.tolist(), strict=True)))
