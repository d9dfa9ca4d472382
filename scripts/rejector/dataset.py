"""Candidates of a scene, found and measured by the program itself, with their labels."""

from __future__ import annotations

import numpy as np
from patches import Places, WorkImage, sample_patches
from scenes import Scene
from scipy.spatial import cKDTree

from miliary_seg.detect.intensity import prepare
from miliary_seg.detect.lesions import search
from miliary_seg.detect.refine import is_thick
from miliary_seg.detect.work_grid import work_grid
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Polarity
from miliary_seg.domain.volume import Volume

POSITIVE, NEGATIVE, DROPPED = 1, 0, -1
VISIBLE = 2.5
"""An implant whose peak, after blur and slice averaging, is lower than this many noise sd is nobody's lesion."""


def labels(scene: Scene, position_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label of each candidate and the index of the lesion it belongs to (-1 = none).

    On a lesion: within half its radius + 0.6 mm of its centre (beyond half a slice where slices are thick). Between
    that and 1 mm outside of the lesion: dropped. Real, unlabelled lesions (``scene.ignore``): dropped.
    """
    n = len(position_mm)
    label, owner = np.zeros(n, np.int8), np.full(n, -1, np.int32)
    if scene.ignore is not None and scene.sign > 0 and n:
        at = np.rint(position_mm / np.array(scene.spacing)).astype(int)
        at = np.clip(at, 0, np.array(scene.ignore.shape) - 1)
        label[scene.ignore[tuple(at.T)]] = DROPPED
    if not scene.truth or n == 0:
        return label, owner
    centre = np.array([t["centre"] for t in scene.truth])
    radius = np.array([t["radius"] for t in scene.truth])
    visible = np.array([t["cnr"] * t["peak"] >= VISIBLE for t in scene.truth])
    slab = scene.spacing[0] / 2
    for i, near in enumerate(cKDTree(position_mm).query_ball_point(centre, radius + 2.0 + slab)):
        index = np.array(near, int)
        d = position_mm[index] - centre[i]
        d[:, 0] = np.maximum(np.abs(d[:, 0]) - slab * (scene.spacing[0] > 2), 0)
        d = np.linalg.norm(d, axis=1)
        on = d <= 0.5 * radius[i] + 0.6
        label[index[~on & (d <= radius[i] + 1.0) & (label[index] == NEGATIVE)]] = DROPPED
        label[index[on]] = POSITIVE if visible[i] else DROPPED
        owner[index[on]] = i
    return label, owner


def rows(scene: Scene) -> dict | None:
    """Features, labels and truth of one scene; None where the detector has nothing to say."""
    affine = np.diag([*scene.spacing, 1.0])
    volume = Volume(voxels=scene.voxels, grid=Grid(shape=scene.voxels.shape, affine=affine), slice_axis=0)
    work = prepare(volume.voxels, scene.mask, work_grid(volume, scene.mask))
    if isinstance(work, Reason):
        return None
    found = search(work, Polarity.BRIGHT if scene.sign > 0 else Polarity.DARK)
    position = work.grid.to_ijk(found.index) * np.array(scene.spacing)
    label, owner = labels(scene, position)
    truth = scene.truth
    image = WorkImage(
        voxels=work.voxels,
        mask=work.mask,
        spacing_mm=work.spacing_mm,
        noise_sigma=work.noise,
        thick=is_thick(work.spacing_mm, work.voxels.shape[0]),
    )
    patches = sample_patches(image, Places(centre_vox=found.index, radius_mm=found.radius_mm, sign=found.sign))
    return {
        "rays": patches.rays.astype(np.float16),
        "scalars": patches.scalars,
        "X": np.column_stack(list(found.features.values())).astype(np.float32),
        "names": list(found.features),
        "label": label,
        "owner": owner,
        "pos": position.astype(np.float32),
        "radius": found.radius_mm.astype(np.float32),
        "person": scene.person,
        "name": scene.name,
        "contrast": scene.contrast,
        "sign": scene.sign,
        "spacing": scene.spacing,
        "noise": scene.noise,
        "nslices": int(scene.mask.any((1, 2)).sum()),
        "cnr": np.array([t["cnr"] for t in truth]),
        "diam": np.array([2 * t["radius"] for t in truth]),
        "peak": np.array([t["peak"] for t in truth]),
        "thick": scene.spacing[0] > 2,
    }
