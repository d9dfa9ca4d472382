"""Phantoms as sections, figures and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miliary_seg.lab.bench.charts import (
    bins_chart,
    calibration_chart,
    counts_chart,
    decision_chart,
    froc_chart,
)
from miliary_seg.lab.bench.document import phantoms_document
from miliary_seg.lab.bench.scoring import Estimate
from miliary_seg.lab.bench.sections import (
    FIGURES,
    Row,
    Section,
    bin_row,
    calibration_section,
    format_estimate,
    percent,
    verdict_sections,
)
from miliary_seg.lab.bench.selftest import SelfTest
from miliary_seg.lab.bench.summary import GOAL_BINS, Summary
from miliary_seg.lab.bench.write import require_free, write_all
from miliary_seg.report.figures import can_draw

TITLE = "miliary-seg on phantoms"
MRI_THRESHOLD = 20

IN_MET = "mean true and found: lesions on the second-best of two slices that are not neighbours."
AT_POINT = "Lesions of 1.5 to 8 mm, contrast 3 to 30, at the operating point; 95 % interval, bootstrap over heads."
FREE_TEXT = "What is found on heads without lesions is false. MET: scans, and the exact upper end of its share."
CALIBRATION_TEXT = "P(criteria met) of the default reading against whether the truth meets them, over all scans."
LESION_TEXT = "Probability of accepted lesions against whether they are real, on heads with and without lesions."


def sections_of(summary: Summary, figures: dict[str, bytes]) -> list[Section]:
    """Everything that is shown of the phantoms."""
    sections = _failed(summary.test)
    sections += _lesion_sections(summary, figures)
    sections += _decision_sections(summary, figures)
    for found, title, text, name in (
        (summary.decision_calibration, "Probability of the decision", CALIBRATION_TEXT, "calibration_decision.svg"),
        (summary.lesion_calibration, "Probability of a lesion", LESION_TEXT, "calibration_lesions.svg"),
    ):
        if found is not None:
            sections.append(calibration_section(found, title, text, name if name in figures else ""))
    return sections


def figures_of(summary: Summary) -> dict[str, bytes]:
    """File name -> SVG; nothing without matplotlib."""
    if not can_draw():
        return {}
    figures = {}
    curves = {group: pool.froc for group, pool in summary.lesions.items() if pool.froc is not None}
    if curves:
        figures["froc.svg"] = froc_chart(curves)
        figures["froc_per_slice.svg"] = froc_chart(curves, per_slice=True)
    if summary.lesions:
        by_size = {group: pool.by_diameter for group, pool in summary.lesions.items()}
        by_contrast = {group: pool.by_contrast for group, pool in summary.lesions.items()}
        figures["diameters.svg"] = bins_chart(by_size, "diameter in mm")
        figures["contrasts.svg"] = bins_chart(by_contrast, "contrast in standard deviations of the noise")
    if summary.curve:
        scenes = {group: [s.score for s in summary.scenes("curve", group)] for group in summary.groups}
        figures["counts.svg"] = counts_chart(scenes)
        points: dict[str, dict[int, Estimate]] = {}
        for point in summary.curve:
            points.setdefault(point.group, {})[point.count] = point.met
        figures["decision.svg"] = decision_chart(points, MRI_THRESHOLD)
    words = ("predicted P(criteria met)", "scans whose truth meets them")
    if summary.decision_calibration is not None:
        figures["calibration_decision.svg"] = calibration_chart({"all scans": summary.decision_calibration}, *words)
    words = ("probability of the lesion", "real lesions")
    if summary.lesion_calibration is not None:
        figures["calibration_lesions.svg"] = calibration_chart({"accepted": summary.lesion_calibration}, *words)
    return figures


def write_selftest(test: SelfTest, output: Path, *, force: bool = False) -> tuple[Path, list[Section], dict[str, Any]]:
    """Write everything about the phantoms; bench.json last.

    Returns
    -------
    tuple
        The page, the sections for the terminal, and the document.

    Raises
    ------
    OutputError
        If something is there already (without ``force``) or cannot be written.
    """
    require_free(output, force)
    summary = Summary(test=test)
    figures, document = figures_of(summary), phantoms_document(summary)
    sections = sections_of(summary, figures)
    names = ", ".join(host.name for host in test.plan.hosts)
    text = f"{len(test.scores)} phantoms on {len(test.plan.hosts)} heads ({names}), "
    text += f"operating point {test.settings.detect.sensitivity}, version {document['software']['version']}."
    page = write_all(output, document, (TITLE, text, sections), figures, {"bench_cases.csv": document["cases"]})
    return page, sections, document


def _lesion_sections(summary: Summary, figures: dict[str, bytes]) -> list[Section]:
    pools = summary.lesions
    if not pools:
        return []
    header = ("figure", *pools)
    rows = tuple(
        (name, *(format_estimate(p.figures[key], text) for p in pools.values()))
        for key, (name, _, text) in FIGURES.items()
    )
    wanted = {(r.group, r.lesions, r.false_per_scan): format_estimate(r.sensitivity, percent) for r in summary.goals}
    goals = tuple(
        (name, f"{rate:g}", *(wanted[group, name, rate] for group in pools)) for name, _, _, rate in GOAL_BINS
    )
    sections = [
        Section(
            title="Lesions of 1.5 to 8 mm, contrast 3 to 30",
            text="At the operating point. In brackets: 95 % interval, bootstrap over heads.",
            header=header,
            rows=rows,
        ),
        Section(
            title="Sensitivity at a rate of false marks",
            header=("lesions", "false marks a scan", *pools),
            rows=goals,
            figure="froc.svg" if "froc.svg" in figures else "",
        ),
    ]
    if "froc_per_slice.svg" in figures:
        text = "The same curve over the number of slices that show brain."
        sections.append(Section(title="FROC over slices", text=text, figure="froc_per_slice.svg", on_terminal=False))
    for title, name in (("diameter", "diameters.svg"), ("contrast", "contrasts.svg")):
        if name in figures:
            sections.append(Section(title=f"Sensitivity by {title}", text=AT_POINT, figure=name, on_terminal=False))
    for group, pool in pools.items():
        sections.append(
            Section(
                title=f"Sensitivity at the operating point, {group}",
                header=("diameter, mm", "contrast, noise SD", "lesions", "sensitivity"),
                rows=tuple(bin_row(row) for row in (*pool.by_diameter, *pool.by_contrast, *pool.by_both)),
                on_terminal=False,
            )
        )
    return sections


def _decision_sections(summary: Summary, figures: dict[str, bytes]) -> list[Section]:
    sections: list[Section] = []
    header: Row
    rows: tuple[Row, ...]
    if summary.free:
        header = ("slices", "head", "scans", "false lesions / slices", "false sections a slice", "worst slice", "MET")
        sections.append(Section(title="Lesion-free heads", text=FREE_TEXT, header=header, rows=_free_rows(summary)))
    if summary.curve:
        header = ("slices", "true count", "truth meets", "scans", "MET", "INDETERMINATE", "NOT_MET", "borderline")
        sections.append(
            Section(
                title="Decision against the true count",
                text=f"Exactly that many lesions of 2-5 mm on two slices; {IN_MET}",
                header=(*header, "mean true", "mean found"),
                rows=tuple(
                    (
                        *(p.group, str(p.count), str(p.truth_met), str(p.met.n), format_estimate(p.met, percent)),
                        *(str(p.indeterminate), str(p.not_met), str(p.borderline)),
                        *(f"{p.true_count:.1f}", f"{p.found_count:.1f}"),
                    )
                    for p in summary.curve
                ),
                figure="decision.svg" if "decision.svg" in figures else "",
            )
        )
        rows = tuple(
            (r.group, str(r.slices), format_estimate(r.mean_absolute, _lesions), format_estimate(r.bias, _signed))
            for r in summary.counts
        )
        text = "Slices with 5 to 40 true lesions, of the scans above."
        header = ("slices", "number", "mean absolute, lesions", "bias, lesions")
        name = "counts.svg" if "counts.svg" in figures else ""
        sections.append(
            Section(title="Error of the count of a slice", text=text, header=header, rows=rows, figure=name)
        )
    if summary.negatives:
        rows = tuple((group, kind, *map(str, table.not_met)) for (group, kind), table in summary.negatives.items())
        header = ("slices", "pattern", "MET", "INDETERMINATE", "NOT_MET")
        text = "None of them meets the rule."
        sections.append(Section(title="Patterns that fail one part of the rule", text=text, header=header, rows=rows))
    return [*sections, *verdict_sections(summary.verdicts, "Decision, all scans")]


def _free_rows(summary: Summary) -> tuple[Row, ...]:
    return tuple(
        (
            *(r.group, r.kind, str(r.scans)),
            *(
                format_estimate(r.false_per_slice, _rate),
                format_estimate(r.false_sections_per_slice, _rate),
                str(r.worst_slice),
            ),
            f"{round((r.met.value or 0) * r.met.n)} (at most {percent(r.met.high or 0)})",
        )
        for r in summary.free
    )


def _failed(test: SelfTest) -> list[Section]:
    title = "Scenes that could not be made or analysed"
    return [Section(title=title, header=("scene", "why"), rows=test.failed)] if test.failed else []


def _rate(value: float) -> str:
    return f"{value:.3f}"


def _lesions(value: float) -> str:
    return f"{value:.2f}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"
