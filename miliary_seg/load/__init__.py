"""Files become volumes: walk, tell what each file is, group, place, choose, decode.

::

    find_cases(paths)   every study, file or BIDS session below some paths is a case     (headers only)
    inspect(paths)      the same as data to show: what is there, what is used, and why   (headers only)
    load_case(found)    the volumes of one case, the preferred one first
    load_study(path)    the one case of a path
    read_array(path)    its preferred volume as (voxels, affine)

The loader is never silently wrong: what it cannot place, decode or tell apart it refuses, naming the file and what
to do. The rules, and what was measured on them, are in docs/loading.md. The public names are imported when first
used: a stored case needs no reader of scans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from miliary_seg.lazy_names import lazy_names

if TYPE_CHECKING:
    from miliary_seg.load.cases import find_session
    from miliary_seg.load.inventory import CaseInfo, CaseInventory, Inventory, LedgerEntry, Problem, SeriesInfo
    from miliary_seg.load.masks import LabelFile, is_piecewise_constant, read_label_map, read_mask
    from miliary_seg.load.study import find_cases, inspect, load_case, load_study, read_array

_HOME = {
    "cases": ("find_session",),
    "inventory": ("CaseInfo", "CaseInventory", "Inventory", "LedgerEntry", "Problem", "SeriesInfo"),
    "masks": ("LabelFile", "is_piecewise_constant", "read_label_map", "read_mask"),
    "study": ("find_cases", "inspect", "load_case", "load_study", "read_array"),
}
"""Where each public name is."""

__all__ = [
    "CaseInfo",
    "CaseInventory",
    "Inventory",
    "LabelFile",
    "LedgerEntry",
    "Problem",
    "SeriesInfo",
    "find_cases",
    "find_session",
    "inspect",
    "is_piecewise_constant",
    "load_case",
    "load_study",
    "read_array",
    "read_label_map",
    "read_mask",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
