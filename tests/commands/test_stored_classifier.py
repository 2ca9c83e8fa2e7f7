"""`train.py --model=FILE`: a stored classifier is trained on, as it is or with experts."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from absl import flags
from sklearn.datasets import load_digits

from condconv_keras import load_model, to_condconv
from condconv_keras.commands.train_config import config_from_flags
from condconv_keras.commands.train_flags import define_flags
from condconv_keras.models.saving import save_model
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from tests import processes
from tests.seeds import set_seed
from tests.training.runs import newest_step

# Of a network of 8x8 pixels, a second an epoch.
FAST = ("--epochs=2", "--batch_size=120", "--warmup_epochs=0", "--learning_rate=0.02", "--augmentation=none")


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    """The file of a user's own network of digits, which scales its images itself, trained by `fit`."""
    set_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1) * 255 / 16
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(16, 3, activation="relu", name="conv_1"),
            keras.layers.Conv2D(24, 3, activation="relu", name="conv_2"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=6, verbose=0)
    path = tmp_path_factory.mktemp("user") / "digits.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def twin_run(digits_model, tmp_path_factory):
    """The folder of a run that gave the network experts."""
    run = tmp_path_factory.mktemp("runs") / "twin"
    processes.run("train.py", *_twin(digits_model, run))
    return run


def _twin(model, run):
    return (f"--model={model}", "--num_experts=2", "--layers=conv_2", *FAST, f"--model_dir={run}")


def _rows(run):
    with open(run / "history.csv") as file:
        return list(csv.DictReader(file))


def test_a_users_network_goes_through_every_command(digits_model, twin_run, tmp_path):
    results = json.loads((twin_run / "results.json").read_text())
    evaluated = processes.run("eval.py", f"--model={twin_run}", "--dataset=digits", "--json").stdout
    assert json.loads(evaluated)["top_1"] == results["top_1"] > 0.85
    network, card = load_model(twin_run)
    assert (card.preprocessing.mean, card.preprocessing.std, card.preprocessing.input_size) == (0.0, 1.0, (8, 8))
    assert card.class_names == tuple("0123456789") and card.returns == "logits"
    assert network.get_layer("conv_2").num_experts == 2
    out = tmp_path / "exported"
    arguments = ("-m", "export", f"--model={twin_run}", f"--output_dir={out}", "--dataset=digits", "--json")
    exported = json.loads(processes.run(*arguments).stdout)
    assert {file["relative_error"] < 1e-4 for file in exported["files"]} == {True}
    evaluated = processes.run("eval.py", f"--model={out / 'model.tflite'}", "--dataset=digits", "--json").stdout
    assert json.loads(evaluated)["top_1"] == pytest.approx(results["top_1"], abs=0.003)
    processes.run("analyze.py", f"--model={twin_run}", "--dataset=digits", f"--output_dir={tmp_path / 'analysis'}")
    assert (tmp_path / "analysis" / "report.html").is_file()


def test_the_classifier_starts_as_it_is(digits_model, tmp_path):
    """At a learning rate of zero the accuracy is that of `evaluate`."""
    run = tmp_path / "run"
    arguments = ("--epochs=1", "--learning_rate=0", "--warmup_epochs=0", "--batch_size=120", f"--model_dir={run}")
    results = json.loads(processes.run("train.py", f"--model={digits_model}", *arguments, "--json").stdout)
    network, card = load_model(run)
    images = np.random.default_rng(0).uniform(0, 255, (9, 8, 8, 1)).astype("float32")
    expected = keras.models.load_model(digits_model).predict(images, verbose=0)
    found = keras.ops.softmax(network.predict(card.preprocessing.scale_images(images), verbose=0))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert results["top_1"] > 0.85


@pytest.mark.parametrize(
    "source", ["run", *(pytest.param(source, marks=pytest.mark.slow) for source in ("SavedModel", "file"))]
)
def test_a_run_of_the_zoo_is_trained_on_as_from_its_weights(trained_run, exported, tmp_path, source):
    files = {"run": trained_run, "SavedModel": exported / "saved_model", "file": trained_run / "model.keras"}
    model = files[source]
    common = (*processes.TRAINED_RUN[4:], "--epochs=1", "--batch_size=32", "--learning_rate=0.01", "--recipe=digits")
    first, second = tmp_path / "first", tmp_path / "second"
    processes.run("train.py", f"--model={model}", *common, f"--model_dir={first}")
    weights = f"--weights={trained_run / 'model.keras'}"
    processes.run("train.py", *processes.TRAINED_RUN[:4], *common, weights, f"--model_dir={second}")
    assert _rows(first) == _rows(second)
    for mine, theirs in zip(load_model(first)[0].weights, load_model(second)[0].weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_run_goes_on_without_its_file(digits_model, twin_run, tmp_path):
    """The same command, a killed run, and no file any more: the same weights to the bit."""
    model, run = tmp_path / "moved.keras", tmp_path / "run"
    shutil.copy(digits_model, model)
    shutil.copytree(twin_run, run)
    newest = newest_step(run)
    (run / "checkpoints" / f"step_{newest:010d}.safetensors").unlink()
    (run / "results.json").unlink()
    (run / "model.keras").unlink()
    assert newest_step(run) == newest // 2
    # Given by another path as long as it is there, and by its own when it is gone.
    processes.run("train.py", *_twin(model, run))
    for mine, theirs in zip(load_model(run)[0].weights, load_model(twin_run)[0].weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    config = json.loads((run / "config.json").read_text())
    config["model"] = str(tmp_path / "gone.keras")
    (run / "config.json").write_text(json.dumps(config))
    (run / "results.json").unlink()
    described = processes.run("train.py", *_twin(tmp_path / "gone.keras", run), "--dry_run", "--json").stdout
    assert json.loads(described)["model"]["parameters"] == load_model(twin_run)[0].count_params()
    processes.run("train.py", *_twin(tmp_path / "gone.keras", run))
    assert (run / "results.json").is_file()


def test_a_run_refuses_a_file_that_has_changed(digits_model, twin_run, tmp_path):
    changed = tmp_path / "digits.keras"
    to_condconv(keras.models.load_model(digits_model), 2, layers="conv_1", verbose=False).save(changed)
    before = (twin_run / "results.json").read_bytes()
    arguments = (f"--model={changed}", *FAST, f"--model_dir={twin_run}")
    processes.assert_refused("train.py", *arguments, contains="is another model than the run in")
    plain = tmp_path / "plain.keras"
    model = keras.models.load_model(digits_model)
    model.get_layer("digit").bias.assign_add(np.ones(10))
    model.save(plain)
    processes.assert_refused("train.py", *_twin(plain, twin_run), contains="is another model than the run in")
    assert (twin_run / "results.json").read_bytes() == before


def test_a_run_without_its_network_is_one_clear_line(digits_model, twin_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(twin_run, run)
    (run / "results.json").unlink()
    for damage in ("{}", None):
        (run / "network.json").write_text(damage) if damage else (run / "network.json").unlink()
        processes.assert_refused("train.py", *_twin(digits_model, run), contains=["expected the network of", "run"])


def test_the_dry_run_describes_the_twin(digits_model):
    arguments = (f"--model={digits_model}", "--num_experts=2", "--layers=conv_2", "--dry_run", "--json")
    described = json.loads(processes.run("train.py", *arguments).stdout)
    plain, kernel = keras.models.load_model(digits_model), 3 * 3 * 16 * 24 + 24
    assert described["model"]["parameters"] == plain.count_params() + kernel + 2 * (16 + 1)
    assert described["config"]["model"] == str(digits_model)
    assert described["data"]["input_shape"] == [8, 8, 1]


def _config(*arguments):
    values = flags.FlagValues()
    define_flags(values)
    values(["train.py", *map(str, arguments)])
    return config_from_flags(values)[0]


def test_the_configuration(digits_model, monkeypatch):
    monkeypatch.chdir(digits_model.parent)
    config = _config("--model=digits.keras", "--mean=1,2,3", "--std=4", "--interpolation=bilinear")
    assert (config.model, config.recipe_name, config.task) == (str(digits_model), "digits", "classification")
    assert config.preprocessing == {"mean": [1.0, 2.0, 3.0], "std": 4.0, "interpolation": "bilinear"}
    assert config.recipe.input_size is None and len(config.model_sha256) == 64
    assert type(config).from_json(config.to_json()) == config
    # The digest is compared, not the path.
    assert config.differences(_config(f"--model={digits_model}")) == [
        *("preprocessing.interpolation", "preprocessing.mean", "preprocessing.std")
    ]


@pytest.mark.parametrize(
    "model, arguments, message",
    [
        ("digits_model", ["--width_multiplier=0.5"], "--width_multiplier is for registered models"),
        ("digits_model", ["--weights=imagenet"], "--weights is for registered models"),
        ("digits_model", ["--layers=conv_2"], "--layers is for a model that gets --num_experts"),
        ("digits_model", ["--routing_per=layer"], "--routing_per is for a model that gets --num_experts"),
        (
            "digits_model",
            ["--num_experts=2", "--routing_per=network"],
            "--routing_per of a stored model is block or layer",
        ),
        ("digits_model", ["--router_scale=0.5"], "--router_scale is for networks with experts"),
        ("digits_model", ["--num_experts=2", "--router_scale=0"], "--router_scale must be positive: experts start as"),
        ("digits_model", ["--log_routing"], "--log_routing is for networks with experts"),
        ("digits_model", ["--stochastic_depth_rate=0.1"], "`stochastic_depth_rate` is for registered models"),
        ("digits_model", ["--std=0"], "`std` is a finite number other than 0"),
        ("trained_run", ["--num_experts=2"], "--num_experts gives experts to plain models, "),
        ("trained_run", ["--router_scale=0.5"], "--router_scale is for experts that start anew"),
        ("trained_run", ["--expert_start=alike"], "--expert_start is for experts that start anew"),
    ],
)
def test_flags_that_a_stored_model_has_no_use_for(model, arguments, message, request):
    """Of a plain network, and of one whose experts are trained."""
    with pytest.raises(UserError, match=message):
        _config(f"--model={request.getfixturevalue(model)}", *arguments)


@pytest.mark.parametrize(
    "flag", ["--layers=a", "--classifier_layer=a", "--mean=1", "--std=1", "--interpolation=bilinear"]
)
def test_flags_of_stored_models_are_not_for_registered_ones(flag):
    with pytest.raises(UserError, match=r"is for a stored --model, a file: mobilenet_v1 is registered"):
        _config("--model=mobilenet_v1", flag)


def test_what_is_no_model_is_one_clear_line(trained_run, detector, tmp_path):
    save_model(*detector, tmp_path / "detector.keras")
    cases = {
        "mobilnet_v1": "unknown model 'mobilnet_v1'. Did you mean",
        "nowhere.keras": "nothing lies at 'nowhere.keras'",
        "some/where": "nothing lies at 'some/where'",
        str(tmp_path): "is none of them",
        str(tmp_path / "detector.keras"): "expected a classifier in --model",
    }
    for model, message in cases.items():
        with pytest.raises(UserError, match=message):
            _config(f"--model={model}", f"--model_dir={tmp_path / 'run'}")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(UserError, match=r"expected a model saved as \.keras"):
        _config(f"--model={tmp_path / 'text.keras'}")
    assert RunFolder(trained_run).config.is_file()
