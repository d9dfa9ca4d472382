"""The scan before contrast agent beside the one after it: may the pair be used, and what took up agent.

``second_scan`` asks the headers and lays one scan on the other, then grey values are matched (``detect.match``).
Whatever speaks against the pair is a coded reason, and the pair is not used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.detect import MatchedScan, match
from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.pair import BEFORE, ContrastPair
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import Volume
from miliary_seg.second_scan import Wording, finite, header_reasons, hours_apart, lay, unlikeness

THICKER = 1.5
"""Slices of the scan before that are so many times thicker hide what the other one shows."""
PAIR = Wording(code="pair", both="The scans before and after contrast agent", second="The scan before contrast agent")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedScan:
    """What is said of a pair, and the matched scan where it may be used."""

    pair: ContrastPair
    matched: MatchedScan | None = None


def paired(after: Volume, mask: BoolArray, others: Iterable[Volume]) -> PairedScan | None:
    """Lay the scan before contrast agent on the one after it; None where the study holds none, or this is not one.

    Parameters
    ----------
    after
        The scan that is analysed.
    mask
        Its brain, shape (i, j, k).
    others
        The other scans of the study; of several before contrast agent the one most like ``after`` is taken.
    """
    wanted = BEFORE.get(after.sequence.sequence)
    found = [other for other in others if wanted is not None and other.sequence.sequence is wanted]
    if not found:
        return None
    before = min(found, key=lambda one: unlikeness(after, one))
    pair = ContrastPair(before=before.id, reasons=pair_reasons(after, before))
    if not pair.used:
        return PairedScan(pair=pair)
    after, before = finite(after), finite(before)
    pair, to_before = lay(after, mask, before, pair, PAIR)
    if not pair.used:
        return PairedScan(pair=pair)
    with threadpool_limits(limits=1):  # sums must not depend on the number of threads
        matched = match(after, mask, before, to_before)
    if isinstance(matched, Reason):
        return PairedScan(pair=replace(pair, reasons=(matched,)))
    return PairedScan(pair=replace(pair, explained_fraction=matched.explained_fraction), matched=matched)


def pair_reasons(after: Volume, before: Volume) -> tuple[Reason, ...]:
    """What the headers say against comparing two scans."""
    reasons = list(header_reasons(after, before, PAIR))
    frames = {after.source.frame_of_reference_uid, before.source.frame_of_reference_uid} - {""}
    if len(frames) > 1:
        reasons.append(Reason(code="pair_frames", text=f"{PAIR.both} state different frames of reference."))
    if (hours_apart(before, after) or 0) < 0:
        text = "The scan that is read as before contrast agent was made after the other one."
        reasons.append(Reason(code="pair_order", text=text))
    if before.thickness_mm > THICKER * after.thickness_mm:
        text = f"The slices before contrast agent are thicker ({before.thickness_mm:.1f} mm) than those after it."
        reasons.append(Reason(code="pair_thickness", text=text))
    return tuple(reasons)
