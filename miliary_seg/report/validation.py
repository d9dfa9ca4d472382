"""The document against its JSON Schema, before it is written."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from miliary_seg.errors import OutputError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of ``result.json``, with a description and a unit for every key."""
    text = files("miliary_seg").joinpath("schema", "result.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(document: dict[str, Any]) -> None:
    """Check a document.

    Raises
    ------
    OutputError
        If it does not follow the schema; the message names the key, never the value.
    """
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(document))
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the document"
        what = f"result.json would break its schema at {place} ({error.validator})"
        raise OutputError(what, todo="please report it")


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())
