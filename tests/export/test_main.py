import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
from absl import flags

from condconv_keras.commands import export as command
from condconv_keras.commands.export_flags import chosen_formats, define_flags
from condconv_keras.commands.export_uses import check_uses
from condconv_keras.data import Preprocessing
from condconv_keras.export import folder
from condconv_keras.export.budget import Budget
from condconv_keras.export.check import export_check
from condconv_keras.export.check.representative import Photographs, check_images
from condconv_keras.export.formats import TFLITE
from condconv_keras.export.saved_model import writing
from condconv_keras.export.tflite import conversion
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.pretrained import create_model
from condconv_keras.stored import StoredModel
from condconv_keras.stored.registered import Published, Untrained
from condconv_keras.tasks.classification import answers
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.softmax import softmax
from tests import processes
from tests.heads import CARD, HEADS, IMAGES, LOGITS_OF_IMAGES, model_with
from tests.images import write_digit_folder
from tests.seeds import set_seed


@pytest.fixture
def parsed():
    """A function of arguments that returns the parsed flags of an export."""

    def parse(*arguments):
        values = flags.FlagValues()
        define_flags(values)
        values(["export", "--model=m", "--output_dir=o", *arguments])
        return values

    return parse


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small CondConv model without a data set of its own."""
    set_seed(0)
    model = create_model(
        "condconv_mobilenet_v1", width_multiplier=0.1, num_experts=2, input_shape=(32, 32, 1), classes=10
    )
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    card = ModelCard("condconv_mobilenet_v1", tuple("0123456789"), Preprocessing((32, 32), 1, 127.5, 127.5))
    save_model(model, card, path)
    return path


def test_the_files_that_are_written(parsed):
    names = lambda *arguments: [each.file_name for each in chosen_formats(parsed(*arguments))]  # noqa: E731
    assert names() == ["saved_model", "model.tflite"]
    assert names("--formats=savedmodel") == ["saved_model"]
    assert names("--formats=tflite", "--quantization=int8,dynamic,int8,none,float16") == [
        "model_int8.tflite",
        "model_dynamic.tflite",
        "model.tflite",
        "model_float16.tflite",
    ]
    assert names("--formats=web") == ["model_dynamic.tflite"]
    assert names("--formats=savedmodel,web,tflite") == ["saved_model", "model_dynamic.tflite"]
    assert names("--formats=web", "--web_quantization=int8") == ["model_int8.tflite"]
    assert names("--formats=web", "--quantization=none,int8") == ["model.tflite", "model_int8.tflite"]
    for wrong in ("--formats=onnx", "--quantization=int4", "--quantization="):
        with pytest.raises(UserError, match=r"unknown (format|quantization)|must name at least one"):
            names(wrong)


def test_the_number_of_images_has_limits(parsed):
    assert parsed().batch_size == 1
    for wrong in (0, 257):
        with pytest.raises(flags.IllegalFlagValueError, match=r"not an integer in the range \[1, 256\]"):
            parsed(f"--batch_size={wrong}")


UNTRAINED = Untrained("condconv_mobilenet_v1")
PLAIN = Untrained("mobilenet_v1")
KERAS = types.SimpleNamespace(config=None, is_trained=True, is_plain=False, task="classification")  # as of a file
DETECTOR = Untrained("condconv_ssd300_mobilenet_v1")
WEB = ("--formats=web",)


@pytest.mark.parametrize(
    ("source", "arguments", "contains"),
    [
        (KERAS, ["--formats=savedmodel", "--quantization=none"], "--quantization is for --formats=tflite"),
        (KERAS, ["--formats=savedmodel", "--static_kernels"], "--static_kernels is for --formats=tflite"),
        (KERAS, ["--int8_input=int8"], "--int8_input is for --formats=tflite with --quantization=int8"),
        (KERAS, ["--formats=savedmodel", "--batch_size=8"], "--batch_size is for --formats=tflite"),
        (DETECTOR, ["--metadata"], "--metadata is for classifiers"),
        (KERAS, ["--metadata", "--formats=savedmodel"], "--metadata is for --formats=tflite"),
        (KERAS, ["--metadata", "--batch_size=2"], "--metadata is for files of one image"),
        (KERAS, ["--metadata", "--quantization=int8", "--int8_input=int8"], "not for --int8_input=int8"),
        (DETECTOR, ["--batch_size=2"], "--batch_size above 1 takes --raw_outputs for a detector: the non-maximum supp"),
        (KERAS, ["--representative_data=digits", "--quantization=float16"], "--representative_data is for"),
        (KERAS, ["--float_bytes=0", "--quantization=none"], "--float_bytes is for"),
        (UNTRAINED, ["--float_multiply_adds=0.1", "--quantization=int8"], "--float_multiply_adds is for a trained"),
        (PLAIN, ["--num_experts=2"], "--num_experts is for CondConv models, this one is plain"),
        (PLAIN, ["--static_kernels"], "--static_kernels is for CondConv models, this one is plain"),
        (PLAIN, ["--routing_outputs"], "--routing_outputs is for CondConv models, this one is plain"),
        (KERAS, ["--routing_outputs", "--formats=savedmodel"], "--routing_outputs is for --formats=tflite"),
        (KERAS, ["--routing_outputs", "--metadata"], "--metadata is for files with one output"),
        (KERAS, ["--web_quantization=int8"], "--web_quantization is for --formats=web"),
        (KERAS, ["--litertjs=x"], "--litertjs is for --formats=web"),
        (KERAS, [*WEB, "--quantization=none,int8", "--web_quantization=dynamic"], "--quantization lists others"),
        (KERAS, [*WEB, "--batch_size=2"], "--batch_size is 1 for --formats=web"),
        (KERAS, [*WEB, "--quantization=int8", "--int8_input=int8"], "--int8_input is uint8 for --formats=web"),
        (DETECTOR, [*WEB, "--raw_outputs"], "--raw_outputs is not for --formats=web"),
        (KERAS, ["--data_dir=x"], "--data_dir is for --dataset"),
        (KERAS, ["--validation_fraction=0.5"], "--validation_fraction is for --dataset"),
        (KERAS, ["--skip_bad_images"], "--skip_bad_images is for --dataset"),
        (KERAS, ["--nocheck_images"], "--check_images is for --dataset"),
        (KERAS, ["--check_examples=5"], "--check_examples is for a trained model"),
        (UNTRAINED, ["--check_examples=5", "--dataset=digits"], "--check_examples is for a trained model"),
    ],
)
def test_a_flag_that_would_be_ignored_is_refused(parsed, source, arguments, contains):
    values = parsed(*arguments)
    with pytest.raises(UserError, match=contains):
        check_uses(values, chosen_formats(values), source)


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        (KERAS, ["--quantization=int8", "--int8_input=int8", "--representative_data=x", "--data_dir=d"]),
        (
            KERAS,
            ["--static_kernels", "--nojson", "--dataset=digits", "--check_examples=5", "--validation_fraction=0.5"],
        ),
        (UNTRAINED, ["--num_experts=2", "--width_multiplier=0.5", "--input_size=32", "--seed=0", "--static_kernels"]),
        (PLAIN, ["--nostatic_kernels", "--norouting_outputs", "--formats=savedmodel"]),
        (KERAS, ["--batch_size=256"]),
        (KERAS, ["--metadata", "--quantization=int8", "--batch_size=1", "--int8_input=uint8"]),
        (KERAS, ["--routing_outputs", "--quantization=int8", "--batch_size=2"]),
        (KERAS, ["--norouting_outputs", *WEB, "--litertjs=x"]),
        (KERAS, [*WEB, "--quantization=none,int8", "--web_quantization=int8", "--int8_input=uint8"]),
        (KERAS, [*WEB, "--web_quantization=int8", "--representative_data=x", "--metadata"]),
        (DETECTOR, ["--nometadata"]),
        (DETECTOR, ["--batch_size=1"]),
        (DETECTOR, ["--batch_size=2", "--raw_outputs"]),
        (Published("condconv_efficientnet_b0"), ["--num_experts=8"]),
    ],
)
def test_a_flag_that_is_used_is_taken(parsed, source, arguments):
    values = parsed(*arguments)
    check_uses(values, chosen_formats(values), source)


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["--model=mobilenet_v9"], "unknown model 'mobilenet_v9'. Did you mean"),
        (["--model=mobilenet_v1", "--int8_input=uint16"], "uint16"),
        (["--model=mobilenet_v1", "--static_kernels"], "this one is plain"),
        (["--model=mobilenet_v1", "--quantization=int8", "--representative_data={empty}"], "has no image"),
        (["--model={saved}", "--input_size=32"], "--input_size is for registered models"),
        (
            ["--model=mobilenet_v1", "--weights=imagenet", "--seed=1"],
            "--seed is for registered models without",
        ),
        (["--model={saved}", "--dataset={empty}"], "expected one folder of images per class"),
    ],
)
def test_wrong_flags_are_one_line_at_once(saved, tmp_path, arguments, contains):
    (tmp_path / "empty").mkdir()
    arguments = [argument.format(empty=tmp_path / "empty", saved=saved) for argument in arguments]
    without = processes.without_frameworks(tmp_path)
    processes.assert_refused("-m", "export", f"--output_dir={tmp_path}/out", *arguments, contains=contains, **without)
    assert not (tmp_path / "out").exists()


def test_model_json_says_all_of_the_files(trained_run, exported):
    facts = json.loads((exported / "model.json").read_text())
    _, card = load_keras_file(trained_run / "model.keras")
    assert card.returns == "logits"
    names = ("model", "task", "class_names", "returns", "preprocessing")
    of_files = dataclasses.replace(card, returns="probabilities")
    assert {name: facts[name] for name in names} == json.loads(of_files.to_json())
    assert facts["input"] == {"name": "images", "shape": [64, 64, 1], "range": [0, 255], "scaled_inside": True}
    assert facts["source"]["sha256"] == hashlib.sha256((trained_run / "model.keras").read_bytes()).hexdigest()
    assert {"condconv-keras", "tensorflow", "ai-edge-litert"} <= facts["versions"].keys()
    assert (exported / "saved_model/assets.extra/model.json").read_text() == (exported / "model.json").read_text()
    written = {path.name for path in exported.iterdir()} - {"model.json", "labels.txt"}
    assert {file["file"] for file in facts["files"]} == written
    listed = "find . -type f -not -path './assets.extra/*' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    for file in facts["files"]:
        path = exported / file["file"]
        if path.is_dir():
            printed = subprocess.run(listed, shell=True, cwd=path, capture_output=True, text=True, check=True)
            assert printed.stdout.split()[0] == file["sha256"]
        else:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
            assert path.stat().st_size == file["bytes"]
        assert (file["images"], file["examples"]) == (16, 360)
        assert file["keras_top_1"] - file["top_1"] <= 0.01
        assert StoredModel.open(path).predictor().card == dataclasses.replace(card, returns="probabilities")
    assert facts["refused"] == []


@pytest.fixture
def export(parsed, monkeypatch):
    """A function of arguments that runs the command in this process and returns its JSON result."""

    def run(*arguments):
        monkeypatch.setattr(command, "FLAGS", parsed("--json", *arguments))
        text, code = command.main(["export"])
        assert code == 0
        return json.loads(text)

    return run


@pytest.mark.slow
def test_a_file_that_differs_leaves_nothing(export, saved, tmp_path, monkeypatch):
    write = writing.write_saved_model

    def write_swapped(model, card, path):
        bank = model.get_layer("block_13_pointwise").bank
        experts = np.asarray(bank)
        bank.assign(experts[::-1] * 3)
        write(model, card, path)
        bank.assign(experts)

    monkeypatch.setattr(writing, "write_saved_model", write_swapped)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"saved_model differs from the Keras model: relative error.*; nothing is writ"):
        export(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", "--formats=savedmodel")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not list((tmp_path / "out").iterdir())


def _uniform(images):
    return np.full((len(images), 10), 0.1, np.float32)


def test_a_refused_file_comes_with_advice(export, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "compare", lambda *compared: answers.Comparison(16, 1.0, 3.0, 16, 0.0))
    # What is compared does not matter, nor does the file.
    monkeypatch.setattr(conversion, "tflite_bytes", lambda *arguments, **options: b"")
    monkeypatch.setattr(type(TFLITE["int8"]), "predictor", lambda *arguments, **options: _uniform)
    options = [f"--output_dir={tmp_path / 'out'}", "--formats=tflite", "--quantization=int8"]
    with pytest.raises(UserError, match=r"SNR 3\.0 dB .*; int8 was calibrated on 128 images: are they like"):
        export(f"--model={saved}", *options)
    with pytest.raises(UserError, match=r"SNR 3\.0 dB .*; random weights may be too sensitive .*: try another `seed`"):
        export("--model=mobilenet_v1", "--width_multiplier=0.1", "--input_size=32", *options)


@pytest.mark.slow
def test_a_trained_model_without_data_is_warned_of(export, saved, tmp_path, capsys):
    export(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", "--formats=savedmodel")
    assert "warning: the files are not compared by their accuracy" in capsys.readouterr().err


def test_class_names_that_a_list_cannot_hold_are_refused_at_once(export, saved, tmp_path):
    model, card = load_keras_file(saved)
    path = tmp_path / "model.keras"
    save_model(model, dataclasses.replace(card, class_names=("two\nlines", *card.class_names[1:])), path)
    with pytest.raises(UserError, match="expected class names of one line, class 0 has the name 'two"):
        export(f"--model={path}", f"--output_dir={tmp_path / 'out'}", "--formats=tflite")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.slow
def test_a_terminated_export_leaves_nothing(saved, tmp_path):
    command = [sys.executable, "-m", "export", f"--model={saved}", f"--output_dir={tmp_path / 'out'}"]
    with subprocess.Popen(command, cwd=processes.ROOT, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("writing"):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
    assert process.returncode == 143
    assert "terminated (SIGTERM)" in rest and "Traceback" not in rest
    assert not list(tmp_path.iterdir())


def test_a_file_that_litert_refuses_leaves_nothing(export, saved, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "tflite_bytes", lambda *arguments, **options: b"no model")
    with pytest.raises(UserError, match=r"LiteRT cannot load 'model\.tflite' .*; nothing is written$"):
        export(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", "--formats=tflite")
    assert not list(tmp_path.iterdir())


def test_a_layer_that_fails_while_it_is_traced_is_one_line(export, saved, tmp_path, monkeypatch):
    def failing(*arguments, **options):
        raise RuntimeError("a batch of one\n\nis too small")

    monkeypatch.setattr(conversion, "tflite_bytes", failing)
    with pytest.raises(
        UserError, match=r"^model\.tflite cannot be written: a batch of one is too small; nothing is wri"
    ):
        export(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", "--formats=tflite")
    assert not list(tmp_path.iterdir())


def test_what_the_converter_is_asked_for(export, saved, tmp_path, monkeypatch):
    """The calibration images are training images, and the flags arrive."""
    asked = []

    def convert(model, card, *settings):
        asked.append(settings)
        return b""

    monkeypatch.setattr(conversion, "tflite_bytes", convert)
    monkeypatch.setattr(folder, "file_facts", lambda path, file_format: {"file": path.name, "bytes": 0})
    monkeypatch.setattr(
        export_check.ExportCheck, "__call__", lambda *arguments: (answers.Comparison(16, 0.0, 200.0, 16, 0.0), None)
    )
    flags = ("--formats=tflite", "--quantization=dynamic,int8", "--representative_data=digits", "--int8_input=int8",
             "--batch_size=20", "--float_bytes=0.1")  # fmt: skip
    results = export(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", *flags)
    assert [file["file"] for file in results["files"]] == ["model_dynamic.tflite", "model_int8.tflite"]
    (dynamic, seen, *_), (int8, images, *others) = asked
    assert (dynamic, int8) == ("dynamic", "int8")
    np.testing.assert_array_equal(seen, images)
    # Static kernels, input, raw outputs, batch, routing outputs, budget.
    assert others == [False, "int8", False, 20, False, Budget(0.1, 0.5)]
    assert images.shape == (128, 32, 32, 1)
    assert images.min() == 0
    assert images.max() == 255


def test_a_file_of_a_batch_answers_any_number_of_images(export, tmp_path):
    path, model = tmp_path / "mine.keras", model_with(HEADS["softmax layer"])
    save_model(model, CARD, path)
    results = export(f"--model={path}", f"--output_dir={tmp_path / 'out'}", "--formats=tflite", "--batch_size=3")
    assert results["files"][0]["input"] == {"dtype": "float32", "batch": 3}
    assert json.loads((tmp_path / "out/model.json").read_text())["files"] == results["files"]
    images = check_images(Photographs(), CARD.preprocessing)[:7]
    expected = keras_predict(model, CARD)(images)
    predictor = StoredModel.open(tmp_path / "out/model.tflite").predictor()
    for count in (1, 3, 7):
        np.testing.assert_allclose(predictor.predict(images[:count]), expected[:count], atol=1e-5)


def test_metadata_is_part_of_the_file(export, saved, tmp_path, capsys):
    path, model = tmp_path / "mine.keras", model_with(HEADS["softmax layer"])
    preprocessing = dataclasses.replace(CARD.preprocessing, crop_fraction=0.875)
    save_model(model, dataclasses.replace(CARD, preprocessing=preprocessing), path)
    export(f"--model={path}", f"--output_dir={tmp_path / 'out'}", "--formats=tflite", "--metadata")
    assert "warning: MediaPipe Tasks gives the model the whole image" in capsys.readouterr().err
    assert json.loads((tmp_path / "out/model.json").read_text())["metadata"] is True
    with zipfile.ZipFile(tmp_path / "out/model.tflite") as archive:
        assert archive.read("labels.txt") == (tmp_path / "out/labels.txt").read_bytes() == b"a\nb\nc\n"
    # By its hash the file is the card's.
    received = StoredModel.open(tmp_path / "out/model.tflite").predictor().predict(IMAGES)
    np.testing.assert_allclose(received, softmax(LOGITS_OF_IMAGES), atol=1e-5)
    with pytest.raises(UserError, match="`metadata` is for models of color images"):
        export(f"--model={saved}", f"--output_dir={tmp_path / 'gray'}", "--formats=tflite", "--metadata")
    assert not (tmp_path / "gray").exists()


def test_classes_of_another_meaning_are_refused(export, tmp_path, saved):
    write_digit_folder(tmp_path / "images", per_class=2)
    with pytest.raises(UserError, match=r"only in the data: 'digit_0', 'digit_1', 'digit_2'; only in the model: '0'"):
        export(f"--model={saved}", f"--output_dir={tmp_path / 'out'}", f"--dataset={tmp_path / 'images'}")
    assert not (tmp_path / "out").exists()
