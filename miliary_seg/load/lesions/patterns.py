"""Where the lesion file of each case lies: one file, or a pattern that names one for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING

from miliary_seg.errors import AmbiguousInputError, InputError, UsageError

if TYPE_CHECKING:
    from miliary_seg.load.inventory import CaseInfo

FIELDS = ("case", "subject", "session", "series")
BIDS = "bids:"
"""Before the path of a BIDS dataset: its derivatives are searched."""
_LESION = re.compile(
    r"_(?:label|desc)-[a-z0-9]*lesions?[a-z0-9]*_(?:[a-z]+-[a-z0-9]+_)*(?:dseg|mask|probseg)\.", re.IGNORECASE
)
"""Masks and segmentations that say they are of lesions: ``label-lesion_mask``, ``desc-lesions_dseg``."""
_FIELD = re.compile(r"\{(\w*)\}")

LesionFiles = Mapping[str, Path]
"""Series id -> file; under ``""`` the one file of a case whose series is found by what it holds."""


def check_pattern(pattern: str) -> None:
    """Refuse fields that nothing fills.

    Raises
    ------
    UsageError
        With the fields that there are.
    """
    unknown = [name for name in _FIELD.findall(pattern) if name not in FIELDS]
    if unknown:
        what = f"--lesions has a field {{{unknown[0]}}}"
        raise UsageError(what, todo="there are " + " ".join(f"{{{name}}}" for name in FIELDS))


def names_each(pattern: str) -> bool:
    """Whether a pattern names another file for every case.

    Examples
    --------
    >>> names_each("masks/{case}.nii.gz"), names_each("mask.nii.gz")
    (True, False)
    """
    return bool(_FIELD.search(pattern))


def resolve(pattern: str, case: CaseInfo) -> LesionFiles:
    """Lesion files of one case.

    Parameters
    ----------
    pattern
        A path; ``{case}`` stands for the id of the case, ``{subject}`` and ``{session}`` for the BIDS labels of its
        files (without ``sub-`` and ``ses-``), ``{series}`` for the id of each series; ``*`` and ``**`` for anything.
    case
        What was found.

    Raises
    ------
    UsageError
        If the pattern has an unknown field.
    InputError
        If no file is there.
    AmbiguousInputError
        If several files fit where one is needed.
    """
    if pattern.startswith(BIDS):
        return {"": _derivative(Path(pattern.removeprefix(BIDS)), case)}
    check_pattern(pattern)
    known = {"case": case.id, **_labels(case)}
    missing = [name for name in _FIELD.findall(pattern) if name != "series" and not known.get(name)]
    if missing:
        what = f"its files name no {missing[0]} (BIDS), which --lesions asks for"
        raise InputError(what, where=case.path, todo="use {case}, or BIDS names")
    if "{series}" not in pattern:
        return {"": _one(_filled(pattern, known), needed=True)}  # type: ignore[dict-item]
    found = {s.id: _one(_filled(pattern, {**known, "series": s.id}), needed=False) for s in case.series if s.eligible}
    files = {series: path for series, path in found.items() if path is not None}
    if not files:
        example = _filled(pattern, {**known, "series": next(iter(found), "")})
        raise InputError("no series of the case has a lesion file", where=example, todo="check the pattern")
    return files


def _derivative(dataset: Path, case: CaseInfo) -> Path:
    """The one lesion mask of a session among the derivatives of a BIDS dataset; our own results are none."""
    labels = _labels(case)
    begins = f"sub-{labels['subject']}_" + (f"ses-{labels['session']}_" if labels["session"] else "")
    places = (dataset / "derivatives").glob(f"**/sub-{labels['subject']}/**/{begins}*")
    found = [path for path in sorted(places) if _LESION.search(path.name) and path.name.endswith((".nii", ".nii.gz"))]
    found = [path for path in found if not _is_ours(path, dataset)]
    if len(found) > 1:
        listed = ", ".join(str(path.relative_to(dataset)) for path in found[:3])
        what = f"{len(found)} lesion masks among the derivatives ({listed})"
        raise AmbiguousInputError(what, where=case.id, todo="choose with --lesions PATTERN")
    if not found:
        what = f"no lesion mask of {case.id} among the derivatives (label-lesion_mask, desc-lesions_dseg ...)"
        raise InputError(what, where=dataset / "derivatives", todo="give --lesions PATTERN, or leave it out")
    return found[0]


def _is_ours(path: Path, dataset: Path) -> bool:
    """Whether a derivative was made by this program."""
    inside = (parent / "dataset_description.json" for parent in path.parents if parent.is_relative_to(dataset))
    return any(file.is_file() and '"miliary-seg"' in file.read_text("utf-8", "replace") for file in inside)


def _filled(pattern: str, known: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: escape(known[match.group(1)]), pattern)


def _one(path: str, *, needed: bool) -> Path | None:
    plain = Path(re.sub(r"\[([*?[])\]", r"\1", path))
    found = [Path(name) for name in sorted(glob(path, recursive=True))]  # noqa: PTH207 - absolute patterns
    if plain.exists():
        found = [plain]
    if len(found) > 1:
        what = f"{len(found)} files fit ({', '.join(p.name for p in found[:3])} ...)"
        raise AmbiguousInputError(what, where=path, todo="make the pattern fit one file a case")
    if not found and needed:
        raise InputError("there is no such lesion file", where=plain, todo="check the path or the pattern")
    return found[0] if found else None


def _labels(case: CaseInfo) -> dict[str, str]:
    """Subject and session by BIDS, from the names of the case's files, else from its id."""
    names = [path.name for series in case.series for path in series.paths[:1]] + [case.id]
    labels = {}
    for field, key in (("subject", "sub"), ("session", "ses")):
        match = next((m for name in names if (m := re.search(rf"(?:^|_){key}-([A-Za-z0-9]+)", name))), None)
        labels[field] = match.group(1) if match else ""
    return labels
