"""The table of formats, and what a row of it alone brings: a format that this library does not have."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from condconv_keras.commands import export as command
from condconv_keras.commands import export_flags, export_uses
from condconv_keras.commands.export_flags import chosen_formats
from condconv_keras.commands.export_uses import check_uses
from condconv_keras.export import formats
from condconv_keras.export.check.export_check import ExportCheck
from condconv_keras.export.format import ExportFormat, WriteOptions
from condconv_keras.export.formats import FORMATS, SAVED_MODEL, TFLITE, variants
from condconv_keras.stored.registered import Untrained
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError
from tests.export.test_main import parsed  # noqa: F401 - a fixture

UNTRAINED = Untrained("condconv_mobilenet_v1")


class WeightsNpz(ExportFormat):
    """The weights as a NumPy archive, in the order of `model.get_weights()`."""

    flags = ("static_kernels",)

    def write(self, path, model, card, options):
        np.savez(path, *model.get_weights())

    def predictor(self, path, model, card, threads=None):
        twin = keras.models.clone_model(model)
        with np.load(path) as file:
            twin.set_weights([file[name] for name in file.files])
        return get_task(card.task).keras_predict(twin, card)


class HalvedNpz(WeightsNpz):
    """The weights of half the size in every number."""

    def write(self, path, model, card, options):
        np.savez(path, *(w / 2 if w.ndim > 1 else w for w in model.get_weights()))


class NanNpz(WeightsNpz):
    """The weights, a diverged training's."""

    def write(self, path, model, card, options):
        np.savez(path, *(w * np.nan for w in model.get_weights()))


NPZ = WeightsNpz("weights_npz", "weights.npz", max_relative_error=1e-4)


@pytest.fixture
def with_row(monkeypatch):
    """A function that appends rows to the table."""

    def append(*rows):
        for module in (formats, export_flags, export_uses):
            monkeypatch.setattr(module, "FORMATS", (*FORMATS, *rows))

    return append


@pytest.fixture
def export(parsed, monkeypatch):  # noqa: F811
    """A function of arguments that exports a small untrained classifier in this process and returns the result."""

    def run(*arguments, code=0):
        model = ("--model=condconv_mobilenet_v1", "--width_multiplier=0.1", "--num_experts=2", "--input_size=32")
        monkeypatch.setattr(command, "FLAGS", parsed("--json", *model, *arguments))
        text, received = command.main(["export"])
        assert received == code
        return json.loads(text)

    return run


def test_no_two_rows_share_a_choice_or_a_place():
    choices = [(file_format.name, file_format.quantization) for file_format in FORMATS]
    assert choices == [("savedmodel", None), *(("tflite", q) for q in ("none", "float16", "dynamic", "int8"))]
    assert [each.file_name for each in FORMATS] == [
        "saved_model", "model.tflite", "model_float16.tflite", "model_dynamic.tflite", "model_int8.tflite",
    ]  # fmt: skip
    assert variants("savedmodel") == {None: SAVED_MODEL}
    assert list(TFLITE) == ["none", "float16", "dynamic", "int8"]


def test_how_near_each_file_has_to_be():
    names = ("max_relative_error", "min_snr_db", "min_trained_snr_db", "weights_dtype")
    assert [tuple(getattr(each, name) for name in names) for each in FORMATS] == [
        (1e-4, None, None, None),
        (1e-4, None, None, None),
        (None, 60.0, 40.0, "float16"),
        (None, 20.0, 10.0, None),
        (None, 20.0, 10.0, None),
    ]


def test_a_format_has_one_threshold():
    for thresholds in ({}, {"max_relative_error": 1e-4, "min_snr_db": 20.0}):
        with pytest.raises(ValueError, match="one of `max_relative_error` and `min_snr_db`"):
            WeightsNpz("weights_npz", "weights.npz", **thresholds)


def test_a_row_is_all_that_the_flags_need(with_row, parsed):  # noqa: F811
    assert chosen_formats(parsed()) == [SAVED_MODEL, TFLITE["none"]]
    with pytest.raises(UserError, match="unknown format 'weights_npz'"):
        chosen_formats(parsed("--formats=weights_npz"))
    with_row(NPZ)
    assert chosen_formats(parsed()) == [SAVED_MODEL, TFLITE["none"]]
    assert chosen_formats(parsed("--formats=weights_npz,savedmodel")) == [SAVED_MODEL, NPZ]
    assert "of savedmodel, tflite, weights_npz." in parsed()["formats"].help
    values = parsed("--formats=weights_npz", "--static_kernels")
    check_uses(values, chosen_formats(values), UNTRAINED)
    for arguments, message in (
        (["--formats=savedmodel", "--static_kernels"], "--static_kernels is for --formats=tflite,weights_npz"),
        (["--formats=weights_npz", "--quantization=none"], "--quantization is for --formats=tflite"),
        (["--formats=weights_npz", "--int8_input=int8"], "is for --formats=tflite with --quantization=int8"),
    ):
        values = parsed(*arguments)
        with pytest.raises(UserError, match=f"{message}$"):
            check_uses(values, chosen_formats(values), UNTRAINED)


def test_a_row_of_another_quantization(with_row, parsed):  # noqa: F811
    row = dataclasses.replace(NPZ, quantization="int4", summary="half a byte")
    with_row(row)
    assert chosen_formats(parsed("--formats=weights_npz", "--quantization=int4")) == [row]
    assert "int8 (int8 weights and activations), int4 (half a byte)." in parsed()["quantization"].help
    with pytest.raises(UserError, match="unknown quantization of --formats=tflite 'int4'"):
        chosen_formats(parsed("--formats=tflite", "--quantization=int4"))


@pytest.mark.slow
def test_a_format_of_ones_own_is_written_and_checked(with_row, export, tmp_path):
    with_row(NPZ)
    results = export(f"--output_dir={tmp_path / 'out'}", "--formats=weights_npz")
    (file,) = results["files"]
    path = tmp_path / "out/weights.npz"
    assert {name: file[name] for name in ("file", "quantization", "input", "bytes", "images", "same_class")} == {
        "file": "weights.npz", "quantization": None, "input": {"dtype": "float32", "batch": None},
        "bytes": path.stat().st_size, "images": 16, "same_class": 16,
    }  # fmt: skip
    assert json.loads((tmp_path / "out/model.json").read_text())["files"] == results["files"]
    assert {each.name for each in path.parent.iterdir()} == {"weights.npz", "model.json", "labels.txt"}


def test_a_format_of_ones_own_that_loses_the_weights_leaves_nothing(with_row, export, tmp_path):
    with_row(HalvedNpz("weights_npz", "weights.npz", max_relative_error=1e-4))
    with pytest.raises(UserError, match=r"weights\.npz differs from the Keras model: relative err.*; nothing is wri"):
        export(f"--output_dir={tmp_path / 'out'}", "--formats=weights_npz")
    assert not list(tmp_path.iterdir())


def test_a_format_that_passes_is_kept_beside_those_that_do_not(with_row, export, tmp_path, capsys):
    halved = HalvedNpz("halved_npz", "halved.npz", min_snr_db=20.0)
    with_row(halved, NPZ, NanNpz("nan_npz", "nan.npz", max_relative_error=1e-4))
    results = export(f"--output_dir={tmp_path / 'out'}", "--formats=halved_npz,weights_npz,nan_npz", code=1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"weights.npz", "model.json", "labels.txt"}
    facts = json.loads((tmp_path / "out/model.json").read_text())
    assert (facts["files"], facts["refused"]) == (results["files"], results["refused"])
    assert [file["file"] for file in facts["files"]] == ["weights.npz"]
    of_halved, of_nan = facts["refused"]
    assert (of_halved["file"], of_nan["file"]) == ("halved.npz", "nan.npz")
    assert 0 < of_halved["snr_db"] < 20
    assert of_halved["reason"].startswith(
        f"halved.npz differs from the Keras model: SNR {of_halved['snr_db']:.1f} dB (at least 20)"
    )
    assert of_halved["reason"].endswith("random weights may be too sensitive to rounding: try another `seed`")
    # JSON has no infinity.
    assert (of_nan["relative_error"], of_nan["snr_db"]) == (None, None)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: {each['reason']}" for each in (of_halved, of_nan)]


def test_a_format_of_classifiers_refuses_a_detector(detector, detector_images, tmp_path):
    model, card = detector
    NPZ.write(tmp_path / "weights.npz", model, card, WriteOptions())
    with pytest.raises(UserError, match="the format 'weights_npz' is not for a detector"):
        ExportCheck(model, card, detector_images)(tmp_path / "weights.npz", NPZ)
