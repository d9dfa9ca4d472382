"""Contact sheet of fits: brain outline, midline and tentorium on an axial, a coronal and a sagittal plane of a scan.

    python tests/benchmarks/location_sheet.py SCAN... --output sheet.png     files or folders of your own
    python tests/benchmarks/location_sheet.py --drawn --columns 2 --output docs/images/compartments.jpg

What to look for: the outline follows the cortex, the midline the falx, and the tentorium runs between occipital lobe
and cerebellum; left and right are where the letters say.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from miliary_seg import Settings, load_study, phantom
from miliary_seg.domain.result import Location
from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import Volume
from miliary_seg.lab.phantom import ScannerSpec
from miliary_seg.locate import locate
from miliary_seg.report.html.canvas import Canvas, Stroke, contours, cut_plane
from miliary_seg.report.html.views import (
    BRAIN_COLOUR,
    MIDLINE_COLOUR,
    TENTORIUM_COLOUR,
    Box,
    View,
    grey_window,
    to_grey,
)

PIXELS_PER_MM, CAPTION_PX = 1.1, 18
DRAWN: dict[str, tuple[Sequence, ScannerSpec, bool]] = {
    "T1 post-contrast, 1.5 mm": (Sequence.T1C, ScannerSpec(pixel_mm=1.5, thickness_mm=1.5, noise=0.03), True),
    "FLAIR, 5 mm axial, pitched 18 degrees": (
        Sequence.FLAIR,
        ScannerSpec(pixel_mm=1.0, thickness_mm=5.0, rotation_deg=(18, 4, -6)),
        True,
    ),
    "T2, 5 mm sagittal": (Sequence.T2, ScannerSpec(plane="sagittal", pixel_mm=1.2, thickness_mm=5.0), True),
    "DWI, 5 mm axial, yawed 25 degrees": (
        Sequence.DWI,
        ScannerSpec(pixel_mm=1.8, thickness_mm=5.0, noise=0.05, rotation_deg=(0, 0, 25)),
        True,
    ),
    "SWI, 3 mm axial, rolled 12 degrees": (
        Sequence.SWI,
        ScannerSpec(pixel_mm=1.0, thickness_mm=3.0, rotation_deg=(-8, 12, 0)),
        True,
    ),
    "CT, 4 mm axial, pitched 15 degrees": (
        Sequence.CT,
        ScannerSpec(pixel_mm=0.9, thickness_mm=4.0, noise=5.0, rotation_deg=(15, 0, 0)),
        True,
    ),
    "T1, 4 mm coronal": (Sequence.T1, ScannerSpec(plane="coronal", pixel_mm=1.0, thickness_mm=4.0), True),
    "T1 post-contrast, upper 60 % in view": (
        Sequence.T1C,
        ScannerSpec(pixel_mm=1.0, thickness_mm=4.0, coverage=(0.4, 1.0)),
        True,
    ),
    "FLAIR, 3 mm axial, skull removed": (Sequence.FLAIR, ScannerSpec(pixel_mm=1.2, thickness_mm=3.0), False),
}
"""Shippable heads: the template, bent into an individual, in many contrasts, planes and poses."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path, metavar="SCAN")
    parser.add_argument("--drawn", action="store_true", help="the drawn heads of docs/compartments.md")
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    settings = Settings()
    tiles = []
    for name, volume in drawn_heads() if arguments.drawn else scans_of(arguments.scans, settings):
        location = locate(volume, settings.locate)
        fit = location.registration
        print(f"{name}: trust {fit.trust:.2f}, {[reason.code for reason in fit.reasons]}", flush=True)
        tiles.append(tile(f"{name}: trust {fit.trust:.2f}", volume, location))
    sheet(tiles, arguments.columns).save(arguments.output, optimize=True)


def scans_of(paths: list[Path], settings: Settings) -> Iterator[tuple[str, Volume]]:
    for path in paths:
        for volume in load_study(path, settings=settings).volumes:
            yield f"{path.name} {volume.id}", volume


def drawn_heads() -> Iterator[tuple[str, Volume]]:
    for seed, (name, (sequence, scanner, skull)) in enumerate(DRAWN.items()):
        spec = replace(phantom.preset("few-large"), sequence=sequence, scanner=scanner, skull=skull)
        yield name, phantom.make(spec, seed=seed).volume


def tile(caption: str, volume: Volume, location: Location) -> Image.Image:
    axes = sorted(range(3), key=lambda axis: -volume.grid.world_axes[axis])
    pictures = [picture(volume, location, axis) for axis in axes]
    width = sum(p.width for p in pictures)
    joined = Image.new("RGB", (width, max(p.height for p in pictures) + CAPTION_PX))
    ImageDraw.Draw(joined).text((4, 1), caption, fill="#DDDDDD", font=ImageFont.load_default(13))
    x = 0
    for p in pictures:
        joined.paste(p, (x, CAPTION_PX))
        x += p.width
    return joined


def picture(volume: Volume, location: Location, axis: int) -> Image.Image:
    known = volume.orientation_known and not location.registration.reoriented
    view = View.across(volume.grid, axis, orientation_known=known)
    box = Box.around(location.brain_mask, view, margin_mm=12.0)
    index = telling_plane(volume, location, axis)
    inside = cut_plane(location.brain_mask, view, box, index)
    grey = cut_plane(volume.voxels, view, box, index).astype(np.float32)
    height_px = round(grey.shape[0] * view.row_mm * PIXELS_PER_MM)
    canvas = Canvas(to_grey(grey, grey_window(volume, location.brain_mask)), view, height_px)
    lines = [(contours(inside), BRAIN_COLOUR)]
    surfaces = ((location.midline_distance_mm, MIDLINE_COLOUR), (location.tentorium_distance_mm, TENTORIUM_COLOUR))
    for distances, colour in surfaces:
        lines.append((contours(cut_plane(distances, view, box, index), 0.0, within=inside), colour))
    for paths, colour in lines:
        canvas.draw(Stroke(points=path, colour=colour, width=1) for path in paths if len(path) > 1)
    canvas.letter()
    return canvas.image


def telling_plane(volume: Volume, location: Location, axis: int) -> int:
    """Through both levels: what lies below the tentorium, and 20 mm beside the midline on sagittal planes."""
    below = location.brain_mask & (location.tentorium_distance_mm > 0)
    shown = below if below.any() else location.brain_mask
    centre = np.argwhere(shown).mean(axis=0) if shown.any() else np.array(volume.grid.shape) / 2
    world = volume.grid.world_axes[axis]
    away_mm = {0: 20.0, 1: 0.0, 2: 12.0}[world]
    index = round(
        float(centre[axis] + away_mm / volume.grid.spacing_mm[axis] * np.sign(volume.grid.affine[world, axis]))
    )
    return int(np.clip(index, 0, volume.grid.shape[axis] - 1))


def sheet(tiles: list[Image.Image], columns: int) -> Image.Image:
    width, height = max(t.width for t in tiles), max(t.height for t in tiles)
    page = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height))
    for n, t in enumerate(tiles):
        page.paste(t, (n % columns * width, n // columns * height))
    return page


if __name__ == "__main__":
    main()
