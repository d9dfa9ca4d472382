"""Planes of one series into stacks: same frame, matrix, spacing and direction, one plane a position.

Where positions repeat, the planes differ in something else. What the user would call another image (echo, b-value,
magnitude and phase) makes another stack; what repeats the same image (time, acquisition) makes the volumes of a 4-D
stack. What nothing tells apart is left in one stack, and its pixels decide at loading: identical ones are dropped
with a note, different ones refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from miliary_seg.load.dicom.mixtures import parts_of
from miliary_seg.load.dicom.planes import Plane

CONTRASTS = ("EchoTime", "EchoNumbers", "DiffusionBValue", "InversionTime", "FlipAngle", "ContrastBolusAgent",
             "ImageType", "ConvolutionKernel", "RepetitionTime", "described", "protocol", "SeriesNumber")  # fmt: skip
"""Attributes that make another image, in the order in which they are tried."""
REPEATS = ("TemporalPositionIdentifier", "TriggerTime", "AcquisitionNumber", "DiffusionDirectionality",
           "DiffusionGradientOrientation", "AcquisitionTime", "file")  # fmt: skip
"""Attributes that repeat an image, in the order in which they are tried."""
ORIENTATION_TOLERANCE = 1e-4
"""Cosines that differ less are one orientation: the GE series of the corpus jitters at 3e-8, re-exports at 4e-5."""
SPACING_TOLERANCE = 2e-4
"""Pixel spacings that differ by a smaller share are one: over 512 pixels the last lies a tenth of a pixel off."""
SAME_PLACE_MM = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Planes that make one volume, or several volumes of one kind."""

    planes: tuple[Plane, ...]
    """Of one volume; for a 4-D stack of all volumes."""
    label: str = ""
    """What tells it from its siblings in the series, for instance ``EchoTime 4.92``."""
    kind: str = "magnitude"
    volumes: tuple[tuple[Plane, ...], ...] = ()
    """The volumes of a 4-D stack; empty for a single volume."""
    repeated_by: str = ""
    conflicting: bool = False
    """Positions repeat and no attribute tells the planes apart."""
    mixed: str = ""
    """Why these planes are not one image although each has a place of its own; '' where they are."""
    group: int = 0
    """Stacks of one group were told apart on purpose; others differ in frame of reference, matrix or direction."""
    frame_of_reference: str = ""


def stacks_of(planes: Iterable[Plane], frames_of_reference: dict[int, str]) -> tuple[list[Stack], int]:
    """Stacks of one series, and the number of directions in which it was sliced.

    ``frames_of_reference`` gives FrameOfReferenceUID by ``id`` of the plane's layout.
    """
    groups: dict[tuple[Hashable, ...], list[Plane]] = defaultdict(list)
    for plane in planes:
        frame = frames_of_reference.get(id(plane.layout), "")
        groups[(frame, plane.rows, plane.columns, plane.traits.get("kind"))].append(plane)
    directions: list[np.ndarray] = []
    stacks: list[Stack] = []
    for key, group in groups.items():
        for members in _by_direction(group):
            directions.append(np.cross(members[0].orientation[:3], members[0].orientation[3:]))
            n, frame = len(directions), str(key[0])
            stacks += [replace(stack, group=n, frame_of_reference=frame) for stack in _split(members)]
    return _named(stacks), _n_directions(directions)


def _by_direction(planes: list[Plane]) -> list[list[Plane]]:
    """Clusters of planes whose cosines and pixel spacing agree within the tolerances with the cluster's first plane."""
    clusters: list[tuple[np.ndarray, np.ndarray, list[Plane]]] = []
    for plane in planes:
        cosines, spacing = np.array(plane.orientation), np.array(plane.spacing)
        for first, pixel, members in clusters:
            alike = np.abs(spacing - pixel).max() <= SPACING_TOLERANCE * pixel.max()
            if alike and np.abs(cosines - first).max() <= ORIENTATION_TOLERANCE:
                members.append(plane)
                break
        else:
            clusters.append((cosines, spacing, [plane]))
    return [members for _, _, members in clusters]


def _n_directions(normals: list[np.ndarray]) -> int:
    """Number of normals that are more than 10 degrees apart."""
    distinct: list[np.ndarray] = []
    for normal in normals:
        if all(abs(float(normal @ other)) < np.cos(np.radians(10)) for other in distinct):
            distinct.append(normal)
    return len(distinct)


def positions_of(planes: Iterable[Plane]) -> np.ndarray:
    """Positions (n, 3) of the planes in LPS mm."""
    return np.array([plane.position for plane in planes], dtype=np.float64).reshape(-1, 3)


def places_of(planes: list[Plane]) -> list[int]:
    """Number of the place of each plane along the normal: planes within 1 micrometre share one."""
    normal = np.cross(planes[0].orientation[:3], planes[0].orientation[3:])
    along = positions_of(planes) @ normal
    order = np.argsort(along, kind="stable")
    place = np.zeros(len(planes), dtype=int)
    place[order[1:]] = np.cumsum(np.diff(along[order]) > SAME_PLACE_MM)
    return [int(x) for x in place]


def _unique(planes: list[Plane]) -> bool:
    return len(set(places_of(planes))) == len(planes)


def _split(planes: list[Plane]) -> list[Stack]:
    """Split by contrast while positions repeat, then by repetition."""
    kind = str(planes[0].traits.get("kind") or "magnitude")
    if _unique(planes):
        return _single(planes, "", kind)
    stacks = []
    for label, members in _by_attributes(planes, CONTRASTS):
        if _unique(members):
            stacks += _single(members, label, kind)
        else:
            stacks.append(replace(_repeats(members), kind=kind, label=label))
    return stacks


def _single(planes: list[Plane], label: str, kind: str) -> list[Stack]:
    """One stack, or one for each image that was mixed into these places."""
    normal = np.cross(planes[0].orientation[:3], planes[0].orientation[3:])
    parts, why = parts_of(planes, positions_of(planes) @ normal)
    return [
        Stack(planes=tuple(members), kind=kind, label=f"{label} {name}".strip(), mixed=why) for name, members in parts
    ]


def _repeats(planes: list[Plane]) -> Stack:
    for names in (*((name,) for name in REPEATS), REPEATS[:-1]):
        parts = _parted(planes, _by(names))
        if len(parts) > 1 and all(_unique(part) for part in parts) and _each_covers(parts):
            return Stack(planes=tuple(planes), volumes=tuple(map(tuple, parts)), repeated_by=" and ".join(names))
    return Stack(planes=tuple(planes), conflicting=True)


def _by(names: tuple[str, ...]) -> Callable[[Plane], Hashable]:
    """Key of a plane: its traits of these names."""
    return lambda plane: tuple(map(plane_trait(plane), names))


def plane_trait(plane: Plane) -> Callable[[str], Hashable]:
    """A function that gives a trait of this plane by name; ``file`` is the file of a multi-frame object."""

    def value(name: str) -> Hashable:
        if name == "file":
            return plane.layout.path if plane.layout.n_frames > 1 or plane.tiles != (1, 1) else None
        return plane.traits.get(name)

    return value


def _by_attributes(planes: list[Plane], names: tuple[str, ...]) -> list[tuple[str, list[Plane]]]:
    """Apply one attribute after the other where it makes parts that each span the same positions."""
    parts = [("", planes)]
    for name in names:
        split: list[tuple[str, list[Plane]]] = []
        for label, members in parts:
            pieces = [] if _unique(members) else _parted(members, _by((name,)))
            if len(pieces) > 1 and _each_covers(pieces):
                for piece in pieces:
                    value = plane_trait(piece[0])(name)
                    split.append((f"{label} {name} {value}".strip(), piece))
            else:
                split.append((label, members))
        parts = split
    return parts


def _each_covers(pieces: list[list[Plane]]) -> bool:
    """Whether every piece has as many places as the whole: only then are they images of the same region."""
    whole = len(set(places_of([plane for piece in pieces for plane in piece])))
    return all(len(set(places_of(piece))) == whole for piece in pieces)


def _parted(planes: list[Plane], key: Callable[[Plane], Hashable]) -> list[list[Plane]]:
    parts: dict[Hashable, list[Plane]] = defaultdict(list)
    for plane in planes:
        parts[key(plane)].append(plane)
    # Numbers ascend; what is absent comes first; the rest in the order of the files.
    return [parts[k] for k in sorted(parts, key=lambda k: tuple(map(_sortable, k if isinstance(k, tuple) else (k,))))]


def _sortable(value: object) -> tuple[int, float, str]:
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if isinstance(value, (int, float)) else (2, 0.0, str(value))


def _named(stacks: list[Stack]) -> list[Stack]:
    """Give siblings that no attribute names a kind or a number."""
    if len(stacks) == 1:
        return stacks
    named = []
    for number, stack in enumerate(stacks, 1):
        label = " ".join(part for part in (stack.kind if stack.kind != "magnitude" else "", stack.label) if part)
        named.append(replace(stack, label=label or f"part {number}"))
    return named
