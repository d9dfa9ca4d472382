"""The names under which the scans of an output folder are known: each keeps its own, whatever it would be called now.

A file that was moved, an input folder that became part of a larger one, a rule for names that changed: none of them may
make a second case of a scan that is finished. A scan is known by its input digest, by its StudyInstanceUID (DICOM), or
by its path (one file).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miliary_seg.cohort.run.manifest import (
    Origin,
    is_another_scan,
    marked_folders,
    place_of,
    read_manifest,
    study_of,
)

if TYPE_CHECKING:
    from miliary_seg.load import CaseInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierNames:
    """Names of finished cases that this run would call otherwise."""

    by_input: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Input digest -> names, the shortest first."""
    by_place: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Path of a file or StudyInstanceUID, as in a mark -> names."""

    @classmethod
    def of(cls, output: Path, cases: Iterable[CaseInfo]) -> EarlierNames:
        """From the marks in an output folder; what these cases are called already is left out."""
        now = {case.id: case for case in cases}
        by_input: dict[str, list[str]] = {}
        by_place: dict[str, tuple[str, ...]] = {}
        for _, mark in marked_folders(output) if output.is_dir() else ():
            case = now.get(mark.case)
            if case is not None and _is_of(mark.origin, case):
                continue
            if mark.origin.input_digest:
                by_input.setdefault(mark.origin.input_digest, []).append(mark.case)
            for key in filter(None, (mark.origin.place, mark.origin.study)):
                by_place[key] = (*by_place.get(key, ()), mark.case)
        in_order = {key: tuple(sorted(names, key=lambda name: (len(name), name))) for key, names in by_input.items()}
        return cls(by_input=in_order, by_place=by_place)

    def of_place(self, case: CaseInfo) -> CaseInfo:
        """A case by the name under which its study or one of its files is finished, else as it is. Reads no file of it.

        What was one file of a person and is several now keeps the name and the path that it was finished under.
        """
        for name in self.by_place.get(study_of(case), ())[:1]:
            return _called(case, name)
        for path in _paths_of(case):
            for name in self.by_place.get(place_of(path.absolute()), ())[:1]:
                return replace(_called(case, name), owner=path)
        before = self.by_place.get(place_of(case.path.absolute()), ())
        return replace(case, owner=case.path) if case.owner and case.id in before else case

    def of_input(self, case: CaseInfo, origin: Origin) -> CaseInfo:
        """A case by the name under which a scan of the same content is finished, else as it is."""
        names = self.by_input.get(origin.input_digest, ())
        return case if not names or case.id in names else _called(case, names[0])


def free_name(case: CaseInfo, origin: Origin, folder: Callable[[str], Path]) -> CaseInfo:
    """A case by its first name that no other scan has in the output folder; by its own where all are taken."""
    for name in (case.id, *case.longer_names):
        mark = read_manifest(folder(name))
        if mark is None or not is_another_scan(mark.origin, origin):
            return _called(case, name)
    return case


def _called(case: CaseInfo, name: str) -> CaseInfo:
    return case if name == case.id else replace(case, id=name, longer_names=())


def _is_of(origin: Origin, case: CaseInfo) -> bool:
    """Whether a mark under the name of a case is that case's, as far as its path and study tell."""
    return origin.place == place_of(case.known_by) and origin.study in {"", study_of(case)}


def _paths_of(case: CaseInfo) -> list[Path]:
    """The owner of NIfTI files, and the files: each was a case of its own before others of its owner came."""
    files = [path for series in case.series for path in series.paths]
    if case.owner is None:
        return files if len(files) == 1 and case.series[0].format != "DICOM" else []
    return [case.owner, *files]
