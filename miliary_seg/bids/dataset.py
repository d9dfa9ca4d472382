"""A BIDS dataset as this program sees it: which images of which session are analysed, and why the others are not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miliary_seg.bids.names import BidsName
from miliary_seg.errors import InputError, NoImageError, UnreadableFileError, UsageError

DESCRIPTION = "dataset_description.json"
DATATYPES = ("anat", "swi", "ct")
"""Folders that hold images to analyse. ``swi`` (BEP004) and ``ct`` are no part of BIDS yet, but in use."""
MODALITIES = ("T1w", "T2w", "FLAIR", "PDw", "T2starw", "swi", "ct")
"""Suffixes that are analysed; other images of ``anat`` (maps, angiograms, raw inversions) show lesions otherwise."""
_ENDINGS = (".nii", ".nii.gz")
_OTHER_PARTS = ("phase", "real", "imag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the user wants of a dataset; empty = everything. Labels with or without their ``sub-`` or ``ses-``."""

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {modality.lower(): modality for modality in MODALITIES}
        wrong = [modality for modality in self.modalities if modality.lower() not in known]
        if wrong:
            raise UsageError(f"--modalities cannot be {', '.join(wrong)}", todo=" ".join(MODALITIES))
        tidy = {
            "participants": tuple(label.removeprefix("sub-") for label in self.participants),
            "sessions": tuple(label.removeprefix("ses-") for label in self.sessions),
            "runs": tuple(label.removeprefix("run-").lstrip("0") or "0" for label in self.runs),
            "modalities": tuple(known[modality.lower()] for modality in self.modalities),
        }
        for name, value in tidy.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The images of one participant on one occasion: one case."""

    participant: str
    session: str
    """Empty where the dataset has no sessions."""
    images: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    """Images that are not analysed, and why."""

    @property
    def id(self) -> str:
        """``sub-01`` or ``sub-01_ses-1``."""
        return f"sub-{self.participant}" + (f"_ses-{self.session}" if self.session else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A BIDS dataset on disk."""

    path: Path
    description: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Dataset:
        """Read ``dataset_description.json``.

        Raises
        ------
        InputError
            If the folder is no BIDS dataset.
        UnreadableFileError
            If its description is no JSON object.
        """
        file = path / DESCRIPTION
        if not file.is_file():
            todo = f"give the folder that holds {DESCRIPTION}; `miliary-seg run` takes any other folder"
            raise InputError(f"this is no BIDS dataset: it has no {DESCRIPTION}", where=path, todo=todo)
        try:
            description = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UnreadableFileError("this is no JSON", where=file, todo="check it with the BIDS validator") from error
        if not isinstance(description, dict):
            raise UnreadableFileError("this is no JSON object", where=file, todo="check it with the BIDS validator")
        return cls(path=path, description=description)

    @property
    def name(self) -> str:
        """Name of the dataset; empty where it states none."""
        return str(self.description.get("Name") or "")

    def participants(self) -> list[str]:
        """Labels of all participants, in order."""
        return [p.name.removeprefix("sub-") for p in sorted(self.path.glob("sub-*")) if p.is_dir()]

    def sessions(self, choice: Choice | None = None) -> list[Session]:
        """Sessions that hold an image to analyse, in order.

        Parameters
        ----------
        choice
            What the user wants; default: everything.

        Raises
        ------
        NoImageError
            If a participant that is asked for is not there, or nothing is left to analyse.
        """
        choice = choice or Choice()
        missing = sorted(set(choice.participants) - set(self.participants()))
        if missing:
            what = f"no participant {', '.join(missing)}"
            raise NoImageError(what, where=self.path, todo=f"the dataset has {_some(self.participants())}")
        wanted = [p for p in self.participants() if not choice.participants or p in choice.participants]
        found = [s for label in wanted for s in self._sessions_of(label, choice)]
        if not any(session.images for session in found):
            kinds = " ".join(choice.modalities or MODALITIES)
            what = f"no image to analyse ({kinds}) in {len(wanted)} participant(s)"
            raise NoImageError(what, where=self.path, todo="see --dry-run --verbose for what was passed over, and why")
        return found

    def _sessions_of(self, participant: str, choice: Choice) -> Iterator[Session]:
        folder = self.path / f"sub-{participant}"
        visits = {p.name.removeprefix("ses-"): p for p in sorted(folder.glob("ses-*")) if p.is_dir()} or {"": folder}
        for label, place in visits.items():
            if choice.sessions and label not in choice.sessions:
                continue
            kept: list[Path] = []
            skipped: list[tuple[Path, str]] = []
            for image in _images(place):
                why = _why_not(image, choice)
                if why:
                    skipped.append((image, why))
                else:
                    kept.append(image)
            yield Session(participant=participant, session=label, images=tuple(kept), skipped=tuple(skipped))


def datatype(path: Path) -> str:
    """Folder of an image: ``anat``, ``swi`` or ``ct``."""
    return path.parent.name


def _images(place: Path) -> list[Path]:
    found = (p for kind in DATATYPES for p in sorted((place / kind).glob("*")) if p.name.endswith(_ENDINGS))
    return [path for path in found if path.is_file()]


def _why_not(path: Path, choice: Choice) -> str:
    """Why an image is passed over; empty where it is analysed."""
    name = BidsName.of(path)
    if name is None:
        return "no BIDS name"
    kinds = {modality.lower() for modality in choice.modalities or MODALITIES}
    if name.suffix.lower() not in kinds:
        return f"{name.suffix} is not among {' '.join(choice.modalities or MODALITIES)}"
    run = name.entities.get("run", "").lstrip("0")
    part = name.entities.get("part", "")
    rules = (
        (bool(choice.runs) and run not in choice.runs, "not the run asked for"),
        (part in _OTHER_PARTS, f"part-{part}: only magnitudes are analysed"),
        ("inv" in name.entities, "one inversion of several: not a finished image"),
        ("echo" in name.entities, "one echo of several: combine them first"),
        ("mod" in name.entities, "made for another image"),
    )
    return next((why for broken, why in rules if broken), "")


def _some(labels: Sequence[str], most: int = 10) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "") or "none"
