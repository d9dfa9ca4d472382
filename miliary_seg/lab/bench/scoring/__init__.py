"""Pure scoring: lesions and counts in, figures with intervals out. Reads no file, draws nothing (docs/bench.md).

``matching`` decides which lesion is which, ``cases`` scores one scan, ``pooled`` puts scans together, ``froc``,
``calibration`` and ``verdicts`` are the curves and the table, ``intervals`` says how sure all of it is.
"""

from miliary_seg.lab.bench.scoring.calibration import Calibration, calibration
from miliary_seg.lab.bench.scoring.cases import CaseInput, CaseScore, score_case
from miliary_seg.lab.bench.scoring.findings import Findings
from miliary_seg.lab.bench.scoring.froc import Froc, froc
from miliary_seg.lab.bench.scoring.intervals import Estimate
from miliary_seg.lab.bench.scoring.matching import MatchRule, match
from miliary_seg.lab.bench.scoring.pooled import Pooled, pooled
from miliary_seg.lab.bench.scoring.verdicts import VerdictTable, verdict_table

__all__ = [
    "Calibration",
    "CaseInput",
    "CaseScore",
    "Estimate",
    "Findings",
    "Froc",
    "MatchRule",
    "Pooled",
    "VerdictTable",
    "calibration",
    "froc",
    "match",
    "pooled",
    "score_case",
    "verdict_table",
]
