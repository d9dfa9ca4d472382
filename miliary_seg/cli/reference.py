"""docs/cli.md, made from the verbs themselves (a test holds them equal)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

Verb = tuple[str, Callable[..., Any]]
_WORDS = {Path: "PATH", str: "TEXT", int: "INTEGER", float: "NUMBER"}


def reference(app: typer.Typer) -> str:
    """Markdown: usage, arguments and options of every verb, in the order of their names."""
    return "\n\n".join(_section(name, verb) for name, verb in sorted(verbs(app))) + "\n"


def verbs(app: typer.Typer, above: str = "") -> Iterator[Verb]:
    """Every verb with its name; a verb of a group is called ``group verb``."""
    for command in app.registered_commands:
        if command.callback is not None and not command.hidden:
            name = command.name or command.callback.__name__.replace("_", "-")
            yield f"{above}{name}", command.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from verbs(group.typer_instance, f"{above}{group.name or group.typer_instance.info.name} ")


def _section(name: str, verb: Callable[..., Any]) -> str:
    """Usage and the table of one verb."""
    parameters = list(_parameters(verb))
    positional = [_value(annotation, info, key) for key, annotation, info, _ in parameters if _is_argument(info)]
    usage = " ".join(["miliary-seg", name, *positional, "[OPTIONS]"])
    rows = [_row(*parameter) for parameter in parameters]
    words = inspect.cleandoc(verb.__doc__ or "").split("\n\n")[0]
    head = "| argument or option | default | what it does |\n|---|---|---|"
    return f"## {name}\n\n{_plain(words)}\n\n```text\n{usage}\n```\n\n" + "\n".join([head, *rows])


def _parameters(verb: Callable[..., Any]) -> Iterator[tuple[str, Any, ArgumentInfo | OptionInfo, Any]]:
    """Name, type, typer's description and default of every parameter that help shows."""
    hints = get_type_hints(verb, include_extras=True)
    for key, parameter in inspect.signature(verb).parameters.items():
        if get_origin(hints[key]) is not Annotated:
            continue  # the context
        annotation, info = get_args(hints[key])[:2]
        if not info.hidden:
            yield key, annotation, info, parameter.default


def _row(key: str, annotation: Any, info: ArgumentInfo | OptionInfo, default: Any) -> str:
    shown = "required" if default is inspect.Parameter.empty else _default(default)
    value = _value(annotation, info, key)
    if _is_argument(info):
        return f"| `{value}` | {shown} | {_plain(info.help)} |"
    names = ", ".join(f"`{name}`" for name in _names(key, info))
    return f"| {names}{f' `{value}`' if value else ''} | {shown} | {_plain(info.help)} |"


def _names(key: str, info: ArgumentInfo | OptionInfo) -> list[str]:
    """``--long``, ``-s``; within ``Annotated``, typer keeps the first of them where a default would be."""
    first = [info.default] if isinstance(info.default, str) else []
    return [*first, *(info.param_decls or ())] or [f"--{key.replace('_', '-')}"]


def _is_argument(info: ArgumentInfo | OptionInfo) -> bool:
    return isinstance(info, ArgumentInfo)


def _value(annotation: Any, info: ArgumentInfo | OptionInfo, key: str) -> str:
    """What stands for the value; dots where several may follow, nothing for a switch."""
    kind, dots = _kind(annotation)
    if kind is bool or getattr(info, "count", False):
        return ""
    word = info.metavar or _choices(kind) or (key.upper() if _is_argument(info) else _word(kind))
    return word + dots


def _kind(annotation: Any) -> tuple[Any, str]:
    """The type within ``X | None`` and ``list[X]``."""
    inner = [part for part in get_args(annotation) if part is not NoneType]
    if get_origin(annotation) is list:
        return inner[0], "..."
    if NoneType in get_args(annotation):
        return _kind(inner[0])
    return annotation, ""


def _choices(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "{" + ",".join(str(member.value) for member in kind) + "}"
    return "{" + ",".join(map(str, get_args(kind))) + "}" if get_origin(kind) is Literal else ""


def _word(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return " ".join(_WORDS.get(part, "VALUE") for part in get_args(kind))
    return _WORDS.get(kind, "VALUE")


def _default(value: Any) -> str:
    return "" if value is None or value in ("", (), [], False) else f"`{value}`"


def _plain(text: str | None) -> str:
    """One line that a Markdown table holds."""
    return " ".join((text or "").split()).replace("|", "\\|")
