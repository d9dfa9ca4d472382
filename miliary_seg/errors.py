"""Every error the program raises on purpose, and the exit code that each becomes.

::

    MiliaryError                    1
    ├── CaseTimeoutError            1   a case took longer than it was allowed
    ├── WorkerLostError             1   the process that ran a case is gone: killed, crashed, out of memory
    ├── UsageError                  2   the call itself is wrong
    ├── InputError                  3   unreadable or unsuitable input
    │   ├── UnreadableFileError         truncated, not what its name says, decoder refused
    │   ├── NoImageError                a folder without anything to analyse
    │   ├── AmbiguousInputError         several patients, studies, series or volumes: the user must choose
    │   ├── UnsuitableImageError        colour, 4-D, localizer, neither MR nor CT, a resource bomb
    │   └── NoBrainError                readable, but no brain was found in it
    ├── GeometryError               4   voxels cannot be placed in the patient
    ├── SettingsError               5   unknown key, wrong type, out of range
    ├── OutputError                 6   cannot write, exists without ``--force``, failed verification
    │   ├── DiskFullError               no space left: nothing more can be written, so a run of many cases ends
    │   └── PartialOutputError          some files of a result cannot be made; all others are written
    └── MissingLibraryError         1   an optional library is not installed (also an ImportError)

A message says what is wrong, where (a path or an identifier) and what to do. It never holds a patient's identity.
Clinical doubt is not an error: it is data (caveats, INDETERMINATE with coded reasons).
"""

from __future__ import annotations

from typing import ClassVar


class MiliaryError(Exception):
    """Base of all expected errors.

    Parameters
    ----------
    what
        What is wrong, as the start of a sentence.
    where
        The path or identifier concerned.
    todo
        What the user can do about it.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, str(where), todo
        super().__init__(": ".join(part for part in (self.where, what) if part) + (f"; {todo}" if todo else ""))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Errors cross process borders with all their parts."""
        return _rebuild, (type(self), self.what, self.where, self.todo)


def _rebuild(kind: type[MiliaryError], what: str, where: str, todo: str) -> MiliaryError:
    return kind(what, where=where, todo=todo)


class CaseTimeoutError(MiliaryError):
    """A case took longer than it was allowed and was stopped."""

    code = "timeout"


class WorkerLostError(MiliaryError):
    """The process that ran a case ended before the case did."""

    code = "worker_lost"
    of_memory = False
    """Whether it was killed, most often for want of memory."""


class UsageError(MiliaryError):
    """The call itself is wrong: an option, a verb, a combination."""

    code = "usage"
    exit_code = 2


class InputError(MiliaryError):
    """The input cannot be read or is unsuitable."""

    code = "input"
    exit_code = 3


class UnreadableFileError(InputError):
    """A file is truncated, corrupt, or not what its name says."""

    code = "unreadable_file"


class NoImageError(InputError):
    """Nothing to analyse was found."""

    code = "no_image"


class AmbiguousInputError(InputError):
    """Several patients, studies, series or volumes: choosing one silently could be wrong."""

    code = "ambiguous_input"


class UnsuitableImageError(InputError):
    """Readable, but not a grey-value 3-D scan that the program may analyse."""

    code = "unsuitable_image"


class NoBrainError(InputError):
    """Readable, but no brain was found in it."""

    code = "no_brain"


class GeometryError(MiliaryError):
    """The voxels cannot be placed in the patient without guessing."""

    code = "geometry"
    exit_code = 4


class SettingsError(MiliaryError):
    """A setting is unknown, of the wrong type, or out of range."""

    code = "settings"
    exit_code = 5


class OutputError(MiliaryError):
    """A result could not be written, or exists already."""

    code = "output"
    exit_code = 6


class DiskFullError(OutputError):
    """No space, or no quota, is left where results are written."""

    code = "disk_full"


class PartialOutputError(OutputError):
    """Some files of a result could not be made; the result is written without them (``where`` is its folder)."""

    code = "partial_output"


class MissingLibraryError(MiliaryError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""

    code = "missing_library"
