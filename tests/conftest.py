"""Fixtures that several test folders use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_folder() -> Path:
    return Path(os.environ.get("MILIARY_SHARED", REPOSITORY.parent / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (shared_folder() / "data").is_dir():
        return
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="the development scans are not here (MILIARY_SHARED)"))


@pytest.fixture(scope="session")
def shared() -> Path:
    return shared_folder()


@pytest.fixture(scope="session")
def sample_data() -> Path:
    return REPOSITORY / "sample_data"


@dataclass(frozen=True)
class Finished:
    """How a call of the command line ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Call ``miliary-seg`` in this process."""

    def call(*arguments: object) -> Finished:
        from miliary_seg.cli import main

        monkeypatch.setattr(sys, "argv", ["miliary-seg", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Finished(int(stop.value.code or 0), captured.out, captured.err)

    return call
