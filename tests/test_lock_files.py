"""The lock files follow pyproject.toml: whoever changes a dependency runs scripts/lock."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
UNLOCKED = {"train"}
"""Installed by nobody but who fits the weights anew: torch would bring gigabytes into every resolution."""


def requirements() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in UNLOCKED}
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    return [found for found in map(Requirement, lines) if found.name != project["name"]]


@pytest.mark.parametrize("name", ["requirements-dev.lock", "requirements-oldest.lock"])
def test_every_dependency_is_pinned_within_its_bounds(name):
    lines = (REPOSITORY / name).read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for wanted in requirements():
        mine = [pin for pin in pins if pin.name == wanted.name.lower()]
        assert mine, f"{name} lacks {wanted.name}"
        for pin in mine:
            version = next(iter(pin.specifier)).version
            assert wanted.specifier.contains(version), f"{name}: {pin} is not {wanted}"


def test_the_oldest_versions_are_the_lower_bounds():
    pins = (REPOSITORY / "requirements-oldest.lock").read_text("utf-8")
    for wanted in requirements():
        for bound in (s.version for s in wanted.specifier if s.operator == ">="):
            assert f"\n{wanted.name.lower()}=={bound}" in pins, f"scripts/lock was not run after {wanted} changed"
