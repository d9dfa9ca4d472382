"""Which prediction belongs to which reference.

By a table (``--pairs``), or by name: the BIDS entities ``sub-`` and ``ses-`` anywhere in the path; else the name of the
case's folder or file without words such as ``mask``, ``seg`` or ``lesions``. Nothing is paired by order, nothing is
left out silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from miliary_seg.errors import AmbiguousInputError, InputError, NoImageError, UnreadableFileError
from miliary_seg.lab.bench.centres import place_columns, read_rows

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".nhdr")
TABLE_SUFFIXES = (".csv", ".tsv")
MASK_WORDS = frozenset(
    {"mask", "masks", "seg", "dseg", "segmentation", "segmentations", "label", "labels", "lesion", "lesions"}
    | {"roi", "rois", "gt", "truth", "annotation", "annotations", "prediction", "predictions", "pred", "reference"}
)
"""Words of a file's name that say what it is, not whose."""
RUN_FILE, TRUTH_FILE = "result.json", "truth.json"
TRUE_WORDS = frozenset(("met", "true", "yes", "1"))
FALSE_WORDS = frozenset(("not_met", "false", "no", "0"))
SHOWN = 10
"""Names listed in an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one side of one case comes from."""

    kind: Literal["run", "phantom", "labels", "centres"]
    path: Path
    """The case's folder, or the file."""
    case: str
    in_table: str = ""
    """Name of the case within a table of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One case with both sides."""

    case: str
    prediction: Source
    reference: Source
    truth_met: bool | None = None
    """Whether the reference meets the criteria, where the user says so."""


def find_sources(root: Path) -> list[Source]:
    """Every case below a path: one file, a case's folder, or a folder of either.

    Raises
    ------
    UnreadableFileError
        If there is no such path.
    NoImageError
        If nothing in it can be scored.
    """
    if not root.exists():
        raise UnreadableFileError("there is no such file or folder", where=root)
    found = list(_below(root, root if root.is_dir() else root.parent))
    if not found:
        raise NoImageError("no result, mask, label map or table of centres here", where=root)
    return found


def pair_by_name(predictions: Path, references: Path, *, skip_missing: bool = False) -> tuple[list[Pair], list[str]]:
    """Pair two files, or two folders by the names of their cases.

    Parameters
    ----------
    predictions, references
        Files or folders.
    skip_missing
        Leave out cases that only one side has, instead of refusing.

    Returns
    -------
    tuple
        The pairs, ascending by case, and the names that were left out.

    Raises
    ------
    InputError
        If a case is on one side only, or on no side twice.
    """
    ours, theirs = find_sources(predictions), find_sources(references)
    if len(ours) == len(theirs) == 1:
        return [Pair(case=ours[0].case, prediction=ours[0], reference=theirs[0])], []
    mine, yours = _by_case(ours, predictions), _by_case(theirs, references)
    alone = sorted(set(mine) ^ set(yours))
    if not set(mine) & set(yours):
        what = f"no case is on both sides ({_listed(sorted(mine))} against {_listed(sorted(yours))})"
        raise InputError(what, where=references, todo="name them alike, or give --pairs")
    if alone and not skip_missing:
        what = f"cases on one side only: {_listed(alone)}"
        raise InputError(what, where=references, todo="complete them, give --pairs, or --skip-missing")
    cases = sorted(set(mine) & set(yours))
    return [Pair(case=case, prediction=mine[case], reference=yours[case]) for case in cases], alone


def pair_by_table(table: Path) -> list[Pair]:
    """Read ``case, prediction, reference`` and optionally ``truth``; paths are relative to the table.

    Raises
    ------
    InputError
        If a column is missing, a case appears twice, or a truth is no answer.
    UnreadableFileError
        If the table, or a file that it names, cannot be read.
    """
    header, rows = read_rows(table)
    missing = [name for name in ("prediction", "reference") if name not in header]
    if missing:
        todo = "columns: case, prediction, reference and optionally truth"
        raise InputError(f"the table of pairs has no column {missing[0]}", where=table, todo=todo)
    pairs = []
    for n, row in enumerate(rows, start=1):
        sides = []
        for name in ("prediction", "reference"):
            sources = find_sources(table.parent / row[name])
            if len(sources) > 1:
                what = f"row {n}: {name} holds {len(sources)} cases"
                raise AmbiguousInputError(what, where=table, todo="name one file or one case's folder")
            sides.append(sources[0])
        case = row.get("case") or sides[0].case
        truth = truth_of(row.get("truth", ""), table)
        pairs.append(Pair(case=case, prediction=sides[0], reference=sides[1], truth_met=truth))
    twice = sorted({p.case for p in pairs if sum(q.case == p.case for q in pairs) > 1})
    if twice:
        raise InputError(f"cases appear twice: {_listed(twice)}", where=table, todo="name every case once")
    return sorted(pairs, key=lambda pair: pair.case)


def with_truths(pairs: Sequence[Pair], table: Path) -> list[Pair]:
    """Add what a table ``case, truth`` says of the criteria.

    Raises
    ------
    InputError
        If columns are missing, or the table names a case that is not scored.
    """
    header, rows = read_rows(table)
    if not {"case", "truth"} <= set(header):
        raise InputError("the table of truths needs the columns case and truth", where=table)
    truths = {row["case"]: truth_of(row["truth"], table) for row in rows}
    unknown = sorted(set(truths) - {pair.case for pair in pairs})
    if unknown:
        raise InputError(f"truths of unknown cases: {_listed(unknown)}", where=table, todo="use the names of the cases")
    return [replace(pair, truth_met=truths.get(pair.case, pair.truth_met)) for pair in pairs]


def truth_of(word: str, table: Path) -> bool | None:
    """MET / NOT_MET, true / false, yes / no or 1 / 0; empty = not known.

    Raises
    ------
    InputError
        For any other word.
    """
    if not word:
        return None
    if word.lower() in TRUE_WORDS | FALSE_WORDS:
        return word.lower() in TRUE_WORDS
    raise InputError("a truth is neither MET nor NOT_MET", where=table, todo="MET, NOT_MET, or empty where not known")


def case_name(path: Path, root: Path) -> str:
    """Name of a case from where it lies.

    Examples
    --------
    >>> root = Path("data")
    >>> case_name(root / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_mask.nii.gz", root)
    'sub-01_ses-2'
    >>> case_name(root / "patient7" / "lesion_mask.nii.gz", root), case_name(root / "p3_seg.nii.gz", root)
    ('patient7', 'p3')
    """
    inside = path.relative_to(root).as_posix() if path != root else path.name
    for text in (path.name, inside, path.as_posix()):
        subject = re.findall(r"sub-[A-Za-z0-9]+", text)
        if subject:
            session = re.findall(r"ses-[A-Za-z0-9]+", text)
            return "_".join([subject[-1], *session[-1:]])
    for part in (path, *path.parents):
        stem = part.name.split(".")[0] if part == path else part.name
        words = [word for word in re.split(r"[_\-. ]+", stem) if word.lower() not in MASK_WORDS]
        if any(words):
            return "_".join(word for word in words if word)
    return "case"


def _below(folder: Path, root: Path) -> Iterator[Source]:
    if folder.is_file():
        yield from _file(folder, root)
    elif (folder / RUN_FILE).is_file():
        yield Source(kind="run", path=folder, case=case_name(folder, root))
    elif (folder / TRUTH_FILE).is_file():
        yield Source(kind="phantom", path=folder, case=case_name(folder, root))
    else:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        inner = [source for entry in entries if entry.is_dir() for source in _below(entry, root)]
        # Beside the folders of finished cases lie tables about all of them (cases.csv): no cases themselves.
        if not any(source.kind in ("run", "phantom") for source in inner):
            own = [source for entry in entries if entry.is_file() and _may_hold(entry) for source in _file(entry, root)]
            # In the folder of one case a scan lies beside its mask; in a flat folder names tell (``_by_case``).
            masks = [source for source in own if _is_mask(source)]
            inner += masks if masks and folder != root else own
        yield from inner


def _may_hold(path: Path) -> bool:
    """Whether a file met in a folder may hold lesions: other tables lie there, too (participants.tsv, dseg.tsv).

    A table that cannot be read holds none; its case is then missing on one side, which is an error of its own.
    """
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        return True
    try:
        return place_columns(read_rows(path)[0]) is not None
    except InputError:
        return False


def _file(path: Path, root: Path) -> Iterator[Source]:
    name = path.name.lower()
    if name.endswith(IMAGE_SUFFIXES):
        yield Source(kind="labels", path=path, case=case_name(path, root))
    elif name.endswith(TABLE_SUFFIXES):
        header, rows = read_rows(path)
        cases = sorted({row["case"] for row in rows}) if "case" in header else [""]
        for case in cases:
            yield Source(kind="centres", path=path, case=case or case_name(path, root), in_table=case)


def _by_case(sources: Sequence[Source], root: Path) -> dict[str, Source]:
    """One source a case; where a folder holds scan and mask, the mask is meant."""
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.case, []).append(source)
    chosen = {}
    for case, group in groups.items():
        masks = [source for source in group if _is_mask(source)]
        if len(group) > 1 and len(masks) != 1:
            what = f"case {case} has {len(group)} files ({_listed([source.path.name for source in group])})"
            raise AmbiguousInputError(what, where=root, todo="one mask or table a case, or give --pairs")
        chosen[case] = group[0] if len(group) == 1 else masks[0]
    return chosen


def _is_mask(source: Source) -> bool:
    return bool(MASK_WORDS & set(re.split(r"[_\-. ]+", source.path.name.lower())))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
