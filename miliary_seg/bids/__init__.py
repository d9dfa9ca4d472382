"""BIDS datasets in, BIDS derivatives out: which images are analysed, and what the results are called.

``dataset`` reads the input's layout, ``names`` its file names; ``derivatives`` writes one session, ``description`` what
makes the output folder a dataset.
"""

from __future__ import annotations

from miliary_seg.bids.dataset import MODALITIES, Choice, Dataset, Session

__all__ = ["MODALITIES", "Choice", "Dataset", "Session"]
