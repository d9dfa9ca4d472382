"""A short run of scripts/fuzz: the loader returns or refuses, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("machine")

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "fuzz"


@pytest.mark.skipif(sys.platform == "win32", reason="the script forks")
def test_sixty_mutations(tmp_path: Path, kit: Any, head: np.ndarray) -> None:
    kit.write(tmp_path / "plain", kit.Series().datasets())
    packed = kit.Series(rows=16, columns=16).datasets()
    for ds in packed:
        ds.compress("1.2.840.10008.1.2.5", encoding_plugin="pydicom")
    kit.write(tmp_path / "rle", packed)
    nib.save(nib.Nifti1Image(head, np.eye(4)), tmp_path / "t1.nii.gz")
    bases = [str(tmp_path / name) for name in ("plain", "rle", "t1.nii.gz")]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *bases, "--cases", "60", "--seed", "7"],
        capture_output=True,
        text=True,
        check=False,
    )
    totals = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert totals["refused"] > 5
    assert totals["returned"] > 5
