"""Typed documents: one line makes a key, reads its value, checks it and describes it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from msgspec import UNSET, UnsetType

from miliary_seg.errors import OutputError
from miliary_seg.schema import Count, Point, Record, Share, check, fill, finite, json_schema, key


class Colour(StrEnum):
    RED = "red"


class PartRecord(Record):
    """A part."""

    name: str = key("Its name.")


class WholeRecord(Record):
    """The whole."""

    n: Count = key("How many.", unit="parts", source="inner.number")
    place: Point | None = key("Where.", unit="mm")
    colour: Colour = key("Which.")
    shares: dict[str, Share] = key("Of each.")
    parts: list[PartRecord] = key("All of them.")
    best: PartRecord | None = key(source=lambda whole: whole.parts[0] if whole.parts else None)
    note: str | UnsetType = key("Only where there is one.", source=lambda whole: whole.note or UNSET)


class LargerRecord(WholeRecord):
    """The whole and more."""

    extra: int = key("More.")


@dataclass
class Inner:
    number: int = 2


@dataclass
class Part:
    name: str


@dataclass
class Whole:
    inner: Inner
    parts: tuple[Part, ...]
    place: Any = None
    colour: Colour = Colour.RED
    shares: Any = (("a", 0.5),)
    note: str = ""
    extra: int = 7


@pytest.fixture
def whole() -> Whole:
    return Whole(inner=Inner(), parts=(Part("x"), Part("y")))


def test_values_are_read_in_the_order_of_the_keys(whole: Whole) -> None:
    document = fill(WholeRecord, whole)
    assert list(document) == ["n", "place", "colour", "shares", "parts", "best"]
    assert document == {
        "n": 2,
        "place": None,
        "colour": "red",
        "shares": {"a": 0.5},
        "parts": [{"name": "x"}, {"name": "y"}],
        "best": {"name": "x"},
    }
    assert type(document["colour"]) is str
    whole.note, whole.place, whole.parts = "n", np.array([1.0, 2.0, 3.0]), ()
    document = fill(WholeRecord, whole)
    assert (document["note"], document["place"], document["best"]) == ("n", [1.0, 2.0, 3.0], None)


def test_own_keys_and_mappings(whole: Whole) -> None:
    assert fill(LargerRecord, whole, own=True) == {"extra": 7}
    assert fill(LargerRecord, whole) == {**fill(WholeRecord, whole), "extra": 7}
    assert fill(PartRecord, {"name": "given"}) == {"name": "given"}


def test_numbers_become_plain() -> None:
    value = {"a": (np.float64(1.23456789), np.int64(3), float("nan"), -1e-9, True, None), "b": " t "}
    assert finite(value, str.strip) == {"a": [1.234568, 3, None, 0.0, True, None], "b": "t"}
    assert str(finite(-1e-9)) == "0.0"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"n": -1}, "at n "),
        ({"colour": "SECRET"}, "at colour "),
        ({"shares": {"a": 2.0}}, "at shares"),
        ({"parts": [{"name": "x"}, {"name": 5}]}, "at parts/1/name "),
        ({"parts": [{"name": "x", "age": 5}]}, "at parts/0 .*age"),
        ({"place": [0.0, 1.0]}, "at place "),
        ({"unknown": 1}, "at the document .*unknown"),
    ],
)
def test_what_is_wrong_is_named_but_not_its_value(whole: Whole, change: dict[str, Any], place: str) -> None:
    document = fill(WholeRecord, whole)
    check(document, WholeRecord, "x.json")
    with pytest.raises(OutputError, match=f"x.json would break its schema {place}") as caught:
        check(document | change, WholeRecord, "x.json")
    assert "SECRET" not in str(caught.value)
    assert not Draft202012Validator(json_schema("x", [WholeRecord])).is_valid(document | change)


def test_a_missing_key_is_named(whole: Whole) -> None:
    document = fill(WholeRecord, whole)
    del document["place"]
    with pytest.raises(OutputError, match="place"):
        check(document, WholeRecord, "x.json")


def test_the_schema_describes_what_is_written(whole: Whole) -> None:
    tree = json_schema("title", [WholeRecord])
    Draft202012Validator.check_schema(tree)
    Draft202012Validator(tree).validate(fill(WholeRecord, whole))
    assert (tree["title"], tree["description"], next(iter(tree))) == ("title", "The whole.", "$schema")
    assert tree["properties"]["n"] == {"description": "How many.", "x-unit": "parts", "type": "integer", "minimum": 0}
    assert tree["required"] == ["n", "place", "colour", "shares", "parts", "best"]
    either = json_schema("either", [WholeRecord, PartRecord])
    assert Draft202012Validator(either).is_valid({"name": "x"})
    assert not Draft202012Validator(either).is_valid({"title": "x"})
