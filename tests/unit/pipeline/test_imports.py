"""What a run does not need is not imported: each of these takes a tenth of a second to a whole one."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import numpy as np
import pytest

from miliary_seg.domain.volume import Volume
from miliary_seg.report.volume_files import write_nifti

STAGES = "miliary_seg.load, miliary_seg.locate, miliary_seg.detect, miliary_seg.decide, miliary_seg.pipeline"
TABLES = "miliary_seg.correction, miliary_seg.report.tables, miliary_seg.report.write, miliary_seg.cohort"


READERS = (
    "miliary_seg.load.study, miliary_seg.load.nifti.volume, miliary_seg.load.lesions, miliary_seg.load.stored_case"
)
DECIDING = "miliary_seg.correction, miliary_seg.detect.given, miliary_seg.locate, miliary_seg.load.stored_case"
SEARCH = ("cv2", "miliary_seg.detect.pipeline", "miliary_seg.locate.pipeline", "miliary_seg.load.contrast_words")


@pytest.mark.parametrize(
    ("imported", "not_needed"),
    [
        (STAGES, ("scipy.stats", "scipy.optimize", "skimage", "jinja2", "highdicom", "pandas", "jsonschema")),
        (TABLES, ("scipy.stats", "scipy.optimize", "scipy.spatial", "skimage", "jinja2", "highdicom", "pandas")),
        ("miliary_seg.load", ("numpy", "scipy", "pydicom", "nibabel")),
        (DECIDING, (*SEARCH, "scipy.sparse", "scipy.optimize", "scipy.spatial")),
        (READERS, ("miliary_seg.load.dicom.header", "miliary_seg.load.dicom.series", "scipy.sparse", "skimage")),
    ],
)
def test_the_stages_import_only_what_they_need(imported: str, not_needed: tuple[str, ...]) -> None:
    brought = needed("import scipy.ndimage", ("scipy.sparse",))  # an old scipy does so by itself
    assert [name for name in needed(f"import {imported}", not_needed) if name not in brought] == []


@pytest.mark.parametrize("package", ["cohort", "detect", "load", "locate", "report"])
def test_no_module_hides_a_public_name(package: str) -> None:
    """A name that is imported when first used is hidden by a module of that name, once this was imported."""
    found = import_module(f"miliary_seg.{package}")
    for module in iter_modules(found.__path__):
        import_module(f"{found.__name__}.{module.name}")
    assert [name for name in found.__all__ if isinstance(getattr(found, name), ModuleType)] == []


def test_a_nifti_is_read_without_the_readers_of_dicom(tmp_path: Path) -> None:
    volume = Volume.from_array(np.arange(512, dtype=np.float32).reshape(8, 8, 8), np.eye(4))
    path = write_nifti(volume, tmp_path / "sub-01_ce-gd_T1w.nii.gz")
    code = f"import miliary_seg.load as load; load.read_array({str(path)!r})"
    assert needed(code, ("miliary_seg.load.dicom.header", "miliary_seg.load.dicom.volume")) == []


def test_lesions_that_compete_for_no_partner_are_paired_without_graphs() -> None:
    code = "import numpy as np; from miliary_seg.domain.one_to_one import one_to_one; "
    alone = code + "one_to_one(np.array([2, 1]), np.array([5, 7]), np.ones(2), 9.0)"
    assert needed(alone, ("scipy.sparse", "scipy.optimize")) == []
    rivals = code + "one_to_one(np.array([2, 1]), np.array([5, 5]), np.ones(2), 9.0)"
    assert needed(rivals, ("scipy.sparse",)) == ["scipy.sparse"]


def needed(code: str, modules: tuple[str, ...]) -> list[str]:
    """Which of some modules a fresh Python has imported after some code."""
    code = f"{code}; import sys; print(*(name for name in {modules} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()
