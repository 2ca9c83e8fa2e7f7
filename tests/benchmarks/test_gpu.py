"""The script for a GPU, tried on the CPU: its cells, rows and errors, the time it keeps, and its command."""

import csv
import json

import keras
import pytest
import tensorflow as tf

from benchmarks import gpu, gpu_cells, gpu_machine
from benchmarks.gpu_cells import LayerCell, NetworkCell, Settings, layer_cells, network_cells
from benchmarks.layers import LAYERS
from benchmarks.twins import chosen_twins
from condconv_keras.utils.errors import UserError
from tests import processes

CONV = ("3x3 4x4x2 n2", "conv", 4, 2, 3, 3, 1, 2)
DEPTHWISE = ("dw 3x3 4x4x2 n2", "depthwise", 4, 2, 2, 3, 1, 2)
ANY_FORM = {"plain", "mixture", "dense", "mapped_conv", "grouped_conv"}
CONV_FORMS = ANY_FORM | {"batched_matmul", "mixture_matmul", "mixture_conv"}
PRECISIONS = ["float32", "mixed_bfloat16"]


def out_of_memory():
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith shape[9]")


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def network(outputs):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(outputs)(x))


def test_every_cell_once():
    cells = layer_cells(LAYERS, [32, 1, 128], PRECISIONS)
    assert len(cells) == len(set(cells)) == len(LAYERS) * 3 * 2 * 2
    cells = network_cells(chosen_twins(None), [64, 1], PRECISIONS)
    assert len(cells) == len(set(cells)) == 10 * 2 * 2 * 2 * 2


def test_the_first_cells_are_of_every_kind():
    cells = layer_cells(LAYERS, [32, 1, 128], PRECISIONS)
    first = cells[: len(cells) // 3]
    assert {cell[1:] for cell in first} == {cell[1:] for cell in cells}
    kinds_and_sizes = {layer[1:3] for layer in LAYERS}
    assert len(kinds_and_sizes & {cell.layer[1:3] for cell in first}) >= len(kinds_and_sizes) - 1
    # The first batch size and precision of a layer come first, forward and gradient.
    assert [cell[1:] for cell in first[:2]] == [(32, "float32", "forward"), (32, "float32", "gradient")]
    cells = network_cells(chosen_twins(None), [64, 1], PRECISIONS)
    first = cells[: len(cells) // 3]
    assert {cell[1:] for cell in first} == {cell[1:] for cell in cells}
    # The cells of a pair follow each other: it is built once for them.
    assert len({cell.model for cell in first[:4]}) == 1


@pytest.mark.parametrize(
    ("layer", "batch", "way", "precision", "forms"),
    [
        (CONV, 2, "forward", "float32", CONV_FORMS),
        (CONV, 1, "gradient", "mixed_bfloat16", CONV_FORMS | {"single_conv"}),
        (DEPTHWISE, 2, "gradient", "float32", ANY_FORM | {"shifted_taps"}),
    ],
)
def test_a_row_for_every_form(layer, batch, way, precision, forms):
    cell = LayerCell(layer, batch, precision, way)
    rows = gpu.measured_rows(cell, Settings(rounds=3))
    assert keras.config.dtype_policy().name == "float32"
    assert len(rows) == len(forms) and {row["form"] for row in rows} == forms
    assert all(row.keys() == set(cell.columns) and row["error"] is None for row in rows)
    assert {(row["layer"], row["batch"], row["precision"], row["way"]) for row in rows} == {(layer[0], *cell[1:])}
    plain, *others = rows
    assert plain["form"] == "plain" and plain["ratio"] == 1 and not plain["selected"] and not plain["fastest"]
    for row in others:
        assert row["ratio"] == pytest.approx(row["ms"] / plain["ms"], rel=0.01)
    # Rounded times may be equal.
    (fastest,) = (row for row in others if row["fastest"])
    assert fastest["ms"] == min(row["ms"] for row in others)
    assert sum(row["selected"] for row in others) == 1
    line = cell.describe(rows)
    assert line.count("*") == 1 and line.count("\n") == 0


def test_times_are_those_of_one_application(monkeypatch):
    applied, times = [], {"plain": [0.004, 0.016, 0.008], "mixture": [0.016, 0.008, 0.024]}

    def layer_calls(layer, batch, applications):
        applied.append(applications)
        return dict.fromkeys(times, (None, None)), ["dense", "mixture"]

    monkeypatch.setattr(gpu_cells, "layer_calls", layer_calls)
    monkeypatch.setattr(gpu_cells, "timed_or_failed", lambda *arguments: (times, {}))
    plain, mixture = LayerCell(CONV, 2, "float32", "gradient").measure(Settings(rounds=3))
    assert applied == [4]
    assert (plain["ms"], mixture["ms"]) == (2, 4)
    # Ratios within the rounds 4, 0.5 and 3; the exclusive quartiles of three values are the ends.
    assert (mixture["ratio"], mixture["ratio_low"], mixture["ratio_high"]) == (2, 0.5, 4)
    assert mixture["selected"] and mixture["fastest"]


def test_a_form_that_fails_is_a_row_with_its_error(monkeypatch):
    works = (lambda: None, lambda: None)
    calls = {"plain": works, "mixture": (out_of_memory, out_of_memory), "dense": works}
    monkeypatch.setattr(gpu_cells, "layer_calls", lambda *arguments: (calls, ["mixture", "dense"]))
    cell = LayerCell(CONV, 2, "float32", "forward")
    plain, mixture, dense = cell.measure(Settings(rounds=3))
    assert plain["error"] is None and plain["ms"] > 0
    assert mixture["error"] == "ResourceExhaustedError: OOM when allocating tensor with shape[9]"
    assert mixture["selected"] and not mixture["fastest"] and "ms" not in mixture
    assert dense["fastest"] and dense["ratio"] > 0
    assert "mixture failed*" in cell.describe([plain, mixture, dense])
    calls["plain"] = calls["mixture"]
    plain, mixture, dense = cell.measure(Settings(rounds=3))
    assert plain["error"] == mixture["error"] and dense["ms"] > 0 and "ratio" not in dense
    assert f"plain failed  mixture failed*  dense {dense['ms']} ms" in cell.describe([plain, mixture, dense])


@pytest.mark.parametrize("work", ["training", "inference"])
def test_a_row_for_every_network(monkeypatch, work):
    built = []
    monkeypatch.setattr(gpu_cells, "build_pair", lambda *arguments: built.append(arguments) or [network(5), network(7)])
    settings = Settings(rounds=3, input_size=8)
    for jit_compile in (False, True):
        cell = NetworkCell("condconv_toy", work, 2, "float32", jit_compile)
        (row,) = gpu.measured_rows(cell, settings)
        assert row.keys() == set(cell.columns)
        assert row["plain_error"] is None and row["condconv_error"] is None
        assert row["ratio"] == pytest.approx(row["condconv_ms"] / row["plain_ms"], rel=0.01)
        assert row["ratio_low"] <= row["ratio_high"]
        assert (row["model"], row["work"], row["jit_compile"]) == ("condconv_toy", work, jit_compile)
    assert built == [("condconv_toy", 8)]


def test_a_network_that_fails_keeps_the_time_of_the_other(monkeypatch):
    monkeypatch.setattr(gpu_cells, "build_pair", lambda *arguments: ["plain", "twin"])
    calls = {"plain": lambda: None, "twin": out_of_memory}
    monkeypatch.setattr(gpu_cells, "make_call", lambda work, network, *arguments: calls[network])
    cell = NetworkCell("condconv_toy", "training", 64, "float32", True)
    (row,) = cell.measure(Settings(rounds=3))
    assert row["plain_ms"] > 0 and row["plain_error"] is None
    assert row["condconv_ms"] is None and row["condconv_error"].startswith("ResourceExhaustedError: OOM")
    assert "CondConv failed" in cell.describe([row])


class Unbuildable(LayerCell):
    """A cell that has no memory for its layers."""

    def measure(self, settings):
        out_of_memory()


def test_a_run_goes_on_after_a_cell_that_fails(tmp_path):
    cells = [Unbuildable(CONV, 128, "float32", "forward"), LayerCell(DEPTHWISE, 2, "float32", "forward")]
    counts = gpu.run([cells], 600, tmp_path, Settings(rounds=3))
    assert counts == {"measured": 2, "with_errors": 1, "left": 0}
    failed, *others = rows_of(tmp_path / "layers.csv")
    assert (failed["layer"], failed["batch"], failed["form"]) == (CONV[0], "128", "")
    assert failed["error"] == "ResourceExhaustedError: OOM when allocating tensor with shape[9]"
    assert len(others) == 6 and all(row["error"] == "" for row in others)
    failed = NetworkCell("condconv_toy", "training", 64, "float32", True).failed("MemoryError")
    assert failed["plain_error"] == failed["condconv_error"] == "MemoryError"


def test_rows_are_written_as_soon_as_they_are_measured(tmp_path):
    """A run that is killed leaves the rows so far."""

    class Killed(LayerCell):
        def measure(self, settings):
            raise KeyboardInterrupt

    cells = [LayerCell(DEPTHWISE, 2, "float32", "forward"), Killed(CONV, 2, "float32", "forward")]
    with pytest.raises(KeyboardInterrupt):
        gpu.run([cells], 600, tmp_path, Settings(rounds=3))
    assert len(rows_of(tmp_path / "layers.csv")) == 6


def test_a_machine_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(UserError, match="TensorFlow sees no GPU here; --cpu tries the script on the CPU"):
        gpu_machine.choose_device(on_cpu=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    gpu_machine.choose_device(on_cpu=False)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\n", "550.54.15"),
        (None, None),
    ],
)
def test_the_version_of_the_driver(tmp_path, monkeypatch, text, version):
    if text:
        (tmp_path / "version").write_text(text)
    monkeypatch.setattr(gpu_machine, "_KERNEL_MODULE", tmp_path / "version")
    monkeypatch.setattr(gpu_machine, "_QUERY", [str(tmp_path / "no_program")])
    assert gpu_machine._driver() == version


def test_the_command_on_the_cpu(tmp_path):
    folder = tmp_path / "measured"
    arguments = ("--cpu", "--parts=layers", "--only=dw 3x3 2x2", "--batch=1", "--precision=float32", "--rounds=3")
    finished = processes.run("-m", "benchmarks.gpu", f"--output_dir={folder}", *arguments)
    rows = rows_of(folder / "layers.csv")
    assert len(rows) == 2 * 7 and {row["form"] for row in rows} == ANY_FORM | {"single_conv", "shifted_taps"}
    assert all(float(row["ms"]) > 0 for row in rows)
    assert sum(row["selected"] == "True" for row in rows) == 2
    printed, *lines, last = finished.stdout.splitlines()
    assert len(lines) == 2
    assert last.startswith("gpu: 2 cells measured, 0 left, after ")
    facts = json.loads(printed)
    assert facts["gpus"] == [] and facts["tensorflow"] == tf.__version__
    stored = json.loads((folder / "machine.json").read_text())
    assert stored == facts | {"measured": 2, "with_errors": 0, "left": 0}
    assert sorted(path.name for path in folder.iterdir()) == ["layers.csv", "machine.json"]
    processes.assert_refused("-m", "benchmarks.gpu", f"--output_dir={folder}", contains="is not an empty folder")


def test_no_time_is_no_cell(tmp_path):
    arguments = ("--cpu", "--minutes=0", "--only=dw 3x3 2x2", "--networks=condconv_resnet50", "--batch=1,2")
    finished = processes.run("-m", "benchmarks.gpu", f"--output_dir={tmp_path}", *arguments)
    # Two batch sizes, two precisions, two ways; of the network two batch sizes, precisions, works and settings of XLA.
    assert finished.stdout.splitlines()[-1].startswith("gpu: 0 cells measured, 24 left, after 0.")
    assert [path.name for path in tmp_path.iterdir()] == ["machine.json"]


@pytest.mark.parametrize(
    ("flag", "contains"),
    [
        ("--only=7x9", "--only expects a part of a layer's name, received: 7x9"),
        ("--networks=mobilenet_v1", "unknown CondConv model 'mobilenet_v1'"),
        ("--batch=0", "--batch expects batch sizes, received: 0"),
        ("--network_batch=a", "--network_batch expects batch sizes, received: a"),
        ("--precision=float8", "unknown precision 'float8'"),
        ("--precision=", "--precision expects some of float32"),
        ("--parts=phones", "unknown part 'phones'"),
        ("--parts=", "--parts expects some of layers, networks, received none"),
        ("--minutes=-1", "--minutes"),
        ("more", "expected flags only, received: more"),
        ("--output_dir=/dev/null", "--output_dir '/dev/null' exists and is not an empty folder"),
    ],
)
def test_bad_flags_are_refused_at_once(tmp_path, flag, contains):
    environment = processes.without_frameworks(tmp_path)
    arguments = ("-m", "benchmarks.gpu", f"--output_dir={tmp_path / 'measured'}", flag)
    processes.assert_refused(*arguments, contains=contains, **environment)
    assert not (tmp_path / "measured").exists()


def test_the_folder_is_required(tmp_path):
    environment = processes.without_frameworks(tmp_path)
    processes.assert_refused("-m", "benchmarks.gpu", contains="--output_dir", **environment)
