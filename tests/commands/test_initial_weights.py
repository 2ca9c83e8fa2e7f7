"""`train.py --weights=FILE`: what a run takes over from a trained model."""

import dataclasses
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.layers import fold_routing, with_routing
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.pretrained import create_model
from condconv_keras.training.start import has_trained_experts
from tests import processes
from tests.images import write_digit_folder
from tests.models.randomize import randomize
from tests.training.configs import CONFIG

# Few CondConv layers, for the time that tracing takes.
TWIN = ("--model=condconv_mobilenet_v1", "--width_multiplier=0.25", "--num_experts=2", "--start_block=13")
MEAN, STD = [123.0, 117.0, 104.0], [58.0, 57.0, 57.5]


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory):
    """A plain model of 7 classes as an import makes it: symmetric padding, its own epsilon, scaling by channel."""
    path = tmp_path_factory.mktemp("plain") / "plain.keras"
    model = create_model(
        "mobilenet_v1",
        width_multiplier=0.25,
        input_shape=(None, None, 3),
        classes=7,
        padding="symmetric",
        bn_epsilon=1e-5,
    )
    randomize(model)
    card = ModelCard("mobilenet_v1", tuple("abcdefg"), Preprocessing((224, 224), 3, MEAN, STD, "bilinear", 0.9))
    save_model(model, card, path)
    return path


@pytest.fixture(scope="module")
def twin_files(tmp_path_factory):
    """A folder with a twin as `.keras` and as `.weights.h5`."""
    folder = tmp_path_factory.mktemp("twin")
    arguments = {"width_multiplier": 0.25, "num_experts": 2, "start_block": 13, "input_shape": (32, 32, 3)}
    model = create_model("condconv_mobilenet_v1", classes=10, **arguments)
    model.save(folder / "twin.keras")
    model.save_weights(folder / "twin.weights.h5")
    return folder


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """A run of moments on three classes of small gray and color images."""
    folder = tmp_path_factory.mktemp("images")
    write_digit_folder(folder)
    return [f"--dataset={folder}", "--recipe=digits", "--input_size=32", "--batch_size=8"]


@pytest.mark.slow
def test_a_twin_takes_over_weights_settings_and_scaling_and_goes_on_without_the_file(plain_file, flags, tmp_path):
    run, initial = tmp_path / "run", tmp_path / "initial.keras"
    initial.write_bytes(plain_file.read_bytes())
    # The learning rate is so low that the weights stay what they were.
    command = ["train.py", *TWIN, *flags, "--epochs=6", "--learning_rate=1e-9", f"--weights={initial}"]
    command.append(f"--model_dir={run}")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([sys.executable, *command], cwd=processes.ROOT, stdout=log, stderr=log)
    deadline = time.monotonic() + 240
    while not list(run.glob("checkpoints/step_*")):
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert f"the classifier starts anew: 3 classes, {str(initial)!r} has 7" in (tmp_path / "log").read_text()
    initial.unlink()
    before = json.loads((run / "config.json").read_text())
    assert before["weights"] == str(initial)
    assert before["inherited"] == {
        "model_arguments": {"padding": "symmetric", "bn_epsilon": 1e-5},
        "preprocessing": {"channels": 3, "mean": MEAN, "std": STD, "interpolation": "bilinear"},
    }

    finished = processes.run(*command)
    assert "Epoch 6/6" in finished.stderr
    assert "Epoch 1/6" not in finished.stderr
    assert json.loads((run / "config.json").read_text()) == before
    model, card = load_keras_file(run / "model.keras")
    plain, _ = load_keras_file(plain_file)
    assert card.preprocessing == Preprocessing((32, 32), 3, MEAN, STD, "bilinear", 1.0)
    assert model.get_layer("stem_pad").padding == ((1, 1), (1, 1))
    assert {layer.epsilon for layer in model.layers if layer.name.endswith("_bn")} == {1e-5}
    assert model.output_shape == (None, 3)
    kernel = np.array(plain.get_layer("block_13_pointwise").kernel).ravel()
    for expert in np.array(model.get_layer("block_13_pointwise").condconv_kernel):
        np.testing.assert_allclose(expert, kernel, rtol=0, atol=1e-4)
    columns = np.array(model.get_layer("block_13_routing").kernel)
    assert np.abs(columns).max() > 0.01
    np.testing.assert_allclose(columns[:, 0], -columns[:, 1], rtol=0, atol=1e-4)


def test_a_file_that_does_not_fit_is_one_line(plain_file, flags, tmp_path):
    run = tmp_path / "run"
    processes.assert_refused(
        "train.py",
        "--model=condconv_mobilenet_v1",
        "--width_multiplier=0.5",
        f"--weights={plain_file}",
        f"--model_dir={run}",
        *flags,
        contains=[str(plain_file), "'stem/kernel'", "(3, 3, 3, 8)", "(3, 3, 3, 16)"],
    )
    assert not run.exists()


@pytest.mark.parametrize(("name", "contains"), [("none.keras", "an existing file"), ("model.h5", "or a .weights.h5")])
def test_a_wrong_path_is_one_line_at_once(tmp_path, name, contains):
    (tmp_path / "model.h5").write_text("not a model")
    processes.assert_refused(
        "train.py",
        *TWIN,
        f"--weights={tmp_path / name}",
        f"--model_dir={tmp_path / 'run'}",
        contains=[name, contains],
        **processes.without_frameworks(tmp_path),
    )


@pytest.mark.parametrize(
    ("weights", "flag"),
    [
        ("twin.keras", "--expert_start=alike"),
        ("twin.keras", "--router_scale=0.1"),
        ("twin.weights.h5", "--expert_start=alike"),
        ("twin.weights.h5", "--router_scale=0.1"),
    ],
)
def test_a_start_of_experts_that_are_trained_is_one_line_at_once(twin_files, weights, flag, tmp_path):
    processes.assert_refused(
        "train.py",
        *TWIN,
        flag,
        f"--weights={twin_files / weights}",
        f"--model_dir={tmp_path / 'run'}",
        contains=[f"{flag.partition('=')[0]} is for experts that start anew, those of --weights=", weights],
        **processes.without_frameworks(tmp_path),
    )


def test_equal_experts_with_equal_routing_weights_are_refused_at_once(plain_file, tmp_path):
    processes.assert_refused(
        "train.py",
        *TWIN,
        "--router_scale=0",
        f"--weights={plain_file}",
        f"--model_dir={tmp_path / 'run'}",
        contains=["--router_scale must be positive", "would stay equal"],
        **processes.without_frameworks(tmp_path),
    )


def test_a_start_of_experts_is_for_plain_weights(plain_file, twin_files):
    config = dataclasses.replace(CONFIG, weights=str(plain_file))
    assert not has_trained_experts(config)
    assert has_trained_experts(dataclasses.replace(CONFIG, weights=str(twin_files / "twin.keras")))
    imagenet = dataclasses.replace(CONFIG, weights="imagenet")
    assert not has_trained_experts(imagenet)
    assert has_trained_experts(dataclasses.replace(imagenet, model="condconv_efficientnet_b0"))
    assert not has_trained_experts(dataclasses.replace(imagenet, model="mobilenet_v1"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anchored.keras", "anchored.weights.h5"])
def test_weights_of_anchored_experts_are_said(name, flags, tmp_path):
    arguments = {"width_multiplier": 0.25, "num_experts": 2, "start_block": 13, "input_shape": (32, 32, 3)}
    model = create_model("condconv_mobilenet_v1", classes=3, **arguments)
    model = fold_routing(with_routing(model, anchored=True))
    (model.save if name.endswith(".keras") else model.save_weights)(tmp_path / name)
    command = ["train.py", *TWIN, *flags, "--epochs=1", f"--weights={tmp_path / name}"]
    finished = processes.run(*command, f"--model_dir={tmp_path / 'run'}")
    assert finished.stderr.count("warning: the weights come from anchored experts") == 1
    assert "`" not in finished.stderr and "--expert_start=anchored with the .keras file" in finished.stderr
