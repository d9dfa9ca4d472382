"""Names of BIDS files: entities in the order of the standard, suffix, ending."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ORDER = (
    "sub", "ses", "sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain", "rec", "dir", "run", "mod",
    "echo", "flip", "inv", "mt", "part", "proc", "hemi", "space", "split", "recording", "chunk", "seg", "res", "den",
    "label", "desc",
)  # fmt: skip
"""Order of entities: BIDS 1.10, appendix "Entity table"."""

_NAME = re.compile(r"((?:[a-z]+-[A-Za-z0-9]+_)+)([A-Za-z0-9]+)(\.[A-Za-z0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BidsName:
    """A parsed file name."""

    entities: dict[str, str]
    suffix: str
    ending: str
    """With the dot: ``.nii.gz``."""

    @classmethod
    def of(cls, path: Path) -> BidsName | None:
        """Parse a file's name; None where it is no BIDS name.

        Examples
        --------
        >>> BidsName.of(Path("sub-01_ce-gd_T1w.nii.gz")).entities
        {'sub': '01', 'ce': 'gd'}
        """
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        parts = [part.split("-", 1) for part in match[1].strip("_").split("_")]
        if len({key for key, _ in parts}) != len(parts):
            return None
        return cls(entities=dict(parts), suffix=match[2], ending=match[3])

    def derivative(self, suffix: str, ending: str, **entities: str) -> str:
        """Name of a file derived from this one: its entities and more, in the order of the standard.

        Examples
        --------
        >>> BidsName.of(Path("sub-01_ce-gd_T1w.nii.gz")).derivative("dseg", ".tsv", desc="lesions", space="T1w")
        'sub-01_ce-gd_space-T1w_desc-lesions_dseg.tsv'
        """
        both = self.entities | entities
        ordered = sorted(both, key=lambda key: (ORDER.index(key) if key in ORDER else len(ORDER), key))
        return "_".join([*(f"{key}-{both[key]}" for key in ordered), suffix]) + ending
