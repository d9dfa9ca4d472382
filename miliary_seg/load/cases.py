"""Paths into cases: a DICOM study, a NIfTI file or a BIDS session each. Headers only, no voxels."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary_seg.domain.names import digest_of_name
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import SequenceEvidence
from miliary_seg.errors import AmbiguousInputError, MiliaryError, NoImageError, UnreadableFileError
from miliary_seg.load.archive import members as members_of_archive
from miliary_seg.load.inventory import (
    CaseInfo,
    CaseInventory,
    LedgerEntry,
    Problem,
    SeriesInfo,
    case_name,
    distinct,
    unique_names,
)
from miliary_seg.load.masks import stem
from miliary_seg.load.nifti.identity import hidden_name, names_patient
from miliary_seg.load.nifti.series import bids_case, find_nifti
from miliary_seg.load.selection import choose
from miliary_seg.load.sequence import owner_and_sequence
from miliary_seg.load.walk import NIFTI_SUFFIXES, UNFINISHED, header_of_pair, left_out, lost_header, sniff, walk
from miliary_seg.settings import LoadSettings, Settings

if TYPE_CHECKING:
    from miliary_seg.load.dicom.images import DicomImage, SeriesFacts


def find_session(files: Iterable[str | Path], folder: str | Path, settings: Settings | None = None) -> CaseInventory:
    """The images of one BIDS session, chosen by the caller, as one case; headers only.

    A file that cannot be read is a problem, and a series of the case with its error too: no study may be negative while
    one of its series is unseen.

    Parameters
    ----------
    files
        Images with BIDS names of one participant and session.
    folder
        The folder that they come from, for messages.
    settings
        As in ``find_cases``.
    """
    found = find_together(files, Path(folder), (settings or Settings()).load)
    if len(found.cases) != 1:
        return found
    return replace(found, cases=(_with_unread(found.cases[0], found.problems),))


def _with_unread(case: CaseInfo, problems: Sequence[Problem]) -> CaseInfo:
    """A case with the files of its session that could not be read: none may be unseen where the answer is negative."""
    if not problems:
        return case
    unread = [_unread(problem) for problem in problems]
    ids = unique_names([series.id for series in (*case.series, *unread)])
    caveats = [
        Reason(code="series_not_readable", text=f"Series {series.id} is not analysed: {series.why}.")
        for series in unread
    ]
    every = tuple(replace(series, id=name) for series, name in zip((*case.series, *unread), ids, strict=True))
    return replace(case, series=every, caveats=(*case.caveats, *caveats))


def _unread(problem: Problem) -> SeriesInfo:
    return SeriesInfo(
        id=case_name(stem(problem.path), "volume"),
        format="NIfTI",
        modality=None,
        sequence=SequenceEvidence(),
        eligible=False,
        why=problem.error.what,
        error=problem.error,
        paths=(problem.path,),
    )


Progress = Callable[[int], None]


@dataclass(slots=True)
class _Scan:
    """What has been read below one path, sorted by what it is."""

    root: Path
    images: list[DicomImage] = field(default_factory=list)
    nifti: list[SeriesInfo] = field(default_factory=list)
    series_facts: SeriesFacts = field(default_factory=dict)
    blocked: dict[Path, MiliaryError] = field(default_factory=dict)
    no_image: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ledger: list[LedgerEntry] = field(default_factory=list)

    def fail(self, path: Path, error: MiliaryError) -> None:
        self.problems.append(Problem(path=path, error=error))
        self.ledger.append(LedgerEntry(path=path, status="failed", reason=error.what))

    def skip(self, path: Path, reason: str) -> None:
        self.ledger.append(LedgerEntry(path=path, status="skipped", reason=reason))


def find_in_paths(
    paths: Iterable[str | Path], settings: LoadSettings, progress: Progress | None = None
) -> CaseInventory:
    """Every case below the paths, problems beside them, and the ledger of all files."""
    cases: list[CaseInfo] = []
    problems: list[Problem] = []
    ledger: list[LedgerEntry] = []
    n_files = 0
    for path in dict.fromkeys(Path(p) for p in paths):
        pile = _Scan(root=path)
        try:
            for file in walk(path, pile.ledger):
                _add(pile, file, settings)
                n_files += 1
                if progress is not None:
                    progress(n_files)
        except MiliaryError as error:
            pile.problems.append(Problem(path=path, error=error))
        found = _cases(pile, settings)
        if not found and not pile.problems:
            pile.problems.append(Problem(path=path, error=_nothing(pile)))
        named = _named_problems(pile, found)
        whole = [_with_unread(case, [p for p in named if p.case == case.id]) for case in found]
        cases += [replace(case, below=path) for case in whole]
        problems += named
        ledger += _final_ledger(pile, found)
    problems = list({(problem.path.absolute(), problem.error.what): problem for problem in problems}.values())
    ledger = list({(entry.path.absolute(), entry.status): entry for entry in ledger}.values())
    return CaseInventory(cases=distinct(_each_once(cases)), problems=tuple(problems), ledger=tuple(ledger))


def _each_once(cases: Sequence[CaseInfo]) -> list[CaseInfo]:
    """The cases without those whose files another one has too: the paths may overlap, or one be given twice."""
    files = [frozenset(path.absolute() for series in case.series for path in series.paths) for case in cases]
    owners: dict[Path, list[int]] = defaultdict(list)
    for number, paths in enumerate(files):
        for path in paths:
            owners[path].append(number)

    def is_within(number: int, other: int) -> bool:
        return files[number] < files[other] or (files[number] == files[other] and other < number)

    return [
        case
        for number, case in enumerate(cases)
        if not any(is_within(number, other) for path in list(files[number])[:1] for other in owners[path])
    ]


def find_together(files: Iterable[str | Path], folder: Path, settings: LoadSettings) -> CaseInventory:
    """The cases of some files alone, found as if nothing else lay in their folder."""
    pile = _Scan(root=folder)
    for file in files:
        _add(pile, Path(file), settings)
    cases = _cases(pile, settings)
    problems = _named_problems(pile, cases)
    return CaseInventory(cases=tuple(cases), problems=tuple(problems), ledger=tuple(_final_ledger(pile, cases)))


def _add(pile: _Scan, path: Path, settings: LoadSettings) -> None:
    """Read the header of one file onto the pile; nothing that goes wrong with it may stop the others."""
    named_by_user = path == pile.root
    if named_by_user:
        path = header_of_pair(path)
    elif left_out(path):
        pile.skip(path, left_out(path))
        pile.no_image += [path.with_suffix("")] if path.name.lower().endswith(UNFINISHED) else []
        return
    kind, reason = sniff(path)
    try:
        if kind == "archive":
            _add_archive(pile, path)
        elif kind == "nifti":
            pile.nifti.append(find_nifti(path, settings, named_by_user=named_by_user))
        elif kind == "dicom":
            _add_dicom(pile, path)
        else:
            _add_other(pile, path, kind, reason)
    except MiliaryError as error:
        pile.fail(path, error)
        if kind == "dicom":
            pile.blocked.setdefault(path.parent, error)


def _add_other(pile: _Scan, path: Path, kind: str, reason: str) -> None:
    """Enter what is no scan; a file that the user named, and a scan that is not here, are errors."""
    if path == pile.root:
        raise _not_a_scan(path, kind, reason)
    if path.is_symlink() and path.name.lower().endswith(NIFTI_SUFFIXES):
        raise UnreadableFileError(reason, where=path, todo="fetch the file itself")
    if kind == "other" and lost_header(path):
        raise UnreadableFileError("an .img without its .hdr", where=path, todo="copy the header beside it")
    pile.skip(path, reason)
    pile.no_image.append(path)


def _not_a_scan(path: Path, kind: str, reason: str) -> MiliaryError:
    what = f"not a scan: {reason}" if kind == "other" else "the file is empty"
    return UnreadableFileError(what, where=path, todo="give a DICOM or NIfTI file or a folder")


def _add_archive(pile: _Scan, path: Path) -> None:
    """Read the DICOM headers in a zip archive."""
    found, skipped = members_of_archive(path)
    for member, reason in skipped:
        pile.skip(member, reason)
    for member in found:
        kind, reason = sniff(member)
        if kind == "nifti":
            pile.skip(member, "a volume within an archive: unpack it (DICOM is read from archives)")
        elif kind == "dicom":
            try:
                _add_dicom(pile, member)
            except MiliaryError as error:
                pile.fail(member, error)
                pile.blocked.setdefault(member.parent, error)
        else:
            pile.skip(member, reason)
            pile.no_image.append(member)


def _add_dicom(pile: _Scan, path: Path) -> None:
    from miliary_seg.load.dicom.images import NotAnImage, read_image

    image = read_image(path, pile.series_facts)
    if isinstance(image, NotAnImage):
        pile.skip(path, image.reason)
    else:
        pile.images.append(image)


def _named_problems(pile: _Scan, cases: Sequence[CaseInfo]) -> list[Problem]:
    """The problems, with the names of the cases that they keep from being ones.

    What lies in a folder of a case's images belongs to that case, which says so itself. A file that would have been a
    case has the name that the case would have had; anything else a digest of its folder, which could name a patient.
    """
    folders = {path.parent for case in cases for s in case.series if s.format == "DICOM" for path in s.paths}
    named = []
    for problem in pile.problems:
        path = problem.path
        folder = path if path.is_dir() else path.parent
        if problem.case:
            name = problem.case
        elif path.name.lower().endswith(NIFTI_SUFFIXES) or lost_header(path):
            name = bids_case(path) or _names_of_files(pile.root, _owner(pile.root, path), [path])[0]
        else:
            name = "" if folder in folders else f"unreadable-{digest_of_name(str(folder.absolute()))}"
        named.append(replace(problem, case=name, below=pile.root))
    return named


def _nothing(pile: _Scan) -> MiliaryError:
    """Why nothing was found, with what was seen."""
    seen = Counter(entry.reason for entry in pile.ledger)
    if not seen:
        return NoImageError("the folder is empty", where=pile.root, todo="give a folder with DICOM or NIfTI files")
    listed = "; ".join(f"{count} x {reason}" for reason, count in seen.most_common(4))
    return NoImageError(f"no scan to analyse ({listed})", where=pile.root, todo="give a folder with MR or CT images")


def _cases(pile: _Scan, settings: LoadSettings) -> list[CaseInfo]:
    cases = _dicom_cases(pile, settings) + _nifti_cases(pile, settings)
    kept = []
    for case in cases:
        try:
            series = choose(case.series, settings)
        except MiliaryError as error:
            pile.problems.append(Problem(path=case.path, error=error, case=case.id))
            continue
        kept.append(replace(case, series=series, caveats=(*case.caveats, *_caveats(series))))
    return kept


def _caveats(series: Sequence[SeriesInfo]) -> tuple[Reason, ...]:
    """A series that should have been analysed but cannot be is a caveat of the whole case."""
    broken = [s for s in series if s.error]
    return tuple(
        Reason(code="series_not_readable", text=f"Series {s.id} is not analysed: {s.error.what if s.error else ''}.")
        for s in broken
    )


def _dicom_cases(pile: _Scan, settings: LoadSettings) -> list[CaseInfo]:
    if not pile.images:
        return []
    from miliary_seg.load.dicom.naming import dicom_names
    from miliary_seg.load.dicom.series import find_series

    images = _one_patient_a_folder(pile)
    _block_by_lost_files(pile, images)
    studies: dict[str, list[DicomImage]] = defaultdict(list)
    for image in images:
        studies[image.study_uid or f"folder {image.path.parent}"].append(image)
    studies = _one_study_a_series(pile, studies)
    names = dicom_names(pile.root, list(studies.values()))
    cases = []
    for (uid, members), (name, *longer) in zip(studies.items(), names, strict=True):
        series = tuple(find_series(members, pile.blocked, settings))
        stated = "" if uid.startswith("folder ") else uid
        cases.append(
            CaseInfo(id=name, path=pile.root, series=series, study_instance_uid=stated, longer_names=tuple(longer))
        )
    return cases


def _one_patient_a_folder(pile: _Scan) -> list[DicomImage]:
    """Images of folders and studies that hold one patient; the others become problems."""
    by_folder: dict[Path, set[str]] = defaultdict(set)
    by_study: dict[str, set[str]] = defaultdict(set)
    for image in pile.images:
        by_folder[image.path.parent].add(image.patient)
        by_study[image.study_uid].add(image.patient)
    several = {folder for folder, patients in by_folder.items() if len(patients) > 1}
    several |= {i.path.parent for i in pile.images if i.study_uid and len(by_study[i.study_uid]) > 1}
    mixed = several | _of_several_people(pile.images)
    for folder in sorted(mixed):
        n_patients = max(len(by_folder[folder]), 2)
        by = "PatientID" if folder in several else "what else is said of the patient, under one PatientID"
        error = AmbiguousInputError(
            f"images of {n_patients} patients (by {by}) in one folder or study",
            where=folder,
            todo="give each patient an own folder",
        )
        pile.problems.append(Problem(path=folder, error=error))
    for image in pile.images:
        if image.path.parent in mixed:
            pile.ledger.append(LedgerEntry(path=image.path, status="failed", reason="several patients in one folder"))
    return [image for image in pile.images if image.path.parent not in mixed]


def _of_several_people(images: list[DicomImage]) -> set[Path]:
    """Folders of images that share a folder or study with those of another sex or birth date, or a series with those
    of another name, age or weight.
    """
    facts: dict[tuple[object, int], set[str]] = defaultdict(set)
    for image in images:
        for place, said in _alike_in(image).items():
            for number, fact in enumerate(said):
                facts[place, number].update({fact} - {""})
    mixed = {place for (place, _), seen in facts.items() if len(seen) > 1}
    return {image.path.parent for image in images if not mixed.isdisjoint(_alike_in(image))}


def _alike_in(image: DicomImage) -> dict[object, tuple[str, ...]]:
    """Folder, study and series of an image, each with what must be the same in all of it."""
    alike: dict[object, tuple[str, ...]] = {image.path.parent: image.person}
    if image.study_uid:
        alike["study", image.study_uid] = image.person
    if image.series_uid:
        alike["series", image.series_uid] = image.examined
    return alike


def _one_study_a_series(pile: _Scan, studies: dict[str, list[DicomImage]]) -> dict[str, list[DicomImage]]:
    """A SeriesInstanceUID that occurs in two studies means that UIDs were damaged: then nothing can be told apart."""
    owners: dict[str, set[str]] = defaultdict(set)
    for uid, members in studies.items():
        for image in members:
            if image.series_uid:
                owners[image.series_uid].add(uid)
    damaged = {uid for studies_of in owners.values() if len(studies_of) > 1 for uid in studies_of}
    if damaged:
        error = AmbiguousInputError(
            f"one SeriesInstanceUID in {len(damaged)} studies",
            where=pile.root,
            todo="the UIDs were damaged; export again",
        )
        pile.problems.append(Problem(path=pile.root, error=error))
    return {uid: members for uid, members in studies.items() if uid not in damaged}


def _block_by_lost_files(pile: _Scan, images: list[DicomImage]) -> None:
    """A file that is named like the images of its folder but is none was one of them: an interrupted copy."""
    patterns: dict[Path, set[str]] = defaultdict(set)
    for image in images:
        patterns[image.path.parent].add(_pattern(image.path))
    for path in pile.no_image:
        if _pattern(path) in patterns.get(path.parent, ()):
            error = UnreadableFileError(
                "named like the images beside it, but empty or damaged: a slice that was lost?",
                where=path,
                todo="copy it again",
            )
            pile.blocked.setdefault(path.parent, error)
            pile.problems.append(Problem(path=path, error=error))


def _pattern(path: Path) -> str:
    """The ending where it is one of DICOM's, else the name with its digits blotted out."""
    suffix = path.suffix.lower()
    hidden = path.name.startswith(".")
    return suffix if suffix in (".dcm", ".ima", ".dicom") and not hidden else re.sub(r"\d+", "#", path.name)


def _nifti_cases(pile: _Scan, settings: LoadSettings) -> list[CaseInfo]:
    groups: dict[tuple[Path | None, str], list[SeriesInfo]] = defaultdict(list)
    for series in pile.nifti:
        path = series.paths[0]
        session = bids_case(path)
        if session and names_patient(session, path):
            session = ""
        groups[(None, session) if session else (_owner(pile.root, path), "")].append(series)
    cases = []
    for (owner, session), members in groups.items():
        if not any(series.eligible for series in members):
            _enter_unused(pile, members)
            continue
        files = [series.paths[0] for series in members]
        name, *longer = [session] if owner is None else _names_of_files(pile.root, owner, files)
        ids = unique_names([series.id for series in members])
        numbered = tuple(replace(series, id=i) for series, i in zip(members, ids, strict=True))
        place = pile.root if owner is None else files[0] if len(files) == 1 else owner.parent
        cases.append(CaseInfo(id=name, path=place, owner=owner, series=numbered, longer_names=tuple(longer)))
    return cases


def _owner(root: Path, file: Path) -> Path:
    """Whose a file is: below a folder, what its name says before the sequence at its end; else the file itself.

    ``P1_T1`` and ``P1_FLAIR`` are scans of P1, whether or not the other one has arrived. A name that is nothing but a
    sequence belongs to nobody in particular, and a file that the user named is a case of its own.
    """
    person = "" if file == root or bids_case(file) else owner_and_sequence(stem(file))[0]
    return file.parent / person if person else file


def _names_of_files(root: Path, owner: Path, files: Sequence[Path]) -> list[str]:
    """Names of the case of some files, the first preferred: the folders from the named path to them, and their owner's.

    The longer ones have the folder above too, then a digest of the whole path. Names that hold the patient's, as a
    sidecar states it, are hidden behind a digest: of the file, or of the path of a person's files.
    """
    file = files[0]
    above = root.resolve().name if root.is_dir() else file.absolute().parent.name
    between = file.parent.relative_to(root).parts if root.is_dir() and file.is_relative_to(root) else ()
    name = "-".join((*between, stem(file) if owner == file else owner.name))
    digest = digest_of_name(str(owner.absolute()))
    if any(names_patient(f"{above}-{name}", path) for path in files):
        hidden = hidden_name(file) if owner == file else f"case-{digest}"
        return [hidden, f"{hidden}-{digest}"]
    return [case_name(name), case_name(f"{above}-{name}"), case_name(f"{name}-{digest}")]


def _enter_unused(pile: _Scan, members: list[SeriesInfo]) -> None:
    """Files of which none can be a case: masks are entered in the ledger, errors among the problems."""
    for series in members:
        if series.error:
            pile.fail(series.paths[0], series.error)
        else:
            pile.skip(series.paths[0], series.why)


def _final_ledger(pile: _Scan, cases: list[CaseInfo]) -> list[LedgerEntry]:
    """Every file once: used, skipped or failed."""
    entered = {entry.path for entry in pile.ledger}
    entries = list(pile.ledger)
    for case in cases:
        for series in case.series:
            used = series.eligible or series.before_contrast
            status = "used" if used else "failed" if series.error else "skipped"
            reason = "" if used else series.why
            for path in series.paths:
                if path not in entered:
                    entered.add(path)
                    entries.append(LedgerEntry(path=path, status=status, reason=reason))
    return sorted(entries, key=lambda entry: str(entry.path))
