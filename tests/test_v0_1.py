"""What version 0.1 wrote is loaded, evaluated, analyzed, exported and gone on with, with the answers that 0.1 gave.

The files are described in tests/fixtures/v0_1/README.md. A later version may say more in its JSON, but nothing less and
nothing else. Everything happens to a copy, so that no test can change the files.
"""

import csv
import json
import re
import shlex
import shutil
import xml.etree.ElementTree as ElementTree

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.model_card import load_model
from tests import processes

FOLDER = processes.ROOT / "tests/fixtures/v0_1"
LAYERS = (CondConv2D, DepthwiseCondConv2D, Routing)
# Depends on the moment, the machine or the installed packages, or is rounding itself, as a file's distance from Keras.
VOLATILE = {"seconds", "command", "versions", "bytes", "sha256", "relative_error", "snr_db"}
# Other processors round differently. Measured with other numbers of threads and instruction sets: probabilities and
# losses within 1e-6, boxes within 2e-4 pixels. Eight-bit weights and near ties for fifth place make images of it.
REL = ABS = 1e-4
OWN_ABS = {"bbox": 1e-2, "top_5": 1.5 / 360}
OF_DYNAMIC = 2.5 / 360
# What was renamed since, by the object that has it.
RENAMED = {
    "config.json": {"initial_weights": "weights"},
    "model_arguments": {"start_group": "start_stage", "condconv_heads": "condconv_predictors"},
    "preprocessing": {"offset": "mean", "scale": "std"},
}
OPTIONS = ("own_router", "options", "channels_first", "mixed_bfloat16")
PROGRAMS = {name: [name] for name in ("train.py", "eval.py", "predict.py", "analyze.py")} | {"export": ["-m", "export"]}


def recorded_commands():
    """A dict of the name of what a command printed to the command's arguments, from the README."""
    lines = re.findall(r"^python (.*) > (\w+)\.json$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    return {name: shlex.split(arguments) for arguments, name in lines}


COMMANDS = recorded_commands()


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A copy of the fixtures."""
    return shutil.copytree(FOLDER, tmp_path_factory.mktemp("v0_1") / "old")


def run_again(name, old, new):
    """Runs a recorded command with the copy and its output in the folder `new`; returns its JSON with 0.1's paths."""
    places = {"tests/fixtures/v0_1": str(old), "build/v0_1": str(new)}
    arguments = COMMANDS[name]
    for then, now in places.items():
        arguments = [argument.replace(then, now) for argument in arguments]
    text = processes.run(*arguments).stdout
    for then, now in places.items():
        text = text.replace(now, then)
    return json.loads(text)


def read_json(path):
    return json.loads(path.read_text())


def read_renamed(path):
    """What 0.1 wrote into a file, under the names of today."""
    return _renamed(read_json(path), RENAMED.get(path.name, {}))


def _renamed(value, names):
    if isinstance(value, dict):
        return {names.get(name, name): _renamed(inner, RENAMED.get(name, {})) for name, inner in value.items()}
    return [_renamed(inner, {}) for inner in value] if isinstance(value, list) else value


def assert_kept(received, recorded, abs=ABS, where=""):
    """Compares what a command says now with what 0.1 said; keys may have been added."""
    if isinstance(recorded, dict):
        assert isinstance(received, dict), where
        for name in recorded:
            assert name in received, f"{where}.{name} is lost"
            if name not in VOLATILE:
                assert_kept(received[name], recorded[name], max(abs, OWN_ABS.get(name, 0)), f"{where}.{name}")
    elif isinstance(recorded, list):
        assert isinstance(received, list) and len(received) == len(recorded), (where, received, recorded)
        for i, (mine, theirs) in enumerate(zip(received, recorded, strict=True)):
            assert_kept(mine, theirs, abs, f"{where}[{i}]")
    elif isinstance(recorded, float):
        assert received == pytest.approx(recorded, rel=REL, abs=abs), where
    else:
        assert (type(received), received) == (type(recorded), recorded), where


def test_every_answer_has_its_command():
    assert sorted(COMMANDS) == sorted(path.stem for path in (FOLDER / "json").iterdir())
    assert len(COMMANDS) == 10


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("export_run", "train_half")])
def test_commands_answer_as_before(name, old, tmp_path):
    assert_kept(run_again(name, old, tmp_path), read_json(FOLDER / f"json/{name}.json"))


def test_a_finished_run_is_complete(old):
    """Its own command trains nothing, it prints the results."""
    (line,) = re.findall(r"^python (train.py .*/run)$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    arguments = shlex.split(line.replace("tests/fixtures/v0_1", str(old)))
    # Exactly equal: they are read from the run.
    assert json.loads(processes.run(*arguments, "--json").stdout) == read_json(FOLDER / "run/results.json")


def test_an_interrupted_run_goes_on(old, tmp_path):
    half = shutil.copytree(old / "half", tmp_path / "half")
    before = read_renamed(half / "config.json")
    results = run_again("train_half", old, tmp_path)
    recorded = read_json(FOLDER / "json/train_half.json")
    assert results["first_step"] == recorded["first_step"] == 240
    assert_kept(results, recorded)
    assert_kept(read_json(half / "results.json"), recorded)
    assert_kept(read_json(half / "config.json"), before)
    rows, recorded_rows = map(read_history, (half / "history.csv", FOLDER / "resumed_history.csv"))
    # The first epoch is 0.1's own.
    assert recorded_rows[0].items() <= rows[0].items()
    assert_kept(_floats(rows), _floats(recorded_rows))
    for name in ("model.keras", "model_raw.keras"):
        _, card = load_model(half / name)
        assert card.model == "condconv_mobilenet_v1"


def read_history(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _floats(rows):
    return [{name: float(value) for name, value in row.items()} for row in rows]


@pytest.mark.slow
def test_a_run_is_exported_as_before(old, tmp_path):
    assert_kept(run_again("export_run", old, tmp_path), read_json(FOLDER / "json/export_run.json"), OF_DYNAMIC)
    exported = tmp_path / "exported"
    card = json.loads((exported / "model.json").read_text().replace(str(old), "tests/fixtures/v0_1"))
    assert_kept(card, read_renamed(FOLDER / "exported/model.json"), OF_DYNAMIC)
    assert (exported / "labels.txt").read_text() == (FOLDER / "exported/labels.txt").read_text()
    assert {path.name for path in (FOLDER / "exported").iterdir()} <= {path.name for path in exported.iterdir()}
    _check_exports(exported)


def test_exports_of_0_1(old):
    _check_exports(old / "exported")


def _check_exports(folder):
    """Asks the exports of the finished run as docs/mobile.md says."""
    import tensorflow as tf

    answers = read_arrays("run")
    loaded = tf.saved_model.load(folder / "saved_model")
    received = loaded.signatures["serving_default"](images=tf.constant(answers["pixels"]))["probabilities"]
    np.testing.assert_allclose(received, answers["saved_model"], rtol=1e-4, atol=1e-5)
    for name, tolerance in (("model.tflite", 1e-5), ("model_dynamic.tflite", 1e-2)):
        received = np.concatenate([ask_tflite(folder / name, x)["probabilities"] for x in answers["pixels"]])
        np.testing.assert_allclose(received, answers[name], rtol=1e-4, atol=tolerance)


def test_the_detector_s_tflite_file(old):
    answers = read_arrays("detector")
    for i, pixels in enumerate(answers["pixels"]):
        found = ask_tflite(old / "detector_exported/model.tflite", pixels)
        for name in ("count", "scores"):
            np.testing.assert_allclose(found[name][0], answers[f"tflite_{name}"][i], rtol=1e-4, atol=1e-4)


def ask_tflite(path, image):
    from ai_edge_litert.interpreter import Interpreter

    # The interpreter has to stay alive: its runner holds no reference.
    interpreter = Interpreter(model_path=str(path))
    return interpreter.get_signature_runner("serving_default")(images=image[np.newaxis])


def read_arrays(name):
    with np.load(FOLDER / f"answers/{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("path", "answers", "outputs"),
    [("run/model.keras", "run", ["logits"]), ("detector.keras", "detector", ["output_0", "output_1"])],
)
def test_trained_models(old, path, answers, outputs):
    model, card = load_model(old / path)
    beside = "exported" if answers == "run" else "detector_exported"
    recorded = read_renamed(FOLDER / beside / "model.json")
    assert (card.model, card.task) == (recorded["model"], recorded["task"])
    assert list(card.class_names) == recorded["class_names"]
    for name, value in recorded["preprocessing"].items():
        received = getattr(card.preprocessing, name)
        assert (list(received) if isinstance(received, tuple) else received) == value
    arrays = read_arrays(answers)
    received = keras.tree.flatten(model(arrays["inputs"], training=False))
    assert len(received) == len(outputs)
    for output, name in zip(received, outputs, strict=True):
        np.testing.assert_allclose(output, arrays[name], rtol=1e-4, atol=1e-4)


def test_an_answer_for_every_file_of_layers():
    names = sorted(path.stem for path in (FOLDER / "layers").iterdir())
    assert names == sorted(read_arrays("layers").keys() - {"images"})
    assert len(names) == 13


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "layers").iterdir()))
def test_layers(old, name):
    path, arrays = old / f"layers/{name}.keras", read_arrays("layers")
    ours, card = load_model(path)
    assert card is None
    # bfloat16 has eight bits.
    tolerance = 0.02 if name == "mixed_bfloat16" else 1e-5
    for model in (ours, keras.saving.load_model(path)):
        layers = [layer for layer in model.layers if isinstance(layer, LAYERS)]
        assert len(layers) >= 3
        forms = {layer.implementation for layer in layers if not isinstance(layer, Routing)}
        # A form that not every layer has stands beside "auto", which stands for the one that is no more.
        assert forms == {"auto"} if name in (*OPTIONS, "vectorized_map") else name in forms
        # The form takes one image at a time.
        parts = np.split(arrays["images"], 3) if name == "single_conv" else [arrays["images"]]
        received = np.concatenate([model(part, training=False) for part in parts])
        np.testing.assert_allclose(received, arrays[name], rtol=1e-4 + tolerance, atol=tolerance)


@pytest.mark.parametrize("program", PROGRAMS)
def test_flags_are_accepted(program):
    """A flag that was renamed keeps its old name as an absl alias, which has the default of the flag that it means."""
    text = processes.run(*PROGRAMS[program], "--helpxml").stdout
    flags = {flag.findtext("name"): flag.findtext("default") for flag in ElementTree.fromstring(text).iter("flag")}
    recorded = read_json(FOLDER / "flags.json")[program]
    assert recorded.items() <= flags.items()
    assert "model" in recorded
