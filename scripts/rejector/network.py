"""The network that looks again: pictures of doubtful candidates, fit and measurement with persons left out, weights."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from fit import FOLDS, TARGET, fold_of, keep_weights, key, load, parts, platt, report, weights, write_figures
from fresh import is_fresh, of_pictures
from generate import restored
from plot import limits, reliability_diagram
from scenes import Scene
from scipy.special import expit
from table import prepared
from torch import nn
from torch.nn import functional

from miliary_seg.detect.classifier import CONTEXT_LIMIT, context, looked_at
from miliary_seg.detect.patches import PatchSites, pictures
from miliary_seg.detect.work_grid import WorkGrid

KERNELS = ((5, 16), (3, 32), (3, 48))
"""Size and channels of each convolution."""
HIDDEN, DROPPED = 48, 0.2
EPOCHS, BATCH, RATE, DECAY, WARM = 8, 256, 5e-3, 1e-2, 0.15
TUNED_EPOCHS, TUNED_RATE = 5, 1e-3
"""For a network of one kind of scan, which starts from that of all."""
EASY, KEEP_EASY = 0.03, 0.2
"""Of negatives that the trees find less likely than this, the share that is fitted on, weighing as much more."""


class Judge(nn.Module):
    """What `miliary_seg.detect.classifier.Network` computes, with batch normalisation and dropout for the fit."""

    def __init__(self, channels: int, told: torch.Tensor) -> None:
        super().__init__()
        layers = []
        for size, out in KERNELS:
            layers.append(nn.Conv2d(channels, out, size, padding=size // 2, stride=1 if layers else 2))
            channels = out
        self.convolutions = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.BatchNorm2d(out) for _, out in KERNELS)
        self.hidden = nn.Linear(4 * channels + told.shape[1], HIDDEN)
        self.output = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.trees = nn.Parameter(torch.ones(1))
        self.register_buffer("mean", told.mean(0))
        self.register_buffer("scale", told.std(0) + 1e-3)

    def forward(self, picture: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Log odds of (n, planes, channels, SIZE, SIZE) and context (n, columns)."""
        n, x = len(picture), picture.flatten(0, 1)
        for number, (layer, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = functional.relu(norm(layer(x)))
            x = functional.max_pool2d(x, 2) if number == 1 else x
        low, high = x.shape[2] // 2 - 1, x.shape[2] // 2 + 1
        x = torch.cat([x.mean((2, 3)), x[:, :, low:high, low:high].mean((2, 3))], 1).reshape(n, picture.shape[1], -1)
        known = ((told - self.mean) / self.scale).clamp(-CONTEXT_LIMIT, CONTEXT_LIMIT)
        x = torch.cat([x.mean(1), x.amax(1), known], 1)
        x = functional.relu(self.hidden(functional.dropout(x, DROPPED, self.training)))
        return self.trees * told[:, 0] + self.output(x)[:, 0]


def on_work_grid(grid: WorkGrid, ijk: np.ndarray) -> np.ndarray:
    """Work indices (n, 3) of input indices: the inverse of ``grid.to_ijk``."""
    zero, one = grid.to_ijk(np.zeros((1, 3)))[0], grid.to_ijk(np.ones((1, 3)))[0]
    return ((ijk - zero) / (one - zero))[:, list(grid.axes)]


def see(work: Path, table: dict) -> None:
    """Add ``rows``, ``picture`` and ``told`` of the candidates that the trees of other persons do not rule out."""
    path = work / "pictures" / f"{key(table).replace('/', '__')}.npz"
    score, features = table["score"], dict(zip(table["names"], table["X"].T.astype(float), strict=True))
    table["rows"] = rows = looked_at(expit(score), table["thick"])
    table["told"] = context({name: values[rows] for name, values in features.items()}, score[rows])
    digest = of_pictures(table["digest"], rows)
    if not is_fresh(path, digest):
        path.parent.mkdir(exist_ok=True)
        np.savez(path, digest=digest, picture=_seen(restored(work / f"{key(table)}.npz"), table))
    with np.load(path) as stored:
        table["picture"] = stored["picture"]


def _seen(scene: Scene, table: dict) -> np.ndarray:
    """Pictures of the rows of a scene's table, channels before pixels."""
    rows, volume = table["rows"], prepared(scene)
    level, contrast = (
        table["X"][rows, table["names"].index(name)].astype(float) for name in ("surround_value", "contrast")
    )
    places = PatchSites(
        index=on_work_grid(volume.grid, table["pos"][rows] / np.array(scene.spacing)),
        radius_mm=table["radius"][rows].astype(float),
        sign=np.full(len(rows), scene.sign),
        level=level,
        contrast=contrast,
    )
    order, seen = [], []
    for pixel, some in places.jobs():
        picture = pictures(volume.voxels, volume.spacing_mm, places.where(some), pixel, table["thick"])
        order.append(some)
        seen.append(np.moveaxis(picture, -1, 2).astype(np.float16))
    place = np.argsort(np.concatenate(order)) if order else np.zeros(0, int)
    return np.concatenate(seen)[place] if seen else np.zeros(0)


def varied(picture: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """A batch turned and mirrored, a little brighter or darker, with a little noise."""
    turn = rng.integers(8)
    picture = picture.flip(3) if turn & 1 else picture
    picture = picture.flip(4) if turn & 2 else picture
    picture = picture.transpose(3, 4) if turn & 4 else picture
    gain, shift = (torch.from_numpy(rng.normal(0, sd, (len(picture), 1, 1, 1, 1))).float() for sd in (0.08, 0.05))
    return picture * gain.exp() + shift + torch.randn_like(picture) * float(rng.choice([0, 0, 0.05, 0.1]))


def examples(tables: list[dict], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Pictures, context, labels and weights of what is fitted on."""
    every = []
    for d in tables:
        y = d["label"][d["rows"]]
        share = np.where((y == 0) & (expit(d["told"][:, 0]) < EASY), KEEP_EASY, 1.0)
        keep = np.flatnonzero((y >= 0) & (rng.random(len(y)) < share))
        columns = d["picture"][keep], d["told"][keep], y[keep] == 1, (weights(d)[d["rows"]] / share)[keep]
        if len(keep):
            every.append((*columns[:2], *(q.astype(np.float32) for q in columns[2:])))
    return tuple(np.concatenate(column) for column in zip(*every, strict=True))


def taught(tables: list[dict], before: dict | None = None) -> Judge:
    """A network on these tables, from nothing or from the weights of another (`exported`, names without prefix)."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    picture, *others = examples(tables, rng)
    told, label, weight = (torch.from_numpy(q) for q in others)
    net = Judge(picture.shape[2], told).to(memory_format=torch.channels_last)
    epochs, rate = (EPOCHS, RATE) if before is None else (TUNED_EPOCHS, TUNED_RATE)
    if before is not None:
        put(net, before)
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=DECAY)
    steps = epochs * (len(picture) // BATCH)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=WARM)
    start = time.time()
    for epoch in range(epochs):
        order, total = rng.permutation(len(picture)), 0.0
        for first in range(0, len(order) - BATCH + 1, BATCH):
            k = order[first : first + BATCH]
            seen = varied(torch.from_numpy(picture[k].astype(np.float32)), rng)
            loss = functional.binary_cross_entropy_with_logits(net(seen, told[k]), label[k], weight=weight[k])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
            total += float(loss.detach())
        print(epoch, len(order), f"{total * BATCH / len(order):.4f} {time.time() - start:.0f} s", flush=True)
    return net.eval()


@torch.no_grad()
def put(net: Judge, before: dict) -> None:
    """Weights of another network into this one, which from now on neither normalises batches nor drops anything."""
    values = {name: torch.from_numpy(np.array(value)) for name, value in before.items()}
    for n, (layer, norm) in enumerate(zip(net.convolutions, net.norms, strict=True)):
        layer.weight.copy_(values[f"kernel{n}"].permute(3, 2, 0, 1))
        layer.bias.copy_(values[f"bias{n}"])
        norm.running_var.fill_(1 - norm.eps)
    net.mean.copy_(values["mean"])
    net.scale.copy_(values["scale"])
    net.trees.fill_(float(values["trees"]))
    net.hidden.bias.copy_(values["hidden_bias"])
    net.hidden.weight.copy_(values["hidden"].T)
    net.output.weight.copy_(values["output"][None])
    net.output.bias.fill_(float(values["output_bias"]))
    net.eval()


def judged_by(net: Judge, table: dict) -> np.ndarray:
    """Log odds of all candidates of a table: the network's where it looks."""
    score = table["score"].copy()
    with torch.no_grad():
        for first in range(0, len(table["rows"]), 512):
            part = slice(first, first + 512)
            picture = torch.from_numpy(table["picture"][part].astype(np.float32))
            score[table["rows"][part]] = net(picture, torch.from_numpy(table["told"][part])).numpy()
    return score


def exported(net: Judge, prefix: str, ab: tuple[float, float]) -> dict:
    """The network as plain arrays; batch normalisation and calibration are folded into its weights."""
    out = {}
    for n, (layer, norm) in enumerate(zip(net.convolutions, net.norms, strict=True)):
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        out[f"kernel{n}"] = (layer.weight * gain[:, None, None, None]).permute(2, 3, 1, 0)
        out[f"bias{n}"] = (layer.bias - norm.running_mean) * gain + norm.bias
    out |= {"mean": net.mean, "scale": net.scale, "hidden": net.hidden.weight.T, "hidden_bias": net.hidden.bias}
    out |= {"output": net.output.weight[0] * ab[0], "output_bias": net.output.bias[0] * ab[0] + ab[1]}
    out["trees"] = net.trees[0] * ab[0]
    return {prefix + k: v.detach().numpy().astype(np.float32) for k, v in out.items()}


def fit_networks(work: Path, kinds: tuple[str, ...] = ("all",), *, write: bool) -> None:
    """Fit, measure and print; ``write`` also replaces the weights of the package and the card of figures.

    That of one kind of scan starts from that of all, which has to be there.
    """
    arrays: dict[int, dict] = {fold: {} for fold in (-1, *range(len(FOLDS)))}
    card: dict = {}
    for prefix, own in parts(load(work, kinds), kinds):
        with np.load(work / "left_out.npz") as scores:
            for d in own:
                d["score"] = scores[f"{prefix}/{key(d)}"].astype(float)
        card[prefix], fitted = _fit_one(work, own, prefix)
        for fold, part in fitted.items():
            arrays[fold] |= part
        print(prefix, json.dumps(card[prefix], indent=1), flush=True)
    keep_weights(work, "network.npz", arrays, write=write)
    if write:
        write_figures(card)
    if write and "all" in kinds:
        images = TARGET.parents[1] / "docs/images"
        limits(images)
        reliability_diagram({k: card[k]["calibration"] for k in ("thin", "thick")}, images)


def of_all(work: Path, prefix: str, fold: int) -> dict | None:
    """The network of all scans that has not seen a fold, from which that of one kind starts; None for itself."""
    kind, _, slices = prefix.rpartition("_")
    if not kind:
        return None
    folder = work / f"without_{fold}" if fold >= 0 else TARGET
    with np.load(folder / "network.npz", allow_pickle=False) as stored:
        start = f"{slices}_"
        return {key.removeprefix(start): stored[key] for key in stored.files if key.startswith(start)}


def _fit_one(work: Path, own: list[dict], prefix: str) -> tuple[dict, dict[int, dict]]:
    """Card of figures for one kind of slices, and weights by the fold that they have not seen."""
    for d in own:
        see(work, d)
        d["p"], d["weight"] = expit(d["score"]), weights(d)
    alone = report(own, prefix, (1.0, 0.0))
    lessons = [d for d in own if d["lesson"]]
    nets = {}
    for fold in (*range(len(FOLDS)), -1):
        nets[fold] = taught([d for d in lessons if fold_of(d) != fold], of_all(work, prefix, fold))
        for d in own:
            if fold_of(d) == fold:
                d["judged"] = judged_by(nets[fold], d)
    known = [d for d in own if fold_of(d) >= 0]
    use = [d["rows"][d["label"][d["rows"]] >= 0] for d in known]
    columns = ("judged", "label", "weight")
    ab = platt(*[np.concatenate([d[k][q] for d, q in zip(known, use, strict=True)]) for k in columns])
    for d in own:
        d["judged"][d["rows"]] = ab[0] * d["judged"][d["rows"]] + ab[1]
        d["p"] = expit(d["judged"])
    card = report(own, prefix, ab)
    wanted = ("recall", "replacing", "points", "high", "balanced", "specific", "calibration")
    card["trees_alone"] = {k: alone[k] for k in wanted}
    return card, {fold: exported(net, prefix + "_", ab) for fold, net in nets.items()}
