"""A run that is killed and started again ends where it would have ended."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from condconv_keras.models.saving import load_keras_file
from tests import processes
from tests.training.runs import newest_step

TRIES = 10
STEPS = 66  # of the run
# Order, crop, flip, mixup, cutmix, erasing, dropout and the moving average take part.
COMMAND = (
    "train.py",
    "--model=condconv_mobilenet_v1",
    "--width_multiplier=0.25",
    "--num_experts=2",
    "--input_size=32",
    "--epochs=3",
    "--batch_size=64",
    "--augmentation=inception",
    "--random_erasing=0.2",
    "--mixup_alpha=0.2",
    "--cutmix_alpha=1",
    "--dropout_rate=0.2",
    "--ema_decay=0.99",
    "--checkpoint_every=4",
    "--deterministic",
)


def weights(run):
    """The averaged and the last weights of a run."""
    models = [load_keras_file(run / name)[0] for name in ("model.keras", "model_raw.keras")]
    return [weight for model in models for weight in model.get_weights()]


def kill_after(step, seconds, run):
    """Starts the run and kills it this long after it has stored the state of a step or of a later one."""
    command = [sys.executable, *COMMAND, f"--model_dir={run}"]
    process = subprocess.Popen(command, cwd=processes.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while newest_step(run) < step and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_ten_kills(tmp_path):
    processes.run(*COMMAND, f"--model_dir={tmp_path / 'whole'}")
    expected = weights(tmp_path / "whole")
    moments = random.Random(0)
    resumed = 0
    for attempt in range(TRIES):
        run = tmp_path / f"killed_{attempt}"
        kill_after(moments.randrange(STEPS), moments.uniform(0, 0.3), run)
        resumed += newest_step(run) > 0 and not (run / "results.json").is_file()
        processes.run(*COMMAND, f"--model_dir={run}")
        for a, b in zip(expected, weights(run), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
        history = [(tmp_path / name / "history.csv").read_text() for name in ("whole", run.name)]
        assert history[0] == history[1]
    assert resumed > TRIES // 2
