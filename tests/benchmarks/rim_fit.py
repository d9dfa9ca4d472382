"""Fits the network of the brain mask's rim (`miliary_seg/locate/rim.py`), and measures it on people left out.

    python tests/benchmarks/rim_fit.py simulate LABEL_MAP... --work DIR
    python tests/benchmarks/rim_fit.py measure --work DIR
    python tests/benchmarks/rim_fit.py fit --work DIR --output miliary_seg/locate/rim.npz

``simulate`` makes scans of the people and of people bent from them, with dura, scalp, bone and fluid of any brightness,
and keeps what `with_rim` is given (some hours of the clock; a stopped run goes on). ``measure`` fits on half of the
people and prints what becomes of the other half; ``fit`` writes the weights of all. Needs `pip install '.[train]'`.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from locate_accuracy import near_edge, reference_mask
from new_people import new_person, new_place, spots
from scipy import ndimage as ndi
from simulated_heads import BRAIN, INTENSITIES, LABELS, Simulated, background, imaged, noisy, simulate

from miliary_seg.domain.grid import Grid
from miliary_seg.domain.volume import Volume
from miliary_seg.locate import brain_mask, pipeline
from miliary_seg.locate.brain_mask import TissueLevels, TissueValues, rough_mask, work_steps
from miliary_seg.locate.reorient import CanonicalView
from miliary_seg.locate.rim import INPUT_LIMIT, JOINS, LEAVES, NearScan, rim_features

CONTRASTS = ("T1", "T1c", "FLAIR", "DWI")
"""Fluid is darker than tissue in them."""
CONDITIONS = ("thin", "axial", "sagittal", "lesions", "coronal", "axial", "oblique", "thin")
DURA = {"T1": (0.5, 1.1), "T1c": (0.7, 2.0), "FLAIR": (0.4, 1.2), "T2": (0.2, 0.7)}
"""Of grey matter. Dura lies where fluid touches bone; the label maps have none."""
DURA_LABEL = 599
TRUSTED = 0.5
MOST_BEYOND = (0.05, 0.08)
"""Scans are fitted on where less than this share of the rim is lost, and of the brain let in, out of the network's
reach: there the fit is wrong."""
LESIONS, LESION_RADII_MM, LESION_LEVELS, RING_SHARE = 40, (0.8, 6.0), (1.15, 2.6), 0.3
"""Balls drawn in the rim of the second and third copy of a scan, as bright as so many times white matter."""
FLUID_SHARE, FLUID_RANGE = (0.5, 1.9), (0.08, 0.72)
"""In the third copy the level of fluid changes by such a factor, within such shares of tissue."""
VOXELS = (14_000, 9_000, 9_000)
"""Of each copy of a scan."""
INSIDE_WEIGHT, LESION_WEIGHT = 0.25, 2.0
"""Of voxels of the closed brain that are no tissue of the rim, and of lesions; all others count 1."""
HIDDEN, EPOCHS, BATCH, RATE = (24, 12), 8, 4096, 1e-2
HALVES = ((1, 2, 3, 4), (5, 6, 7, 8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("simulate", "measure", "fit"))
    parser.add_argument("label_maps", nargs="*", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.verb == "simulate":
        make(arguments.label_maps, arguments.work)
    elif arguments.verb == "measure":
        measure(arguments.work)
    else:
        np.savez(arguments.output, **fitted(examples(arguments.work)).arrays())


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the mask is made from on its own grid, and the truth there."""

    name: str
    person: int
    contrast: str
    zero: float
    values: TissueValues
    levels: TissueLevels
    scan: NearScan
    mask: np.ndarray
    brain: np.ndarray
    """Brain and ventricles closed by 5 mm."""
    rim: np.ndarray
    """Tissue within 2 mm of its surface."""

    @property
    def near(self) -> np.ndarray:
        return self.scan.signal + np.float32(self.zero)

    def stored(self, kind: type) -> Seen:
        """With grey values and distances of another type: half the bytes are exact to a tenth of the noise."""
        scan = self.scan
        return replace(
            self, scan=replace(scan, signal=scan.signal.astype(kind), outside_mm=scan.outside_mm.astype(kind))
        )


def scenes(maps: list[Path]) -> Iterator[tuple[str, int, str, Callable[[], Simulated]]]:
    """Name, person from 1, contrast, and how to make it."""
    for number, contrast in enumerate(CONTRASTS):
        for p, path in enumerate(maps):
            for turn in range(1 if contrast == "DWI" else 2):
                condition = CONDITIONS[(p + number + 3 * turn) % len(CONDITIONS)]
                seed = 700 + 10 * turn + p
                name = f"{p + 1} {contrast} {condition} {turn}"
                yield name, p + 1, contrast, lambda a=path, c=contrast, k=condition, s=seed: simulate(a, c, k, s)
            if contrast in DURA:
                seed = 1000 + 10 * number + p
                yield f"{p + 1} {contrast} bent", p + 1, contrast, lambda a=path, c=contrast, s=seed: bent(a, c, s)


def bent(path: Path, contrast: str, seed: int) -> Simulated:
    """A person who does not exist, with dura, and with scalp, bone and fluid of any brightness."""
    labels, affine, _ = new_person(path, seed)
    rng = np.random.default_rng([9911, seed])
    painted_on = labels.copy()
    if rng.random() < 0.6:
        hard = np.isin(labels, [n for part in ("bone", "marrow", "soft") for n in LABELS[part]])
        dura = ndi.binary_dilation(hard) & (labels == 24)
        if rng.random() < 0.5:
            dura &= ~ndi.binary_dilation(np.isin(labels, BRAIN))
        painted_on[dura] = DURA_LABEL
    marks = spots(labels, rng) if rng.random() < 0.25 else np.zeros(labels.shape, np.uint8)
    scene = ndi.gaussian_filter(painted_anew(painted_on, marks, contrast, rng), rng.uniform(0.55, 0.85))
    place, facts = new_place(labels, affine, rng)
    image, shown = imaged(scene, labels, place, background(contrast))
    return Simulated(
        voxels=np.rint(noisy(image, contrast, rng, skull=True)),
        labels=shown,
        affine=place.world,
        contrast=contrast,
        facts=facts,
    )


def painted_anew(labels: np.ndarray, marks: np.ndarray, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """Grey values and texture on the label map's grid."""
    spread = {"soft": (0.6, 2.2), "skin": (0.6, 2.2), "marrow": (0.6, 2.2), "bone": (0.5, 1.8), "eye": (0.5, 1.8)}
    spread["fluid"] = (0.7, 1.3)
    table = np.zeros(600, np.float32)
    for (tissue, numbers), value in zip(LABELS.items(), INTENSITIES[contrast], strict=True):
        table[list(numbers)] = value * rng.normal(1, 0.06) * rng.uniform(*spread.get(tissue, (1.0, 1.0)))
    table[DURA_LABEL] = table[LABELS["grey"][0]] * rng.uniform(*DURA[contrast])
    texture = ndi.gaussian_filter(rng.standard_normal(labels.shape, dtype=np.float32), 1.0)
    scene = table[labels] * (1 + 0.06 * texture / texture.std())
    scene[marks > 0] = table[LABELS["white"][0]] * rng.uniform(1.2, 1.8)
    return scene


class _EnoughError(Exception):
    pass


def make(maps: list[Path], work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    pipeline.register_turned = lambda *_: None  # type: ignore[attr-defined]
    for name, person, contrast, scene in scenes(maps):
        path = work / f"{name}.pkl"
        if path.exists():
            continue
        seen = looked_at(name, person, contrast, scene())
        path.write_bytes(pickle.dumps(seen and seen.stored(np.float16)))
        if seen is not None:
            print(f"{name}: {shown(seen, seen.mask)}", flush=True)


def shown(seen: Seen, mask: np.ndarray) -> str:
    return "rim lost {:.1f} %, let in {:.1f} %".format(*errors(seen, mask))


def errors(seen: Seen, mask: np.ndarray) -> tuple[float, float]:
    """% of the rim's tissue lost, and % of the brain let in."""
    lost, more = (seen.rim & ~mask).sum() / seen.rim.sum(), (mask & ~seen.brain).sum() / seen.brain.sum()
    return 100 * float(lost), 100 * float(more)


def looked_at(name: str, person: int, contrast: str, made: Simulated) -> Seen | None:
    """The scan as the mask's refinement sees it; None where the fit is not trusted."""
    grid = Grid(shape=made.voxels.shape, affine=made.affine)  # type: ignore[arg-type]
    volume = Volume(voxels=np.ascontiguousarray(made.voxels), grid=grid)
    given: dict[str, object] = {}
    kept = brain_mask.rough_mask, brain_mask.with_rim, pipeline.refined_mask, pipeline._fitted

    def rough(near: np.ndarray, *rest: object) -> np.ndarray:
        given.update(near=near.flat[0], levels=rest[-1])
        return kept[0](near, *rest)  # type: ignore[arg-type]

    def rim(mask: np.ndarray, scan: NearScan) -> np.ndarray:
        given.update(mask=mask, scan=scan, zero=float(given["near"] - scan.signal.flat[0]))  # type: ignore[operator]
        raise _EnoughError

    def refined(voxels: np.ndarray, affine: np.ndarray, outside: np.ndarray, **rest: object) -> np.ndarray:
        steps = work_steps(affine)
        box = brain_mask.near_brain(outside, np.sqrt((affine[:3, :3] ** 2).sum(axis=0)) * steps)
        assert box is not None
        given.update(part=lambda a: np.ascontiguousarray(a[tuple(slice(None, None, s) for s in steps)][box]))
        given.update(values=rest["values"])
        return kept[2](voxels, affine, outside, **rest)  # type: ignore[arg-type]

    def fitted_scan(*rest: object) -> object:
        found = kept[3](*rest)  # type: ignore[arg-type]
        given.update(trust=0.0 if found is None else found.trust.figure)
        return found

    brain_mask.rough_mask, brain_mask.with_rim = rough, rim  # type: ignore[assignment]
    pipeline.refined_mask, pipeline._fitted = refined, fitted_scan  # type: ignore[assignment]
    try:
        pipeline.locate(volume)
    except _EnoughError:
        pass
    finally:
        brain_mask.rough_mask, brain_mask.with_rim, pipeline.refined_mask, pipeline._fitted = kept
    if "scan" not in given or given["trust"] < TRUSTED:  # type: ignore[operator]
        return None
    canonical, spacing = CanonicalView.of(grid), np.array(grid.spacing_mm)
    brain = reference_mask(made.labels, spacing)
    rim_of_brain = np.isin(made.labels, BRAIN) & near_edge(brain, spacing)
    brain, rim_of_brain = (given["part"](canonical.view(a)) for a in (brain, rim_of_brain))  # type: ignore[operator]
    known = {name: given[name] for name in ("zero", "values", "levels", "scan", "mask")}
    return Seen(name=name, person=person, contrast=contrast, brain=brain, rim=rim_of_brain, **known)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Voxels of one scan, and how many of its errors are out of the network's reach."""

    seen: Seen
    features: np.ndarray
    """(n, features)."""
    brain: np.ndarray
    weight: np.ndarray
    beyond: tuple[float, float]


def examples(work: Path) -> list[Examples]:
    found = []
    for path in sorted(work.glob("*.pkl")):
        seen = pickle.loads(path.read_bytes())
        if seen is not None:
            found.append(drawn(seen.stored(np.float32)))
    return [e for e in found if all(b < most for b, most in zip(e.beyond, MOST_BEYOND, strict=True))]


def drawn(seen: Seen) -> Examples:
    """Voxels of the scan as it is, with lesions in its rim, and with fluid of another brightness besides."""
    rng = np.random.default_rng([5, int(seen.brain.sum())])
    features, brain, weight = [], [], []
    beyond = (0.0, 0.0)
    for copy, count in enumerate(VOXELS):
        other, lesions = seen, np.zeros(seen.brain.shape, bool)
        if copy == 2:
            other = with_other_fluid(other, rng)
        if copy:
            other, lesions = with_lesions(other, rng)
        told = rim_features(other.mask, other.scan)
        assert told is not None
        at, table = told
        if copy == 0:
            out = np.ones(seen.brain.shape, bool)
            out.reshape(-1)[at] = False
            lost, more = (seen.rim & ~seen.mask & out).sum(), (seen.mask & ~seen.brain & out).sum()
            beyond = float(lost / seen.rim.sum()), float(more / seen.brain.sum())
        at, table = (a[..., pick] for pick in [rng.permutation(len(at))[:count]] for a in (at, table))
        inside, rim, lesion = (a.reshape(-1)[at] for a in (seen.brain, seen.rim, lesions))
        counts = np.where(lesion, LESION_WEIGHT, np.where(inside & ~rim, INSIDE_WEIGHT, 1.0))
        features.append(table.T)
        brain.append(inside)
        weight.append(counts / counts.sum())
    joined = [np.concatenate(part) for part in (features, brain, weight)]
    return Examples(seen=seen, features=joined[0], brain=joined[1], weight=joined[2], beyond=beyond)


def with_lesions(seen: Seen, rng: np.random.Generator) -> tuple[Seen, np.ndarray]:
    near, spacing, white = seen.near, seen.scan.spacing_mm, seen.scan.white + seen.zero
    lesions = np.zeros(near.shape, bool)
    places = np.argwhere(seen.rim)
    for place in places[rng.choice(len(places), LESIONS, replace=False)]:
        radius, level = rng.uniform(*LESION_RADII_MM), white * rng.uniform(*LESION_LEVELS)
        reach = np.ceil((radius + 2) / spacing).astype(int)
        box = tuple(slice(max(0, p - r), p + r + 1) for p, r in zip(place, reach, strict=True))
        axes = np.ogrid[tuple(slice(b.start, min(b.stop, n)) for b, n in zip(box, near.shape, strict=True))]
        distance = np.sqrt(sum(((a - p) * s) ** 2 for a, p, s in zip(axes, place, spacing, strict=True)))
        share = np.clip((radius - distance) / max(spacing.min(), 1) + 0.5, 0, 1) * seen.brain[box]
        if rng.random() < RING_SHARE:
            share = share * np.where(distance < 0.55 * radius, 0.25, 1)
        near[box] += (level - near[box]) * share
        lesions[box] |= share > 0.5
    return remade(seen, near, seen.levels), lesions


def with_other_fluid(seen: Seen, rng: np.random.Generator) -> Seen:
    """Grey values below tissue stretched; the levels of tissue keep their place among them."""
    zero, levels, values, grey = seen.zero, seen.levels, seen.values, seen.near
    tissue, fluid = min(values.grey, values.white), values.fluid
    share = (fluid - zero) / (tissue - zero)
    moved = zero + np.clip(share * rng.uniform(*FLUID_SHARE), *FLUID_RANGE) * (tissue - zero)
    low = np.interp(grey, [zero, fluid, tissue], [zero, moved, tissue])
    near = (low + np.maximum(grey - tissue, 0)).astype(np.float32)
    return remade(seen, near, replace(levels, crown=(moved + tissue) / 2))


def remade(seen: Seen, near: np.ndarray, levels: TissueLevels) -> Seen:
    """The scan with other grey values, and the mask that they give."""
    scan = replace(seen.scan, signal=near - np.float32(seen.zero))
    mask = rough_mask(near, scan.outside_mm, scan.spacing_mm, levels).mask
    return replace(seen, levels=levels, scan=scan, mask=mask)


@dataclass(frozen=True)
class Fitted:
    network: torch.nn.Sequential
    mean: np.ndarray
    scale: np.ndarray

    def log_odds(self, table: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.network(torch.tensor(scaled(table, self.mean, self.scale)))[:, 0].numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """As `miliary_seg.locate.rim` reads them."""
        layers = [layer for layer in self.network if isinstance(layer, torch.nn.Linear)]
        named = {"mean": self.mean, "scale": self.scale}
        for n, layer in enumerate(layers):
            named[f"weight{n}"], named[f"bias{n}"] = layer.weight.detach(), layer.bias.detach()
        return {name: np.asarray(array, np.float32) for name, array in named.items()}


def scaled(table: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip((table - mean) / scale, -INPUT_LIMIT, INPUT_LIMIT).astype(np.float32)


def fitted(parts: list[Examples]) -> Fitted:
    """Every scan weighs the same."""
    torch.manual_seed(0)
    table, brain, weight = (np.concatenate([getattr(e, n) for e in parts]) for n in ("features", "brain", "weight"))
    mean, scale = table.mean(axis=0), table.std(axis=0) + np.float32(1e-3)
    x, y = torch.tensor(scaled(table, mean, scale)), torch.tensor(brain.astype(np.float32))
    w = torch.tensor((weight * len(weight) / weight.sum()).astype(np.float32))
    layers, size = [], x.shape[1]
    for width in HIDDEN:
        layers += [torch.nn.Linear(size, width), torch.nn.ReLU()]
        size = width
    network = torch.nn.Sequential(*layers, torch.nn.Linear(size, 1))
    optimiser = torch.optim.Adam(network.parameters(), weight_decay=1e-5)
    steps = EPOCHS * -(-len(x) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = (entropy(network(x[rows])[:, 0], y[rows], reduction="none") * w[rows]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return Fitted(network, mean, scale)


def measure(work: Path) -> None:
    """Of every scan of people left out: rim lost and let in by the rough mask, by the network, and lesions lost."""
    parts, rows = examples(work), []
    for people in HALVES:
        network = fitted([e for e in parts if e.seen.person not in people])
        for example in parts:
            seen = example.seen
            if seen.person not in people:
                continue
            spotted, lesions = with_lesions(seen, np.random.default_rng([7, int(seen.brain.sum())]))
            decided = judged(network, spotted)
            lost = [100 * float((lesions & ~mask).sum() / lesions.sum()) for mask in (spotted.mask, decided)]
            rows.append((seen.contrast, *errors(seen, seen.mask), *errors(seen, judged(network, seen)), *lost))
            print(seen.name.ljust(24), *(f"{v:6.1f}" for v in rows[-1][1:]), flush=True)
    for contrast in CONTRASTS:
        table = np.array([row[1:] for row in rows if row[0] == contrast])
        print(contrast, len(table), "median", np.median(table, axis=0).round(1), "worst", table.max(axis=0).round(1))


def judged(network: Fitted, seen: Seen) -> np.ndarray:
    """As `miliary_seg.locate.brain_mask` does it, but for smoothing."""
    told = rim_features(seen.mask, seen.scan)
    assert told is not None
    mask = seen.mask.copy()
    flat = mask.reshape(-1)
    flat[told[0]] = network.log_odds(told[1].T) > np.where(flat[told[0]], LEAVES, JOINS)
    return mask


if __name__ == "__main__":
    main()
