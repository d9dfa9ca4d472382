"""HTML for all pages: templates that escape every text, filters, and a policy against anything foreign."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from miliary_seg.domain.compartment import Compartment
from miliary_seg.domain.readings import POINTS, choice_in_words
from miliary_seg.report.html.views import BRAIN_COLOUR, COMPARTMENT_COLOURS, MIDLINE_COLOUR, TENTORIUM_COLOUR
from miliary_seg.report.sanitise import lesions

if TYPE_CHECKING:
    from jinja2 import Environment


HOME = "miliary_seg.report.html"


def page(template: str, package: str = HOME, **values: Any) -> str:
    """Any page of the package, with the same escaping and filters.

    Parameters
    ----------
    template
        Name of a file in the folder ``templates`` of ``package``, or of this one.
    package
        Where templates are looked for first.
    values
        What the page shows.
    """
    return _environment(package).get_template(template).render(**values)


def whole_page(
    template: str,
    package: str = HOME,
    *,
    sheets: Iterable[str] = ("style.css",),
    scripts: Sequence[str] = (),
    **values: Any,
) -> str:
    """A self-contained page: style sheets and scripts stand inside, and its policy names them by digest.

    Parameters
    ----------
    template
        As for ``page``; it extends ``base.html.j2``.
    package
        As for ``page``.
    sheets
        Names of the style sheets; they are templates too.
    scripts
        Exact contents of its scripts.
    values
        What the page and its style sheets show.
    """
    style = "\n".join(page(sheet, package, **values) for sheet in sheets)
    return page(template, package, style=style, scripts=scripts, policy=content_policy(style, scripts), **values)


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def content_policy(style: str, scripts: Iterable[str] = ()) -> str:
    """Content-Security-Policy that lets this style and these scripts run, and nothing be fetched from anywhere.

    Parameters
    ----------
    style
        Exact content of the page's ``<style>``.
    scripts
        Exact contents of its ``<script>`` elements.
    """
    allowed = " ".join(map(_digest, scripts)) or "'none'"
    rules = {
        "default-src": "'none'",
        "style-src": _digest(style),
        "script-src": allowed,
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


@cache
def asset(name: str, package: str = HOME) -> str:
    """Text of a file below a package that goes into a page as it is."""
    return files(package).joinpath(name).read_text("utf-8")


@cache
def _environment(package: str) -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(HOME)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    compartments = [{"key": c.name.lower(), "text": c.text, "colour": COMPARTMENT_COLOURS[c]} for c in Compartment]
    environment.globals["compartments"] = compartments
    environment.globals["colours"] = {
        "brain": BRAIN_COLOUR,
        "midline": MIDLINE_COLOUR,
        "tentorium": TENTORIUM_COLOUR,
    }
    environment.filters["number"] = number
    environment.filters["groupby_in_order"] = groupby_in_order
    environment.filters["percent"] = percent
    environment.filters["chance"] = chance
    environment.filters["uptake_of"] = uptake_of
    environment.filters["lesions"] = lesions
    environment.filters["short_place"] = short_place
    environment.filters["slice_name"] = slice_name
    environment.filters["image_of"] = lambda row: row["index"] if row["image_number"] is None else row["image_number"]
    environment.filters["place"] = place
    environment.filters["place_in_full"] = place_in_full
    environment.filters["point_in_words"] = lambda point: POINTS.get(point, str(point).replace("_", " "))
    environment.filters["choice_in_words"] = choice_in_words
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    return environment


def number(value: Any, digits: int = 1) -> str:
    """A number for people; a dash where it is unknown.

    Examples
    --------
    >>> number(2.345), number(None), number(-0.04)
    ('2.3', '–', '0.0')
    """
    if value is None:
        return "–"
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def groupby_in_order(rows: Iterable[Mapping[str, Any]], key: str) -> list[tuple[Any, list[Mapping[str, Any]]]]:
    """Rows by a value, in the order in which the values come."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return list(groups.items())


def slice_name(row: Any, geometry: Any) -> str:
    """A slice as a reader finds it: the image number of the PACS, its place in the stack, and its index.

    Examples
    --------
    >>> slice_name({"index": 22, "image_number": 31, "number_from_end": 23}, {"plane": "axial", "n_slices": 52})
    'Image 31 (23 of 52 from below; index 22)'
    >>> slice_name({"index": 0, "image_number": None, "number_from_end": 9}, {"plane": "coronal", "n_slices": 9})
    'Slice 9 of 9 from behind (index 0)'
    """
    start = {"axial": "from below", "coronal": "from behind", "sagittal": "from the left"}[geometry["plane"]]
    place = f"{row['number_from_end']} of {geometry['n_slices']} {start}"
    if row["image_number"] is None:
        return f"Slice {place} (index {row['index']})"
    return f"Image {row['image_number']} ({place}; index {row['index']})"


def place(lesion: Any) -> str:
    """Side and region of a lesion for narrow columns; its compartment where no region is known.

    Examples
    --------
    >>> place({"region": "frontal_lobe", "side": "left", "compartment": None})
    'L frontal lobe'
    """
    if not lesion["region"]:
        return short_place(lesion["compartment"])
    side = {"left": "L ", "right": "R "}.get(lesion["side"], "")
    return side + str(lesion["region"]).replace("_", " ")


def place_in_full(lesion: Any) -> str:
    """Compartment, region and layer with their certainties.

    Examples
    --------
    >>> place_in_full({"compartment": None, "region": None, "tissue": None})
    'place unknown'
    """
    parts = [str(lesion["compartment"]).replace("_", " ")] if lesion["compartment"] else []
    if lesion["region"]:
        parts.append(f"{str(lesion['region']).replace('_', ' ')} ({percent(lesion['region_confidence'])})")
    if lesion["tissue"]:
        parts.append(f"{lesion['tissue']} ({percent(lesion['tissue_confidence'])})")
    return ", ".join(parts) or "place unknown"


def short_place(compartment: Any) -> str:
    """A compartment for narrow columns.

    Examples
    --------
    >>> short_place("left_supratentorial"), short_place(None)
    ('L supra', 'unknown')
    """
    if not compartment:
        return "unknown"
    side, level = str(compartment).split("_")
    return f"{side[0].upper()} {level.removesuffix('tentorial')}"


def chance(value: Any) -> str:
    """A probability in percent that never claims certainty.

    Examples
    --------
    >>> chance(1.0), chance(0.0), chance(0.5)
    ('> 99 %', '< 1 %', '50 %')
    """
    return percent(None if value is None else min(max(float(value), 1e-9), 1 - 1e-9))


def uptake_of(lesion: Mapping[str, Any], modality: str) -> str:
    """What a lesion took up, with its noise.

    Examples
    --------
    >>> uptake_of({"uptake": 0.423, "uptake_sd": 0.05}, "MR"), uptake_of({"uptake": 21.4, "uptake_sd": 3.0}, "CT")
    ('42 ± 5 % of white matter', '21 ± 3 HU')
    """
    factor, unit = (1, "HU") if modality == "CT" else (100, "% of white matter")
    return f"{factor * lesion['uptake']:.0f} ± {factor * lesion['uptake_sd']:.0f} {unit}"


def percent(value: Any) -> str:
    """A fraction in percent, without rounding up to 100 or down to 0 what is neither.

    Examples
    --------
    >>> percent(0.9996), percent(1.0), percent(0.0004), percent(0.423)
    ('> 99 %', '100 %', '< 1 %', '42 %')
    """
    if value is None:
        return "–"
    fraction = float(value)
    if 0.99 < fraction < 1:
        return "> 99 %"
    if 0 < fraction < 0.01:
        return "< 1 %"
    return f"{100 * fraction:.0f} %"
