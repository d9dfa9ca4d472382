"""CT that nobody calls CT: a file without a modality whose grey values can only be HU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from miliary_seg.domain.reason import Reason
from miliary_seg.domain.sequence import Modality, Sequence, SequenceEvidence

AIR_HU, SOFT_TISSUE_HU, BONE_FROM_HU = (-1100.0, -900.0), (10.0, 90.0), 300.0
"""Air around the head, brain and muscle, and bone; MR has no zero level that would put all three in place."""
LEAST_SHARE = 0.05, 0.02, 0.005
"""Share of the voxels that must be air, soft tissue and bone (a real head CT: 0.58, 0.18, 0.06)."""

MR_ASSUMED = Reason(
    code="modality_assumed",
    text="Nothing says whether this is MR or CT; MR is taken, unless air, soft tissue and bone are where HU put them.",
)
CT_SEEN = Reason(
    code="modality_assumed",
    text="Nothing says whether this is MR or CT; CT is taken: air, soft tissue and bone are where HU put them.",
)


def looks_like_hounsfield(voxels: NDArray[np.float32]) -> bool:
    """Whether air, soft tissue and bone are all where HU put them."""
    thin = voxels[tuple(slice(None, None, max(1, n // 64)) for n in voxels.shape)]
    parts = (
        (thin > AIR_HU[0]) & (thin < AIR_HU[1]),
        (thin > SOFT_TISSUE_HU[0]) & (thin < SOFT_TISSUE_HU[1]),
        thin > BONE_FROM_HU,
    )
    return all(float(part.mean()) >= least for part, least in zip(parts, LEAST_SHARE, strict=True))


def seen_in(
    voxels: NDArray[np.float32], modality: Modality, sequence: SequenceEvidence, caveats: list[Reason]
) -> tuple[Modality, SequenceEvidence]:
    """Modality and sequence after a look at the voxels; what was stated stays.

    ``caveats`` is told where CT was taken.
    """
    if MR_ASSUMED not in caveats or sequence.sequence is not Sequence.UNKNOWN or not looks_like_hounsfield(voxels):
        return modality, sequence
    caveats[caveats.index(MR_ASSUMED)] = CT_SEEN
    evidence = ("grey values of air, soft tissue and bone in HU", "nothing speaks of a contrast agent")
    return Modality.CT, SequenceEvidence(sequence=Sequence.CT, confidence="low", evidence=evidence)
