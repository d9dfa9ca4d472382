"""A 3-D segmentation network in ONNX as a detector: a sliding window with Gaussian weights, set by a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from miliary_seg.detectors.channels import channels, sampled
from miliary_seg.domain.arrays import BoolArray, Float32Array
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.lesion_source import GivenLesions, LesionSource
from miliary_seg.domain.progress import report_progress
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import InputError, MiliaryError, MissingLibraryError, SettingsError
from miliary_seg.load.lesions import from_chances
from miliary_seg.load.lesions.label_files import file_digest
from miliary_seg.settings import Settings

WEIGHT_SIGMA = 1 / 8
"""Of the patch: nnU-Net's Gaussian importance map (Isensee 2021, doi:10.1038/s41592-020-01008-z)."""
LEAST_WEIGHT = 1e-3
"""Corners of a patch still count, where nothing else does."""
MARGIN_MM = 10.0
"""The network sees this much around the brain mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """What the TOML file beside a network says."""

    spacing_mm: tuple[float, float, float]
    """Of the voxels that it was trained on, along the axes of ``orientation``."""
    patch: tuple[int, int, int]
    """Voxels of one input."""
    orientation: str = "RAS"
    """Direction in which the three axes of its input grow."""
    channels: tuple[str, ...] = ("scan",)
    """Sequences, in the order of its input channels; ``scan`` = the series that is analysed."""
    normalisation: Literal["zscore", "zscore-brain", "percentiles", "none"] = "zscore-brain"
    """Over the volume, over the brain, 1st to 99th percentile of the brain to 0 to 1, or as it is."""
    overlap: float = 0.5
    """Of neighbouring patches."""
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    """From the network's output to probabilities; ``none`` where it gives probabilities already."""
    foreground: tuple[int, ...] = (1,)
    """Output channels that are lesion: their probabilities are added, at most 1."""
    threshold: float = 0.5
    """Voxels from this probability on are lesion."""

    @classmethod
    def read(cls, path: Path) -> NetworkSettings:
        """Read and check the file.

        Raises
        ------
        SettingsError
            If it is missing, not TOML, has unknown keys, or values that do not fit.
        """
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            what = f"the settings of the network cannot be read ({type(error).__name__})"
            raise SettingsError(what, where=path, todo="a TOML file of the network's name beside it") from error
        known = {field.name for field in fields(cls)}
        wrong = sorted(set(values) - known) or sorted({"spacing_mm", "patch"} - set(values))
        if wrong:
            what = f"the key {wrong[0]!r} is {'unknown' if wrong[0] in values else 'missing'}"
            raise SettingsError(what, where=path, todo="there are " + ", ".join(sorted(known)))
        checked: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        made = cls(**checked)
        made.require_sensible(path)
        return made

    def require_sensible(self, path: Path) -> None:
        """Refuse values that no network can have."""
        pairs = ["".join(sorted(pair)) for pair in ("RL", "AP", "SI")]
        letters = sorted(n for c in self.orientation for n, pair in enumerate(pairs) if c in pair)
        choices = (("zscore", "zscore-brain", "percentiles", "none"), ("softmax", "sigmoid", "none"))
        fits = {
            "spacing_mm": len(self.spacing_mm) == 3 and min(self.spacing_mm) > 0,
            "patch": len(self.patch) == 3 and min(self.patch) > 0,
            "orientation": letters == [0, 1, 2],
            "normalisation": self.normalisation in choices[0],
            "activation": self.activation in choices[1],
            "overlap": 0 <= self.overlap < 1,
            "threshold": 0 < self.threshold <= 1,
        }
        bad = [name for name, good in fits.items() if not good]
        if bad:
            raise SettingsError(f"{bad[0]} cannot be {getattr(self, bad[0])!r}", where=path, todo="see docs/howto")


class OnnxDetector:
    """Runs the network ``settings.detector.model`` with the TOML file of the same name beside it."""

    def find(
        self, volume: Volume, brain_mask: BoolArray, settings: Settings, *, others: Sequence[Volume] = ()
    ) -> GivenLesions:
        """Resample, normalise, run patch by patch, and turn probabilities into lesions.

        Raises
        ------
        MissingLibraryError
            If onnxruntime is not installed.
        SettingsError
            If there is no model, or its settings do not fit.
        MiliaryError
            If the network cannot be run, or its output is not what the settings say.
        """
        path = Path(settings.detector.model).expanduser()
        if not settings.detector.model or not path.is_file():
            raise SettingsError("there is no such network", where=path, todo="--set detector.model=NETWORK.onnx")
        network = NetworkSettings.read(path.with_suffix(".toml"))
        session = _session(path)
        grid = work_grid(volume.grid, brain_mask, network)
        arrays = channels(volume, brain_mask, others, network.channels)
        scans = [sampled(replace(volume, voxels=voxels), grid) for voxels in arrays]
        brain = sampled(replace(volume, voxels=brain_mask.astype(np.float32)), grid) > 0.5
        inputs = np.stack([normalised(scan, brain, network.normalisation) for scan in scans])
        chances = sliding_window(lambda patch: _run(session, patch, network, path), inputs, network)
        on_scan = sampled(Volume(voxels=chances, grid=grid), volume.grid)
        source = LesionSource(name=f"onnx ({path.stem})", sha256=file_digest(path))
        return replace(from_chances(on_scan, volume, network.threshold, settings.lesions), source=source)


def work_grid(scan: Grid, brain_mask: BoolArray, network: NetworkSettings) -> Grid:
    """The network's own grid over the brain: its orientation and spacing, along the nearest axes of the scan."""
    order = [{"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}[c] for c in network.orientation]
    signs = [1.0 if c in "RAS" else -1.0 for c in network.orientation]
    axes = [scan.world_axes.index(world) for world in order]
    columns = [
        s * np.sign(scan.directions[w, a]) * scan.directions[:, a] for s, w, a in zip(signs, order, axes, strict=True)
    ]
    affine = np.eye(4)
    affine[:3, :3] = np.stack(columns, axis=1) * network.spacing_mm
    inside = np.argwhere(brain_mask) if brain_mask.any() else np.array([[0, 0, 0], np.array(scan.shape) - 1])
    corners = np.array(list(product(*zip(inside.min(axis=0), inside.max(axis=0), strict=True))))
    places = scan.to_ras_mm(corners) @ np.linalg.inv(affine[:3, :3]).T
    margin = MARGIN_MM / np.array(network.spacing_mm)
    low, high = np.floor(places.min(axis=0) - margin), np.ceil(places.max(axis=0) + margin)
    affine[:3, 3] = affine[:3, :3] @ low
    i, j, k = (int(n) for n in high - low + 1)
    return Grid(shape=(i, j, k), affine=affine)


def normalised(scan: Float32Array, brain: BoolArray, how: str) -> Float32Array:
    """Grey values as the network was trained on them; flat scans become 0."""
    values = scan[brain] if brain.any() and how != "zscore" else scan
    if how == "none":
        return scan
    if how == "percentiles":
        low, high = (float(q) for q in np.percentile(values, [1, 99]))
        return np.asarray(np.clip((scan - low) / max(high - low, 1e-6), 0, 1), dtype=np.float32)
    return np.asarray((scan - values.mean()) / max(float(values.std()), 1e-6), dtype=np.float32)


def sliding_window(run: Any, inputs: Float32Array, network: NetworkSettings) -> Float32Array:
    """Probability of every voxel: the mean over all patches that hold it, by Gaussian weights.

    Parameters
    ----------
    run
        From (channel, i, j, k) of the patch to probabilities (i, j, k).
    inputs
        Shape (channel, i, j, k).
    network
        Patch and overlap.
    """
    patch = network.patch
    short = [max(0, p - n) for p, n in zip(patch, inputs.shape[1:], strict=True)]
    padded = np.pad(inputs, [(0, 0), *((0, s) for s in short)])
    weight = _weight(patch)
    total, weights = (np.zeros(padded.shape[1:], dtype=np.float32) for _ in range(2))
    places = list(_places(padded.shape[1:], patch, network.overlap))
    for number, at in enumerate(places):
        box = tuple(slice(a, a + p) for a, p in zip(at, patch, strict=True))
        total[box] += weight * run(padded[(slice(None), *box)])
        weights[box] += weight
        report_progress("detect", number + 1, len(places))
    i, j, k = inputs.shape[1:]
    return (total / weights)[:i, :j, :k]


def _places(shape: tuple[int, ...], patch: tuple[int, ...], overlap: float) -> Iterator[tuple[int, ...]]:
    starts = []
    for n, p in zip(shape, patch, strict=True):
        count = int(np.ceil((n - p) / max(1, p * (1 - overlap)))) + 1
        starts.append(np.unique(np.rint(np.linspace(0, n - p, count)).astype(int)).tolist())
    return product(*starts)


def _weight(patch: tuple[int, ...]) -> Float32Array:
    peak = np.zeros(patch)
    peak[tuple(p // 2 for p in patch)] = 1
    weight = ndi.gaussian_filter(peak, [p * WEIGHT_SIGMA for p in patch], mode="constant")
    return np.asarray(np.maximum(weight / weight.max(), LEAST_WEIGHT), dtype=np.float32)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        what = "the detector onnx needs onnxruntime"
        raise MissingLibraryError(what, todo="pip install 'miliary-seg[onnx]'") from error
    try:
        return onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime has no error of its own to catch
        what = f"not a network that onnxruntime can run ({type(error).__name__})"
        raise InputError(what, where=path, todo="export it again, with an opset that onnxruntime knows") from error


def _run(session: Any, patch: Float32Array, network: NetworkSettings, path: Path) -> Float32Array:
    """Probability of lesion in one patch, shape (i, j, k)."""
    try:
        (output, *_) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(patch[None])})
    except Exception as error:
        what = f"the network cannot be run on {patch.shape} ({type(error).__name__})"
        raise MiliaryError(what, where=path, todo="check channels and patch in its TOML file") from error
    scores = np.asarray(output, dtype=np.float32)[0]
    if scores.ndim != 4 or scores.shape[1:] != patch.shape[1:] or max(network.foreground) >= scores.shape[0]:
        what = f"the network returned {np.shape(output)} for {patch.shape}"
        raise InputError(what, where=path, todo="it must return (1, channel, i, j, k) of the same size")
    chances: NDArray[np.float32] = np.minimum(
        _activated(scores, network.activation)[list(network.foreground)].sum(0), 1
    )
    return chances


def _activated(scores: Float32Array, how: str) -> Float32Array:
    if how == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -60, 60))), dtype=np.float32)
    if how == "softmax":
        powers = np.exp(scores - scores.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)
    return scores
