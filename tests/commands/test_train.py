import csv
import dataclasses
import json
import math
import shutil
import signal
import subprocess
import sys
import time

import pytest
from absl import flags

from condconv_keras import Routing, create_model, load_model
from condconv_keras.commands.train import config_from_flags
from condconv_keras.commands.train_flags import define_flags
from condconv_keras.data import open_dataset
from condconv_keras.data.record import DataRecord
from condconv_keras.routing_statistics.by_epoch import read_by_epoch
from condconv_keras.training.run_folder import RunFolder
from tests import processes
from tests.data.splits import write_classes
from tests.images import truncate, write_digit_folder
from tests.training.runs import history

# Few CondConv layers, for the time that tracing takes.
SMALL = ("--model=condconv_mobilenet_v1", "--width_multiplier=0.25", "--num_experts=2", "--start_block=13")


def test_the_run_folder(trained_run):
    config = json.loads((trained_run / "config.json").read_text())
    assert config["model"] == "condconv_mobilenet_v1"
    assert config["model_arguments"] == {"num_experts": 2, "start_block": 13, "width_multiplier": 0.25}
    assert config["recipe"]["epochs"] == 2
    with open(trained_run / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_top_5", "learning_rate"]
    routing = read_by_epoch(trained_run / "routing.csv")
    assert [(row.epoch, row.layer) for row in routing] == [
        (epoch, f"{name}_routing") for epoch in (0, 1) for name in ("block_13", "classifier")
    ]
    assert all(0 < row.spread < 0.5 for row in routing)
    results = json.loads((trained_run / "results.json").read_text())
    assert results["examples"] == 360
    assert 0 <= results["top_1"] <= results["top_5"] <= 1
    # Keras' own count of the last epoch, on the same held-out images.
    assert results["top_1"] == pytest.approx(float(rows[-1]["val_accuracy"]), abs=1.5 / 360)
    assert results["command"].startswith("python train.py --model=condconv_mobilenet_v1")
    assert {"python", "tensorflow", "keras"} <= set(results["versions"])
    assert list((trained_run / "tensorboard").rglob("*tfevents*"))
    assert (trained_run / "model.keras").is_file()
    assert (trained_run / "curves.png").is_file()


def test_a_complete_run_answers_at_once_and_is_not_trained_again(trained_run, tmp_path):
    model = (trained_run / "model.keras").stat().st_mtime_ns
    environment = processes.without_frameworks(tmp_path)
    command = ("train.py", *processes.TRAINED_RUN, "--epochs=2", f"--model_dir={trained_run}", "--json")
    finished = processes.run(*command, **environment)
    assert json.loads(finished.stdout) == json.loads((trained_run / "results.json").read_text())
    assert (trained_run / "model.keras").stat().st_mtime_ns == model


def test_another_configuration_does_not_overwrite_a_run(trained_run, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in trained_run.rglob("*")}
    processes.assert_refused(
        "train.py",
        *processes.TRAINED_RUN,
        "--epochs=1",
        f"--model_dir={trained_run}",
        contains=["another configuration", "epochs"],
        **processes.without_frameworks(tmp_path),
    )
    assert {path: path.stat().st_mtime_ns for path in trained_run.rglob("*")} == before


def _complete_epochs(run, steps_per_epoch=44):
    """Of a run on digits, what its newest checkpoint holds."""
    steps = [int(path.stem.removeprefix("step_")) for path in run.glob("checkpoints/step_*.safetensors")]
    return max(steps, default=0) // steps_per_epoch


@pytest.mark.slow
def test_the_same_command_goes_on_after_a_kill(tmp_path):
    run = tmp_path / "run"
    command = ["train.py", *SMALL, "--epochs=3", f"--model_dir={run}"]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=processes.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while _complete_epochs(run) < 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "results.json").exists()
    done = _complete_epochs(run)
    finished = processes.run(*command)
    assert f"Epoch {done + 1}/3" in finished.stderr
    assert "Epoch 1/3" not in finished.stderr
    with open(run / "history.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    assert json.loads((run / "results.json").read_text())["examples"] == 360


@pytest.mark.slow
def test_a_finished_run_goes_on_with_more_epochs(trained_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    finished = processes.run("train.py", *processes.TRAINED_RUN, "--epochs=4", f"--model_dir={run}", "--json")
    assert "goes on to 4 epochs" in finished.stderr
    assert "Epoch 3/4" in finished.stderr and "Epoch 2/4" not in finished.stderr
    results = json.loads(finished.stdout)
    steps = results["first_step"]
    assert (results["epochs"], steps) == (4, 2 * 179)
    assert results["note"].startswith(f"epochs raised from 2 to 4 at step {steps}; ")
    with open(run / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    # Half a cosine over 4 epochs but for half an epoch of warm-up, at the last step of the third.
    fraction = (3 * 179 - 1 - 90) / (4 * 179 - 90)
    expected = 0.02 * 0.5 * (1 + math.cos(math.pi * fraction))
    assert float(rows[2]["learning_rate"]) == pytest.approx(expected, rel=0.02)
    processes.assert_refused(
        "train.py", *processes.TRAINED_RUN, "--epochs=2", f"--model_dir={run}", contains="different: recipe.epochs"
    )


@pytest.mark.slow
def test_imagenet_as_tfds_decodes_it(tmp_path):
    """TFDS's mock of imagenet2012: its real features and their JPEG decoding, on random images."""
    arguments = ["--dataset=imagenet2012", f"--data_dir={tmp_path / 'data'}", "--json"]
    run = tmp_path / "run"
    train_arguments = ["--model=condconv_efficientnet_b0", "--num_experts=2", "--input_size=32", f"--model_dir={run}"]
    results = _run_with_mocked_data("train.py", *arguments, *train_arguments, "--epochs=1", "--batch_size=4")
    config = json.loads((run / "config.json").read_text())
    assert (config["recipe_name"], config["recipe"]["ema_decay"]) == ("efficientnet_condconv", 0.9999)
    assert results["examples"] == 8
    evaluated = _run_with_mocked_data("eval.py", f"--model={run}", *arguments)
    assert evaluated["examples"] == 8
    assert evaluated["loss"] == pytest.approx(results["loss"], rel=1e-4)


def _run_with_mocked_data(script, *arguments):
    """Runs a script with 8 mocked examples in every split; returns what it prints as JSON."""
    program = (
        "import runpy, sys\n"
        "import tensorflow_datasets as tfds\n"
        "del sys.argv[0]\n"
        "with tfds.testing.mock_data(num_examples=8):\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return json.loads(processes.run("-c", program, script, *arguments).stdout)


# Everything that a recipe can ask of experts at once.
EXPERTS = (
    "--routing_temperature=30",
    "--temperature_epochs=1.5",
    "--router_normalization",
    "--expert_start=anchored",
    "--router_learning_rate=0.5",
    "--expert_dropout=0.1",
    "--expert_diversity=0.1",
    "--expert_balance=0.01",
    "--ema_decay=0.9",
)


def test_a_run_leaves_no_trace_of_how_its_experts_were_trained(tmp_path):
    run = tmp_path / "run"
    command = ["train.py", *SMALL, "--input_size=32", "--epochs=1", "--batch_size=64", "--augmentation=none", *EXPERTS]
    finished = processes.run(*command, f"--model_dir={run}", "--json")
    assert "the temperature does not fall to 1 in 1 epochs, but in 1.5" in finished.stderr
    results = json.loads(finished.stdout)
    model, _ = load_model(run)
    plain = create_model(
        "condconv_mobilenet_v1",
        num_experts=2,
        width_multiplier=0.25,
        start_block=13,
        input_shape=(32, 32, 1),
        classes=10,
        bn_momentum=0.9,
    )
    assert model.to_json() == plain.to_json()
    assert results["parameters"] == plain.count_params()
    # That of the last validation, of the network as it was trained.
    assert results["loss"] == pytest.approx(history(run)[-1]["val_loss"], rel=1e-4)
    for layer in model.layers:
        if isinstance(layer, Routing):
            assert float(layer.bias[0]) == 18
            assert not layer.kernel[:, 0].numpy().any()
            assert layer.kernel[:, 1].numpy().all()


def test_a_folder_of_images(tmp_path):
    paths = write_digit_folder(tmp_path / "images")
    truncate(paths[1])
    command = ["train.py", *SMALL, f"--dataset={tmp_path / 'images'}", "--recipe=digits", "--input_size=32"]
    command += ["--epochs=1", "--batch_size=8", "--validation_fraction=0.25", f"--model_dir={tmp_path / 'run'}"]
    processes.assert_refused(*command, contains=[str(paths[1]), "--skip_bad_images"])
    assert not (tmp_path / "run").exists()
    finished = processes.run(*command, "--skip_bad_images", "--json")
    results = json.loads(finished.stdout)
    # Those of a small hash: 3, 5 and 1 of the three digits.
    assert results["examples"] == 9
    assert (results["skipped_images"], results["repeated_images"]) == (1, 0)
    data = json.loads((tmp_path / "run/config.json").read_text())["data"]
    assert (data["split_rule"], data["splits"]["validation"]["examples"]) == ("path_hash", 9)
    assert paths[1].name in finished.stderr
    # The run says which data it was trained on; evaluation and prediction follow it.
    evaluated = json.loads(processes.run("eval.py", f"--model={tmp_path / 'run'}", "--json").stdout)
    assert evaluated["examples"] == 9
    assert evaluated["top_1"] == pytest.approx(results["top_1"])
    predicted = processes.run("predict.py", f"--model={tmp_path / 'run'}", "--csv", paths[0], paths[5], check=False)
    assert predicted.returncode == 0
    assert "digit_" in predicted.stdout


def test_a_run_does_not_go_on_when_a_class_was_renamed(tmp_path):
    images, run = tmp_path / "images", RunFolder(tmp_path / "run")
    write_classes(images, {"blue": 6, "red": 6})
    command = [*SMALL, f"--dataset={images}", "--batch_size=2", "--input_size=32", f"--model_dir={run.path}"]
    values = flags.FlagValues()
    define_flags(values)
    values(["train.py", *command])
    # A run that was stopped after its first steps.
    config, _ = config_from_flags(values)
    run.start(dataclasses.replace(config, data=DataRecord.of(open_dataset(images))))
    run.checkpoints.mkdir()
    (run.checkpoints / "step_0000000003.safetensors").touch()
    before = run.config.read_text()
    (images / "blue").rename(images / "zblue")
    difference = "only in the data: 'zblue'; only in the run: 'blue'"
    processes.assert_refused("train.py", *command, contains=[difference, str(images), "another --model_dir"])
    assert run.config.read_text() == before and not run.model.exists()


@pytest.mark.parametrize(
    ("flags", "contains"),
    [
        (["--model=condconv_mobilnet_v1"], "Did you mean 'condconv_mobilenet_v1'"),
        (["--modle=x"], "Did you mean: model"),
        (["--dataset=digit"], "'digits'"),
        (["--dataset=fashion_mnits"], "'fashion_mnist'"),
        (["--dataset=/nowhere"], "/nowhere"),
        (["--recipe=digit"], "'digits'"),
        (["--epochs=0"], "--epochs must be an integer of at least 1"),
        (["--epochs=9999999999"], "--epochs must be an integer of at least 1 and at most 2147483647"),
        (["--epochs=many"], "--epochs=many"),
        (["--precision=float64"], "float32"),
        (["--input_size=16"], "--input_size must be an integer of at least 32"),
        (["--seed=5000000000"], "--seed=5000000000"),
        (["--width_multiplier=inf"], "--width_multiplier=inf"),
        (["--skip_bad_images"], "--skip_bad_images is for a folder"),
        (["--data_service=host:1"], "grpc://host:port"),
        (["stray"], "stray"),
    ],
)
def test_wrong_input_is_one_line_at_once(tmp_path, flags, contains):
    arguments = [*SMALL, f"--model_dir={tmp_path / 'run'}", *flags]
    processes.assert_refused("train.py", *arguments, contains=contains, **processes.without_frameworks(tmp_path))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "contains"),
    [
        (["--start_block=20"], "start_block"),
        (["--batch_size=5000"], "1437"),
        (["--weights=/nowhere.keras"], "/nowhere.keras"),
    ],
)
def test_what_does_not_fit_the_model_or_the_data_is_one_line(tmp_path, flags, contains):
    processes.assert_refused("train.py", *SMALL, f"--model_dir={tmp_path / 'run'}", *flags, contains=contains)
    assert not (tmp_path / "run").exists()


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    environment = processes.without_frameworks(tmp_path)
    processes.assert_refused(
        "train.py", *SMALL, f"--model_dir={tmp_path / 'file/run'}", contains="is a file", **environment
    )


def test_another_backend_is_refused(tmp_path):
    processes.assert_refused(
        "train.py", *SMALL, f"--model_dir={tmp_path / 'run'}", contains="KERAS_BACKEND=jax", KERAS_BACKEND="jax"
    )


def test_help_needs_no_framework(tmp_path):
    finished = processes.run("train.py", "--help", check=False, **processes.without_frameworks(tmp_path))
    assert "--num_experts" in finished.stdout
