"""Colours of marks: told apart by people with any kind of colour vision, on grey pictures and on paper."""

from __future__ import annotations

from miliary_seg.domain.compartment import Compartment

COMPARTMENT_COLOURS: dict[Compartment | None, str] = {
    Compartment.LEFT_SUPRATENTORIAL: "#E69F00",
    Compartment.RIGHT_SUPRATENTORIAL: "#56B4E9",
    Compartment.LEFT_INFRATENTORIAL: "#F0E442",
    Compartment.RIGHT_INFRATENTORIAL: "#CC79A7",
    None: "#FFFFFF",
}
"""From Okabe and Ito, Color Universal Design (2008); None = compartment unknown."""

BRAIN_COLOUR = "#56B4E9"
MIDLINE_COLOUR = "#F0E442"
TENTORIUM_COLOUR = "#E69F00"
