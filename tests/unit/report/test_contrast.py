"""Every text of the page stands out from every ground it may lie on: WCAG 2 AA, in both colour schemes and on paper."""

from __future__ import annotations

import re

import pytest

from miliary_seg.report.html.environment import page

TEXT = ("ink", "soft", "accent", "met", "not", "open")
GROUND = ("paper", "raised", "chosen")
AA = 4.5


def palettes() -> dict[str, dict[str, str]]:
    style = page("style.css")
    light = style[style.index("color-scheme: light;") :].partition("}")[0]
    dark = style[style.index("color-scheme: dark;") :].partition("}")[0]
    on_paper = style[style.index("@media print") :].partition("}")[0]
    found = {
        name: dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", text)) for name, text in (("light", light), ("dark", dark))
    }
    return found | {"print": found["light"] | dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", on_paper))}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("text", TEXT)
def test_contrast(scheme: str, text: str) -> None:
    colours = palettes()[scheme]
    for ground in GROUND:
        assert contrast(colours[text], colours[ground]) >= AA, (scheme, text, ground)
