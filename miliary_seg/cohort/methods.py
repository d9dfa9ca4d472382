"""The paragraph of methods that a paper needs, from what was in fact computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miliary_seg.cohort.proportions import LEVEL
from miliary_seg.report import CITATION, PROPOSED_CRITERIA


def methods_text(document: Mapping[str, Any]) -> list[str]:
    """Paragraphs that say how each figure of the document was made.

    Parameters
    ----------
    document
        What ``summarise`` has put together.

    Returns
    -------
    list of str
        Plain sentences; the last ones are the citation and the limits.
    """
    found, software = document["incidence"], document["software"]
    text = [
        f"Scans were analysed with miliary-seg {software['cases_version']} (settings digest "
        f"{document['settings_digest'][:12]}), which tests the pattern of lesions of every series against the proposed "
        "criteria of miliary brain metastasis. A patient meets the criteria if any series of any scan does, is "
        "indeterminate if none does and any is indeterminate, and does not meet them otherwise.",
        f"{document['n_cases']} scans were analysed and {len(document['failed_cases'])} could not be (they count as "
        f"indeterminate), of {found['n_patients']} patients in all. Incidence is per patient, over "
        f"all patients, with Wilson's {100 * LEVEL:.0f} % interval; {found['n_indeterminate']} indeterminate "
        "patients bound it from above.",
    ]
    if document["groups"]:
        text.append(_groups(document["groups"]))
    if document["survival"]:
        text.append(_survival(document["survival"]))
    return [*text, f"Criteria: {CITATION}", PROPOSED_CRITERIA]


def _groups(groups: list[dict[str, Any]]) -> str:
    several = any(len(group["values"]) > 2 for group in groups)
    text = (
        "Two groups were compared by Fisher's exact test (two-sided), with Newcombe's interval for the difference and "
        "Katz's logarithmic one for the ratio of the proportions."
    )
    if several:
        text += (
            " More than two groups were compared by the Fisher-Freeman-Halton test (seeded Monte Carlo), and each "
            "against all others with Holm's correction."
        )
    if len(groups) > 1:
        text += f" {len(groups)} columns were tested; their p-values are not corrected against each other."
    return (
        text
        + " Comparisons leave indeterminate patients out; they were repeated with all of them as not met and as met."
    )


def _survival(found: Mapping[str, Any]) -> str:
    if found["kind"] == "survival":
        how = "Survival is Kaplan and Meier's estimate, with the median and groups compared by the log-rank test"
    else:
        how = "Cumulative incidence in the presence of a competing event is Aalen and Johansen's estimate"
    interval = f"intervals are pointwise {100 * LEVEL:.0f} %, complementary log-log"
    whose = "patients who meet the criteria" if found["among"] == "met" else "all patients"
    left_out = found["n_left_out"]
    return f"{how}, of {whose}; {interval}. {left_out} of them had no time, event or group and were left out."
