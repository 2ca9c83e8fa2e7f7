"""Runs of a detector: killed and resumed, on several devices, in another precision, or not run at all."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from condconv_keras.models.saving import load_keras_file
from tests import processes
from tests.data.detection_folders import write_squares
from tests.training.runs import history, newest_step

COMMAND = (
    "train.py",
    "--model=ssd300_mobilenet_v1",
    "--width_multiplier=0.25",
    "--input_size=96",
    "--epochs=2",
    "--batch_size=16",
    "--optimizer=adamw",
    "--learning_rate=0.0003",
)
STEPS_PER_EPOCH = 4


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    write_squares(folder, train=16 * STEPS_PER_EPOCH, val=5)
    return folder


@pytest.fixture(scope="module")
def whole(squares, tmp_path_factory):
    """The folder of an undisturbed run; order, crops, flips and colors are random."""
    run = tmp_path_factory.mktemp("whole") / "run"
    processes.run(*COMMAND, f"--dataset={squares}", "--deterministic", f"--model_dir={run}")
    return run


@pytest.mark.slow
def test_a_killed_run_ends_where_it_would_have_ended(squares, whole, tmp_path):
    run = tmp_path / "run"
    arguments = (f"--dataset={squares}", "--deterministic", "--checkpoint_every=1", f"--model_dir={run}")
    process = subprocess.Popen(
        [sys.executable, *COMMAND, *arguments], cwd=processes.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while newest_step(run) < STEPS_PER_EPOCH + 1 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert newest_step(run) > STEPS_PER_EPOCH and not (run / "results.json").exists()
    processes.run(*COMMAND, *arguments)
    assert (run / "history.csv").read_text() == (whole / "history.csv").read_text()
    networks = [load_keras_file(folder / "model.keras")[0] for folder in (whole, run)]
    for expected, actual in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_two_devices(squares, whole, tmp_path):
    run = tmp_path / "run"
    arguments = (f"--dataset={squares}", "--strategy=mirrored", "--logical_cpus=2", f"--model_dir={run}")
    processes.run(*COMMAND, *arguments)
    for row, expected in zip(history(run), history(whole), strict=True):
        # The losses of a batch are divided by its matched anchors, those of a device's part by its own.
        assert row["loss"] == pytest.approx(expected["loss"], rel=0.02)
    assert json.loads((run / "results.json").read_text())["examples"] == 5


@pytest.mark.slow
def test_half_precision(squares, whole, tmp_path):
    run = tmp_path / "run"
    processes.run(*COMMAND, f"--dataset={squares}", "--precision=mixed_bfloat16", f"--model_dir={run}")
    for row, expected in zip(history(run), history(whole), strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=0.05)
        assert row["loss"] != expected["loss"]


@pytest.mark.slow
def test_a_dry_run(squares, tmp_path):
    run = tmp_path / "run"
    # A graph of SGD is traced faster than one of AdamW.
    finished = processes.run(*COMMAND, "--optimizer=sgd", f"--dataset={squares}", "--dry_run", f"--model_dir={run}")
    shown = dict(line.split(maxsplit=1) for line in finished.stdout.splitlines() if "  " in line)
    assert shown["task"] == "detection"
    assert shown["classes"] == "2"
    assert shown["examples"] == "train 64, val 5"
    assert "skipped boxes" in finished.stdout and "steps per epoch" in finished.stdout and not run.exists()


@pytest.mark.slow
def test_a_signal_ends_a_run_whose_images_python_makes(tmp_path):
    """The threads that call Python for the next scenes are let go before the interpreter ends."""
    run = tmp_path / "run"
    arguments = ("--dataset=digit_scenes", "--checkpoint_every=1", f"--model_dir={run}")
    process = subprocess.Popen(
        [sys.executable, *COMMAND, *arguments], cwd=processes.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while newest_step(run) < 2 and process.poll() is None:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=120) == 128 + signal.SIGTERM
