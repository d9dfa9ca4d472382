"""What the JSON beside an image says, with what it inherits from folders above (BIDS inheritance principle).

A sidecar of a folder above, up to the one that holds ``dataset_description.json``, speaks of an image where its suffix
is the image's and its entities are among the image's; the nearer one, and the one with more entities, goes first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from miliary_seg.load.masks import stem

MAX_BYTES = 1 << 20
MAX_LEVELS = 4
"""Dataset, participant, session, datatype."""
ROOT = "dataset_description.json"

Sidecar = dict[str, Any]


def read_sidecar(path: Path) -> Sidecar:
    """Everything said of an image: its own sidecar, over those that it inherits.

    Unreadable files, and such of more than ``MAX_BYTES``, say nothing.
    """
    merged: Sidecar = {}
    for file in reversed(list(_applicable(path))):
        merged |= _read(file)
    return merged


def text(sidecar: Sidecar, key: str) -> str:
    """A text, or a list joined as DICOM does; '' where there is none."""
    value = sidecar.get(key)
    return value if isinstance(value, str) else "\\".join(map(str, value)) if isinstance(value, list) else ""


def items(sidecar: Sidecar, key: str) -> list[Any]:
    """A list; empty where there is none."""
    value = sidecar.get(key)
    return value if isinstance(value, list) else []


def number(sidecar: Sidecar, key: str) -> float | None:
    """A positive number; None where there is none."""
    value = sidecar.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else None


def milliseconds(sidecar: Sidecar, key: str) -> float | None:
    """A time; BIDS states seconds."""
    value = number(sidecar, key)
    return None if value is None else value * 1000


def _applicable(path: Path) -> Iterator[Path]:
    """Sidecars that speak of an image, the strongest first."""
    name = stem(path)
    own = path.with_name(f"{name}.json")
    if own.is_file():
        yield own
    if not name.startswith("sub-"):
        return
    *entities, suffix = name.split("_")
    folders = _folders_of_dataset(path)
    for folder in folders:
        found = []
        for file in sorted(folder.glob(f"*{suffix}.json")):
            *said, kind = file.name.removesuffix(".json").split("_")
            if kind == suffix and set(said) <= set(entities) and file != own:
                found.append((len(said), file))
        yield from (file for _, file in sorted(found, key=lambda pair: -pair[0]))


def _folders_of_dataset(path: Path) -> list[Path]:
    """The image's folder and those above it, up to the dataset; nothing where it is in no dataset."""
    folders: list[Path] = []
    for folder in list(path.absolute().parents)[:MAX_LEVELS]:
        folders.append(folder)
        if (folder / ROOT).is_file():
            return folders
        if not re.match(r"(sub|ses)-|[a-z]+$", folder.name):
            break
    return []


def _decoded(data: bytes) -> str:
    """UTF-8, with the mark that Windows puts before it or without; else Latin-1, which older converters write."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read(file: Path) -> Sidecar:
    try:
        if file.stat().st_size < MAX_BYTES:
            data = json.loads(_decoded(file.read_bytes()))
            return data if isinstance(data, dict) else {}
    except (OSError, ValueError, RecursionError):
        pass
    return {}
