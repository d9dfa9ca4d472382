"""Every setting of the program, as one frozen tree.

The same tree drives TOML files, ``--set key=value``, the JSON Schema of the settings, the table in docs/settings.md and
the record in every result. An unknown key is an error that names the nearest match.

To add a setting, write one field with its type, its range (``Meta``), its sentence (``key``) and its default.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from miliary_seg.errors import SettingsError
from miliary_seg.schema import Json, json_schema, key

CHOICES = ("load", "report")
"""Sections outside the digest of a cohort: they say which image is meant and what is written, not how it is judged."""

SequenceChoice = Literal["auto", "t1c", "t1", "t2", "flair", "dwi", "adc", "swi", "t2star", "pd", "ct", "ctc"]


class _Section:
    """What all sections share: every value is held to its type and its range."""

    __slots__ = ()

    def __post_init__(self) -> None:
        name = type(self).__name__.removesuffix("Settings").lower()
        for setting, kind in _kinds(type(self)).items():
            _converted(kind, f"{name}.{setting}", getattr(self, setting))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings(_Section):
    """Which files become volumes."""

    sequence: Annotated[SequenceChoice, key("What the scan shows, where the user knows better than the file.")] = "auto"
    series: Annotated[
        str, key("Only the series whose identifier or SeriesInstanceUID starts so; empty = every eligible series.")
    ] = ""
    all_series: Annotated[
        bool, key("Analyse every series of a study; otherwise the best one of each kind that can decide.")
    ] = False
    volume: Annotated[
        int, Meta(ge=-1, le=1_000_000), key("Which volume of a 4-D file (from 0); -1 = refuse 4-D input.")
    ] = -1
    resample: Annotated[
        bool,
        key("Resample unevenly spaced slices onto an even grid (recorded in every output) instead of refusing them."),
    ] = False
    assume_orientation: Annotated[
        str,
        key(
            "For a file that states no orientation: a code (``RAS``); ``unknown`` = analyse without sides; "
            "empty = refuse."
        ),
    ] = ""
    min_slices: Annotated[int, Meta(ge=1, le=1_000_000), key("Fewer slices than this are refused.")] = 3
    max_voxels: Annotated[
        int, Meta(ge=1, le=1_000_000_000_000), key("Larger volumes are refused before memory is claimed.")
    ] = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectSettings(_Section):
    """How blobs become lesions. Sizes in mm; figures chosen in docs/detection.md."""

    sensitivity: Annotated[
        Literal["high", "balanced", "specific"],
        key("Operating point; measured recall and false positives of each are in every result."),
    ] = "balanced"
    polarity: Annotated[Literal["auto", "bright", "dark", "both"], key("``auto`` = by sequence.")] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings(_Section):
    """Who looks for lesions: ours, or a plug-in (docs/howto/own-lesions.md)."""

    names: Annotated[
        str,
        key("By commas: the first decides (given lesions before it), others are compared; ``auto`` = ours."),
    ] = "auto"
    command: Annotated[
        str, key("Of the detector ``command``: a program as a template with ``{input}`` and ``{output}``.")
    ] = ""
    timeout_s: Annotated[
        float, Meta(ge=0.1, le=1_000_000), key("Of ``command``: seconds after which the program is stopped.")
    ] = 3600.0
    channels: Annotated[
        str,
        key("Of ``command``: sequences in its order, registered to the scan (``scan,flair``); empty = the scan."),
    ] = ""
    model: Annotated[
        str, key("Of the detector ``onnx``: a network (``.onnx``) with a TOML file of the same name beside it.")
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionsSettings(_Section):
    """How lesions are read that others found: files (``--lesions``), and masks of plug-ins."""

    labels: Annotated[
        str,
        key("``auto``, ``instances`` (a value a lesion), ``mask`` (its pieces), or values, names (``1,3``, ``GTV*``)."),
    ] = "auto"
    split: Annotated[bool, key("Split touching lesions at their necks.")] = False
    frame: Annotated[
        Literal["stated", "ras", "lps"],
        key("Frame of centres in a table that does not say it; ``stated`` = the table must."),
    ] = "stated"
    diameter_mm: Annotated[float, Meta(ge=0.1, le=150), key("Diameter of centres that state none.")] = 3.0
    threshold: Annotated[float, Meta(gt=0, le=1), key("Voxels from this probability on are lesion.")] = 0.5
    sensitivity: Annotated[
        float,
        Meta(ge=-1, le=1),
        key("Share of true lesions that whoever found these finds, as you state it; 0 and below = not known."),
    ] = -1.0
    false_positives: Annotated[
        float,
        Meta(ge=-1, le=10_000),
        key("Mean number of false lesions a scan of whoever found these, as you state it; below 0 = not known."),
    ] = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateSettings(_Section):
    """How the atlas is fitted."""

    deform: Annotated[bool, key("Follow the affine fit by a smooth deformable one.")] = True
    trust_threshold: Annotated[
        float, Meta(ge=0, le=1), key("Fits below this figure of trust are not used for sides and levels.")
    ] = 0.5
    mask_trust_threshold: Annotated[
        float, Meta(ge=0, le=1), key("No negative answer rests on a brain mask below this figure of trust.")
    ] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideSettings(_Section):
    """The rule and its readings. Sources: docs/criteria.md."""

    mri_lesions_per_slice: Annotated[
        int, Meta(ge=1, le=1_000_000), key("Bashour 2020: at least 20 lesions per image on MRI.")
    ] = 20
    ct_lesions_per_slice: Annotated[
        int, Meta(ge=1, le=1_000_000), key("Bashour 2020: at least 10 lesions per image on CT.")
    ] = 10
    plane: Annotated[Literal["acquired", "axial"], key("Slices as acquired, or an axial reformat.")] = "acquired"
    slice: Annotated[
        Literal["both", "native", "equivalent"],
        key("Count on acquired slices, on what slices of ``slab_mm`` would have shown, or on both, which must agree."),
    ] = "both"
    slab_mm: Annotated[
        float,
        Meta(ge=0.1, le=1_000_000),
        key("Thickness of that thick slice: the usual one of the cohort behind the rule (2000-2015).", unit="mm"),
    ] = 5.0
    non_contiguous: Annotated[
        Literal["pairwise", "separate-runs", "separation-mm"], key("What keeps two qualifying slices apart.")
    ] = "pairwise"
    separation_mm: Annotated[
        float, Meta(ge=0, le=1_000_000), key("Least distance for the reading ``separation-mm``.", unit="mm")
    ] = 10.0
    bilateral: Annotated[
        Literal["independent", "quadrants"], key("Left and right anywhere, or left and right within each level.")
    ] = "independent"
    min_per_region: Annotated[
        int, Meta(ge=1, le=1_000_000), key("Fewest lesions on a side or level that count as evidence for it.")
    ] = 1
    max_thickness_mm: Annotated[
        float,
        Meta(ge=0.1, le=1_000_000),
        key("Thicker slices make a negative answer indeterminate: misses were measured up to here.", unit="mm"),
    ] = 7.0
    warn_thickness_mm: Annotated[float, Meta(ge=0, le=1_000_000), key("Thicker slices are remarked on.", unit="mm")] = (
        1.5
    )
    max_gap_share: Annotated[
        float,
        Meta(ge=0, le=10),
        key(
            "Gaps wider than this share of the slice thickness make a negative answer indeterminate: up to a third is "
            "usual in 2-D protocols, and the rule counts on images."
        ),
    ] = 0.34
    max_gap_mm: Annotated[
        float, Meta(ge=0, le=1_000_000), key("Gaps up to this are rounding of the header, whatever share.", unit="mm")
    ] = 0.1
    min_met_probability: Annotated[
        float, Meta(ge=0, le=1), key("MET needs this probability that the count is reached, beside the marked count.")
    ] = 0.8
    max_not_met_probability: Annotated[
        float, Meta(ge=0, le=1), key("NOT_MET needs at most this probability that the count is reached.")
    ] = 0.05
    min_coverage: Annotated[
        float, Meta(ge=0, le=1), key("A negative answer needs at least this fraction of every compartment in view.")
    ] = 0.9
    min_assignment_confidence: Annotated[
        float,
        Meta(ge=0.5, le=1),
        key("Less sure lesions count on their slices, but never as the evidence for a side or level."),
    ] = 0.99
    region_error_quantile: Annotated[
        float,
        Meta(ge=0, le=0.999),
        key(
            "A side or level needs more lesions than this quantile of the detector's false positives there; 0 = not "
            "asked."
        ),
    ] = 0.95
    axial_spacing_mm: Annotated[
        float, Meta(ge=0.1, le=1_000_000), key("Distance between the planes of the axial reformat.", unit="mm")
    ] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings(_Section):
    """What is written."""

    identified: Annotated[
        bool, key("Keep file names, UIDs and (in DICOM objects) the patient and the study, which identify a person.")
    ] = False
    dicom: Annotated[
        Literal["auto", "always", "never"],
        key(
            "DICOM SEG and SR: ``auto`` = where the input was DICOM; ``always`` = with DICOM images made from other "
            "input."
        ),
    ] = "auto"
    seg: Annotated[
        Literal["binary", "labelmap"],
        key("Segmentation of one bit a segment (read by most viewers), or of segment numbers (smaller, newer)."),
    ] = "binary"
    new_frame_of_reference: Annotated[
        bool,
        key("Where DICOM images state no FrameOfReferenceUID (some de-identified ones), make one instead of refusing."),
    ] = False
    all_candidates: Annotated[
        bool,
        key("List every candidate (candidates.csv, page), not only lesions and those rejected at 0.01 or above."),
    ] = False
    rtstruct: Annotated[bool, key("Write the outlines of the lesions as an RT Structure Set.")] = False
    editable: Annotated[
        bool, key("Write the lesions for editors: ``lesions.seg.nrrd`` for 3D Slicer, label colours for ITK-SNAP.")
    ] = False
    viewer: Annotated[
        bool,
        key(
            "Put the scan and a viewer into report.html; without them the page is a third of the size (large cohorts)."
        ),
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole tree."""

    load: LoadSettings = field(default_factory=LoadSettings)
    detect: DetectSettings = field(default_factory=DetectSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    lesions: LesionsSettings = field(default_factory=LesionsSettings)
    locate: LocateSettings = field(default_factory=LocateSettings)
    decide: DecideSettings = field(default_factory=DecideSettings)
    report: ReportSettings = field(default_factory=ReportSettings)

    def __post_init__(self) -> None:
        """Sections may be given as mappings: ``Settings(locate={"deform": False})``."""
        for section in fields(self):
            value = getattr(self, section.name)
            kind: Any = section.default_factory
            if isinstance(value, Mapping):
                known = Settings().updated({f"{section.name}.{key}": item for key, item in value.items()})
                object.__setattr__(self, section.name, getattr(known, section.name))
            elif type(value) is not kind:
                what = f"{section.name} must be its settings or a mapping of them, not {type(value).__name__}"
                raise SettingsError(what, todo=f'Settings({section.name}={{"KEY": VALUE}})')

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
        tree = self
        for key, text in pairs.items():
            tree = tree._with_text(key, text)
        return tree

    def _with_text(self, key: str, text: str) -> Settings:
        """A value as a person writes it: ``T1C`` is ``t1c``."""
        try:
            return self.updated({key: text})
        except SettingsError:
            if text == text.lower():
                raise
            with suppress(SettingsError):
                return self.updated({key: text.lower()})
            raise

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
        for name, value in values.items():
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else "see `miliary-seg settings`"
                raise SettingsError(f"unknown setting {name!r}", todo=hint)
            tree = _replaced(tree, name.split("."), name, value)
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


def schema() -> Json:
    """JSON Schema (2020-12) of the whole tree, with the sentence, the range and the default of every setting."""
    tree = json_schema("miliary-seg settings", [Settings])
    for section in (tree, *tree["$defs"].values()):
        section["additionalProperties"] = False  # an unknown setting is an error
    return tree


def digest_of(value: object) -> str:
    """SHA-256 over a tree of plain values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat.update(_flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return flat


def _replaced(node: Any, path: list[str], setting: str, value: Any) -> Any:
    name, *rest = path
    old = getattr(node, name)
    new = _replaced(old, rest, setting, value) if rest else _converted(_kinds(type(node))[name], setting, value)
    return replace(node, **{name: new})


def _kinds(section: type) -> dict[str, Any]:
    """Name of a setting -> its type with its range; asked for once a section: a stored case sets fifty values."""
    if section not in _KINDS:
        _KINDS[section] = get_type_hints(section, include_extras=True)
    return _KINDS[section]


_KINDS: dict[type, dict[str, Any]] = {}


def _converted(kind: Any, setting: str, value: Any) -> Any:
    """Turn a TOML value or a command-line string into the type of a setting, within its range."""
    base, parsed = get_args(kind)[0], value
    if base is bool:
        parsed = {"yes": True, "no": False}.get(str(value).lower(), value)
    elif base in (int, float) and isinstance(value, str):
        with suppress(ValueError):
            parsed = float(value)
    elif base is str and type(value) in (int, float):
        parsed = str(value)
    try:
        return msgspec.convert(parsed, kind, strict=False)
    except msgspec.ValidationError:
        raise _refusal(kind, setting, value, parsed) from None


def _refusal(kind: Any, setting: str, value: Any, parsed: Any) -> SettingsError:
    """What is wrong with a value, and what would suit: one of some words, a type, or a range."""
    base, *notes = get_args(kind)
    if get_origin(base) is Literal:
        return SettingsError(f"{setting} cannot be {value!r}", todo="one of " + ", ".join(map(str, get_args(base))))
    try:
        number = msgspec.convert(parsed, base, strict=False)
    except msgspec.ValidationError:
        return SettingsError(f"{setting} cannot be {value!r}", todo=f"a value of type {base.__name__}")
    low, high = next((note.ge, note.le) for note in notes if note.ge is not None)
    return SettingsError(f"{setting} cannot be {number}", todo=f"{low:g} to {high:g}")
