"""Every code block of the documentation runs: Python as it stands, lines of ``miliary-seg`` in this process.

A block that cannot run says why after its language: ```` ```bash no-run: needs a cluster ````. Pages find
``sample_data``, a BIDS dataset ``DATASET``, a small scan ``SCANS/scan.nii.gz`` and a mask of a lesion in it
``masks/scan.nii.gz`` in the working folder; blocks of a page run one after the other.
"""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    reason: str
    """Why it is not run; empty where it is."""
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        reason = rest.removeprefix("no-run:").strip() if rest.startswith("no-run:") else ""
        found.append(Block(language, reason, match["code"], text[: match.start()].count("\n") + 2))
    return found


def is_run(block: Block) -> bool:
    return block.language in ("python", "bash") and not block.reason


@pytest.fixture
def workplace(tmp_path, small_scan, monkeypatch):
    pytest.importorskip("pandas")
    (tmp_path / "sample_data").symlink_to(REPOSITORY / "sample_data")
    (tmp_path / "SCANS").mkdir()
    shutil.copy(small_scan, tmp_path / "SCANS" / "scan.nii.gz")
    (tmp_path / "masks").mkdir()
    scan = nib.load(small_scan)
    lesions = np.zeros(scan.shape, dtype=np.uint8)
    lesions[tuple(slice(n // 2, n // 2 + 2) for n in scan.shape)] = 1
    nib.save(nib.Nifti1Image(lesions, scan.affine), tmp_path / "masks" / "scan.nii.gz")
    (tmp_path / "SCANS" / "scan.json").write_text('{"Modality": "MR", "ContrastBolusIngredient": "GADOLINIUM"}')
    anat = tmp_path / "DATASET" / "sub-01" / "anat"
    anat.mkdir(parents=True)
    shutil.copy(small_scan, anat / "sub-01_ce-gd_T1w.nii.gz")
    (tmp_path / "DATASET" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(map(is_run, blocks(p)))], ids=lambda p: p.stem)
def test_the_blocks_of_a_page_run(page, workplace, cli):
    names: dict[str, object] = {"__name__": "page"}
    for block in filter(is_run, blocks(page)):
        if block.language == "python":
            # the file name and the line make a failure readable
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
            continue
        for command in re.sub(r"\\\n", " ", block.code).splitlines():
            words = shlex.split(command, comments=True)
            if words:
                assert words[0] == "miliary-seg", f"line {block.line}: only miliary-seg is run; state a no-run reason"
                done = cli(*words[1:])
                assert done.code == 0, f"line {block.line}: {command}: {done.err}"


def test_a_block_that_is_not_run_says_why():
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("python", "bash"):
                assert not block.reason or len(block.reason) > 8, f"{page.name}, line {block.line}"
            else:
                assert block.language in ("", "text", "toml", "json", "csv", "tsv"), f"{page.name}, line {block.line}"


def test_most_blocks_run():
    here = [page for page in PAGES if page.stem != "cluster"]  # which is about other machines
    every = [b for page in here for b in blocks(page) if b.language in ("python", "bash")]
    assert sum(map(is_run, every)) > 0.6 * len(every)
