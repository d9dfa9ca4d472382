"""Pictures of what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from miliary_seg.detect import find
from miliary_seg.detect.rejection import same_object
from miliary_seg.lab import phantom

if TYPE_CHECKING:
    from PIL import Image

    from miliary_seg.domain.volume import Volume

TILES, HALF_MM, TILE_SCALE = 10, 12.0, 4.0
"""Tiles of a row, half their side in mm, pixels a mm."""
NAMES = {"thin": "slices up to 2.25 mm apart", "thick": "thicker slices"}


def reliability_diagram(cards: dict[str, dict], folder: Path) -> None:
    """Predicted against observed probability of `measure.reliability`, thin and thick, as reliability.svg."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "reliability", "svg.fonttype": "none", "font.family": "sans-serif"}
    from matplotlib import pyplot as plt

    figure, (top, below) = plt.subplots(2, 1, figsize=(5, 6), sharex=True, height_ratios=(3, 1), layout="constrained")
    top.plot([0, 1], [0, 1], color="0.7", label="perfect")
    for (kind, card), colour, mark in zip(cards.items(), ("#0a5ba8", "#c04d00"), "os", strict=True):
        predicted, observed, number = zip(*card["predicted_observed_number"], strict=True)
        error = [2 * (q * (1 - q) / n) ** 0.5 for q, n in zip(observed, number, strict=True)]
        label = f"{NAMES[kind]} (expected error {card['error_above_0.05']:.3f})"
        top.errorbar(predicted, observed, error, color=colour, marker=mark, markersize=4, label=label)
        below.plot(predicted, number, color=colour, marker=mark, markersize=4)
    top.set(
        ylabel="share that are lesions", xlim=(0, 1), ylim=(0, 1), title="Candidates of persons left out of the fit"
    )
    top.legend(loc="lower right", frameon=False)
    below.set(xlabel="probability given by the program", ylabel="candidates", yscale="log")
    figure.savefig(folder / "reliability.svg", metadata={"Date": None})


def limits(folder: Path) -> None:
    """What lies at the limit on a drawn head: visible lesions of the least, other things of the greatest probability.

    As limits.png. The head is the shipped template with drawn vessels, so that the picture may be shown to anybody.
    """
    from PIL import Image, ImageDraw

    lesions = replace(phantom.preset("vessel-rich").lesions, count=300, diameter_mm=(3.0, 5.0), contrast=(10.0, 14.0))
    scanner = replace(phantom.preset("vessel-rich").scanner, pixel_mm=0.9, thickness_mm=0.9, noise=0.01)
    made = phantom.make(replace(phantom.preset("vessel-rich"), lesions=lesions, scanner=scanner), seed=3)
    found = find(made.volume, made.brain_mask)
    place = np.array([c.centroid_ras_mm for c in found.candidates])
    chance = np.array([c.probability for c in found.candidates])
    centre = np.array([t.centre_ras_mm for t in made.truth.lesions])
    radius = np.array([t.diameter_mm / 2 for t in made.truth.lesions])
    apart = np.linalg.norm(place[:, None] - centre, axis=2)
    best = np.array([chance[near].max(initial=0.0) for near in (apart <= radius).T])
    false = np.flatnonzero((apart > radius + 1.5).all(axis=1))
    false = false[np.argsort(-chance[false], kind="stable")]
    false = false[np.unique(same_object(place[false], np.full(len(false), 3.0)))]
    missed = np.argsort(best, kind="stable")[:TILES]
    rows = [(centre[missed], best[missed]), (place[false[:TILES]], chance[false[:TILES]])]
    side = round(2 * HALF_MM * TILE_SCALE)
    picture = Image.new("L", (TILES * side, 2 * (side + 14)), 255)
    pen = ImageDraw.Draw(picture)
    for row, (points, chances) in enumerate(rows):
        for column, (point, p) in enumerate(zip(points, chances, strict=True)):
            picture.paste(_tile(made.volume, point, side), (column * side, row * (side + 14) + 14))
            pen.text((column * side + 3, row * (side + 14) + 1), f"{p:.2f}", fill=0)
    picture.save(folder / "limits.png", optimize=True)
    print(f"{(best >= 0.5).sum()} of {len(best)} above 0.5; {(chance[false] >= 0.5).sum()} others")


def _tile(volume: Volume, point: np.ndarray, side: int) -> Image.Image:
    """Axial section around a point in RAS mm, grey values over the window of its own surroundings."""
    from PIL import Image

    step = (np.arange(side) - (side - 1) / 2) / TILE_SCALE
    x, y = np.meshgrid(step, -step)
    there = point + np.stack([x, y, 0 * x], axis=-1)
    grey = ndi.map_coordinates(volume.voxels, volume.grid.to_ijk(there.reshape(-1, 3)).T, order=1).reshape(side, side)
    low, high = np.percentile(grey, [2, 99.5])
    return Image.fromarray((255 * np.clip((grey - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8))
