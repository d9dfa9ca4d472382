"""From the answers for the series of a study to one answer. Series are never pooled.

* One series that meets the criteria is enough: what its slices show stays shown. That another adequate series does not
  meet them is said.
* Otherwise an adequate negative series decides, whatever poorer series leave open, unless one of those reaches the
  count: then there is positive evidence that the negative cannot explain, and the study stays indeterminate.
* A series that could not be read leaves a negative open: it might have met them.
* Otherwise the study is indeterminate, for the reasons of all its series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from miliary_seg.decide.reasons import reason, unique
from miliary_seg.domain.decision import Decision, StudyDecision, Verdict
from miliary_seg.domain.reason import Reason


def decide_study(decisions: Mapping[str, Decision], not_analysed: Sequence[str] = ()) -> StudyDecision:
    """Combine the answers for the series of one study.

    Parameters
    ----------
    decisions
        Identifier of each eligible series -> its decision.
    not_analysed
        Identifiers of eligible series that could not be analysed. They cannot undo a MET, but no study is negative
        while one of its series is unseen.

    Returns
    -------
    StudyDecision
        The reasons of the series that carry the verdict come first, then what the other series say.
    """
    by_verdict = {v: tuple(name for name, d in decisions.items() if d.verdict is v) for v in Verdict}
    met, not_met, unclear = (by_verdict[v] for v in (Verdict.MET, Verdict.NOT_MET, Verdict.INDETERMINATE))
    if not decisions:
        return StudyDecision(verdict=Verdict.INDETERMINATE, reasons=(reason("no_eligible_series"),))
    if met:
        remarks = (reason("series_disagree", ", ".join(not_met)),) if not_met else ()
        return _carried_by(met, decisions, Verdict.MET, remarks)
    reaching = tuple(name for name in unclear if decisions[name].margin >= 0)
    if not_met and reaching:
        conflict = reason("series_conflict", f"{', '.join(not_met)} against {', '.join(reaching)}")
        return _carried_by(reaching, decisions, Verdict.INDETERMINATE, (conflict,))
    if not_met and not_analysed:
        unseen = reason("series_not_analysed", ", ".join(not_analysed))
        return _carried_by(not_met, decisions, Verdict.INDETERMINATE, (unseen,))
    if not_met:
        remarks = (reason("indeterminate_series", ", ".join(unclear)),) if unclear else ()
        return _carried_by(not_met, decisions, Verdict.NOT_MET, remarks)
    return _carried_by(unclear, decisions, Verdict.INDETERMINATE, ())


def _carried_by(
    names: tuple[str, ...], decisions: Mapping[str, Decision], verdict: Verdict, remarks: tuple[Reason, ...]
) -> StudyDecision:
    reasons = unique((*(item for name in names for item in decisions[name].reasons), *remarks))
    return StudyDecision(verdict=verdict, reasons=reasons, deciding_series=names)
