import json

import keras
import numpy as np
import pytest

from condconv_keras.data import evaluation_batches, open_dataset
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models import model_entry
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.pretrained import create_model
from condconv_keras.routing_statistics.by_epoch import RoutingOfEpoch, write_by_epoch
from tests import processes
from tests.models.randomize import randomize
from tests.training.configs import CONFIG

SIDE = 32


def _save(name, path, classes=10, class_names=None, **arguments):
    model = create_model(name, input_shape=(SIDE, SIDE, 1), width_multiplier=0.25, classes=classes, **arguments)
    randomize(model)
    preprocessing = model_entry(name).preprocessing(input_size=(SIDE, SIDE), channels=1)
    save_model(model, ModelCard(name, class_names or tuple(map(str, range(classes))), preprocessing), path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a model of random weights."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    folder.mkdir()
    (folder / "config.json").write_text(CONFIG.to_json())
    _save("condconv_mobilenet_v1", folder / "model.keras", num_experts=2, start_block=12)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return _save("mobilenet_v1", tmp_path_factory.mktemp("plain") / "plain.keras")


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_folder(run, tmp_path, fresh):
    output = tmp_path / "out"
    row = RoutingOfEpoch(epoch=0, layer="block_12_routing", experts=2, in_use=1, saturation=0.5, spread=0.25, mean=0.5)
    write_by_epoch(run / "routing.csv", [row])
    flags = ("--layers=block_13_routing", "--classes=7,1", "--batch_size=100", "--json")
    finished = processes.run("analyze.py", f"--model={run}", f"--output_dir={output}", *flags, fresh=fresh)
    summary = json.loads(finished.stdout)
    assert summary == json.loads((output / "analysis.json").read_text())
    assert (summary["dataset"], summary["split"], summary["examples"]) == ("digits", "test", 360)
    names = ["block_12_routing", "block_13_routing", "classifier_routing"]
    assert [layer["layer"] for layer in summary["layers"]] == names
    assert summary["logged_epochs"] == 1
    assert (output / "routing_by_epoch.csv").read_text() == (run / "routing.csv").read_text()
    assert (output / "report.html").is_file() and (output / "figures/class_means.svg").is_file()

    model, card = load_keras_file(run / "model.keras")
    network = keras.Model(model.input, [model.get_layer(name).output for name in names])
    ((images, labels),) = evaluation_batches(open_dataset("digits"), "test", card.preprocessing, 1000)
    labels = labels.numpy()
    with np.load(output / "routing.npz", allow_pickle=False) as stored:
        for name, weights in zip(names, network.predict(images, verbose=0), strict=True):
            for i in range(10):
                expected = weights[labels == i].astype(np.float64)
                np.testing.assert_allclose(stored[f"{name}/mean"][i], expected.mean(axis=0), atol=1e-5)
                np.testing.assert_allclose(stored[f"{name}/std"][i], expected.std(axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["--model={plain}", "--dataset=digits"], "expected a model with CondConv layers"),
        (["--model={run}", "--layers=block_99_routing"], "unknown layer 'block_99_routing'. Did you mean"),
        (["--model={run}", "--classes=eleven"], "unknown class 'eleven'"),
        (
            ["--model={three}", "--dataset=digits"],
            "has classes that the model does not have (only in the data: '3', '4', '5'",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(run, plain, tmp_path, arguments, contains):
    three = tmp_path / "three.keras"
    if "--model={three}" in arguments:
        _save("condconv_mobilenet_v1", three, classes=3, num_experts=2, start_block=13)
    arguments = [argument.format(run=run, plain=plain, three=three) for argument in arguments]
    processes.assert_refused("analyze.py", *arguments, f"--output_dir={tmp_path / 'out'}", contains=contains)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["--model=/nowhere", "--output_dir={tmp}/out"], "nothing lies at '/nowhere'"),
        (["--model={tmp}/x.tflite", "--output_dir={tmp}/out"], "x.tflite' is a tflite export: it has no layers"),
        (
            ["--model={tmp}/saved_model", "--output_dir={tmp}/out"],
            "saved_model' is a savedmodel export: it has no layers",
        ),
        (["--model={plain}", "--output_dir={tmp}/out"], "--dataset is needed"),
        (["--model={run}", "--output_dir={run}"], "is not an empty folder"),
        (["--model={run}", "--output_dir={tmp}/x.tflite/y"], "is a file"),
        (["--model={run}", "--output_dir={tmp}/out", "word"], "expected flags only, received: word"),
        (["--model={run}"], "--output_dir"),
    ],
)
def test_wrong_input_is_one_line_at_once(run, plain, tmp_path, arguments, contains):
    (tmp_path / "x.tflite").write_text("")
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model/saved_model.pb").write_text("")
    arguments = [argument.format(run=run, plain=plain, tmp=tmp_path) for argument in arguments]
    processes.assert_refused("analyze.py", *arguments, contains=contains, **processes.without_frameworks(tmp_path))
    assert not (tmp_path / "out").exists()
