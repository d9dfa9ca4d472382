"""Every setting of the program, as one frozen tree.

The same tree drives TOML files, ``--set key=value``, the table in docs/settings.md and the record in every result.
An unknown key is an error that names the nearest match.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from miliary_seg.errors import SettingsError

CHOICES = ("load", "report")
"""Sections outside the digest of a cohort: they say which image is meant and what is written, not how it is judged."""

SequenceChoice = Literal["auto", "t1c", "t1", "t2", "flair", "dwi", "adc", "swi", "t2star", "pd", "ct", "ctc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """Which files become volumes."""

    sequence: SequenceChoice = "auto"
    """What the scan shows, where the user knows better than the file."""
    series: str = ""
    """Only the series whose identifier or SeriesInstanceUID starts so; empty = every eligible series."""
    volume: int = -1
    """Which volume of a 4-D file (from 0); -1 = refuse 4-D input."""
    resample: bool = False
    """Resample unevenly spaced slices onto an even grid (recorded in every output) instead of refusing them."""
    assume_orientation: str = ""
    """For a file that states no orientation: a code (``RAS``); ``unknown`` = analyse without sides; empty = refuse."""
    min_slices: int = 3
    """Fewer slices than this are refused."""
    max_voxels: int = 1_000_000_000
    """Larger volumes are refused before memory is claimed."""

    def __post_init__(self) -> None:
        _require_ranges("load", self, {"volume": (-1, 1e6), "min_slices": (1, 1e6), "max_voxels": (1, 1e12)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectSettings:
    """How blobs become lesions. Sizes in mm; figures chosen in docs/detection.md."""

    sensitivity: Literal["high", "balanced", "specific"] = "balanced"
    """Operating point; measured recall and false positives of each are in every result."""
    polarity: Literal["auto", "bright", "dark", "both"] = "auto"
    """``auto`` = by sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """Who looks for lesions: ours, or a plug-in (docs/howto/own-lesions.md)."""

    names: str = "auto"
    """By commas: the first decides (given lesions before it), others are compared; ``auto`` = ours where none given."""
    command: str = ""
    """Of the detector ``command``: a program as a template with ``{input}`` and ``{output}``."""
    timeout_s: float = 3600.0
    """Of ``command``: seconds after which the program is stopped."""
    channels: str = ""
    """Of ``command``: sequences in the program's order, registered to the scan (``scan,flair``); empty = the scan."""
    model: str = ""
    """Of the detector ``onnx``: a network (``.onnx``) with a TOML file of the same name beside it."""

    def __post_init__(self) -> None:
        _require_ranges("detector", self, {"timeout_s": (0.1, 1e6)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSettings:
    """How lesions are read that others found: files (``--lesions``), and masks of plug-ins."""

    labels: str = "auto"
    """``auto``, ``instances`` (a value a lesion), ``mask`` (its pieces), or values and names (``1,3``, ``GTV*``)."""
    split: bool = False
    """Split touching lesions at their necks."""
    frame: Literal["stated", "ras", "lps"] = "stated"
    """Frame of centres in a table that does not say it; ``stated`` = the table must."""
    diameter_mm: float = 3.0
    """Diameter of centres that state none."""
    threshold: float = 0.5
    """Voxels from this probability on are lesion."""
    sensitivity: float = -1.0
    """Share of true lesions that whoever found these finds, as you state it; below 0 = not known."""
    false_positives: float = -1.0
    """Mean number of false lesions a scan of whoever found these, as you state it; below 0 = not known."""

    def __post_init__(self) -> None:
        ranges = {"diameter_mm": (0.1, 150.0), "threshold": (1e-6, 1.0), "false_positives": (-1.0, 1e4)}
        _require_ranges("lesions", self, {**ranges, "sensitivity": (-1.0, 1.0)})
        if self.sensitivity == 0:
            raise SettingsError("lesions.sensitivity cannot be 0", todo="above 0 and at most 1; below 0 = not known")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateSettings:
    """How the atlas is fitted."""

    deform: bool = True
    """Follow the affine fit by a smooth deformable one."""
    trust_threshold: float = 0.5
    """Fits below this figure of trust are not used for sides and levels."""

    def __post_init__(self) -> None:
        _require_ranges("locate", self, {"trust_threshold": (0.0, 1.0)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideSettings:
    """The rule and its readings. Sources: docs/criteria.md."""

    mri_lesions_per_slice: int = 20
    """Bashour 2020: at least 20 lesions per image on MRI."""
    ct_lesions_per_slice: int = 10
    """Bashour 2020: at least 10 lesions per image on CT."""
    plane: Literal["acquired", "axial"] = "acquired"
    """Slices as acquired, or an axial reformat."""
    slice: Literal["native", "slab"] = "native"
    """Count on acquired slices, or on what a thick slice would have shown."""
    slab_mm: float = 5.0
    """Thickness of that thick slice: the usual one of the cohort behind the rule (2000-2015)."""
    non_contiguous: Literal["pairwise", "separate-runs", "separation-mm"] = "pairwise"
    """What keeps two qualifying slices apart."""
    separation_mm: float = 10.0
    """Least distance for the reading ``separation-mm``."""
    bilateral: Literal["independent", "quadrants"] = "independent"
    """Left and right anywhere, or left and right within each level."""
    min_per_region: int = 1
    """Fewest lesions on a side or level that count as evidence for it."""
    max_thickness_mm: float = 5.0
    """Thicker slices make a negative answer indeterminate."""
    warn_thickness_mm: float = 1.5
    """Thicker slices are remarked on."""
    max_gap_mm: float = 0.1
    """Wider gaps between slices make a negative answer indeterminate; narrower ones are rounding of the header."""
    min_coverage: float = 0.9
    """A negative answer needs at least this fraction of every compartment in view."""
    min_assignment_confidence: float = 0.99
    """Less sure lesions count on their slices, but never as the evidence for a side or level."""
    region_error_quantile: float = 0.95
    """A side or level needs more lesions than this quantile of the detector's false positives there; 0 = not asked."""
    axial_spacing_mm: float = 1.0
    """Distance between the planes of the axial reformat."""

    def __post_init__(self) -> None:
        least = {"mri_lesions_per_slice": 1, "ct_lesions_per_slice": 1, "min_per_region": 1, "separation_mm": 0.0}
        least |= dict.fromkeys(("slab_mm", "max_thickness_mm", "axial_spacing_mm"), 0.1)
        least |= dict.fromkeys(("warn_thickness_mm", "max_gap_mm", "min_coverage", "region_error_quantile"), 0.0)
        most = {"min_coverage": 1.0, "min_assignment_confidence": 1.0, "region_error_quantile": 0.999}
        low = least | {"min_assignment_confidence": 0.5}
        _require_ranges("decide", self, {name: (low[name], most.get(name, 1e6)) for name in low})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """What is written."""

    identified: bool = False
    """Keep file names, UIDs and (in DICOM objects) the patient and the study, which identify a person."""
    dicom: Literal["auto", "always", "never"] = "auto"
    """DICOM SEG and SR: ``auto`` = where the input was DICOM; ``always`` = with DICOM images made from other input."""
    seg: Literal["binary", "labelmap"] = "binary"
    """Segmentation of one bit a segment (read by most viewers), or of segment numbers (smaller, newer)."""
    new_frame_of_reference: bool = False
    """Where DICOM images state no FrameOfReferenceUID (some de-identified ones), make one instead of refusing."""
    rtstruct: bool = False
    """Write the outlines of the lesions as an RT Structure Set."""
    editable: bool = False
    """Write the lesions for editors: ``lesions.seg.nrrd`` for 3D Slicer, label colours for ITK-SNAP."""
    viewer: bool = True
    """Put the scan and a viewer into report.html; without them the page is a third of the size (large cohorts)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole tree."""

    load: LoadSettings = field(default_factory=LoadSettings)
    detect: DetectSettings = field(default_factory=DetectSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    lesions: LesionSettings = field(default_factory=LesionSettings)
    locate: LocateSettings = field(default_factory=LocateSettings)
    decide: DecideSettings = field(default_factory=DecideSettings)
    report: ReportSettings = field(default_factory=ReportSettings)

    @classmethod
    def from_toml(cls, path: str | Path) -> Settings:
        """Read settings from a TOML file; keys that it leaves out keep their defaults.

        Raises
        ------
        SettingsError
            If the file cannot be read or parsed, or holds an unknown key or an unsuitable value.
        """
        try:
            tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"cannot read settings ({error})", where=path, todo="give a TOML file") from error
        return cls().updated(_flatten(tree))

    def with_options(self, options: Iterable[str]) -> Settings:
        """Apply ``key=value`` strings, for instance ``decide.bilateral=quadrants``.

        Raises
        ------
        SettingsError
            If a string has no ``=``, or its key or value is unsuitable.
        """
        pairs = {}
        for option in options:
            key, sign, text = option.partition("=")
            if not sign:
                raise SettingsError(f"expected key=value, got {option!r}", todo="see `miliary-seg settings`")
            pairs[key.strip()] = text.strip()
        return self.updated(pairs)

    def updated(self, values: Mapping[str, Any]) -> Settings:
        """Copy with dotted keys replaced.

        Examples
        --------
        >>> Settings().updated({"decide.slab_mm": "4"}).decide.slab_mm
        4.0

        Raises
        ------
        SettingsError
            If a key is unknown or a value is unsuitable.
        """
        known = self.flat()
        tree: Settings = self
        for key, value in values.items():
            if key not in known:
                near = get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else "see `miliary-seg settings`"
                raise SettingsError(f"unknown setting {key!r}", todo=hint)
            tree = _replaced(tree, key.split("."), key, value)
        return tree

    def flat(self) -> dict[str, Any]:
        """Dotted keys and values in declaration order."""
        return _flatten(asdict(self))

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, as written into results."""
        return asdict(self)

    @property
    def method(self) -> dict[str, Any]:
        """The sections that must be equal throughout a cohort: all but the choices for one input or one reader."""
        return {name: section for name, section in self.as_dict().items() if name not in CHOICES}

    @property
    def choices(self) -> dict[str, Any]:
        """The sections that may differ from case to case: what to load, and what to write of it."""
        return {name: section for name, section in self.as_dict().items() if name in CHOICES}

    @property
    def digest(self) -> str:
        """SHA-256 over ``method``: results of equal digests may be compared in one cohort (R20)."""
        return digest_of(self.method)

    def to_toml(self, *, method_only: bool = False) -> str:
        """Resolved settings as TOML text that ``from_toml`` reads back."""
        tables = self.method if method_only else self.as_dict()
        return "\n".join(
            "".join([f"[{name}]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in section.items())])
            for name, section in tables.items()
        )


def digest_of(value: object) -> str:
    """SHA-256 over a tree of plain values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _require_ranges(section: str, settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse numbers out of range, and those that are none (NaN compares false)."""
    for name, (low, high) in ranges.items():
        if not low <= getattr(settings, name) <= high:
            raise SettingsError(f"{section}.{name} cannot be {getattr(settings, name)}", todo=f"{low:g} to {high:g}")


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat


def _replaced(node: Any, path: list[str], key: str, value: Any) -> Any:
    name, *rest = path
    old = getattr(node, name)
    kind = typing.get_type_hints(type(node))[name]
    new = _replaced(old, rest, key, value) if is_dataclass(old) else _converted(kind, key, value)
    return replace(node, **{name: new})


def _converted(kind: Any, key: str, value: Any) -> Any:
    """Turn a TOML value or a command-line string into the type of a setting."""
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise SettingsError(f"{key} cannot be {value!r}", todo="one of " + ", ".join(map(str, get_args(kind))))
    try:
        if kind is bool:
            return _truth(value)
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise TypeError(value)
        if kind is int and float(value) != int(float(value)):
            raise ValueError(value)
        return kind(float(value)) if kind is int else kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        name = kind.__name__ if isinstance(kind, type) else str(kind)
        raise SettingsError(f"{key} cannot be {value!r}", todo=f"a value of type {name}") from error


def _truth(value: Any) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return known[str(value).lower()]
    except KeyError as error:
        raise ValueError(value) from error
