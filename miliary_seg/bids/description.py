"""What makes the output folder a BIDS derivative dataset: its description, what validators pass over, how to cite."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from miliary_seg import __version__
from miliary_seg.bids.dataset import DESCRIPTION, Dataset
from miliary_seg.bids.derivatives import SOURCE
from miliary_seg.cohort.run.manifest import SETTINGS
from miliary_seg.report.json_document import CITATION, DISCLAIMER, PROPOSED_CRITERIA
from miliary_seg.report.volume_files import write_bytes
from miliary_seg.settings import Settings

BIDS_VERSION = "1.10.0"
"""Version of the standard whose names are written."""

IGNORED = (
    "*_desc-miliary_*",
    "*.html",
    "complete.json",
    "cases.csv",
    "cases.parquet",
    "settings.toml",
    "ledger",
    "logs",
    "swi",
    "ct",
    ".*",
)
"""Files that BIDS has no name for yet: results, tables, pages, records, and images of its extensions to come."""

README = f"""# miliary-seg

Small brain lesions, where they lie, and whether the pattern meets the proposed criteria of miliary brain metastasis.
One folder a participant (and session), one page a participant (`sub-*.html`); `*_desc-lesions_dseg.nii.gz` holds the
lesions, `*_desc-compartments_dseg.nii.gz` the compartments, `*_desc-brain_mask.nii.gz` where lesions were looked for,
`*_desc-miliary_*` the tables and the whole result. `logs/CITATION.md` says what to cite.

{PROPOSED_CRITERIA}

{DISCLAIMER}
"""


def write_description(dataset: Dataset, output: Path, settings: Settings) -> None:
    """Write ``dataset_description.json``, ``.bidsignore``, ``README.md``, ``settings.toml``, ``logs/CITATION.md``.

    Parameters
    ----------
    dataset
        The input.
    output
        Folder of the derivative dataset; made where it is missing.
    settings
        Those that all sessions share.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    description = json.dumps(described(dataset, output), indent=2) + "\n"
    head = f"# The settings that all sessions share. Digest: {settings.digest}\n\n"
    texts = {
        DESCRIPTION: description,
        ".bidsignore": "".join(f"{pattern}\n" for pattern in IGNORED),
        "README.md": README,
        SETTINGS: head + settings.to_toml(method_only=True),
        "logs/CITATION.md": citation(),
    }
    for name, text in texts.items():
        write_bytes(output / name, text.encode(), force=True)


def described(dataset: Dataset, output: Path) -> dict[str, Any]:
    """``dataset_description.json`` of the output."""
    link = _relative(dataset.path, output)
    source = {"URL": link, **({"DOI": doi} if (doi := _doi(dataset)) else {})}
    authors = dataset.description.get("Authors")
    return {
        "Name": f"miliary-seg on {dataset.name}" if dataset.name else "miliary-seg",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "miliary-seg",
                "Version": __version__,
                "Description": "Small brain lesions, their compartments, and the proposed miliary criteria.",
            }
        ],
        "SourceDatasets": [source],
        **({"Authors": authors} if isinstance(authors, list) else {}),
        "DatasetLinks": {SOURCE: link},
        "HowToAcknowledge": "See logs/CITATION.md.",
    }


def citation() -> str:
    """``logs/CITATION.md``: text for a methods section and what to cite."""
    return f"""# How to say what was done

> Small brain lesions were found with miliary-seg {__version__} (scale-normalised Laplacian of Gaussian in
> millimetres, a learned rejector, delineation on the acquired grid). Each was assigned to a side and to a level
> relative to the tentorium by an atlas fitted to the scan. Whether the pattern meets the proposed criteria of miliary
> brain metastasis was answered in three values (met, not met, indeterminate) under every reading of the rule's open
> points.

{PROPOSED_CRITERIA}

- {CITATION}
- Gorgolewski KJ, Alfaro-Almagro F, Auer T, et al. BIDS apps: Improving ease of use, accessibility, and
  reproducibility of neuroimaging data analysis methods.
  PLoS Comput Biol 2017;13:e1005209. doi:10.1371/journal.pcbi.1005209

{DISCLAIMER}
"""


def _doi(dataset: Dataset) -> str:
    value = dataset.description.get("DatasetDOI")
    return value if isinstance(value, str) else ""


def _relative(target: Path, start: Path) -> str:
    """Path from the output to the input: the pair can be moved together, and no folder of this machine is told."""
    try:
        return quote(Path(os.path.relpath(target.resolve(), start.resolve())).as_posix()) + "/"
    except ValueError:  # other drive
        return quote(target.name) + "/"
