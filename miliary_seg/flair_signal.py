"""The FLAIR of a study beside the T1 after contrast agent: may it be used, and where does it lie.

Metastases with oedema, plaques and gliosis are bright on FLAIR; vessels, dura and choroid plexus, which make most
of the false marks on T1 after contrast agent, are not. It is evidence beside a lesion and changes no answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from miliary_seg.detect import FlairRanks, flair_ranks
from miliary_seg.domain.arrays import BoolArray
from miliary_seg.domain.pair import FlairPair
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Sequence
from miliary_seg.domain.volume import Volume
from miliary_seg.second_scan import Wording, finite, header_reasons, lay, unlikeness

FLAIR = Wording(code="flair", both="This scan and the FLAIR", second="The FLAIR")
TOO_LITTLE = Reason(code="flair_too_little_brain", text="There is too little brain to rank lesions on the FLAIR.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlairSignal:
    """What is said of the FLAIR, and the brain's brightness on it where it may be used."""

    pair: FlairPair
    ranks: FlairRanks | None = None


def flair_signal(scan: Volume, mask: BoolArray, others: Iterable[Volume]) -> FlairSignal | None:
    """Lay the FLAIR of the study on a T1 after contrast agent; None where there is none, or ``scan`` is another kind.

    Parameters
    ----------
    scan
        The scan that is analysed.
    mask
        Its brain, shape (i, j, k).
    others
        The other scans of the study; of several FLAIR the one most like ``scan`` is taken.
    """
    found = [other for other in others if other.sequence.sequence is Sequence.FLAIR]
    if scan.sequence.sequence is not Sequence.T1C or not found:
        return None
    flair = min(found, key=lambda one: unlikeness(scan, one))
    pair = FlairPair(flair=flair.id, reasons=header_reasons(scan, flair, FLAIR))
    if not pair.used:
        return FlairSignal(pair=pair)
    scan, flair = finite(scan), finite(flair)
    pair, to_flair = lay(scan, mask, flair, pair, FLAIR)
    if not pair.used:
        return FlairSignal(pair=pair)
    with threadpool_limits(limits=1):  # sums must not depend on the number of threads
        ranks = flair_ranks(scan, mask, flair, to_flair)
    return FlairSignal(pair=pair if ranks else replace(pair, reasons=(TOO_LITTLE,)), ranks=ranks)
