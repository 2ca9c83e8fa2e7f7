"""Runs the project's commands as a user does: in a process of their own."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Of the session's run, but for the epochs. Small steps and few experts: it gets most digits right, so that its exports
# in eight bits are not noise.
TRAINED_RUN = (
    "--model=condconv_mobilenet_v1",
    "--width_multiplier=0.25",
    "--num_experts=2",
    "--start_block=13",
    "--batch_size=8",
    "--learning_rate=0.02",
    "--warmup_epochs=0.5",
    "--augmentation=none",
)


def run(*arguments, check=True, **environment):
    """Runs `python ARGUMENTS` in the project's folder; returns the finished process."""
    command = [sys.executable, *map(str, arguments)]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}, timeout=600
    )
    if check:
        assert finished.returncode == 0, finished.stderr
    return finished


def without_frameworks(folder):
    """Returns an environment in which importing TensorFlow or Keras fails: what works there answers at once."""
    for name in ("tensorflow", "keras"):
        (folder / f"{name}.py").write_text(f"raise AssertionError('{name} is imported')")
    return {"PYTHONPATH": str(folder)}


def assert_refused(*arguments, contains, **environment):
    """Runs a command that must end with one clear line on standard error, nothing on standard output, and code 1 or 2.

    Returns the finished process.
    """
    finished = run(*arguments, check=False, **environment)
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    assert finished.returncode in (1, 2), finished.stderr
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    for text in [contains] if isinstance(contains, str) else contains:
        assert text in lines[0], lines[0]
    assert finished.stdout == ""
    return finished
