"""Figures as tables in plain words: the same sections become the page, the Markdown and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from miliary_seg.lab.bench.scoring import Calibration, CaseScore, Estimate, Pooled, VerdictTable
from miliary_seg.lab.bench.scoring.pooled import BinRow

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table with its heading, what it means, and the figure beside it."""

    title: str
    text: str = ""
    header: Row = ()
    rows: tuple[Row, ...] = ()
    figure: str = ""
    """File name of the figure, empty where there is none."""
    on_terminal: bool = True


FIGURES: dict[str, tuple[str, str, Callable[[float], str]]] = {
    "sensitivity": ("Sensitivity", "lesions found / lesions in the reference", lambda v: f"{100 * v:.1f} %"),
    "precision": ("Precision", "matched / predicted lesions", lambda v: f"{100 * v:.1f} %"),
    "false_per_scan": ("False lesions a scan", "predicted lesions without a reference lesion", lambda v: f"{v:.2f}"),
    "false_per_slice": ("False lesions / slices", "each false lesion counted once", lambda v: f"{v:.3f}"),
    "false_sections_per_slice": (
        "False cross-sections a slice",
        "each false lesion counted on every slice that shows it",
        lambda v: f"{v:.3f}",
    ),
    "repeats_per_scan": ("Split lesions a scan", "false ones that touch a lesion already found", lambda v: f"{v:.2f}"),
    "merged_per_scan": ("Merged lesions a scan", "missed ones that touch a matched prediction", lambda v: f"{v:.2f}"),
    "count_error_mean_absolute": ("Count error a slice, mean absolute", "lesions", lambda v: f"{v:.2f}"),
    "count_error_bias": ("Count error a slice, bias", "lesions, predicted - reference", lambda v: f"{v:+.2f}"),
    "dice_median": ("Dice of matched lesions, median", "2 |A and B| / (|A| + |B|)", lambda v: f"{v:.2f}"),
    "dice_median_from_4_mm": ("the same, reference at least 4 mm", "", lambda v: f"{v:.2f}"),
    "volume_error_median": (
        "Volume error, median",
        "(predicted - reference) / reference",
        lambda v: f"{100 * v:+.0f} %",
    ),
    "volume_error_median_absolute": ("the same, absolute", "", lambda v: f"{100 * v:.0f} %"),
}
"""Key in bench.json -> name, meaning, how it is printed."""

VERDICT_FIGURES = {
    "sensitivity": "MET where the truth meets the criteria",
    "indeterminate_if_met": "INDETERMINATE where it meets them",
    "missed": "NOT_MET where it meets them",
    "wrongly_met": "MET where the truth does not meet them",
    "indeterminate_if_not_met": "INDETERMINATE where it does not",
    "not_met_if_not_met": "NOT_MET where it does not",
}


def format_estimate(found: Estimate, text: Callable[[float], str]) -> str:
    """For instance ``87.5 % (80.1 % to 92.4 %)``; a dash where it cannot be told."""
    if found.value is None:
        return "–"
    if found.low is None or found.high is None:
        return text(found.value)
    return f"{text(found.value)} ({text(found.low)} to {text(found.high)})"


def percent(value: float) -> str:
    """For instance ``87 %``."""
    return f"{100 * value:.0f} %"


def pooled_sections(pool: Pooled, *, froc_figure: str = "", bins_figure: str = "") -> list[Section]:
    """Every figure over all scans."""
    rows = tuple(
        (name, format_estimate(pool.figures[key], text), meaning)
        for key, (name, meaning, text) in FIGURES.items()
        if pool.figures[key].value is not None
    )
    counts = f"{pool.n_scans} scans of {pool.n_heads} heads, {pool.n_reference} reference and "
    sections = [
        Section(
            title="All figures",
            text=f"{counts}{pool.n_predicted} predicted lesions. In brackets: 95 % interval, bootstrap over heads.",
            header=("figure", "value", "meaning"),
            rows=rows,
        )
    ]
    if pool.by_diameter or pool.by_contrast:
        sections.append(
            Section(
                title="Sensitivity by size and contrast",
                header=("diameter, mm", "contrast, noise SD", "lesions", "sensitivity"),
                rows=tuple(bin_row(row) for row in (*pool.by_diameter, *pool.by_contrast, *pool.by_both)),
                figure=bins_figure,
            )
        )
    if pool.froc is not None:
        points = tuple((f"{rate:g}", format_estimate(found, percent)) for rate, found in pool.froc_points.items())
        text = "Lesions found at a threshold that gives so many false marks a scan."
        header = ("false marks a scan", "sensitivity")
        sections.append(Section(title="FROC", text=text, header=header, rows=points, figure=froc_figure))
    if pool.verdicts is not None:
        sections += verdict_sections(pool.verdicts)
    return sections


def verdict_sections(table: VerdictTable, title: str = "Decision") -> list[Section]:
    """The 3 x 2 table and its proportions."""
    header = ("truth", "MET", "INDETERMINATE", "NOT_MET")
    rows = (
        ("meets the proposed criteria", *map(str, table.met)),
        ("does not meet them", *map(str, table.not_met)),
    )
    figures = table.figures()
    proportions = tuple(
        (words, str(figures[name][0].n), format_estimate(figures[name][0], percent), _ends(figures[name][1]))
        for name, words in VERDICT_FIGURES.items()
        if figures[name][0].n
    )
    head = ("proportion", "scans", "value (Wilson 95 %)", "Clopper-Pearson 95 %")
    return [
        Section(title=title, text="Scans by answer and truth.", header=header, rows=rows),
        Section(title=f"{title}: proportions", header=head, rows=proportions),
    ]


def calibration_section(found: Calibration, title: str, text: str, figure: str = "") -> Section:
    """Predicted against observed."""
    summary = f"{text} {found.n} predictions; expected calibration error {found.expected_error:.3f}, "
    return Section(
        title=title,
        text=f"{summary}Brier score {found.brier:.3f}.",
        header=("predicted", "mean predicted", "number", "observed (Wilson 95 %)"),
        rows=tuple(
            (
                f"{b.low:g} to {b.high:g}",
                f"{b.mean_predicted:.3f}",
                str(b.observed.n),
                format_estimate(b.observed, percent),
            )
            for b in found.bins
        ),
        figure=figure,
    )


def case_section(scores: Iterable[CaseScore]) -> Section:
    """One row a scan."""
    header = (
        "case",
        "matched by",
        "reference",
        "predicted",
        "found",
        "false",
        "split",
        "merged",
        "count error",
        "Dice",
    )
    return Section(
        title="Scans",
        text="Count error: mean absolute, lesions a slice. Dice: median of matched lesions.",
        header=(*header, "answer", "truth", "notes"),
        rows=tuple(_case_row(score) for score in scores),
        on_terminal=False,
    )


def notes_sections(scores: Sequence[CaseScore], left_out: Sequence[str] = ()) -> list[Section]:
    """What must be read beside the figures."""
    said = {
        "looks_mirrored": "centres match far better with left-right and front-back turned: LPS? (--frame lps)",
        "grids_differ": "the grids differ: matched by centres in the world; no Dice, no counts by slice",
    }
    rows = [(score.given.case, said.get(note, note)) for score in scores for note in score.given.notes]
    rows += [(case, "on one side only: left out") for case in left_out]
    return [Section(title="Be careful", header=("case", "what"), rows=tuple(rows))] if rows else []


def span(ends: tuple[float, float] | None) -> str:
    """For instance ``3 to 5``, ``12 and more``, or ``all``."""
    if ends is None:
        return "all"
    low, high = ends
    if not np.isfinite(high):
        return f"{low:g} and more"
    return f"below {high:g}" if low == 0 else f"{low:g} to {high:g}"


def bin_row(row: BinRow) -> Row:
    """Size, contrast, number and sensitivity of one bin."""
    return (
        span(row.diameter_mm),
        span(row.contrast),
        str(row.sensitivity.n),
        format_estimate(row.sensitivity, percent),
    )


def _ends(found: Estimate) -> str:
    return "–" if found.low is None or found.high is None else f"{percent(found.low)} to {percent(found.high)}"


def _case_row(score: CaseScore) -> Row:
    given, error = score.given, score.count_error
    truth = {True: "meets", False: "does not meet", None: ""}[given.truth_met]
    counts = (
        len(score.hit),
        len(score.false),
        int(score.hit.sum()),
        int(score.false.sum()),
        score.repeats,
        score.merged,
    )
    return (
        given.case,
        score.rule,
        *map(str, counts),
        "" if error is None or not error.size else f"{np.abs(error).mean():.2f}",
        f"{np.median(score.dice):.2f}" if score.dice.size else "",
        str(given.verdict or ""),
        truth,
        ", ".join(given.notes),
    )
