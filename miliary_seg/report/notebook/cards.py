"""HTML cards of the nouns for ``_repr_html_``: small, escaped, without script, style sheet or network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from miliary_seg.domain.decision import Decision, StudyDecision, Verdict
from miliary_seg.domain.reason import Reason
from miliary_seg.domain.result import CaseResult, SeriesResult
from miliary_seg.domain.volume import Study, Volume
from miliary_seg.report.html.canvas import Canvas
from miliary_seg.report.html.environment import chance, number
from miliary_seg.report.html.views import View, grey_window, to_grey
from miliary_seg.report.json_document import DISCLAIMER, slice_counts
from miliary_seg.report.sanitise import lesions, sanitise

VERDICT_COLOURS = {Verdict.MET: "#D55E00", Verdict.NOT_MET: "#0072B2", Verdict.INDETERMINATE: "#999999"}
"""Bars beside the verdict, which is always in words too; from Okabe and Ito (``report.figures``)."""

THUMBNAIL_HEIGHT_PX = 150
MAX_REMARKS = 8
"""Remarks listed on a card; the result holds all."""


def volume(scan: Volume) -> str:
    """One scan: what it is, its geometry, its three middle planes and what to be careful about."""
    return _card(f"Volume {scan.id}", _facts(_geometry(scan)), _planes(scan), _remarks("Careful", scan.caveats))


def study(found: Study) -> str:
    """The scans of one case, the preferred one first."""
    header = ("series", "kind", "plane", "voxels", "spacing (mm)", "slice thickness (mm)")
    rows = [
        (v.id, _kind(v), v.plane, _times(v.grid.shape), _spacing(v), number(v.thickness_mm, 2)) for v in found.volumes
    ]
    unread = [Reason(code=name, text="could not be read") for name in found.unreadable_series]
    remarks = _remarks("Careful", (*found.caveats, *unread))
    return _card(f"Study {found.case}: {len(rows)} series", _table(header, rows), remarks)


def case(result: CaseResult) -> str:
    """The answer for one case with the reasons, one row a series, and the research-use line."""
    header = ("series", "kind", "lesions", "most on a slice", "asked for", "P(met)", "answer")
    rows = [_series_row(series) for series in result.series]
    return _card(
        f"Case {result.case}",
        _verdict(result.decision.verdict),
        _remarks("Why", result.decision.reasons),
        _table(header, rows),
        _remarks("Careful", result.caveats),
        _small(DISCLAIMER),
    )


def series(analysed: SeriesResult) -> str:
    """One series: its answer, how many lesions lie where, and the scan."""
    counts = [(name.replace("_", " "), str(n)) for name, n in analysed.decision.quadrant_counts]
    found = f"{lesions(len(analysed.lesions))}, at most {max(slice_counts(analysed), default=0)} on a slice"
    return _card(
        f"Series {analysed.id}: {found}",
        _verdict(analysed.decision.verdict),
        _remarks("Why", analysed.decision.reasons),
        _facts(counts),
        _facts(_geometry(analysed.volume)),
        _remarks("Careful", analysed.caveats),
        _small(DISCLAIMER),
    )


def decision(answer: Decision) -> str:
    """The answer for one series: every criterion with what was observed, and how many readings disagree."""
    rows = [(c.statement, c.observed, c.threshold, c.verdict.value) for c in answer.criteria]
    others = sum(reading.verdict is not answer.verdict for reading in answer.readings)
    facts = [
        ("P(met), from the lesions' probabilities and measured misses", chance(answer.probability)),
        ("count of the deciding slice minus the threshold", f"{answer.margin:+d} ({answer.threshold} asked for)"),
        ("borderline", "yes" if answer.borderline else "no"),
        ("readings with another answer", f"{others} of {len(answer.readings)}"),
        ("evidence slices", ", ".join(f"{e.index} ({e.n_lesions})" for e in answer.evidence_slices) or "none"),
    ]
    header = ("proposed criterion", "observed", "asked for", "answer")
    why = _remarks("Why", answer.reasons)
    return _card("Decision", _verdict(answer.verdict), why, _table(header, rows), _facts(facts), _small(DISCLAIMER))


def study_decision(answer: StudyDecision) -> str:
    """The answer for a study and the series that carry it."""
    carried = [("carried by", ", ".join(answer.deciding_series) or "no series")]
    why = _remarks("Why", answer.reasons)
    return _card("Decision of the study", _verdict(answer.verdict), why, _facts(carried), _small(DISCLAIMER))


def _series_row(item: SeriesResult) -> tuple[str, ...]:
    answer = item.decision
    most = str(max(slice_counts(item), default=0))
    probability, verdict = chance(answer.probability), answer.verdict.value
    return item.id, _kind(item.volume), str(len(item.lesions)), most, str(answer.threshold), probability, verdict


def _geometry(scan: Volume) -> list[tuple[str, str]]:
    stated = "stated" if scan.slice_thickness_mm is not None else "not stated: the spacing"
    return [
        ("kind", _kind(scan)),
        ("voxels", _times(scan.grid.shape)),
        ("spacing", f"{_spacing(scan)} mm"),
        ("axes", f"{scan.grid.orientation if scan.orientation_known else 'unknown'}, {scan.plane} slices"),
        ("slice thickness", f"{number(scan.thickness_mm, 2)} mm ({stated})"),
        ("from", scan.source.format),
    ]


def _kind(scan: Volume) -> str:
    return f"{scan.modality} {scan.sequence.sequence} ({scan.sequence.confidence} confidence)"


def _times(values: Iterable[object]) -> str:
    return " × ".join(map(str, values))


def _spacing(scan: Volume) -> str:
    return _times(f"{mm:.2f}" for mm in scan.grid.spacing_mm)


def _planes(scan: Volume) -> str:
    """The three middle planes, turned as a radiologist looks at them, with the patient's directions."""
    window = grey_window(scan, scan.voxels > scan.voxels.mean())
    pictures = []
    for axis in sorted(range(3), key=lambda a: -scan.grid.world_axes[a]):
        view = View.across(scan.grid, axis, orientation_known=scan.orientation_known)
        plane = to_grey(view.plane(scan.voxels, scan.grid.shape[axis] // 2), window)
        canvas = Canvas(plane, view, THUMBNAIL_HEIGHT_PX)
        canvas.letter()
        pictures.append(f'<img src="{canvas.data_uri()}" alt="middle {view.name} plane" style="margin:2px">')
    return f"<div>{''.join(pictures)}</div>"


def _card(title: str, *parts: str) -> str:
    style = "border:1px solid rgba(128,128,128,.45);border-radius:6px;padding:.5em .9em;max-width:62em"
    return f'<div class="miliary-seg" style="{style}"><b>{_text(title)}</b>{"".join(parts)}</div>'


def _verdict(verdict: Verdict) -> str:
    style = f"border-left:5px solid {VERDICT_COLOURS[verdict]};padding-left:.6em;margin:.4em 0"
    return f'<div style="{style}"><b>{verdict.value}</b>: the pattern {_text(verdict.text)}.</div>'


def _remarks(title: str, reasons: Sequence[Reason]) -> str:
    if not reasons:
        return ""
    lines = [f"<li><code>{_text(r.code)}</code> {_text(r.text)}</li>" for r in reasons[:MAX_REMARKS]]
    more = len(reasons) - MAX_REMARKS
    lines += [f"<li>and {more} more</li>"] if more > 0 else []
    return f'<div>{title}:<ul style="margin:.1em 0 .4em 1.4em;padding:0">{"".join(lines)}</ul></div>'


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    return _table((), pairs)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th style="text-align:left;padding-right:.9em">{_text(name)}</th>' for name in header)
    body = (
        "".join(f'<td style="text-align:left;padding-right:.9em">{_text(cell)}</td>' for cell in row) for row in rows
    )
    lines = "".join(f"<tr>{cells}</tr>" for cells in ([top] if top else []) + list(body))
    return f'<table style="margin:.3em 0">{lines}</table>'


def _small(text: str) -> str:
    return f'<div style="font-size:85%;opacity:.8">{_text(text)}</div>'


def _text(value: object) -> str:
    """Visible text only, inert in HTML: names and remarks may come from a file."""
    return escape(sanitise(value), quote=True)
