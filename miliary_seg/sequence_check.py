"""What a scan shows, checked against its picture and against the other T1 of its study.

Header and names are weighed with what the fitted scan looks like (``domain.appearance``, ``locate.appearance``). Where
they contradict each other the sequence is uncertain, and the criteria take the cautious branch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from miliary_seg.domain.appearance import Appearance, by_pair, contradiction, gained, weigh
from miliary_seg.domain.result import Location, SeriesResult
from miliary_seg.domain.scan_facts import scan_facts
from miliary_seg.domain.sequence import Sequence, SequenceEvidence
from miliary_seg.domain.volume import Volume
from miliary_seg.settings import Settings


def look_at(volume: Volume, settings: Settings | None = None) -> tuple[SequenceEvidence, Appearance | None]:
    """What the picture of one volume says: the weighed evidence, and the look itself (None without a trusted fit)."""
    from miliary_seg.locate import locate

    seen = locate(volume, (settings or Settings()).locate).appearance
    return weigh(volume.sequence, seen), seen


def weighed(volume: Volume, location: Location) -> Volume:
    """The volume with what the picture says beside what header and names say."""
    sequence = weigh(volume.sequence, location.appearance)
    caveats = contradiction(volume.sequence, location.appearance)
    if sequence is volume.sequence and not caveats:
        return volume
    return replace(volume, sequence=sequence, caveats=(*volume.caveats, *caveats))


@dataclass(slots=True)
class PairOfT1:
    """Two T1 of like parameters in one study: the later one that gained where contrast agent shows is the enhanced one.

    Both are fitted to the same atlas, so that their places are compared without registering one to the other.
    """

    earlier: SeriesResult | None = None

    def compared(self, result: SeriesResult, settings: Settings) -> SeriesResult:
        """The result, decided anew where the pair says that it is enhanced."""
        first, self.earlier = self.earlier, self.earlier or (result if _unsaid(result.volume) else None)
        one = None if first is None else first.location.appearance
        other = result.location.appearance
        if first is None or one is None or other is None or not _like(first.volume, result.volume):
            return result
        return _decided_again(result, by_pair(result.volume.sequence), settings) if gained(one, other) else result


def _unsaid(volume: Volume) -> bool:
    return volume.sequence.sequence is Sequence.T1 and volume.sequence.contrast_unproven


def _like(one: Volume, other: Volume) -> bool:
    """Whether header and names call both a T1, of one geometry, and the later one is not stated to be unenhanced."""
    t1 = {Sequence.T1, Sequence.T1C}
    open_question = other.sequence.contrast_unproven or other.sequence.confidence == "low"
    alike = one.plane == other.plane and np.allclose(one.grid.spacing_mm, other.grid.spacing_mm, rtol=0.1)
    return open_question and alike and {one.sequence.sequence, other.sequence.sequence} <= t1


def _decided_again(result: SeriesResult, sequence: SequenceEvidence, settings: Settings) -> SeriesResult:
    from miliary_seg.decide import decide

    volume = replace(result.volume, sequence=sequence)
    facts = scan_facts(volume, result.location, result.detection)
    decision = decide(result.detection.lesions, result.assignments, facts, settings.decide)
    return replace(result, volume=volume, decision=decision)
