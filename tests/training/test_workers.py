"""Training on several devices and by several processes on loopback, against the same run in one process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from condconv_keras import Routing
from condconv_keras.models.saving import load_keras_file
from tests import processes
from tests.training.runs import history

# Four steps, and short ones: training blows rounding up, and a batch rounds otherwise than its parts. In one process,
# weights that differ by 1e-7 of themselves make losses differ by 0.1 after eight steps on batches of 32. These losses
# differ by 7e-4 (one device fuses its batch normalization), and by 0.05 with statistics of each device's own part.
COMMAND = (
    "train.py",
    "--model=condconv_mobilenet_v1",
    "--width_multiplier=0.25",
    "--num_experts=2",
    "--input_size=32",
    "--batch_size=480",
    "--learning_rate=0.0001",
    "--clip_norm=1",
    "--ema_decay=0.9",
)
# Runs train.py and writes the network's weights of this process where it would go on to store the chief's.
DUMPING = """
import runpy, sys
import numpy as np
from condconv_keras.training import loop
output = sys.argv[1]
run_from = loop.TrainingLoop.run_from
def run_and_dump(self, step):
    run_from(self, step)
    np.savez(output, *[v.numpy() for v in (*self._model.network.variables, *self._model.average.variables)])
loop.TrainingLoop.run_from = run_and_dump
sys.argv = sys.argv[2:]
runpy.run_path("train.py", run_name="__main__")
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(*arguments, of_worker=lambda index: ()):
    """Starts two worker processes of `python ARGUMENTS`."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        workers.append(
            subprocess.Popen(
                [sys.executable, *of_worker(index), *arguments],
                cwd=processes.ROOT,
                env={**os.environ, "TF_CONFIG": config},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return workers


def finish(workers):
    """Waits for all; returns what each wrote to standard output and to standard error."""
    outputs = [process.communicate(timeout=600) for process in workers]
    for process, (_, error) in zip(workers, outputs, strict=True):
        assert process.returncode == 0, error
    return outputs


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The history of the run in one process on one device."""
    run = tmp_path_factory.mktemp("single") / "run"
    processes.run(*COMMAND, "--epochs=2", f"--model_dir={run}")
    return history(run)


def assert_same_losses(rows, expected):
    assert len(rows) == len(expected) == 2
    for row, other in zip(rows, expected, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], abs=2e-3)
        assert row["val_loss"] == pytest.approx(other["val_loss"], abs=1e-3)


@pytest.mark.slow
def test_two_devices(tmp_path, single):
    run = tmp_path / "run"
    arguments = ("--epochs=2", "--strategy=mirrored", "--logical_cpus=2", f"--model_dir={run}")
    processes.run(*COMMAND, *arguments)
    assert_same_losses(history(run), single)
    assert json.loads((run / "results.json").read_text())["examples"] == 360
    arguments = ("--strategy=mirrored", "--logical_cpus=2", "--batch_size=50", "--json")
    evaluated = json.loads(processes.run("eval.py", f"--model={run}", *arguments).stdout)
    assert evaluated["examples"] == 360
    assert evaluated["loss"] == pytest.approx(single[-1]["val_loss"], abs=1e-3)


@pytest.mark.slow
def test_two_devices_train_routers_with_options_as_one_does(tmp_path):
    options = ("--routing_temperature=30", "--temperature_epochs=1.5", "--router_normalization", "--expert_start=alike")
    command = (*COMMAND, *options, "--router_learning_rate=0.5", "--epochs=2")
    devices = {"one": (), "two": ("--strategy=mirrored", "--logical_cpus=2")}
    for name, arguments in devices.items():
        processes.run(*command, *arguments, f"--model_dir={tmp_path / name}")
    assert_same_losses(history(tmp_path / "two"), history(tmp_path / "one"))
    networks = [load_keras_file(tmp_path / name / "model.keras")[0] for name in devices]
    for one, two in zip(*(network.layers for network in networks), strict=True):
        if isinstance(one, Routing):
            np.testing.assert_allclose(np.array(two.kernel), np.array(one.kernel), rtol=0.05, atol=5e-3)


@pytest.mark.slow
def test_two_workers(tmp_path, single):
    run = tmp_path / "run"
    arguments = (*COMMAND, "--epochs=2", "--strategy=multi_worker_mirrored", f"--model_dir={run}", "--json")
    dumps = [tmp_path / f"{index}.npz" for index in range(2)]
    outputs = finish(start_workers(*arguments, of_worker=lambda index: ("-c", DUMPING, str(dumps[index]))))
    results = [json.loads(output) for output, _ in outputs]
    assert results[0] == results[1] == json.loads((run / "results.json").read_text())
    assert results[0]["examples"] == 360
    assert_same_losses(history(run), single)
    with np.load(dumps[0]) as first, np.load(dumps[1]) as second:
        assert len(first.files) > 100
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])
    arguments = ("eval.py", f"--model={run}", "--strategy=multi_worker_mirrored", "--batch_size=50", "--json")
    outputs = finish(start_workers(*arguments))
    assert json.loads(outputs[0][0])["examples"] == 360
    assert json.loads(outputs[0][0])["loss"] == pytest.approx(results[0]["loss"], rel=1e-5)
    assert outputs[1][0] == ""


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_worker_ends_the_job_and_both_go_on(tmp_path, lost):
    run = tmp_path / "run"
    arguments = (*COMMAND, "--epochs=5", "--strategy=multi_worker_mirrored", "--checkpoint_every=1")
    workers = start_workers(*arguments, f"--model_dir={run}")
    deadline = time.monotonic() + 300
    while not list(run.glob("checkpoints/step_*")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    workers[lost].send_signal(signal.SIGKILL)
    _, error = workers[1 - lost].communicate(timeout=120)
    assert workers[1 - lost].returncode == 2
    assert "error: training stopped: " in error
    workers[lost].communicate()
    step = max(int(path.stem.removeprefix("step_")) for path in run.glob("checkpoints/step_*"))
    (_, error), _ = finish(start_workers(*arguments, f"--model_dir={run}"))
    assert (f"Epoch {step // 2 + 1}/5" in error) and (step < 2 or "Epoch 1/5" not in error)
    assert json.loads((run / "results.json").read_text())["examples"] == 360
    assert [row["epoch"] for row in history(run)] == list(range(5))
    assert step > 0
