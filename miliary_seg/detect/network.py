"""A small convolutional network that looks again at the candidates that the trees do not rule out.

It sees a picture of each (``patches``), what the trees say, and where the candidate stands in this scan; its answer is
added to the trees' log odds. Fitted like the trees (docs/rejector.md), stored as plain arrays, evaluated with numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from scipy.special import expit, logit

from miliary_seg.detect.features import Features
from miliary_seg.detect.intensity import WorkVolume
from miliary_seg.detect.patches import Places, pictures
from miliary_seg.detect.reject import stored
from miliary_seg.detect.scale_space import Float32Array, over_jobs

Float64Array = NDArray[np.float64]

LEAST = {False: 0.02, True: 0.01}
"""Candidates that the trees find less likely are not looked at, by whether slices are thick (docs/rejector.md)."""
MOST = 2000
"""At most this many are, the likeliest first: real heads have 80-1550, drawn ones with 400 lesions as many
(docs/rejector.md), and time stays bounded where all of a scan is blobs."""
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
"""Features that the network knows besides; those with a number as logarithms, at most of that."""
LEAST_LOGGED = 0.01
CONTEXT_LIMIT = 4.0
"""Standard deviations from the mean of the examples at which context is cut."""


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
        told = np.clip((context - self.mean) / self.scale, -CONTEXT_LIMIT, CONTEXT_LIMIT)
        x = np.concatenate([x.mean(axis=1), x.max(axis=1), told], axis=1)
        x = np.maximum(x @ self.hidden + self.hidden_bias, 0)
        result: Float32Array = self.trees * context[:, 0] + x @ self.output + self.output_bias
        return result


def _convolved(x: Float32Array, kernel: Float32Array, bias: Float32Array, stride: int = 1) -> Float32Array:
    """Convolution with zeros beyond the border, and rectification; x is (n, rows, columns, channels)."""
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
def network(thick: bool) -> Network:
    """The network for thick or thin slices, read once."""
    part = stored("network.npz", thick)
    return Network(
        kernels=tuple(part[f"kernel{n}"] for n in range(3)),
        biases=tuple(part[f"bias{n}"] for n in range(3)),
        output_bias=float(part["output_bias"]),
        trees=float(part["trees"]),
        **{name: part[name] for name in ("mean", "scale", "hidden", "hidden_bias", "output")},
    )


def context(features: Features, log_odds: Float64Array) -> Float32Array:
    """What the network is told besides the picture (n, 1 + len(CONTEXT))."""
    columns = [log_odds]
    for name, most in CONTEXT.items():
        values = features[name]
        columns.append(values if most is None else np.log(np.clip(values, LEAST_LOGGED, most)))
    return np.stack(columns, axis=1).astype(np.float32)


def looked_at(probability: Float64Array, thick: bool) -> NDArray[np.intp]:
    """Rows, in rising order, of the candidates that get a picture: the likeliest ``MOST`` of those above ``LEAST``."""
    rows = np.flatnonzero(probability > LEAST[thick])
    return np.sort(rows[np.argsort(-probability[rows], kind="stable")[:MOST]])


def second_look(
    work: WorkVolume, places: Places, features: Features, probability: Float64Array, thick: bool
) -> Float64Array:
    """Probabilities after the network has looked at the candidates that are not ruled out.

    Parameters
    ----------
    work
        The scan.
    places, features
        The n candidates.
    probability
        What the trees say (n,).
    thick
        Whether slices are thick.

    Returns
    -------
    array (n,)
        Unchanged where the trees rule a candidate out, or find ``MOST`` others likelier.
    """
    rows = looked_at(probability, thick)
    some, judge, grey = places.where(rows), network(thick), work.voxels
    told = context({name: features[name][rows] for name in CONTEXT}, logit(np.minimum(probability[rows], SUREST)))
    result = probability.copy()

    def look(job: tuple[float, NDArray[np.intp]]) -> None:
        pixel, part = job
        picture = pictures(grey, work.spacing_mm, some.where(part), pixel, thick)
        result[rows[part]] = expit(judge.log_odds(picture, told[part]).astype(np.float64))

    over_jobs(look, some.jobs())
    return result
