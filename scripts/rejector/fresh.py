"""Whether something that was computed and kept still follows from its scene, the code and its settings."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

import numpy as np

import miliary_seg.detect

DETECT = Path(miliary_seg.detect.__file__).parent
JUDGES = {"__init__", "classifier", "delineate", "given", "mass_map", "mass_regions", "masses", "patches", "prevalence"}
JUDGES |= {"quality", "recall", "rejection", "uptake", "white_matter"}
"""Modules of the detector that come after candidates and features: a change in them changes no table. Every other,
also one that is added later, counts."""


@cache
def of_code(*paths: Path) -> str:
    """Digest of what some modules do: comments, docstrings and layout do not count."""
    seen = hashlib.sha256()
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [line for line in body if not _is_text(line)]
        seen.update(path.name.encode() + ast.dump(tree).encode())
    return seen.hexdigest()


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def of_table(scene: Path) -> str:
    """What a table follows from: the scene's file, the detector up to its features, and the labelling."""
    searched = sorted(p for p in DETECT.glob("*.py") if p.stem not in JUDGES)
    code = of_code(*searched, Path(__file__).with_name("table.py"))
    with scene.open("rb") as file:
        return code + hashlib.file_digest(file, "sha256").hexdigest()


def of_pictures(table: str, rows: np.ndarray) -> str:
    """What pictures follow from: the table that a digest stands for, which of its rows are seen, and how."""
    how = of_code(DETECT / "patches.py", Path(__file__).with_name("network.py"))
    return hashlib.sha256((table + how).encode() + np.asarray(rows, np.int64).tobytes()).hexdigest()


def is_fresh(path: Path, digest: str) -> bool:
    """Whether a stored file exists and follows from what the digest stands for."""
    if not path.exists():
        return False
    with np.load(path, allow_pickle=False) as stored:
        return "digest" in stored.files and str(stored["digest"]) == digest
