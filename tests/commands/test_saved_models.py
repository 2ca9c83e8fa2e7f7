"""Commands that are given a SavedModel in place of the `.keras` file that it came from."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from condconv_keras import create_model, load_model
from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models.saving import save_model
from condconv_keras.stored import StoredModel
from condconv_keras.training.initial_weights import open_initial_model
from condconv_keras.training.start import has_trained_experts
from tests import processes
from tests.images import write_digit_folder
from tests.models.randomize import randomize
from tests.saved_models import write_exported
from tests.seeds import set_seed
from tests.training.configs import CONFIG

TWIN = ("--model=condconv_mobilenet_v1", "--width_multiplier=0.25", "--num_experts=2", "--start_block=13")


def _stored(name, folder, **arguments):
    """Writes `model.keras` and `saved_model` of one network."""
    set_seed(0)
    model = create_model(name, width_multiplier=0.25, input_shape=(32, 32, 1), classes=10, **arguments)
    randomize(model)
    preprocessing = Preprocessing((32, 32), 1, 120.0, 60.0, "bilinear", 0.9)
    save_model(model, ModelCard(name, tuple("0123456789"), preprocessing), folder / "model.keras")
    return write_exported(folder, *StoredModel.open(folder / "model.keras").load_to_answer()).parent


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return _stored("mobilenet_v1", tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return _stored("condconv_mobilenet_v1", tmp_path_factory.mktemp("twin"), num_experts=2, start_block=12)


def _equal_weights(paths, but="nothing"):
    (model, card), (other, other_card) = map(load_model, paths)
    assert card == other_card
    for weight, expected in zip(model.weights, other.weights, strict=True):
        assert weight.path == expected.path
        if but in weight.path:
            continue
        np.testing.assert_array_equal(np.asarray(weight), np.asarray(expected))


def test_analyze(twin, tmp_path):
    found = []
    for name in ("model.keras", "saved_model"):
        flags = ("--dataset=digits", f"--output_dir={tmp_path / name}", "--layers=block_13_routing", "--json")
        found.append(json.loads(processes.run("analyze.py", f"--model={twin / name}", *flags).stdout))
    assert found[0].pop("model") != found[1].pop("model")
    assert found[0] == found[1] and found[0]["examples"] == 360
    with np.load(tmp_path / "model.keras/routing.npz") as one, np.load(tmp_path / "saved_model/routing.npz") as other:
        assert one.files == other.files
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


def test_convert(plain, tmp_path):
    for name in ("model.keras", "saved_model"):
        flags = ("--num_experts=2", "--layers=block_13_*", f"--output={tmp_path / name}.keras")
        processes.run("-m", "condconv_keras.convert", f"--model={plain / name}", *flags)
    # New routers are random.
    _equal_weights([tmp_path / "model.keras.keras", tmp_path / "saved_model.keras"], but="router")


def test_export(twin, tmp_path):
    outputs = [tmp_path / name for name in ("of_keras", "of_saved_model")]
    for name, output in zip(("model.keras", "saved_model"), outputs, strict=True):
        flags = ("--formats=tflite" if output is outputs[0] else "--formats=tflite,savedmodel", "--json")
        processes.run("-m", "export", f"--model={twin / name}", f"--output_dir={output}", *flags)
    files = [(output / "model.tflite").read_bytes() for output in outputs]
    assert files[0] == files[1]
    _equal_weights([twin / "model.keras", outputs[1] / "saved_model"])


def test_a_run_starts_from_one_as_from_the_file(plain, twin):
    for folder in (plain, twin):
        configs = [
            dataclasses.replace(CONFIG, weights=str(folder / name), model="condconv_mobilenet_v1")
            for name in ("model.keras", "saved_model")
        ]
        assert [has_trained_experts(config) for config in configs] == [folder == twin] * 2
        one, other = map(open_initial_model, configs)
        assert (one.inherited, one.class_names) == (other.inherited, other.class_names)
        assert one.inherited["preprocessing"]["mean"] == 120.0
        for weight, expected in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_fine_tuning_from_one_is_fine_tuning_from_the_file(plain, tmp_path):
    write_digit_folder(tmp_path / "images")
    flags = ["--epochs=1", "--recipe=digits", "--input_size=32", "--batch_size=8", "--deterministic"]
    for name in ("model.keras", "saved_model"):
        initial = shutil.copytree(plain / name, tmp_path / name) if name == "saved_model" else plain / name
        command = ["train.py", *TWIN, f"--dataset={tmp_path / 'images'}", *flags, f"--weights={initial}"]
        finished = processes.run(*command, f"--model_dir={tmp_path / f'run of {name}'}")
        assert f"the classifier starts anew: 3 classes, {str(initial)!r} has 10" in finished.stderr
    _equal_weights([tmp_path / f"run of {name}" for name in ("model.keras", "saved_model")])
    # A run that is complete no longer asks for it.
    shutil.rmtree(tmp_path / "saved_model")
    processes.run(*command, f"--model_dir={tmp_path / 'run of saved_model'}")


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        (["train.py", *TWIN, "--weights={old}", "--model_dir={tmp}/out"], "has no assets.extra/network.json"),
        (["train.py", *TWIN, "--weights={tmp}/none", "--model_dir={tmp}/out"], "an existing file or a SavedModel"),
        (
            ["train.py", *TWIN, "--weights={twin}/saved_model", "--router_scale=0.1", "--model_dir={tmp}/out"],
            "--router_scale is for experts that start anew, those of --weights=",
        ),
        (["analyze.py", "--model={old}", "--output_dir={tmp}/out"], "is a savedmodel export: it has no layers"),
        (["-m", "export", "--model={old}", "--output_dir={tmp}/out"], "is a savedmodel export: it has no layers"),
        (
            ["-m", "condconv_keras.convert", "--model={old}", "--output={tmp}/out.keras"],
            "--model must be a run folder, a .keras file or a SavedModel with its Keras network",
        ),
    ],
)
def test_what_cannot_be_is_one_line_at_once(twin, tmp_path, arguments, contains):
    old = processes.ROOT / "tests/fixtures/v0_1/exported/saved_model"
    arguments = [argument.format(old=old, twin=twin, tmp=tmp_path) for argument in arguments]
    processes.assert_refused(*arguments, contains=contains, **processes.without_frameworks(tmp_path))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("command", ["train", "analyze", "export", "convert"])
def test_a_damaged_network_is_one_line(twin, tmp_path, command):
    path = shutil.copytree(twin / "saved_model", tmp_path / "saved_model")
    place = path / "assets.extra/network.json"
    place.write_text(place.read_text().replace("relu6", "relu", 1))
    out = f"--output_dir={tmp_path / 'out'}"
    arguments = {
        "train": ["train.py", *TWIN, f"--weights={path}", f"--model_dir={tmp_path / 'out'}", "--dry_run"],
        "analyze": ["analyze.py", f"--model={path}", "--dataset=digits", out],
        "export": ["-m", "export", f"--model={path}", out],
        "convert": ["-m", "condconv_keras.convert", f"--model={path}", f"--output={tmp_path / 'out.keras'}"],
    }
    processes.assert_refused(*arguments[command], contains="network.json' is damaged (by its SHA-256")
    assert not list(tmp_path.glob("out*"))
