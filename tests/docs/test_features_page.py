"""docs/features.md has one row a feature: its unit and its meaning, as in the code."""

from __future__ import annotations

from pathlib import Path

from miliary_seg.detect import FEATURES

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_page_has_the_features_of_the_code_in_their_order():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert rows == [f"| `{name}` | {feature.unit} | {feature.meaning} |" for name, feature in FEATURES.items()]
