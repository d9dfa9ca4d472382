"""The course of a patient: when the criteria were first met and from what, as codes for tables, as words for pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from miliary_seg.cohort.longitudinal.lesion_tracking import ABSENT_RATIO, PRESENT_RATIO, Change
from miliary_seg.domain.course import Course
from miliary_seg.domain.decision import Verdict
from miliary_seg.report.sanitise import safe_name

NOT_COMPARED = "size not compared"
"""Said of a lesion that is there in both scans, but whose size one of them does not give."""

_UNCERTAIN = {
    "out_of_view": "the {other} scan does not show the place",
    "too_faint": "so faint that the {other} scan could not show it",
    "other_sequence": "the scans are of different sequences",
    "sides_unknown": "left and right are unknown in one of the scans",
    "not_aligned": "the scans could not be laid on each other",
    "between": "the {other} scan has {share} of its signal at the place: neither there nor gone",
    "matched": "found in both scans",
}
_ORIGINS = {
    "conversion": "There were brain metastases before: converted.",
    "de_novo": "No brain metastases were known before: de novo.",
    "unknown": "Whether there were brain metastases before is not stated (--earlier-metastases).",
}


def course_of(visits: Sequence[Mapping[str, Any]], earlier_metastases: bool | None) -> dict[str, Any]:
    """When the criteria were first met, how the patient came there, and from what (R21).

    Parameters
    ----------
    visits
        Scans in the order of their dates, as in timeline.json.
    earlier_metastases
        Whether the patient had brain metastases before; None = not stated.
    """
    answers = [visit["verdict"] for visit in visits]
    met = next((visit for visit in visits if visit["verdict"] == Verdict.MET), None)
    course = "undetermined"  # a scan that nobody could decide, or that failed, leaves it open
    if met is not None:
        before = answers[: answers.index(Verdict.MET)]
        if not before:
            course = "met_at_first_scan"
        elif before[-1] == Verdict.NOT_MET:
            course = "became_met"
    elif all(answer == Verdict.NOT_MET for answer in answers):
        course = "never_met"
    origin = (
        "not_applicable" if met is None else {True: "conversion", False: "de_novo", None: "unknown"}[earlier_metastases]
    )
    why = _undecided(visits if met is None else visits[: visits.index(met)]) if course == "undetermined" else ""
    return {"first_met": met["date"] if met else None, "course": course, "course_why": why, "origin": origin}


def course_text(course: Mapping[str, Any], n_scans: int) -> str:
    """The course in whole sentences.

    Examples
    --------
    >>> found = {"first_met": None, "course": "never_met", "course_why": "", "origin": "not_applicable"}
    >>> course_text(found, 2)
    'None of 2 scans meets the proposed criteria.'
    """
    met = course["first_met"]
    left_open = f"left open by {', '.join(found.split(':')[0] for found in course['course_why'].split('; ') if found)}"
    if met is None:
        if course["course"] == "never_met":
            return f"None of {n_scans} scans meets the proposed criteria."
        return f"Undetermined: no scan meets the proposed criteria, but not every scan could be decided ({left_open})."
    how = {
        "met_at_first_scan": "the first scan there is",
        "became_met": "the scan before it does not meet them",
    }.get(course["course"], f"the pattern may be older ({left_open})")
    return f"Proposed criteria met on the scan of {met}; {how}. {_ORIGINS[course['origin']]}"


def in_words(fate: Mapping[str, Any]) -> str:
    """Why a lesion is said to be new, gone, there in both or uncertain.

    Examples
    --------
    >>> in_words({"fate": "new", "why": "signal", "signal_ratio": 0.124, "earlier_id": None})
    'the earlier scan has 12 % of its signal at the place: not there yet'
    >>> in_words({"fate": "uncertain", "why": "out_of_view", "signal_ratio": None, "earlier_id": 4})
    'the later scan does not show the place'
    """
    other, ratio = "earlier" if fate["earlier_id"] is None else "later", fate["signal_ratio"]
    share = "none" if ratio is None or ratio < 0.005 else f"{100 * ratio:.0f} %"
    if fate["why"] == "signal":
        said = {Change.NEW: "not there yet", Change.RESOLVED: "no longer there"}
        ending = said.get(fate["fate"], "there, though not marked")
        return f"the {other} scan has {share} of its signal at the place: {ending}"
    return _UNCERTAIN[fate["why"]].format(other=other, share=share)


def what_became(fate: Mapping[str, Any]) -> str:
    """What became of a lesion in one or two words: new, grown, stable, shrunk, size not compared, gone or uncertain."""
    if fate["fate"] == Change.PERSISTING:
        return fate["size_change"] or NOT_COMPARED
    return "gone" if fate["fate"] == Change.RESOLVED else str(fate["fate"])


def course_at(
    interval: Mapping[str, Any], visits: Sequence[Mapping[str, Any]], earlier_metastases: bool | None, participant: str
) -> Course:
    """What the page of the last of the visits says of the time before it.

    Parameters
    ----------
    interval
        From the scan before it, as in timeline.json.
    visits
        Up to this scan.
    earlier_metastases, participant
        Of the patient.
    """
    fates = interval["fates"]
    dates = {visit["case"]: visit["date"] for visit in visits}
    return Course(
        earlier=interval["earlier"],
        earlier_date=dates[interval["earlier"]],
        date=dates[interval["later"]],
        days=interval["days"],
        counts=Counter(map(what_became, fates)),
        became={fate["later_id"]: what_became(fate) for fate in fates if fate["later_id"] is not None},
        causes=uncertain_causes(fates),
        undecided={
            visit["date"]: visit["why"]
            for visit in visits[:-1]
            if visit["verdict"] not in (Verdict.MET, Verdict.NOT_MET)
        },
        text=course_text(course_of(visits, earlier_metastases), len(visits)),
        page=f"../../timeline/timeline.html#{anchor(participant)}",
    )


def uncertain_causes(fates: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Why lesions are uncertain, in words, commonest first."""
    between = f"its signal lies between there ({PRESENT_RATIO:.0%}) and not there ({ABSENT_RATIO:.0%})".replace(
        "%", " %"
    )
    causes = [
        between if fate["why"] == "between" else in_words(fate) for fate in fates if fate["fate"] == Change.UNCERTAIN
    ]
    return dict(Counter(causes).most_common())


def anchor(participant: str) -> str:
    """Name of a patient's place on the page of all scans."""
    return f"patient-{safe_name(participant)}"


def _undecided(visits: Sequence[Mapping[str, Any]]) -> str:
    """Scans that leave the course open, with what is the matter with each."""
    return "; ".join(
        f"{visit['date']}: {visit['why'].replace('; ', ', ')}"
        for visit in visits
        if visit["verdict"] not in (Verdict.MET, Verdict.NOT_MET)
    )
