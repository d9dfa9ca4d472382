"""Heads for the bench: drawn from the template, or a user's own scans and label maps."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from miliary_seg.domain.compartment import Compartment, Level, Side
from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import LabelMap
from miliary_seg.errors import NoImageError, UnreadableFileError, UnsuitableImageError
from miliary_seg.lab.bench.pairs import IMAGE_SUFFIXES, case_name
from miliary_seg.lab.bench.scenes import Host
from miliary_seg.lab.host_scan import head_from_scan
from miliary_seg.lab.phantom import Head, head_from_labels, template_head
from miliary_seg.lab.phantom.template import SIGNALS
from miliary_seg.settings import Settings

LEFT = {"white": (2,), "cortex": (3,), "deep_grey": (10, 11, 12, 13, 17, 18, 26), "cerebellum": (7, 8)}
RIGHT = {"white": (41,), "cortex": (42,), "deep_grey": (49, 50, 51, 52, 53, 54, 58), "cerebellum": (46, 47)}
FLUID = (4, 5, 14, 15, 24, 43, 44)
STEM = (16, 28, 60)
"""FreeSurfer's codes (FreeSurferColorLUT.txt) of what is painted; the stem has no side, so no lesion goes there."""
PARCELS = ((1000, 1036, 3), (2000, 2036, 42))
"""Parcels of the cortex of an ``aparc+aseg`` (from, to, code of their whole)."""
NEEDED = (2, 3, 41, 42, 7, 8, 46, 47)
"""A map without these codes is no FreeSurfer segmentation of a whole head."""


def given_hosts(paths: list[Path]) -> tuple[Host, ...]:
    """Heads below some paths: FreeSurfer label maps, and anything else as a scan.

    Raises
    ------
    NoImageError
        If there is none.
    """
    from miliary_seg.load import find_cases

    hosts: list[Host] = []
    for root in paths:
        labelled = [path for path in _images(root) if _is_segmentation(path)]
        hosts += [Host(name=case_name(p, _folder(root)), path=p, kind="labels") for p in labelled]
        if not labelled:
            found = find_cases([root])
            hosts += [Host(name=case.id, path=case.path, kind="scan") for case in found.cases]
    if not hosts:
        raise NoImageError("no head here", where=", ".join(map(str, paths)), todo="lesion-free scans or label maps")
    return tuple(hosts)


@lru_cache(maxsize=1)
def head_of(host: Host, settings: Settings) -> Head:
    """Make or read a head; the last one is kept.

    Raises
    ------
    MiliaryError
        If it cannot be read, or (a scan) the atlas does not fit it.
    """
    if host.path is None:
        anatomy = np.random.default_rng(np.random.SeedSequence(host.seed).spawn(1)[0])
        return template_head(Sequence.T1C, anatomy)
    if host.kind == "labels":
        wanted = settings.load.sequence
        return painted(host.path, Sequence.T1C if wanted == "auto" else Sequence(wanted))
    return head_from_scan(host.path, settings)


def painted(path: Path, sequence: Sequence = Sequence.T1C) -> Head:
    """A head painted from a FreeSurfer segmentation, one signal a tissue.

    Parameters
    ----------
    path
        Label map, NIfTI or MGH.
    sequence
        Whose signals; one that the phantoms lack gets those of T1 after contrast.

    Raises
    ------
    UnsuitableImageError
        If it lacks codes that every whole head has.
    """
    from miliary_seg.load import read_label_map

    file = read_label_map(path)
    codes = np.array(file.labels.labels)
    for first, last, whole in PARCELS:
        codes[(codes >= first) & (codes < last)] = whole
    if not set(NEEDED) <= set(np.unique(codes).tolist()):
        raise UnsuitableImageError("not a FreeSurfer segmentation of a whole head", where=path)
    sequence = sequence if sequence in SIGNALS else Sequence.T1C
    white, grey, fluid, *_, air = SIGNALS[sequence]
    signal = {"white": white, "cortex": grey, "deep_grey": (white + grey) / 2, "cerebellum": grey}
    regions, intensities, compartments = {}, dict.fromkeys(FLUID, fluid), {}
    for side, table in ((Side.LEFT, LEFT), (Side.RIGHT, RIGHT)):
        for region, labels in table.items():
            level = Level.INFRATENTORIAL if region == "cerebellum" else Level.SUPRATENTORIAL
            for code in labels:
                regions[code], intensities[code] = region, signal[region]
                compartments[code] = int(Compartment.of(side, level))
    intensities |= dict.fromkeys((7, 46, *STEM), white)
    background = {int(c): air for c in np.unique(codes) if int(c) not in intensities}
    head = head_from_labels(
        LabelMap(labels=codes, grid=file.labels.grid),
        background | intensities,
        regions=regions,
        compartments=compartments,
        fluid=(*FLUID, *STEM),
        is_ct=sequence in (Sequence.CT, Sequence.CTC),
    )
    return replace(head, painted_as=sequence)


def _images(root: Path) -> list[Path]:
    if not root.exists():
        raise UnreadableFileError("there is no such file or folder", where=root)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    return [path for path in files if path.name.lower().endswith(IMAGE_SUFFIXES)]


def _is_segmentation(path: Path) -> bool:
    """Whether a file is a label map with the codes of FreeSurfer."""
    from miliary_seg.load import is_piecewise_constant, read_label_map

    try:
        labels = read_label_map(path).labels
    except (UnsuitableImageError, UnreadableFileError):
        return False
    codes = set(np.unique(labels.labels).tolist()) | {whole for _, _, whole in PARCELS}
    return set(NEEDED) <= codes and is_piecewise_constant(labels)


def _folder(root: Path) -> Path:
    return root if root.is_dir() else root.parent
