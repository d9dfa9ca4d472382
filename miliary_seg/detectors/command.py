"""Any program as a detector: the scan as NIfTI in a scratch folder, a command line, a time limit, a mask back."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from miliary_seg.detectors.channels import channels
from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.lesion_source import GivenLesions, LesionSource
from miliary_seg.domain.volume import Volume
from miliary_seg.errors import CaseTimeoutError, InputError, MiliaryError, SettingsError
from miliary_seg.load.lesions import read_lesions
from miliary_seg.report.volume_files import write_nifti
from miliary_seg.settings import Settings

FIELDS = ("input", "output", "input_folder", "output_folder", "mask")
_FIELD = re.compile(r"\{(\w+)\}")
SAID_CHARACTERS = 300
"""Of what a program printed last, in the message of its failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Files of one call. Their names say nothing of the patient."""

    root: Path

    @property
    def fields(self) -> dict[str, str]:
        return {
            "input": str(self.root / "input" / "scan_0000.nii.gz"),
            "output": str(self.root / "output" / "lesions.nii.gz"),
            "input_folder": str(self.root / "input"),
            "output_folder": str(self.root / "output"),
            "mask": str(self.root / "brain_mask.nii.gz"),
        }


class CommandDetector:
    """Runs ``settings.detector.command``.

    Fields of the template: ``{input}`` the scan (``scan_0000.nii.gz``), ``{output}`` where its label map or
    probability map is expected, ``{input_folder}`` and ``{output_folder}`` their folders (then any one file that the
    program leaves there is read), ``{mask}`` the brain mask. With ``settings.detector.channels`` the scan is followed
    by ``scan_0001.nii.gz`` and so on, in the order of the channels, as nnU-Net wants them. No shell is involved.
    """

    def find(
        self, volume: Volume, brain_mask: BoolArray, settings: Settings, *, others: Sequence[Volume] = ()
    ) -> GivenLesions:
        """Write the scan, run the program, read its lesions.

        Raises
        ------
        SettingsError
            If the template is empty, or has unknown fields.
        MiliaryError
            If the program is missing, fails, or writes nothing that can be read; CaseTimeoutError if it takes too long.
        """
        words = _words(settings.detector.command)
        with tempfile.TemporaryDirectory(prefix="miliary-seg-") as scratch:
            places = _Places(root=Path(scratch))
            _write(volume, brain_mask, others, settings, places)
            call = [_FIELD.sub(lambda match: places.fields[match.group(1)], word) for word in words]
            _run(call, settings.detector.timeout_s, places)
            given = read_lesions(_output(places, words[0]), volume, settings.lesions)
        source = LesionSource(name=f"command ({Path(words[0]).name})", sha256=given.source.sha256)
        return replace(given, source=source)


def _words(template: str) -> list[str]:
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise SettingsError(f"detector.command cannot be read ({error})", todo="close its quotes") from error
    unknown = [name for word in words for name in _FIELD.findall(word) if name not in FIELDS]
    if not words or unknown or not any("{input" in word for word in words):
        what = f"detector.command has a field {{{unknown[0]}}}" if unknown else "detector.command is no template"
        todo = "a program with {input} and {output}, or {input_folder} and {output_folder}"
        raise SettingsError(what, where=template, todo=todo)
    return words


def _write(
    volume: Volume, brain_mask: BoolArray, others: Sequence[Volume], settings: Settings, places: _Places
) -> None:
    import numpy as np

    from miliary_seg.domain.volume import LabelMap

    names = [name.strip() for name in settings.detector.channels.split(",")]
    (places.root / "output").mkdir()
    for number, voxels in enumerate(channels(volume, brain_mask, others, names)):
        shown = replace(volume, voxels=voxels)
        write_nifti(shown, places.root / "input" / f"scan_{number:04}.nii.gz")
    mask = LabelMap(labels=brain_mask.astype(np.uint8), grid=volume.grid)
    write_nifti(mask, places.fields["mask"])


def _run(call: list[str], timeout_s: float, places: _Places) -> None:
    program = shutil.which(call[0])
    if program is None:
        what = f"there is no program {Path(call[0]).name!r}"
        raise InputError(what, where="detector.command", todo="install it, or give its full path")
    log = places.root / "log.txt"
    with log.open("wb") as said:
        child = subprocess.Popen(  # noqa: S603 - the user's own program, without a shell
            [program, *call[1:]],
            cwd=places.root,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            what = f"{Path(call[0]).name} was stopped after {timeout_s:g} s"
            raise CaseTimeoutError(what, where="detector.command", todo="a longer detector.timeout_s") from error
        finally:
            _end(child)
    if code != 0:
        what = f"{Path(call[0]).name} ended with code {code}{_last_words(log, places)}"
        raise MiliaryError(what, where="detector.command", todo="run it by hand on one scan")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Nothing that the program started outlives the call."""
    with suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _last_words(log: Path, places: _Places) -> str:
    text = log.read_bytes()[-4000:].decode("utf-8", "replace").replace(str(places.root), "")
    last = " ".join("".join(c if c.isprintable() else " " for c in text).split())[-SAID_CHARACTERS:]
    return f": ... {last}" if last else ""


def _output(places: _Places, program: str) -> Path:
    """The file that was asked for, or the only one that is there."""
    wanted = Path(places.fields["output"])
    images = (".nii", ".nii.gz", ".nrrd", ".mgz", ".mgh", ".dcm", ".csv", ".json", ".fcsv")
    others = [p for p in sorted(wanted.parent.rglob("*")) if p.is_file() and p.name.endswith(images[:6])]
    if wanted.is_file():
        return wanted
    if len(others) != 1:
        found = f"{len(others)} files" if others else "no label map"
        what = f"{Path(program).name} ended well, but left {found} where its lesions were expected"
        raise InputError(what, where="detector.command", todo="let it write {output}, or one file in {output_folder}")
    return others[0]
