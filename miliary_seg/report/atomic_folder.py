"""Names of hidden folders that are being filled, and the sweeping of those whose process is gone."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal
from uuid import uuid4

FORGOTTEN_S = 86_400.0
"""A draft of another computer, or of nobody, that is older than a day belongs to no live run."""
ATTEMPTS = 20
"""How often a folder that others make and remove at the same time is tried."""
_HIDDEN = re.compile(r"\.(.+)\.(?:([0-9a-f]{8})-(\d+)-)?[0-9a-f]{32}\.(?:draft|old)")


def temp_name(name: str, kind: Literal["draft", "old"]) -> str:
    """Name of a hidden folder beside ``name``: it says which computer and process work on it, and is taken by no other.

    Examples
    --------
    >>> temp_name("sub-01", "draft").startswith(".sub-01.")
    True
    """
    return f".{name}.{_host()}-{os.getpid()}-{uuid4().hex}.{kind}"


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it, also while another run removes one of them that it needed no longer."""
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            break
        except (FileNotFoundError, FileExistsError):  # removed by another before, or just after, it was found there
            if not attempts_left:
                raise
    return folder


def sweep_drafts(folders: Iterable[Path]) -> None:
    """Remove what killed runs left beside these folders and files: drafts, and results that were about to go.

    What a process of this computer still works on stays, and so does what another computer began within a day: several
    runs may share an output folder.

    Parameters
    ----------
    folders
        Folders of cases, or files that are written whole.
    """
    ours: dict[Path, set[str]] = defaultdict(set)
    for folder in folders:
        ours[folder.parent].add(folder.name)
    for parent, names in ours.items():
        for left in parent.glob(".*") if parent.is_dir() else ():
            match = _HIDDEN.fullmatch(left.name)
            if match and match[1] in names and _is_left(left, match[2], match[3]):
                _remove(left)


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        with suppress(OSError):
            left.unlink()


def _is_left(folder: Path, host: str | None, pid: str | None) -> bool:
    """Whether nobody works on it any longer."""
    if host == _host() and pid:
        return not _is_alive(int(pid))
    with suppress(OSError):  # gone meanwhile
        return time.time() - folder.stat().st_mtime > FORGOTTEN_S
    return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
