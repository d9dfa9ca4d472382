"""Fit the score of ``detect/masses.py`` on real and drawn masses, and measure it on persons left out.

    fit-masses KEEP NAME=SCAN[,MASK] ...

KEEP is a folder for what is located once; NAME is ``person/scan``; MASK holds the tumours of the scan, in its voxels.
A name that starts with ``-`` is measured, never fitted on (licence). Masses are drawn into the blocks of every scan
without a mask. Prints one line a scan, by the fit of the other persons (* = listed), then the weights of all of them
(docs/measurements/masses.md).
"""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect.mass_map import CLIP_AT, map_of_blocks
from miliary_seg.detect.mass_regions import FEATURES, IN_PLANE, mass_regions, measured, outlined
from miliary_seg.detect.masses import POSSIBLE, SURE, chosen, family, superficial
from miliary_seg.detect.white_matter import TYPICAL, tissue_blocks, white_blocks
from miliary_seg.detect.work_grid import block_mean
from miliary_seg.domain.sequence import Sequence
from miliary_seg.load import load_study
from miliary_seg.load.masks import read_mask
from miliary_seg.locate import locate

DRAWN = {"t1c": 2, "flair": 4, "t2": 3, "ct": 3}
"""Changed copies of a scan, each with one mass in either half of the brain."""
DIAMETER_MM, SEED = (10.0, 60.0), 14
CONTRAST = {"t1c": (0.12, 1.0), "flair": (0.4, 1.2), "t2": (0.5, 1.6), "ct": (10.0, 45.0)}
"""Of a drawn mass above local white matter, a fraction of it (CT: HU), log-uniform."""
GROUP = {Sequence.T1: "t1c", Sequence.T1C: "t1c", Sequence.FLAIR: "flair", Sequence.T2: "t2", Sequence.PD: "t2"}
GROUP |= {Sequence.CT: "ct", Sequence.CTC: "ct"}
LESION, NO_LESION = (0.4, 0.6), (0.1, 0.3)
"""A region is a mass from this overlap (Jaccard) with it, or if it holds this share of it; none below these."""
RIDGE = 2.0


def kept(folder, name, scan, mask):
    """What a scan's map is made of, located once."""
    path = folder / (name.strip("-").replace("/", "_") + ".pkl")
    if not path.exists():
        volume = load_study(scan).volumes[0]
        place = locate(volume)
        blocks = tissue_blocks(volume, place.brain_mask, CLIP_AT)
        head = SimpleNamespace(
            grid=volume.grid, slice_axis=volume.slice_axis, sequence=volume.sequence, modality=volume.modality
        )
        truth = block_mean(read_mask(mask, volume.grid), blocks.steps) if mask else None
        path.write_bytes(pickle.dumps((head, blocks, place.template, truth)))
    return pickle.loads(path.read_bytes())


def tumours(truth, scene):
    """Tumours of a mask on the map: pieces within 12 mm are one, their cores belong to them; from 10 mm on."""
    box = tuple(slice(a, a + n) for a, n in zip(scene.first, scene.brain.shape, strict=True))
    share = truth.transpose(scene.axes)[box]
    reach = round(6 / scene.spacing_mm[1])
    step = IN_PLANE if scene.thick else None
    whole = ndi.binary_closing(np.pad(share > 0.3, reach), step, iterations=reach)[(slice(reach, -reach),) * 3]
    whole = np.stack([ndi.binary_fill_holes(part) for part in whole])
    labels, count = ndi.label(whole, np.ones((3, 3, 3)))
    least = np.pi / 6 * DIAMETER_MM[0] ** 3 / np.prod(scene.spacing_mm)
    return [(labels == n, share) for n in range(1, count + 1) if (labels == n).sum() >= least]


def drawn(head, blocks, rng):
    """Blocks with one mass more in each half of the brain, and where these lie (on the blocks' grid)."""
    values, spacing = blocks.values.copy(), blocks.spacing_mm
    truth = np.zeros(values.shape, dtype=np.int8)
    depth = ndi.distance_transform_edt(np.pad(blocks.brain, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    across = int(np.argmax(np.abs(head.grid.directions[0])))
    middle = np.argwhere(blocks.brain)[:, across].mean()
    for side in (-1, 1):
        diameter = np.exp(rng.uniform(*np.log(DIAMETER_MM)))
        places = np.argwhere(depth > 0.3 * min(diameter, 0.9 * depth.max() / 0.3))
        places = places[(places[:, across] - middle) * side * spacing[across] > 0.35 * diameter]
        if not len(places):
            continue
        inside = paint(values, blocks, head.sequence.sequence, places[rng.integers(len(places))], diameter, rng)
        truth[inside & blocks.brain] = 1
    white = white_blocks(values, blocks.brain, spacing, head)
    return replace(blocks, values=values, white=white), truth.astype(np.float32)


def paint(values, blocks, sequence, centre, diameter, rng):
    """One mass, lobed: solid, a ring, or a cyst; two in three with oedema. Changes the values; returns its blocks."""
    spacing, group, typical = blocks.spacing_mm, GROUP[sequence], TYPICAL[sequence]
    is_ct = group == "ct"
    white = float(np.median(values[blocks.white]))
    axes = np.meshgrid(*(np.arange(n) for n in values.shape), indexing="ij", sparse=True)
    away = np.sqrt(sum(((a - c) * s) ** 2 for a, c, s in zip(axes, centre, spacing, strict=True)))
    lobes, grain = (noise(values.shape, spacing, mm, rng) for mm in (0.2 * diameter, 3.0))
    inner = diameter / 2 * (1 + 0.15 * np.clip(lobes, -2, 2)) - away
    low, high = CONTRAST[group]
    contrast = low * (high / low) ** rng.random()
    lift = contrast if is_ct else contrast * white
    mass = white + lift * (1 + 0.2 * grain)
    fluid = typical[2] - typical[0] + white if is_ct else typical[2] / typical[0] * white
    kind = rng.choice(["solid", "ring", "cyst"], p=[0.4, 0.4, 0.2]) if diameter > 14 else "solid"
    if kind != "solid":
        rim = rng.uniform(2.5, 7.0) if kind == "ring" else 2.5
        core = fluid if kind == "cyst" else white + rng.uniform(0.1, 0.8) * (fluid - white)
        if group == "flair":
            core = white * rng.uniform(0.5, 1.2)
        mass = np.where(inner > rim, core * (1 + 0.05 * grain), mass)
    if rng.random() < 2 / 3:
        oedema = {"t1c": 0.85 * white, "flair": 1.45 * white, "t2": 1.7 * white, "ct": white - 8}[group]
        halo = np.clip((inner + rng.uniform(3, 15)) / 4, 0, 1) * ndi.gaussian_filter(blocks.white.astype(float), 0.7)
        values += halo * (oedema - values)
    share = np.clip(inner / 2 + 0.5, 0, 1)
    values += np.where(blocks.brain, share * (mass - values), 0)
    return inner > 0


def noise(shape, spacing, width_mm, rng):
    """Smooth noise of unit variance."""
    field = ndi.gaussian_filter(rng.standard_normal(shape), np.minimum(width_mm / spacing, 8))
    return field / field.std()


def labelled(scene, objects):
    """Regions of a map, their measures, whether each is a mass (1, 0; -1 = neither), and which tumour."""
    regions = mass_regions(scene)
    table = np.array([measured(scene, region) for region in regions]).reshape(-1, len(FEATURES))
    is_mass, owner = np.zeros(len(regions), dtype=int), np.full(len(regions), -1)
    for n, found in enumerate(regions):
        for k, (tumour, share) in enumerate(objects):
            both = tumour[found.box] & found.region
            overlap = both.sum() / (tumour.sum() + found.region.sum() - both.sum())
            held = share[found.box][both].sum() / share[tumour].sum()
            if overlap >= LESION[0] or (held >= LESION[1] and overlap >= 0.3):
                is_mass[n], owner[n] = 1, k
            elif is_mass[n] == 0 and (overlap >= NO_LESION[0] or both.sum() > NO_LESION[1] * found.region.sum()):
                is_mass[n] = -1
    return regions, table, is_mass, owner


def fit(table, is_mass, weight):
    """Weights (with the constant first) of a logistic regression with a ridge; columns are standardised."""
    middle, spread = table.mean(axis=0), table.std(axis=0) + 1e-9
    columns = np.column_stack([np.ones(len(table)), (table - middle) / spread])
    beta, ridge = np.zeros(columns.shape[1]), np.r_[1e-3, np.full(table.shape[1], RIDGE)]
    for _ in range(40):
        chance = 1 / (1 + np.exp(-np.clip(columns @ beta, -30, 30)))
        slope = columns.T @ (weight * (chance - is_mass)) + ridge * beta
        curve = (columns * (weight * chance * (1 - chance))[:, None]).T @ columns + np.diag(ridge)
        beta -= np.linalg.solve(curve, slope)
    slopes = beta[1:] / spread
    return np.r_[beta[0] - slopes @ middle, slopes]


def chances(weights, table):
    """Probability of each region."""
    return 1 / (1 + np.exp(-np.clip(weights[0] + table @ weights[1:], -30, 30)))


def gathered(folder, arguments):
    """All scans, real and drawn: name, person, family, map, tumours, regions, measures, labels."""
    rng, scenes = np.random.default_rng(SEED), []
    for argument in arguments:
        name, _, files = argument.partition("=")
        scan, _, mask = files.partition(",")
        head, blocks, template, truth = kept(folder, name, Path(scan), Path(mask) if mask else None)
        scene = map_of_blocks(head, blocks, template)
        person = name.strip("-").split("/")[0]
        about = {"person": person, "fitted": not name.startswith("-"), "family": family(head.sequence.sequence)}
        objects = tumours(truth, scene) if truth is not None else []
        scenes.append(about | {"name": name, "scene": scene, "objects": objects, "drawn": False})
        copies = 0 if mask or name.startswith("-") else DRAWN[GROUP[head.sequence.sequence]]
        for n in range(copies):
            changed, where = drawn(head, blocks, rng)
            scene = map_of_blocks(head, changed, template)
            scenes.append(
                about | {"name": f"{name}+{n}", "scene": scene, "objects": tumours(where, scene), "drawn": True}
            )
    for one in scenes:
        one["regions"], one["table"], one["is_mass"], one["owner"] = labelled(one["scene"], one["objects"])
    return scenes


def trained(scenes, left_out, kind):
    """Weights of a family by all persons but one."""
    use = [s for s in scenes if s["fitted"] and s["person"] != left_out and s["family"] == kind and len(s["table"])]
    table, truth = np.concatenate([s["table"] for s in use]), np.concatenate([s["is_mass"] for s in use])
    keep = truth >= 0
    return fit(table[keep], truth[keep].astype(float), np.ones(keep.sum()))


def report(scenes):
    """One line a scan, by the fit of the other persons."""
    known = {}
    for one in scenes:
        key = (one["person"], one["family"])
        known[key] = known[key] if key in known else trained(scenes, *key)
        chance = chances(known[key], one["table"])
        one["chance"] = chance
        picks = chosen(one["scene"], one["regions"], chance, POSSIBLE)
        words = []
        for n, likely in picks:
            found = outlined(one["scene"], one["regions"][n])
            mm = found.diameter_mm(one["scene"].spacing_mm)
            held = [s[found.box][t[found.box] & found.region].sum() / s[t].sum() for t, s in one["objects"]]
            best = f" {max(held):.2f} of {int(np.argmax(held))}" if held and max(held) > 0.05 else " FALSE"
            sure = likely >= SURE and not superficial(one["table"][n])
            words.append(f"[{likely:.2f}{'*' if sure else ''} {mm:.0f} mm{best}]")
        print(one["name"], f"{len(one['objects'])} tumours", *words, flush=True)


def main(folder, arguments):
    """Fit, measure and print."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    scenes = gathered(folder, arguments)
    report(scenes)
    for kind in sorted({s["family"] for s in scenes}):
        weights = trained(scenes, None, kind)
        print(kind, ", ".join(f"{v:.3f}" for v in weights))
    (folder / f"scenes_{scenes[0]['family']}.pickle").write_bytes(pickle.dumps(scenes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
