"""Small files that ask for much: refused within 2 s of processor time and 1.5 GB, each in a process of its own."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("machine")

READER = """
import json, os, re, sys, time, zlib
from miliary_seg.errors import MiliaryError
import miliary_seg.load.dicom.volume, miliary_seg.load.nifti.volume  # noqa: F401, E401
from miliary_seg.load import read_array
def read(path):
    began = time.process_time()
    try:
        read_array(path)
        outcome = "returned"
    except MiliaryError as error:
        outcome = f"refused: {error}"
    seconds = time.process_time() - began
    status = open("/proc/self/status").read()
    began = time.process_time()
    zlib.decompress(zlib.compress(bytes(16 << 20)))
    pace = time.process_time() - began
    print(json.dumps([outcome, seconds, pace, int(re.search(r"VmHWM:\\s+(\\d+)", status).group(1)) / 1024]), flush=True)
for line in sys.stdin:
    child = os.fork()  # its clock and its peak of memory begin anew
    if not child:
        read(json.loads(line))
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit("the reader died")
"""
SECONDS, MEGABYTES = 2.0, 1536.0
PACE = 0.1
"""Seconds of processor time by which the reader measures its machine: a slower one may take longer."""


ZEROS = bytes(1 << 20)


def packed_zeros(n_bytes: int, *, gzipped: bool, before: bytes = b"", after: bytes = b"") -> bytes:
    """A deflate or gzip stream that inflates to ``before``, many zeros, and ``after``: one packed block, repeated."""
    n_blocks = n_bytes >> 20
    squeeze = zlib.compressobj(9, wbits=-15)
    head = squeeze.compress(before) + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(ZEROS) + squeeze.flush(zlib.Z_FULL_FLUSH)
    packed = head + block * n_blocks + squeeze.compress(after) + squeeze.flush()
    if not gzipped:
        return packed
    checksum = zlib.crc32(before)
    for _ in range(n_blocks):
        checksum = zlib.crc32(ZEROS, checksum)
    length = len(before) + n_blocks * len(ZEROS) + len(after)
    return GZIP_HEAD + packed + struct.pack("<II", zlib.crc32(after, checksum), length & 0xFFFFFFFF)


GZIP_HEAD = bytes.fromhex("1f8b08000000000002ff")
"""Deflate, no name and no time, packed as tightly as can be, of an unknown system."""


def test_the_streams_are_what_they_claim_to_be() -> None:
    said = {"before": b"before", "after": b"after"}
    content = b"before" + bytes(3 << 20) + b"after"
    assert gzip.decompress(packed_zeros(3 << 20, gzipped=True, **said)) == content
    assert zlib.decompress(packed_zeros(3 << 20, gzipped=False, **said), -15) == content


def nifti_head(shape: tuple[int, int, int]) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), code=1)
    header["magic"], header["vox_offset"], header["xyzt_units"] = b"n+1", 352, 2
    return bytes(header.binaryblock) + bytes(4)


def nifti_honest(path: Path, _: Any) -> Path:
    """Dimensions that the stream could hold: 2048 x 2048 x 1024 voxels of zero, 8 GB in some MB."""
    path.mkdir()
    (path / "x.nii.gz").write_bytes(nifti_packed((2048, 2048, 1024), 512))
    return path / "x.nii.gz"


def nifti_packed(shape: tuple[int, int, int], megabytes: int) -> bytes:
    return packed_zeros(megabytes << 20, gzipped=True, before=nifti_head(shape))


def nifti_tail(path: Path, _: Any) -> Path:
    """A small image, and far more behind its voxels."""
    path.mkdir()
    (path / "x.nii.gz").write_bytes(nifti_packed((64, 64, 32), 1024))
    return path / "x.nii.gz"


def nifti_zeros(path: Path, _: Any) -> Path:
    """Within load.max_voxels, and all there: 1.4 GB of zeros in 1.4 MB."""
    path.mkdir()
    (path / "x.nii.gz").write_bytes(nifti_packed((900, 900, 900), 1391))
    return path / "x.nii.gz"


def nifti_lie(path: Path, _: Any) -> Path:
    path.mkdir()
    (path / "x.nii").write_bytes(nifti_head((900, 900, 900)) + bytes(1000))
    return path / "x.nii"


def dicom_rows(path: Path, kit: Any) -> Path:
    kit.write(path, kit.Series(attributes={"Rows": 65535, "Columns": 65535}).datasets())
    return path


def dicom_frames(path: Path, kit: Any) -> Path:
    kit.write(path, kit.Series(attributes={"NumberOfFrames": 2147483647}).datasets())
    return path


def dicom_gzip(path: Path, kit: Any) -> Path:
    """Pixels that would inflate to 1 GB, as the header says they do."""
    for file in kit.write(path, kit.Series(attributes={"Rows": 23000, "Columns": 23000}).datasets()):
        data = file.read_bytes()
        at = data.find(b"\xe0\x7f\x10\x00OW")
        head = data[: at + 8] + struct.pack("<I", 23000 * 23000 * 2)
        file.write_bytes(packed_zeros(64 << 20, gzipped=True, before=head))
    return path


def dicom_deflate(path: Path, kit: Any) -> Path:
    """Six files that grow from some hundred kB to 300 MB each before their pixels."""
    for file in kit.write(path, kit.Series(syntax="1.2.840.10008.1.2.1.99").datasets()):
        data = file.read_bytes()
        start = 144 + int.from_bytes(data[140:144], "little")
        body = zlib.decompress(data[start:], -15)
        element = b"\x08\x00\x01\x00OB\0\0" + (300 << 20).to_bytes(4, "little")
        file.write_bytes(data[:start] + packed_zeros(300 << 20, gzipped=False, before=element, after=body))
    return path


def dicom_nested(path: Path, kit: Any) -> Path:
    opening = struct.pack("<HH2sHI", 0x0028, 1, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    for file in kit.write(path, kit.Series().datasets()):
        data = file.read_bytes()
        start = data.find(struct.pack("<HH", 0x0028, 0x0002))
        file.write_bytes(data[:start] + opening * 20_000 + data[start:])
    return path


def dicom_elements(path: Path, kit: Any) -> Path:
    for file in kit.write(path, kit.Series().datasets()):
        data = file.read_bytes()
        start = data.find(struct.pack("<HH", 0x0028, 0x0002))
        file.write_bytes(data[:start] + bytes(8 << 20) + data[start:])
    return path


def dicom_j2k(path: Path, kit: Any) -> Path:
    """A code stream of some bytes that announces 60 000 x 60 000 pixels, as the header does."""
    return _j2k(path, kit, 60_000)


def dicom_j2k_within_the_cap(path: Path, kit: Any) -> Path:
    return _j2k(path, kit, 30_000)


def _j2k(path: Path, kit: Any, n: int) -> Path:
    stream = b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 41, 0, n, n, 0, 0, n, n, 0, 0, 1)
    stream += b"\x0f\x01\x01\xff\x52\x00\x0c\0\0\0\1\0\1\4\4\0\1\xff\x5c\0\4\x40\x40\xff\xd9"
    for file in kit.write(path, kit.Series(syntax="1.2.840.10008.1.2.1").datasets()):
        import pydicom
        from pydicom.encaps import encapsulate

        ds = pydicom.dcmread(file)
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        ds.Rows = ds.Columns = n
        ds.PixelData = encapsulate([stream])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.save_as(file, enforce_file_format=True)
    return path


def zip_zeros(path: Path, _: Any) -> Path:
    path.mkdir()
    with zipfile.ZipFile(path / "x.zip", "w", zipfile.ZIP_DEFLATED) as pack:
        for n in range(3):
            pack.writestr(f"{n}.dcm", bytes(200 << 20))
    return path / "x.zip"


def zip_names(path: Path, _: Any) -> Path:
    """Hundreds of thousands of empty files."""
    path.mkdir()
    with zipfile.ZipFile(path / "x.zip", "w") as pack:
        pack.writestr("a", b"")
    data = (path / "x.zip").read_bytes()
    at = data.find(b"PK\x01\x02")
    end = data.find(b"PK\x05\x06")
    record, count = data[at:end], 400_000
    many = bytearray(data[:at] + record * count + data[end:])
    struct.pack_into("<I", many, len(many) - 22 + 12, len(record) * count)
    (path / "x.zip").write_bytes(many)
    return path / "x.zip"


def nrrd_lie(path: Path, _: Any) -> Path:
    path.mkdir()
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 900 900 900\nendian: little\nencoding: gzip\n"
    head += "space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    (path / "x.nrrd").write_bytes(head.encode() + gzip.compress(bytes(1000)))
    return path / "x.nrrd"


BOMBS = (
    nifti_honest, nifti_zeros, nifti_tail, nifti_lie, dicom_rows, dicom_frames, dicom_gzip, dicom_deflate, dicom_nested,
    dicom_elements, dicom_j2k, dicom_j2k_within_the_cap, zip_zeros, zip_names, nrrd_lie,
)  # fmt: skip


@pytest.fixture(scope="module")
def reader() -> Iterator[subprocess.Popen[str]]:
    """Reads each file whose path it is sent in a fork of its own: what must be imported is imported once."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", READER], **pipes) as process:
        yield process
        process.stdin.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its peak memory from /proc")
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_refused_at_little_cost(tmp_path: Path, kit: Any, bomb: Callable[[Path, Any], Path], reader) -> None:
    path = bomb(tmp_path / "bomb", kit)
    print(json.dumps(str(path)), file=reader.stdin, flush=True)
    outcome, seconds, pace, megabytes = json.loads(reader.stdout.readline())
    print(bomb.__name__, outcome, f"{seconds:.2f} s at pace {pace:.2f} s, {megabytes:.0f} MB")
    assert outcome.startswith("refused: ")
    assert str(tmp_path) in outcome
    assert seconds < SECONDS * max(1.0, pace / PACE)
    assert megabytes < MEGABYTES
