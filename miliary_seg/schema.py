"""Typed documents: one line of code makes a key of the JSON, checks it and describes it.

A document is a tree of ``Record`` classes. Each of their fields is one key: its type is the type in the JSON and in the
JSON Schema, ``key`` holds its description, its unit and where the value comes from, and ``fill`` reads the values from
the objects of the program::

    class SliceRecord(Record):
        index: Count = key("Along the slice axis, from 0.")
        n_slices: Count = key("Slices of its volume.", unit="slices", source="volume.n_slices")

To add a key, write one such line where the key shall stand: for ``result.json`` in ``report/series_records.py``,
``report/lesion_records.py``, ``report/decision_records.py`` or ``report/json_document.py``, for ``bench.json`` in
``lab/bench/records.py``. Then raise the minor number of ``SCHEMA_VERSION`` and run ``scripts/fix``, which renews the
reference of docs/results.md.

* ``source`` is an attribute of the object (dotted for an attribute of an attribute) or a function of it; without it the
  value is the attribute of the key's own name.
* A limit belongs to the number: use ``Count``, ``Positive``, ``Share``, ``Size``, or ``Annotated[int, Meta(le=2)]``.
* A key that may be missing has the type ``X | UnsetType``; its source returns ``UNSET`` where it is.
* Modules of records do without ``from __future__ import annotations``: the types are needed when they are read.
* Nested records, lists and mappings of records are filled in turn; a mapping in place of an object is taken as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from inspect import cleandoc
from numbers import Integral
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from miliary_seg.errors import OutputError

Json = dict[str, Any]
Source = str | Callable[[Any], Any]

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Percentile = Annotated[float, Meta(ge=0, le=100)]
Size = Annotated[float, Meta(ge=0)]
Point = tuple[float, float, float]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DECIMALS = 6
"""Decimals kept of every measured number: a nanometre, far below any scanner, and stable between machines."""


class _RecordMeta(msgspec.StructMeta):
    """Makes ``name: type = key(...)`` a required field with what the key says of it."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        hints = namespace.get("__annotations__", {})
        for field in [field for field, value in namespace.items() if isinstance(value, Meta)]:
            kind = hints[field]
            hints[field] = Annotated[kind, namespace.pop(field)]
            if UnsetType in get_args(kind):
                namespace[field] = UNSET
        return super().__new__(mcls, name, bases, namespace, kw_only=True, **options)


class Record(msgspec.Struct, metaclass=_RecordMeta, forbid_unknown_fields=True):
    """One object of a JSON document: every field is a key, and there are no others."""


def key(text: str = "", *, unit: str = "", source: Source = "") -> Any:
    """Describe one key: what stands behind ``name: type =`` in a record.

    Parameters
    ----------
    text
        One sentence; empty where the record that stands there describes itself.
    unit
        ``mm``, ``voxel`` ...; empty where the value has none.
    source
        Where the value comes from (see above); empty = the attribute of the key's name.
    """
    shown = {"x-unit": unit} if unit else None
    return Meta(description=text or None, extra_json_schema=shown, extra={"source": source})


def fill(kind: type[Record], found: Any, *, own: bool = False) -> Json:
    """Plain values of the keys of a record, in their order, read from an object (numbers not yet rounded).

    ``own`` leaves out the keys that the record inherits: they come from another object then.
    """
    if isinstance(found, Mapping):
        return dict(found)
    plan = [step for step in _plan(kind) if not own or step[0] in kind.__annotations__]
    values = ((name, write(read(found))) for name, read, write in plan)
    return {name: value for name, value in values if value is not UNSET}


def finite(value: Any, text: Callable[[str], str] = str) -> Any:
    """Copy in which numbers are plain and rounded, unknown ones are None, and ``text`` is applied to every text."""
    if isinstance(value, dict):
        return {text(name): finite(item, text) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item, text) for item in value]
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return round(number, DECIMALS) + 0.0 if math.isfinite(number) else None


def check(document: object, kind: type[Record], name: str) -> None:
    """Hold plain values to a record.

    Raises
    ------
    OutputError
        If a key is missing, unknown, or of another type; the message names the key, never the value.
    """
    try:
        msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        place = "/".join(re.findall(r"[\w.]+", path.replace(".", "/"))) or "the document"
        why = "no such value" if what.startswith("Invalid enum value") else what.replace("`", "")
        raise OutputError(f"{name} would break its schema at {place} ({why})", todo="please report it") from None


def json_schema(title: str, kinds: Iterable[type]) -> Json:
    """JSON Schema (2020-12) of a document: of one kind, or of any of several."""
    kinds = tuple(kinds)
    references, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for part in parts.values():
        if "description" in part:
            part["description"] = cleandoc(part["description"])  # msgspec before 0.23 leaves docstrings indented
    head = {"$schema": DIALECT, "title": title}
    if len(kinds) > 1:
        return {**head, "oneOf": list(references), "$defs": parts}
    return {**head, **parts.pop(kinds[0].__name__), **head, "$defs": parts}


Step = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]


@cache
def _plan(kind: type[Record]) -> tuple[Step, ...]:
    """Key, how its value is read from an object, and how it becomes plain."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple((name, _reader(name, hints[name]), _writer(hints[name])) for name in kind.__struct_fields__)


def _reader(name: str, hint: Any) -> Callable[[Any], Any]:
    sources = (meta.extra["source"] for meta in getattr(hint, "__metadata__", ()) if meta.extra)
    source: Source = next(sources, "") or name
    return attrgetter(source) if isinstance(source, str) else source


def _writer(hint: Any) -> Callable[[Any], Any]:
    """What turns a value of this type into plain values; None and ``UNSET`` stay."""
    kind = _kind(hint)
    if isinstance(kind, type) and issubclass(kind, Record):
        return lambda value: fill(kind, value) if _given(value) else value
    if get_origin(kind) is list:
        item = _writer(get_args(kind)[0])
        return lambda value: [item(part) for part in value] if _given(value) else value
    if get_origin(kind) is dict:
        item = _writer(get_args(kind)[1])
        return lambda value: {name: item(part) for name, part in dict(value).items()} if _given(value) else value
    return plain


def _given(value: object) -> bool:
    return value is not None and value is not UNSET


def _kind(hint: Any) -> Any:
    """The type within ``Annotated[X | None, ...]``."""
    while get_origin(hint) in (Annotated, Union, UnionType):
        hint = next(part for part in get_args(hint) if part not in (NoneType, UnsetType))
    return hint


_PLAIN = frozenset((str, bool, int, float))


def plain(value: Any) -> Any:
    """A value as JSON knows it: members of an enumeration by value, arrays and tuples as lists."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    value = value.tolist() if hasattr(value, "tolist") else value
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value
