"""Detectors as plug-ins: ours, any program, a network made here, and what goes wrong with each."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import miliary_seg as ms
from miliary_seg.detectors import detector, detector_names, run_detector
from miliary_seg.detectors.channels import channels
from miliary_seg.detectors.onnx import NetworkSettings, sliding_window, work_grid
from miliary_seg.domain.progress import watching
from miliary_seg.domain.volume import LabelMap, Volume
from miliary_seg.errors import CaseTimeoutError, GeometryError, InputError, MiliaryError, SettingsError

SHAPE = (48, 56, 20)
SPOTS = ((15, 20, 6), (32, 20, 8), (20, 40, 10))


def scan(sequence: str = "t1c") -> Volume:
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    brain = ((x - 24) / 20) ** 2 + ((y - 28) / 24) ** 2 + ((z - 10) / 9) ** 2 <= 1
    values = 100.0 * brain + np.random.default_rng(0).normal(size=SHAPE)
    for i, j, k in SPOTS:
        values[i - 1 : i + 2, j - 1 : j + 2, k] = 200
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = (23, -28, -20)
    return Volume.from_array(values, affine, sequence=sequence)


def brain(volume: Volume) -> np.ndarray:
    return np.asarray(volume.voxels > 50)


def settings(**values: Any) -> ms.Settings:
    return ms.Settings().updated({key.replace("__", "."): value for key, value in values.items()})


def found(name: str, chosen: ms.Settings, volume: Volume | None = None, **more: Any) -> Any:
    volume = volume or scan()
    return run_detector(detector(name), name, volume, brain(volume), chosen, **more)


class Bright:
    """The plug-in of the documentation."""

    def find(self, volume: Volume, brain_mask: np.ndarray, settings: ms.Settings, *, others: Any = ()) -> LabelMap:
        return LabelMap(labels=((volume.voxels > 150) & brain_mask).astype(np.uint8), grid=volume.grid)


class Failing:
    def find(self, *_: Any, **__: Any) -> Any:
        raise KeyError("Roe^Jane")


class Wrong:
    def find(self, *_: Any, **__: Any) -> Any:
        return [1, 2]


def test_a_plug_in_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, f"{__name__}:x", "miliary_seg.detectors") for name in ("bright", "failing", "wrong")]
    made = {"bright": Bright, "failing": Failing, "wrong": Wrong()}
    monkeypatch.setattr(EntryPoint, "load", lambda self: made[self.name])
    monkeypatch.setattr("miliary_seg.detectors.registry.entry_points", lambda group: points)
    assert detector_names() == ("miliary-seg", "command", "onnx", "bright", "failing", "wrong")
    lesions = found("bright", ms.Settings())
    assert [lesion.slices for lesion in lesions.lesions] == [(6,), (10,), (8,)]
    assert lesions.source.name == "bright"
    assert lesions.operating_point.measured_recall is None
    with pytest.raises(MiliaryError, match=r"the detector failing failed \(KeyError\)") as caught:
        found("failing", ms.Settings())
    assert "Roe" not in str(caught.value)
    with pytest.raises(InputError, match="returned list"):
        found("wrong", ms.Settings())
    with pytest.raises(SettingsError, match="no detector 'brigh'; did you mean 'bright'"):
        detector("brigh")


PROGRAM = """
import sys, time, nibabel as nib, numpy as np
mode, source, target = sys.argv[1:4]
image = nib.load(source)
values = np.asarray(image.dataobj)
if mode == "fails":
    print("no GPU here"); sys.exit(3)
if mode == "hangs":
    time.sleep(60)
if mode == "other":
    image.affine[:3, 3] += 900
if mode == "folder":
    target = target + "/what_it_likes.nii.gz"
if mode == "both":
    second = np.asarray(nib.load(source.replace("0000", "0001")).dataobj)
    values = np.where(values + second > 250, 0, values)
if mode != "nothing":
    nib.save(nib.Nifti1Image((values > 150).astype(np.uint8), image.affine), target)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "stand_in.py"
    path.write_text(PROGRAM)
    return path


def command(program: Path, mode: str, target: str = "{output}") -> str:
    return f"'{sys.executable}' '{program}' {mode} {{input}} {target}"


@pytest.mark.parametrize("target", ["{output}", "{output_folder}"])
def test_a_program_reads_the_scan_and_writes_its_lesions(program: Path, target: str) -> None:
    mode = "good" if target == "{output}" else "folder"
    lesions = found("command", settings(detector__command=command(program, mode, target)))
    assert np.allclose(sorted(lesion.centroid_ijk for lesion in lesions.lesions), sorted(SPOTS))
    assert lesions.source.text == f"the detector command ({Path(sys.executable).name})"


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        ("fails", MiliaryError, "ended with code 3: ... no GPU here"),
        ("hangs", CaseTimeoutError, "stopped after 0.7 s"),
        ("nothing", InputError, "left no label map"),
        ("other", GeometryError, "outside of the scan"),
    ],
)
def test_programs_that_go_wrong(program: Path, mode: str, error: type[MiliaryError], words: str) -> None:
    limit = 0.7 if mode == "hangs" else 60
    with pytest.raises(error, match=words) as caught:
        found("command", settings(detector__command=command(program, mode), detector__timeout_s=limit))
    assert caught.value.todo


@pytest.mark.parametrize("template", ["", "program", "program {input} {patient}", "program '{input}"])
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(SettingsError):
        found("command", settings(detector__command=template))


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no program 'no_such_program'"):
        found("command", settings(detector__command="no_such_program {input} {output}"))


def test_a_program_may_ask_for_other_sequences(program: Path) -> None:
    flair = scan("flair")
    flair = Volume.from_array(np.where(flair.voxels > 150, 100, flair.voxels), flair.grid.affine, sequence="flair")
    chosen = settings(detector__command=command(program, "both"), detector__channels="scan,t2f")
    volume = scan()
    assert len(found("command", chosen, volume, others=(flair,)).lesions) == 0  # 200 + 100 is more than 250
    with pytest.raises(InputError, match="needs one flair beside the scan, and the study holds 0"):
        found("command", chosen, volume)


def test_channels_on_the_same_grid_are_taken_as_they_are() -> None:
    volume, other = scan(), scan("t2")
    assert [
        c is v.voxels
        for c, v in zip(channels(volume, brain(volume), (other,), ("t2w", "")), (other, volume), strict=True)
    ] == [True, True]


def network(path: Path, *, level: float = 150.0, channels: int = 1) -> Path:
    """(1, channel, i, j, k) -> two classes: the first channel less a level, times 10."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.zeros((2, channels, 1, 1, 1), np.float32)
    kernel[1, 0] = 10
    graph = helper.make_graph(
        [helper.make_node("Conv", ["scan", "kernel", "bias"], ["scores"])],
        "level",
        [helper.make_tensor_value_info("scan", TensorProto.FLOAT, [1, channels, "i", "j", "k"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, "i", "j", "k"])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([0, -10 * level], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


TOML = """
spacing_mm = [1.0, 1.0, 2.0]
patch = [24, 24, 12]
normalisation = "none"
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime")
    path = network(tmp_path / "level.onnx")
    path.with_suffix(".toml").write_text(TOML)
    return path


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAR"])
def test_a_network_finds_what_its_weights_say(model: Path, orientation: str) -> None:
    text = TOML if orientation != "SAR" else TOML.replace("[1.0, 1.0, 2.0]", "[2.0, 1.0, 1.0]")
    model.with_suffix(".toml").write_text(text + f'orientation = "{orientation}"\n')
    lesions = found("onnx", settings(detector__model=str(model)))
    assert np.allclose(sorted(lesion.centroid_ijk for lesion in lesions.lesions), sorted(SPOTS), atol=0.2)
    assert all(lesion.probability > 0.99 for lesion in lesions.lesions)
    assert lesions.source.name == "onnx (level)"
    assert len(lesions.source.sha256) == 64


def test_networks_that_cannot_be_run(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such network"):
        found("onnx", settings(detector__model=str(tmp_path / "none.onnx")))
    for text, words in (
        (TOML.replace("patch", "patches"), "'patches' is unknown"),
        (TOML.replace("patch", "#"), "'patch' is missing"),
        (TOML + 'orientation = "RAX"\n', "orientation cannot be 'RAX'"),
        (TOML + "foreground = [5]\n", "the network returned"),
        (TOML + 'channels = ["t2"]\n', "needs one t2"),
        ("patch = [", "cannot be read"),
    ):
        model.with_suffix(".toml").write_text(text)
        with pytest.raises(MiliaryError, match=words):
            found("onnx", settings(detector__model=str(model)))
    model.write_bytes(b"no network")
    model.with_suffix(".toml").write_text(TOML)
    with pytest.raises(InputError, match="not a network that onnxruntime can run"):
        found("onnx", settings(detector__model=str(model)))


@pytest.mark.parametrize(("shape", "overlap"), [((30, 31, 32), 0.5), ((16, 40, 17), 0.0), ((5, 6, 7), 0.25)])
def test_a_sliding_window_of_an_identity_is_the_identity(shape: tuple[int, ...], overlap: float) -> None:
    inputs = np.random.default_rng(1).random((1, *shape), dtype=np.float32)
    chosen = NetworkSettings(spacing_mm=(1, 1, 1), patch=(16, 16, 16), overlap=overlap)
    out = sliding_window(lambda patch: patch[0], inputs, chosen)
    assert out.shape == shape
    assert np.allclose(out, inputs[0], atol=1e-6)


def test_a_sliding_window_tells_how_far_it_is() -> None:
    seen: list[tuple[str, int, int]] = []
    chosen = NetworkSettings(spacing_mm=(1, 1, 1), patch=(16, 16, 16), overlap=0.5)
    with watching(lambda *step: seen.append(step)):
        sliding_window(lambda patch: patch[0], np.zeros((1, 16, 16, 32), np.float32), chosen)
    assert seen == [("detect", n, 3) for n in (1, 2, 3)]
    sliding_window(lambda patch: patch[0], np.zeros((1, 16, 16, 16), np.float32), chosen)
    assert len(seen) == 3


def test_the_middle_of_a_patch_weighs_more_than_its_edge() -> None:
    chosen = NetworkSettings(spacing_mm=(1, 1, 1), patch=(16, 16, 16), overlap=0.5)
    seen: list[int] = []

    def number(patch: np.ndarray) -> np.ndarray:
        seen.append(len(seen))
        return np.full(patch.shape[1:], float(seen[-1]), np.float32)

    out = sliding_window(number, np.zeros((1, 16, 16, 24), np.float32), chosen)
    assert out[8, 8, 8] < 0.05
    assert out[8, 8, 16] > 0.95
    assert 0.2 < out[8, 8, 12] < 0.8


def test_the_grid_of_a_network_holds_the_brain_in_its_own_orientation() -> None:
    volume = scan()
    chosen = NetworkSettings(spacing_mm=(1.5, 1.0, 2.0), patch=(8, 8, 8), orientation="LPS")
    grid = work_grid(volume.grid, brain(volume), chosen)
    assert grid.orientation == "LPS"
    assert np.allclose(grid.spacing_mm, (1.5, 1.0, 2.0))
    ijk = grid.to_ijk(volume.grid.to_ras_mm(np.argwhere(brain(volume))))
    assert ijk.min() > 4
    assert (ijk < np.array(grid.shape) - 4).all()


def test_two_detectors_are_compared(small_phantom: Any, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from miliary_seg.domain.volume import Study

    truth = small_phantom.labels.labels.copy()
    truth[truth == 1] = 0
    study = Study(case="a", volumes=(small_phantom.volume,))
    chosen = ms.Settings().updated({"detector.names": "miliary-seg"})
    result = ms.analyze(study, chosen, lesions=LabelMap(labels=truth, grid=small_phantom.volume.grid))
    series = result.series[0]
    assert len(series.lesions) == 11
    (other,) = series.comparisons
    assert other.second.name == "miliary-seg"
    assert other.first.format == "array"
    assert len(other.both) >= 8
    assert len(other.both) + len(other.only_first) == 11
    assert len(other.both) + len(other.only_second) == len(other.lesions)
    ours = ms.analyze(study)
    assert other.decision == ours.series[0].decision
