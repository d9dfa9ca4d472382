"""Boosted trees of ``miliary_seg/detect/trees.npz``: make scenes, measure candidates, fit, export. Needs scikit-learn.

    python scripts/rejector/trees.py scenes DATA MASKS FOLDER FIRST STOP  # seeded scenes -> their candidates
    python scripts/rejector/trees.py fit FOLDER                          # FOLDER/*.npz -> miliary_seg/detect/trees.npz

DATA is the folder of development scans, MASKS holds brain masks as ``<head>_lab.nii.gz``. Heads under a non-commercial
licence are not among ``heads.real_heads`` unless asked for, and are never asked for here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import heads
import numpy as np
import scenes
from dataset import labels
from sklearn.ensemble import HistGradientBoostingClassifier

from miliary_seg.detect.intensity import prepare
from miliary_seg.detect.lesions import search
from miliary_seg.detect.work_grid import work_grid
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.volume import Volume

SLAB_MM = 50.0
CONTRASTS = {"t1": 0.1, "t1c": 0.25, "t2": 0.1, "flair": 0.15, "dwi": 0.08, "swi": 0.16, "ct": 0.16}
RISING = (
    "isolation",
    "tube_isolation",
    "contrast_to_noise",
    "response_mads",
    "soft_isolation",
    "far_isolation",
    "far_tube_isolation",
)
FALLING = ("shell_spread", "leak")
"""Features in which the probability may only rise or only fall: what is known need not be learned."""
SHAPE = {
    "max_iter": 150,
    "learning_rate": 0.07,
    "max_leaf_nodes": 14,
    "max_depth": 6,
    "min_samples_leaf": 40,
    "l2_regularization": 5.0,
}
TARGET = Path(__file__).parents[2] / "miliary_seg/detect/trees.npz"


def scene_of(seed: int, real: list[heads.Head], data: Path) -> scenes.Scene:
    """One seeded scene: a real head (3 of 5) or a painted one; even seeds thin slices, odd seeds thick ones."""
    rng = np.random.default_rng([777, seed])
    thick = seed % 2 == 1
    if rng.random() < 0.6:
        pool = [h for h in real if thick or h.spacing[0] < 1.6]
        weight = np.array([2.0 if h.contrast == "t1c" else 1.0 for h in pool])
        head = pool[rng.choice(len(pool), p=weight / weight.sum())]
    else:
        contrast = str(rng.choice(list(CONTRASTS), p=list(CONTRASTS.values())))
        head = heads.painted_head(data, int(rng.integers(1, 9)), contrast, rng)
    if head.spacing[0] < 1.6 and head.labels is None and rng.random() < 0.25:
        head = _turned(head, int(rng.integers(1, 3)))
    low, high = np.percentile(head.voxels[head.mask], [25, 75])
    drawn = head.labels is not None or rng.random() < 0.5
    added = scenes.negatives(head, rng, max((high - low) / 1.35, 1e-3)) if drawn else None
    count = 0 if rng.random() < 0.1 else int(np.exp(rng.uniform(np.log(20), np.log(160))))
    return scenes.make_scene(head, rng, thick=thick, lesions=count, slab_mm=None if thick else SLAB_MM, added=added)


def _turned(head: heads.Head, axis: int) -> heads.Head:
    """The head with another axis as slice axis."""

    def turn(array):
        return None if array is None else np.ascontiguousarray(np.moveaxis(array, axis, 0))

    spacing = list(head.spacing)
    first = spacing.pop(axis)
    return heads.Head(
        name=head.name, person=head.person, contrast=head.contrast, voxels=turn(head.voxels), spacing=(first, *spacing),
        mask=turn(head.mask), signs=head.signs, ignore=turn(head.ignore),
    )  # fmt: skip


def measure(scene: scenes.Scene) -> dict[str, object]:
    """Features and labels of a scene's candidates."""
    grid = Grid(shape=scene.voxels.shape, affine=np.diag([*scene.spacing, 1.0]))
    volume = Volume(voxels=scene.voxels, grid=grid, slice_axis=0)
    work = prepare(volume.voxels, scene.mask, work_grid(volume, scene.mask))
    found = search(work, Polarity.BRIGHT if scene.sign > 0 else Polarity.DARK)
    label, _ = labels(scene, work.grid.to_ijk(found.index) * np.array(scene.spacing))
    table = np.column_stack(list(found.features.values())).astype(np.float32)
    return {
        "X": table,
        "names": list(found.features),
        "label": label,
        "person": scene.person,
        "thick": scene.spacing[0] > 2,
    }


def fit(folder: Path) -> None:
    """Fit one forest for thin and one for thick slices, and write both as plain arrays."""
    stored = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    out: dict[str, np.ndarray] = {}
    for thick in (False, True):
        part = [s for s in stored if bool(s["thick"]) == thick]
        names = [str(n) for n in part[0]["names"]]
        table, label = np.concatenate([s["X"] for s in part]), np.concatenate([s["label"] for s in part])
        rule = [(n in RISING) - (n in FALLING) for n in names]
        model = HistGradientBoostingClassifier(**SHAPE, monotonic_cst=rule, random_state=0)
        model.fit(table[label >= 0], label[label >= 0])
        out.update({("thick_" if thick else "thin_") + k: v for k, v in arrays(model, names).items()})
    np.savez_compressed(TARGET, **out)


def arrays(model: HistGradientBoostingClassifier, names: list[str]) -> dict[str, np.ndarray]:
    """All trees as one list of nodes; a leaf points at itself."""
    columns: dict[str, list[np.ndarray]] = {k: [] for k in ("feature", "threshold", "left", "right", "value")}
    roots, depth, start = [], 0, 0
    for (tree,) in model._predictors:
        nodes = tree.nodes
        leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        columns["feature"].append(np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32))
        columns["threshold"].append(np.where(leaf, 0, nodes["num_threshold"]).astype(np.float32))
        columns["left"].append((start + np.where(leaf, own, nodes["left"])).astype(np.int32))
        columns["right"].append((start + np.where(leaf, own, nodes["right"])).astype(np.int32))
        columns["value"].append(np.where(leaf, nodes["value"], 0).astype(np.float32))
        roots.append(start)
        depth, start = max(depth, int(nodes["depth"].max())), start + len(nodes)
    constant = np.float64(model._baseline_prediction.ravel()[0])
    fixed = {
        "names": np.array(names),
        "constant": constant,
        "depth": np.int32(depth),
        "roots": np.array(roots, np.int32),
    }
    return fixed | {k: np.concatenate(v) for k, v in columns.items()}


def main() -> None:
    verb, *rest = sys.argv[1:]
    if verb == "fit":
        fit(Path(rest[0]))
        return
    data, masks, folder = (Path(p) for p in rest[:3])
    real = heads.real_heads(data, masks)
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(int(rest[3]), int(rest[4])):
        np.savez(folder / f"{seed:04d}.npz", **measure(scene_of(seed, real, data)))


if __name__ == "__main__":
    main()
