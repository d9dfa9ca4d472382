"""A small picture of a case for lists of many."""

from __future__ import annotations

import io

from PIL import Image

from miliary_seg.domain.result import CaseResult
from miliary_seg.report.figures import Painter, shown_slices

HEIGHT_PX = 160
COLOURS = 64
"""Of the palette: grey and the four outlines; a quarter of the size of true colour."""


def thumbnail(result: CaseResult) -> bytes:
    """PNG of the fullest evidence slice of a deciding series, with the lesions outlined; deterministic."""
    deciding = set(result.decision.deciding_series)
    series = next((s for s in result.series if s.id in deciding), result.series[0])
    painter = Painter(series)
    index = max(shown_slices(series), key=lambda k: painter.counts[k])
    picture = painter.marked(index, HEIGHT_PX).image.convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
