"""Three answers against two truths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from miliary_seg.domain.decision import Verdict
from miliary_seg.lab.bench.scoring.intervals import Estimate, proportion

ORDER = (Verdict.MET, Verdict.INDETERMINATE, Verdict.NOT_MET)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictTable:
    """Scans by answer and truth."""

    met: tuple[int, int, int]
    """Scans whose truth meets the criteria, answered MET, INDETERMINATE, NOT_MET."""
    not_met: tuple[int, int, int]
    """Scans whose truth does not meet them, in the same order."""

    def figures(self) -> dict[str, tuple[Estimate, Estimate]]:
        """Name -> the proportion with its Wilson and its exact (Clopper-Pearson) interval."""
        met, not_met = sum(self.met), sum(self.not_met)
        parts = {
            "sensitivity": (self.met[0], met),
            "missed": (self.met[2], met),
            "indeterminate_if_met": (self.met[1], met),
            "wrongly_met": (self.not_met[0], not_met),
            "not_met_if_not_met": (self.not_met[2], not_met),
            "indeterminate_if_not_met": (self.not_met[1], not_met),
        }
        return {name: (proportion(k, n), proportion(k, n, "exact")) for name, (k, n) in parts.items()}


def verdict_table(pairs: Sequence[tuple[Verdict, bool]]) -> VerdictTable:
    """Count (answer, whether the truth meets the criteria) pairs."""
    met, not_met = ([sum(v is w and t is truth for v, t in pairs) for w in ORDER] for truth in (True, False))
    return VerdictTable(met=(met[0], met[1], met[2]), not_met=(not_met[0], not_met[1], not_met[2]))
