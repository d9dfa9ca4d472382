"""Tests that share what was made once, or own the machine, run in one process."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("machine")
def test_pytest_xdist_sees_the_groups(request: pytest.FixtureRequest) -> None:
    """It writes them behind the names of tests; where it cannot, shared fixtures are made twice, unsaid."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("one process, or no groups asked for")
    assert request.node.nodeid.endswith("@machine")
