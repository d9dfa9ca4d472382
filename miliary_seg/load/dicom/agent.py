"""What a DICOM header says of contrast agent, wherever it says it.

The agent is stated as text, as a code, by its ingredient, or only by what was done with it: volume, dose, start time.
Converters to enhanced objects put what they cannot place into "unassigned" sequences: it is heard there too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from miliary_seg.load.agent import agent_named, any_agent, swallowed
from miliary_seg.load.dicom.header import first_item, items, number, stated, text

AGENT_TRAIT = {True: "given", False: "not given", None: None}
"""The statement as a trait of a plane."""
_UNASSIGNED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
_FUNCTIONAL = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_SPEAKING = (
    "ContrastBolusAgent", "ContrastBolusAgentSequence", "ContrastBolusIngredient", "ContrastBolusVolume",
    "ContrastBolusTotalDose", "ContrastBolusStartTime", "ContrastBolusRoute", "ContrastBolusIngredientCodeSequence",
    "ContrastBolusAdministrationRouteSequence",
)  # fmt: skip


def agent_stated(dataset: Any) -> bool | None:
    """Whether a contrast agent was given: True, False where the header says that none was, None where it is silent.

    An agent that was given by mouth says nothing of the brain.
    """
    return any_agent(_said(part) for part in _places(dataset))


def _places(dataset: Any) -> Iterator[Any]:
    """The data set, and the functional groups in which an enhanced object may say it."""
    yield dataset
    for name in _FUNCTIONAL:
        for group in items(dataset, name)[:1]:
            yield group
            for unassigned in _UNASSIGNED:
                yield from items(group, unassigned)[:1]
    for unassigned in _UNASSIGNED:
        yield from items(dataset, unassigned)[:1]


def _said(part: Any) -> bool | None:
    usage = first_item(part, "ContrastBolusUsageSequence")
    if usage is not None and text(usage, "ContrastBolusAgentAdministered"):
        return text(usage, "ContrastBolusAgentAdministered").upper() == "YES"
    if not any(keyword in part for keyword in _SPEAKING):
        return None
    named = any_agent((
        agent_named(text(part, "ContrastBolusAgent")),
        agent_named(text(part, "ContrastBolusIngredient")),
        *(_coded(item) for item in items(part, "ContrastBolusAgentSequence")),
        *(_coded(item) for item in items(part, "ContrastBolusIngredientCodeSequence")),
    ))  # fmt: skip
    if _swallowed(part):
        return None
    return _dosed(part) if named is None else named


def _coded(item: Any) -> bool | None:
    """An agent by its code; an item without a meaning is one that was not filled in."""
    meaning = text(item, "CodeMeaning")
    return agent_named(meaning) if meaning else None


def _swallowed(part: Any) -> bool:
    route = text(part, "ContrastBolusRoute")
    coded = first_item(part, "ContrastBolusAdministrationRouteSequence")
    return swallowed(f"{route} {text(coded, 'CodeMeaning') if coded is not None else ''}")


def _dosed(part: Any) -> bool | None:
    """By what was done: a volume or a dose above zero, or the time of an injection with its route."""
    amounts = [number(part, keyword) for keyword in ("ContrastBolusVolume", "ContrastBolusTotalDose")]
    if any(amount is not None and amount > 0 for amount in amounts):
        return True
    if stated(part, "ContrastBolusStartTime"):
        return True
    known = [amount for amount in amounts if amount is not None]
    return False if known else agent_named(text(part, "ContrastBolusRoute"))
