"""Who says where the lesions are: our detector, another program, or a person."""

from __future__ import annotations

from dataclasses import dataclass, field

from miliary_seg.domain.reason import Reason
from miliary_seg.domain.volume import LabelMap


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionSource:
    """Where the lesions of one series come from."""

    name: str = "miliary-seg"
    """The detector, or what a file names as the algorithm; ``given`` where a file names none."""
    format: str = ""
    """``NIfTI``, ``NRRD``, ``MGH``, ``DICOM SEG``, ``RTSTRUCT``, ``CSV``, ``JSON``, ``Slicer markups``, ``array``;
    empty where lesions were detected in this run."""
    algorithm_type: str = "AUTOMATIC"
    """DICOM's word (0062,0008): ``AUTOMATIC``, ``SEMIAUTOMATIC`` or ``MANUAL``; empty where nobody says."""
    author: str = field(default="", repr=False)
    """Person or device that the file names: written only with ``report.identified``."""
    sha256: str = ""
    """Digest of the file, or of a detector's model."""
    path: str = field(default="", repr=False)
    """Written only with ``report.identified``."""

    @property
    def is_ours(self) -> bool:
        """Whether our own detector found them: its measured rates hold only then."""
        return self.name == "miliary-seg" and not self.format

    @property
    def text(self) -> str:
        """For people, without anything that identifies one."""
        if not self.format:
            return f"the detector {self.name}"
        who = {"MANUAL": "drawn by a person", "SEMIAUTOMATIC": "drawn with a program's help"}.get(
            self.algorithm_type, ""
        )
        named = "" if self.name == "given" else f"made by {self.name}"
        return f"a file ({', '.join(part for part in (self.format, who, named) if part)})"


OURS = LesionSource()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenLesions:
    """Lesions that somebody else found, on the grid of the scan."""

    labels: LabelMap
    """Instances: 1, 2 ... n, each with at least one voxel."""
    probabilities: tuple[float, ...]
    """Of instance 1, 2 ... n; 1 where the source gives none."""
    source: LesionSource
    caveats: tuple[Reason, ...] = ()
    """What was done with them on the way: shifted, resampled, merged, chosen."""

    def __len__(self) -> int:
        return len(self.probabilities)
