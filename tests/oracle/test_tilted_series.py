"""A head CT with a tilted gantry against the same head without: lesions where they are, labels on the acquired grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, map_coordinates
from scipy.spatial import cKDTree

import miliary_seg as ms
from miliary_seg.domain.grid import Grid
from miliary_seg.domain.result import SeriesResult
from miliary_seg.domain.volume import Volume
from miliary_seg.lab import phantom
from miliary_seg.report.dicom.images import write_series

THICKNESS_MM, PIXEL_MM = 4.0, 0.9


def scanned(made: phantom.Phantom, tilt_deg: float) -> Volume:
    """Slices turned about the left-right axis, the table fed along the body: a sheared grid, as CT makes it."""
    source, angle = made.volume, np.radians(tilt_deg)
    row, column = np.array([-1.0, 0, 0]), np.array([0, -np.cos(angle), np.sin(angle)])
    normal = np.array([0, np.sin(angle), np.cos(angle)])
    corners = source.grid.to_ras_mm(np.array(list(np.ndindex(2, 2, 2))) * (np.array(source.grid.shape) - 1))
    x, y, z = np.ptp(corners, axis=0)
    feed = THICKNESS_MM / np.cos(angle)
    shape = (int(x / PIXEL_MM), int(y / PIXEL_MM), int((z + abs(np.sin(angle)) * y / 2) / feed))
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([row * PIXEL_MM, column * PIXEL_MM, [0, 0, feed]])
    affine[:3, 3] = corners.mean(axis=0) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape=shape, affine=affine)
    world = grid.to_ras_mm(np.stack(np.indices(shape), axis=-1))
    voxels = np.zeros(shape)
    for share in (-0.375, -0.125, 0.125, 0.375):
        ijk = source.grid.to_ijk(world + normal * share * THICKNESS_MM)
        voxels += map_coordinates(source.voxels, np.moveaxis(ijk, -1, 0), order=1, cval=-1000.0) / 4
    voxels += np.random.default_rng(3).normal(0, 0.6 * made.truth.noise_sigma, shape)
    return Volume(
        voxels=voxels.astype(np.float32),
        grid=grid,
        modality=source.modality,
        sequence=source.sequence,
        slice_thickness_mm=THICKNESS_MM,
    )


def analysed(made: phantom.Phantom, folder: Path, tilt_deg: float) -> SeriesResult:
    write_series(scanned(made, tilt_deg), folder, compression="none")
    return ms.analyze(ms.load_study(folder)).series[0]


@pytest.mark.slow
def test_lesions_of_a_tilted_head_ct(tmp_path: Path) -> None:
    spec = phantom.preset("ct-miliary")
    scanner = replace(spec.scanner, pixel_mm=1.0, thickness_mm=1.0, noise=3.0)
    made = phantom.make(replace(spec, lesions=replace(spec.lesions, count=200), scanner=scanner), seed=5)
    truth = np.array([lesion.centre_ras_mm for lesion in made.truth.lesions])
    straight, tilted = analysed(made, tmp_path / "straight", 0.0), analysed(made, tmp_path / "tilted", 18.0)
    assert not straight.volume.grid.is_sheared
    assert tilted.volume.grid.is_sheared
    assert "gantry_tilt" in [caveat.code for caveat in tilted.volume.caveats]
    recalls = []
    for series in (straight, tilted):
        centres = np.array([lesion.centroid_ras_mm for lesion in series.lesions])
        apart = cKDTree(centres).query(truth)[0]
        recalls.append(float((apart < 3).mean()))
        assert np.median(apart[apart < 3]) < 1.0
        assert (cKDTree(truth).query(centres)[0] < 3).mean() > 0.9
        labels = series.detection.lesion_labels
        assert labels.grid == series.volume.grid
        ids = np.unique(labels.labels)[1:]
        places = labels.grid.to_ras_mm(center_of_mass(labels.labels > 0, labels.labels, ids))
        assert np.median(cKDTree(centres).query(places)[0]) < 1.0
    assert recalls[0] > 0.4
    assert abs(recalls[0] - recalls[1]) < 0.1
    assert abs(len(straight.lesions) - len(tilted.lesions)) < 0.2 * len(straight.lesions)
