"""From label values to lesions: which values count, what is one lesion, and which touching ones are two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.domain.arrays import BoolArray, IndexArray, Int32Array
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import InputError, SettingsError

WHOLE_SHARE = 0.9
"""A map whose values are this often one connected piece each is one of instances; a map of classes is not."""
FEWEST_INSTANCES = 4
"""Up to three values are rather classes (core, enhancing rim, oedema of one tumour) than lesions."""
NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a face, an edge or a corner touch: the rule of lesion-wise scores (BraTS-METS)."""
SPLIT_NECK = 0.75
"""Touching balls are split where the neck is thinner than this share of the smaller one's radius."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChoice:
    """Which values are lesions, and how they become instances."""

    kind: str = "auto"
    """``auto``, ``instances`` (every value is a lesion) or ``mask`` (every connected piece of all values is one)."""
    wanted: tuple[str, ...] = ()
    """Values, segment or ROI numbers, or names (``*`` at the end stands for anything); empty = all."""
    split: bool = False

    @classmethod
    def of(cls, text: str, *, split: bool = False) -> LabelChoice:
        """From what a user writes: ``auto``, ``instances``, ``mask``, or ``1,3`` or ``GTV*``, also ``instances:1,3``.

        Examples
        --------
        >>> LabelChoice.of("1,3").wanted, LabelChoice.of("instances").kind
        (('1', '3'), 'instances')
        """
        kind, colon, rest = text.partition(":")
        if kind not in ("auto", "instances", "mask"):
            kind, rest = "auto", text
        elif rest.strip() == "" and colon:
            raise SettingsError(f"lesions.labels cannot be {text!r}", todo="for instance 1,3 or instances:1,3")
        wanted = tuple(word.strip() for word in rest.split(",") if word.strip())
        return cls(kind="mask" if wanted and kind == "auto" else kind, wanted=wanted, split=split)

    def takes(self, value: int, name: str = "") -> bool:
        """Whether a value, or what it is called, was asked for."""
        if not self.wanted:
            return True
        number = any(word.isdigit() and int(word) == value for word in self.wanted)
        stars = (word[:-1] for word in self.wanted if word.endswith("*"))
        lower = name.lower()
        return number or lower in {w.lower() for w in self.wanted} or any(lower.startswith(s.lower()) for s in stars)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instances:
    """Lesions of a map, numbered 1 to n, and how they came about."""

    labels: LabelMap
    count: int
    by_value: bool = False
    """Numbered in the order of the values in the file; else in the order of their first voxels."""
    notes: tuple[Reason, ...] = ()
    kept: tuple[int, ...] | None = None
    """Which of the instances in the file these are (from 0), where some were lost; None = all."""


def to_instances(labels: LabelMap, choice: LabelChoice, where: object = "") -> Instances:
    """Turn label values into lesions.

    Connected pieces (26 neighbours) of all chosen values together are lesions; where every value is a lesion of its
    own (``instances``, or as ``auto`` sees it), pieces of one value belong together and touching values stay apart.

    Parameters
    ----------
    labels
        Values on their own grid; 0 is background.
    choice
        Which values, and what is one lesion.
    where
        The file, for messages.

    Raises
    ------
    InputError
        If none of the values asked for is there, though others are.
    """
    box = bounding_box(labels.labels)
    if box is None:
        return Instances(labels=labels, count=0)
    inside = np.asarray(labels.labels[box])
    values = np.unique(inside[inside > 0])
    kept = np.array([v for v in values.tolist() if choice.takes(v, labels.names.get(v, ""))], dtype=inside.dtype)
    if not kept.size:
        listed = ", ".join(map(str, values[:12].tolist()))
        what = f"none of the labels asked for is in it; there are {listed}"
        raise InputError(what, where=where, todo="choose others with --lesion-labels")
    ranks = _ranks(inside, kept)
    found, by_value, notes = _grouped(ranks, len(kept), choice)
    if choice.split:
        found, by_value = split_touching(found, labels.grid.spacing_mm), False
    found, order = (found, np.arange(len(kept))) if by_value else numbered(found)
    whole = np.zeros(labels.labels.shape, dtype=np.int32)
    whole[box] = found
    whole.setflags(write=False)
    lesions = LabelMap(labels=whole, grid=labels.grid)
    return Instances(labels=lesions, count=order.size, by_value=by_value, notes=notes)


def bounding_box(labels: NDArray[Any]) -> Box | None:
    """Smallest box that holds every voxel above 0; None where there is none."""
    box: list[slice] = []
    for axis in range(3):
        hit = np.flatnonzero((labels > 0 if axis == 0 else labels[tuple(box)] > 0).any(axis=_others(axis)))
        if not hit.size:
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return box[0], box[1], box[2]


def _others(axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(3) if a != axis)


def _ranks(inside: NDArray[Any], kept: NDArray[Any]) -> Int32Array:
    """1, 2 ... for the kept values in ascending order, 0 for all others: values may be as large as 2^31."""
    ranks = np.zeros(inside.shape, dtype=np.int32)
    taken = inside > 0
    place = np.searchsorted(kept, inside[taken])
    place = np.minimum(place, len(kept) - 1)
    ranks[taken] = np.where(kept[place] == inside[taken], place + 1, 0)
    return ranks


def _grouped(ranks: Int32Array, n_values: int, choice: LabelChoice) -> tuple[Int32Array, bool, tuple[Reason, ...]]:
    """Lesions, whether they are the values themselves, and what should be known of that."""
    if choice.kind == "instances":
        return ranks, True, ()
    found, n_pieces = ndi.label(ranks > 0, structure=NEIGHBOURS)
    pieces: Int32Array = np.asarray(found, dtype=np.int32)
    if choice.kind == "mask" or n_values == 1:
        return pieces, False, ()
    whole_share = _whole_share(ranks)
    if whole_share == 1 and n_pieces == n_values:
        return ranks, True, ()
    if n_values >= FEWEST_INSTANCES and whole_share >= WHOLE_SHARE:
        return ranks, True, ()
    text = (
        f"The lesion file holds {n_values} label values in {n_pieces} connected pieces: every piece was taken as one "
        "lesion, whatever its values. Choose values, or say that each is a lesion, with --lesion-labels."
    )
    return pieces, False, (Reason(code="given_labels_merged", text=text),)


def _whole_share(ranks: Int32Array) -> float:
    boxes = ndi.find_objects(ranks)
    whole = [ndi.label(ranks[box] == n, structure=NEIGHBOURS)[1] == 1 for n, box in enumerate(boxes, start=1) if box]
    return float(np.mean(whole))


def split_touching(labels: Int32Array, spacing_mm: tuple[float, float, float]) -> Int32Array:
    """Split each lesion at its necks: a watershed on the distance to its surface.

    Maxima of the distance that a neck thinner than ``SPLIT_NECK`` of the smaller radius parts become lesions of their
    own. Shapes without a neck (two balls that overlap by much, a bent tube) stay one.
    """
    result = labels.copy()
    top = int(labels.max(initial=0))
    boxes: list[Any] = ndi.find_objects(labels)
    for number, box in enumerate(boxes, start=1):
        if box is None:
            continue
        parts = _parts(labels[box] == number, spacing_mm)
        for part in range(2, int(parts.max(initial=0)) + 1):
            top += 1
            result[box][parts == part] = top
    return result


def _parts(region: BoolArray, spacing_mm: tuple[float, float, float]) -> Int32Array:
    """1, 2 ... for the parts of one region; the array is 1 throughout where it is not split."""
    from skimage import morphology, segmentation

    find_maxima: Any = morphology.h_maxima
    watershed: Any = segmentation.watershed

    if np.count_nonzero(region) < 4:
        return region.astype(np.int32)
    depth = ndi.distance_transform_edt(np.pad(region, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    depth = ndi.gaussian_filter(depth, [0.5 * min(spacing_mm) / mm for mm in spacing_mm]) * region
    seeds, n_seeds = ndi.label(find_maxima(depth, 0.1 * min(spacing_mm)), structure=NEIGHBOURS)
    if n_seeds < 2:
        return region.astype(np.int32)
    parts: Int32Array = watershed(-depth, seeds, mask=region).astype(np.int32)
    return _joined(parts, depth)


def _joined(parts: Int32Array, depth: NDArray[np.float64]) -> Int32Array:
    """Parts whose shared neck is wide are one: joined from the widest neck to the narrowest."""
    while True:
        necks = _necks(parts, depth)
        peaks = ndi.maximum(depth, parts, np.arange(int(parts.max()) + 1))
        ratios = {pair: neck / max(min(peaks[pair[0]], peaks[pair[1]]), 1e-9) for pair, neck in necks.items()}
        pair = max(ratios, key=lambda p: ratios[p], default=None)
        if pair is None or ratios[pair] < SPLIT_NECK:
            return numbered(parts)[0]
        parts = np.where(parts == pair[1], pair[0], parts)


def _necks(parts: Int32Array, depth: NDArray[np.float64]) -> dict[tuple[int, int], float]:
    """Greatest depth along the border of every two parts that touch."""
    necks: dict[tuple[int, int], float] = {}
    for axis in range(3):
        low, high = (
            np.take(parts, range(*span), axis=axis) for span in ((0, parts.shape[axis] - 1), (1, parts.shape[axis]))
        )
        deep = np.minimum(
            np.take(depth, range(parts.shape[axis] - 1), axis=axis),
            np.take(depth, range(1, parts.shape[axis]), axis=axis),
        )
        border = (low != high) & (low > 0) & (high > 0)
        for a, b, d in zip(low[border].tolist(), high[border].tolist(), deep[border].tolist(), strict=True):
            pair = (min(a, b), max(a, b))
            necks[pair] = max(necks.get(pair, 0.0), d)
    return necks


def numbered(labels: NDArray[Any]) -> tuple[Int32Array, IndexArray]:
    """Labels 1 to n without gaps, in the order of their first voxels, and the old label less 1 of each."""
    flat = np.ascontiguousarray(labels).ravel()
    taken = np.flatnonzero(flat)
    values, first, place = np.unique(flat[taken], return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(values.size, dtype=np.int32)
    rank[order] = np.arange(1, values.size + 1, dtype=np.int32)
    found = np.zeros(flat.size, dtype=np.int32)
    found[taken] = rank[place]
    return found.reshape(labels.shape), values[order].astype(np.intp) - 1
