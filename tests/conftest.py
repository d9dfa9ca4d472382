"""Fixtures that several test folders use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from miliary_seg.lab.phantom import Phantom

# No clock and no luck decides a test: the same examples each time. Fresh ones: pytest --hypothesis-profile=explore
unhurried = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("explore", unhurried, derandomize=False)
hypothesis.settings.register_profile("same", unhurried, derandomize=True)
hypothesis.settings.load_profile("same")

REPOSITORY = Path(__file__).resolve().parents[1]


def shared_folder() -> Path:
    return Path(os.environ.get("MILIARY_SHARED", REPOSITORY.parent / "shared"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow", choices=["all", "sample"], default="all", help="slow tests: all, or the first of each file"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("slow") == "sample":
        _keep_a_sample(config, items)
    has_scans = (shared_folder() / "data").is_dir()
    for item in items:
        if "shared" in item.keywords and not has_scans:
            item.add_marker(pytest.mark.skip(reason="the development scans are not here (MILIARY_SHARED)"))
        if item.get_closest_marker("xdist_group") is None and _shares_work(item):
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(REPOSITORY).as_posix()))


def _keep_a_sample(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop every slow test but the first of its file."""
    kept, dropped, seen = [], [], set()
    for item in items:
        slow = "slow" in item.keywords
        (dropped if slow and item.path in seen else kept).append(item)
        if slow:
            seen.add(item.path)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def _shares_work(item: pytest.Item) -> bool:
    """Whether it uses a fixture that its file makes once: two workers would make it twice."""
    if not isinstance(item, pytest.Function):
        return False
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(definition[-1].scope == "module" for definition in fixtures)


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


@pytest.fixture(scope="session")
def small_phantom() -> Phantom:
    """A coarse head with a few plain lesions: quick to make and to analyse."""
    from miliary_seg.lab import phantom

    spec = phantom.preset("few-large")
    lesions = replace(spec.lesions, count=12, diameter_mm=(5.0, 7.0), contrast=(25.0, 30.0), ring_fraction=0.0)
    scanner = replace(spec.scanner, pixel_mm=1.6, thickness_mm=4.0)
    mimics = replace(spec.mimics, vessels=0, sheets=0, choroid=0, dots=0, sinuses=False)
    return phantom.make(replace(spec, scanner=scanner, mimics=mimics, lesions=lesions), seed=5)


@pytest.fixture(scope="session")
def small_scan(small_phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same head as a NIfTI file whose name says that contrast was given."""
    from miliary_seg.report.volume_files import write_nifti

    return write_nifti(small_phantom.volume, tmp_path_factory.mktemp("scan") / "sub-01_ce-gd_T1w.nii.gz")
