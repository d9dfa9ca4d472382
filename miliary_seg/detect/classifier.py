"""From features to the probability that a reader would call a candidate a lesion.

Two stages (docs/rejector.md). First boosted decision trees, fitted on lesions implanted into real and painted heads,
stored as plain arrays in ``trees.npz`` and evaluated with numpy: one forest for thin slices, one for slices more than
2.25 mm apart. Then a small convolutional network (``network.npz``) for the candidates that the trees do not rule out.
T2 has trees of its own, and no network; scans on which lesions are dark have both of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from scipy.special import expit, logit

from miliary_seg.detect.blur import over_jobs
from miliary_seg.detect.features import Features
from miliary_seg.detect.normalise import WorkVolume
from miliary_seg.detect.patches import PatchSites, pictures
from miliary_seg.detect.quality import DARK_SEQUENCES
from miliary_seg.domain.arrays import Float32Array, Float64Array, IndexArray, Int32Array
from miliary_seg.domain.result import OperatingPoint
from miliary_seg.domain.sequence import Polarity, Sequence

KINDS = {
    Sequence.T1C: "t1",
    Sequence.T1: "t1",
    Sequence.FLAIR: "flair",
    Sequence.T2: "t2",
    Sequence.CT: "ct",
    Sequence.CTC: "ct",
}
"""Scans with operating points of their own; all others have those of all MR scans together."""
OTHERS = "all"
DARK = "dark"
"""SWI, T2* and ADC, where lesions are sought as dark (`miliary_seg.detect.quality.DARK_SEQUENCES`)."""
WITH_OWN_TREES = frozenset({"t2", DARK})
"""Kinds judged by trees that were fitted on them alone. On T2 a lesion is darker than the fluid in the folds and hardly
brighter than cortex: what all scans taught found half as many there. On SWI, T2* and ADC what is dark is vein and iron,
and what all scans taught takes two to five times as many for lesions as is allowed (docs/measurements/rejector.md)."""
WITHOUT_NETWORK = frozenset({"t2"})
"""Kinds on which no network found more than their trees."""
LEAST = {False: 0.01, True: 0.01}
"""Candidates that the trees give less than this skip the network; key: slices are thick (docs/rejector.md)."""
MOST = 2500
"""At most this many candidates go to the network, the likeliest first. Nine of ten heads with some hundred lesions have
fewer (docs/measurements/rejector.md); the limit bounds the time of scans that are blobs all over."""
SUREST = 1 - 1e-9
"""Keeps log odds finite."""
CONTEXT = {
    "log_radius": None,
    "contrast_to_noise": 15.0,
    "contrast": 30.0,
    "local_contrast": 30.0,
    "surround_rank": None,
    "centre_rank": None,
    "edge_mm": None,
    "outlierness": None,
    "surround_outlierness": None,
}
"""Features that the network gets beside the picture; with a number: as a logarithm, cut at that number."""
LEAST_LOGGED = 0.01
CONTEXT_LIMIT = 4.0
"""Context is cut at this many standard deviations from the mean of the training examples."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """Three convolutions, shared by all planes of a candidate, and two dense layers."""

    kernels: tuple[Float32Array, ...]
    """(size, size, channels in, channels out) each."""
    biases: tuple[Float32Array, ...]
    mean: Float32Array
    scale: Float32Array
    """Of the context."""
    hidden: Float32Array
    hidden_bias: Float32Array
    output: Float32Array
    output_bias: float
    trees: float
    """Weight of the trees' log odds."""

    def log_odds(self, picture: Float32Array, context: Float32Array) -> Float32Array:
        """Log odds (n,) of pictures (n, planes, SIZE, SIZE, channels) and their context, trees' log odds first."""
        n, planes = picture.shape[:2]
        x = picture.reshape(n * planes, *picture.shape[2:])
        x = _convolved(x, self.kernels[0], self.biases[0], stride=2)
        x = _convolved(x, self.kernels[1], self.biases[1])
        x = np.maximum(x[:, ::2], x[:, 1::2])
        x = np.maximum(x[:, :, ::2], x[:, :, 1::2])
        x = _convolved(x, self.kernels[2], self.biases[2])
        low, high = x.shape[1] // 2 - 1, x.shape[1] // 2 + 1
        x = np.concatenate([x.mean(axis=(1, 2)), x[:, low:high, low:high].mean(axis=(1, 2))], axis=1)
        x = x.reshape(n, planes, -1)
        context_features = np.clip((context - self.mean) / self.scale, -CONTEXT_LIMIT, CONTEXT_LIMIT)
        x = np.concatenate([x.mean(axis=1), x.max(axis=1), context_features], axis=1)
        x = np.maximum(x @ self.hidden + self.hidden_bias, 0)
        result: Float32Array = self.trees * context[:, 0] + x @ self.output + self.output_bias
        return result


def _convolved(x: Float32Array, kernel: Float32Array, bias: Float32Array, stride: int = 1) -> Float32Array:
    """Convolution with zero padding, then ReLU; x is (n, rows, columns, channels)."""
    size = len(kernel)
    pad = size // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    n, rows, columns, channels = x.shape
    shape = (n, (rows - size) // stride + 1, (columns - size) // stride + 1, size, size * channels)
    a, b, c, d = x.strides
    seen = as_strided(x, shape, (a, b * stride, c * stride, b, d), writeable=False)
    flat = seen.reshape(-1, size * size * channels) @ kernel.reshape(-1, kernel.shape[-1])
    flat += bias
    result: Float32Array = np.maximum(flat, 0, out=flat).reshape(*shape[:3], -1)
    return result


@cache
def network(thick: bool, kind: str = OTHERS) -> Network:
    """The network for thick or thin slices of a kind of scan, read once."""
    part = stored("network.npz", thick, kind)
    return Network(
        kernels=tuple(part[f"kernel{n}"] for n in range(3)),
        biases=tuple(part[f"bias{n}"] for n in range(3)),
        output_bias=float(part["output_bias"]),
        trees=float(part["trees"]),
        **{name: part[name] for name in ("mean", "scale", "hidden", "hidden_bias", "output")},
    )


def context(features: Features, log_odds: Float64Array) -> Float32Array:
    """What the network is given besides the picture (n, 1 + len(CONTEXT))."""
    columns = [log_odds]
    for name, most in CONTEXT.items():
        values = features[name]
        columns.append(values if most is None else np.log(np.clip(values, LEAST_LOGGED, most)))
    return np.stack(columns, axis=1).astype(np.float32)


def looked_at(probability: Float64Array, thick: bool) -> IndexArray:
    """Rows, ascending, of the candidates that go to the network: the likeliest ``MOST`` of those above ``LEAST``."""
    rows = np.flatnonzero(probability > LEAST[thick])
    return np.sort(rows[np.argsort(-probability[rows], kind="stable")[:MOST]])


def rescore(
    work: WorkVolume, places: PatchSites, features: Features, probability: Float64Array, kind: str = OTHERS
) -> Float64Array:
    """Probabilities after the network has scored the candidates that the trees do not rule out.

    Parameters
    ----------
    work
        The scan.
    places, features
        The n candidates.
    probability
        Of the trees (n,).
    kind
        Of scan: see `judged_as`.

    Returns
    -------
    array (n,)
        Unchanged for candidates that the trees rule out, and for those beyond the likeliest ``MOST``.
    """
    rows = looked_at(probability, work.thick)
    some, judge, grey = places.where(rows), network(work.thick, kind), work.voxels
    context_features = context(
        {name: features[name][rows] for name in CONTEXT}, logit(np.minimum(probability[rows], SUREST))
    )
    result = probability.copy()

    def look(job: tuple[float, IndexArray]) -> None:
        pixel, part = job
        picture = pictures(grey, work.spacing_mm, some.where(part), pixel, work.thick)
        result[rows[part]] = expit(judge.log_odds(picture, context_features[part]).astype(np.float64))

    over_jobs(look, some.jobs())
    return result


CHUNK = 1024
"""Candidates evaluated together: their state stays in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Decision trees over named features; node 0 of each tree is at ``roots``.

    A leaf points at itself, so that every candidate can take ``depth`` steps in every tree.
    """

    names: tuple[str, ...]
    constant: float
    roots: Int32Array
    depth: int
    feature: Int32Array
    threshold: Float32Array
    left: Int32Array
    right: Int32Array
    value: Float32Array

    def log_odds(self, table: Float32Array) -> Float64Array:
        """Sum over trees for rows of features (n, len(names)); values that are not finite count as 0."""
        table = np.nan_to_num(table, posinf=0.0, neginf=0.0)
        result = np.zeros(len(table))

        def walk(first: int) -> None:
            rows = table[first : first + CHUNK]
            at = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
            line = np.arange(len(rows))[:, None]
            for _ in range(self.depth):
                at = np.where(rows[line, self.feature[at]] <= self.threshold[at], self.left[at], self.right[at])
            result[first : first + CHUNK] = self.value[at].sum(axis=1)

        over_jobs(walk, range(0, len(table), CHUNK))
        return result + self.constant


def stored(name: str, thick: bool, kind: str = OTHERS) -> dict[str, NDArray[Any]]:
    """The arrays for thick or thin slices of a kind of scan in a file of weights of this package."""
    prefix = (f"{kind}_" if kind in WITH_OWN_TREES else "") + ("thick_" if thick else "thin_")
    with np.load(str(files("miliary_seg.detect") / name), allow_pickle=False) as file:
        return {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}


@cache
def forest(thick: bool, kind: str = OTHERS) -> Forest:
    """The forest for thick or thin slices of a kind of scan, read once."""
    part = stored("trees.npz", thick, kind)
    return Forest(
        names=tuple(str(name) for name in part["names"]),
        constant=float(part["constant"]),
        depth=int(part["depth"]),
        **{name: part[name] for name in ("roots", "feature", "threshold", "left", "right", "value")},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Probability threshold of an operating point, and what was measured at it (docs/measurements/detection.md)."""

    probability: float
    recall: float | None = None
    false_positives_per_slice: float | None = None


MEASURED_ON = {
    "ct": "implanted balls of 3 to 8 mm, at least 10 noise standard deviations above their surroundings, and "
    "lesion-free scans, most of them painted from label maps, of persons left out of the fit",
    DARK: "dark lesions of 3 to 8 mm, 50 to 90 % below white matter, put in place of tissue, and lesion-free scans, "
    "all painted from label maps, of persons left out of the fit",
}
"""On what these were measured, printed wherever they are; MR: see ``MEASURED_ON_MR``."""
MEASURED_ON_MR = (
    "lesions of 3 to 8 mm, 50 to 150 % above white matter, put in place of tissue, and lesion-free MR scans, of "
    "persons left out of the fit"
)


def kind_of(sequence: Sequence, polarity: Polarity = Polarity.BRIGHT) -> str:
    """The kind of scan whose operating points a sequence has where lesions of a polarity are sought."""
    if polarity is Polarity.DARK and sequence in DARK_SEQUENCES:
        return DARK
    return KINDS.get(sequence, OTHERS)


def judged_as(sequence: Sequence, polarity: Polarity) -> str:
    """The kind of scan whose trees and network judge: that of the sequence where lesions are of its usual polarity."""
    kind = kind_of(sequence, polarity)
    return kind if kind == DARK or polarity is Polarity.BRIGHT else OTHERS


@cache
def thresholds(sequence: Sequence, thick: bool, polarity: Polarity = Polarity.BRIGHT) -> dict[str, Threshold]:
    """The thresholds of a kind of scan by the name of the operating point.

    Read from ``weights/operating_points.json``, which ``scripts/train-rejector network`` writes. Recall is that of
    lesions that replace tissue, of 3-8 mm and 50-150 % above white matter (CT: of balls); false positives are
    cross-sections a slice on lesion-free scans of the kind; both on persons left out of the fit
    (docs/measurements/rejector.md).
    """
    stored_points = json.loads(files("miliary_seg.detect").joinpath("weights/operating_points.json").read_text("utf-8"))
    of_kind = stored_points["thick" if thick else "thin"][kind_of(sequence, polarity)]
    return {name: Threshold(**values) for name, values in of_kind.items()}


def probability(features: Features, thick: bool, kind: str = OTHERS) -> Float64Array:
    """Probability of each candidate.

    Parameters
    ----------
    features
        Columns of length n: all of ``FEATURES``.
    thick
        Whether slices are more than 2.25 mm apart.
    kind
        Of scan: see `judged_as`.

    Returns
    -------
    array (n,)
        0 to 1.
    """
    trees = forest(thick, kind)
    table = np.column_stack([features[name] for name in trees.names]).astype(np.float32)
    result: Float64Array = expit(trees.log_odds(table))
    return result


def operating_point(name: str, sequence: Sequence, thick: bool, polarity: Polarity = Polarity.BRIGHT) -> OperatingPoint:
    """The operating point of a name, for a kind of scan with thin or thick slices."""
    points = thresholds(sequence, thick, polarity)
    chosen, strict = points[name], points["specific"]
    return OperatingPoint(
        name=name,
        probability_threshold=chosen.probability,
        measured_recall=chosen.recall,
        measured_false_positives_per_slice=chosen.false_positives_per_slice,
        measured_on=MEASURED_ON.get(kind_of(sequence, polarity), MEASURED_ON_MR),
        evidence_probability=strict.probability,
        evidence_false_positives_per_slice=strict.false_positives_per_slice,
    )
