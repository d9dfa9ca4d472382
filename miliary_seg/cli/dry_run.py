"""``miliary-seg run --dry-run``: what would be run, kept and refused, as a table with paths."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from miliary_seg.cli.run import found_cases, named
from miliary_seg.cli.tables import print_table

if TYPE_CHECKING:
    from miliary_seg.cohort import CasePreview, RunPlan
    from miliary_seg.load import Problem


def show_plan(inputs: list[Path], plan: RunPlan, *, name: str = "", as_json: bool = False) -> None:
    """Print what a run over these inputs would do; write nothing."""
    from miliary_seg.cohort import preview
    from miliary_seg.cohort.run.batch import require_usable

    require_usable(plan)
    found = found_cases(inputs, plan.settings)
    cases = list(preview(named(list(found.cases), name), plan))
    if as_json:
        typer.echo(
            json.dumps({"cases": [_case(case) for case in cases], "problems": _problems(found.problems)}, indent=1)
        )
        return
    rows = [(case.action, case.case, case.why, str(case.path), str(case.folder)) for case in cases]
    rows += [
        ("unreadable", problem.case, f"{problem.error.what}; {problem.error.todo}", str(problem.path), "")
        for problem in found.problems
    ]
    print_table(("would", "case", "why", "input", "results"), rows)
    counts = Counter(row[0] for row in rows)
    typer.echo(", ".join(f"{n} {action}" for action, n in sorted(counts.items())) or "nothing to do", err=True)


def _case(case: CasePreview) -> dict[str, str]:
    return {
        "case": case.case,
        "action": case.action,
        "why": case.why,
        "path": str(case.path),
        "folder": str(case.folder),
    }


def _problems(problems: tuple[Problem, ...]) -> list[dict[str, str]]:
    return [
        {"case": p.case, "path": str(p.path), "code": p.error.code, "what": p.error.what, "todo": p.error.todo}
        for p in problems
    ]
