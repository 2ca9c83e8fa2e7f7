"""The distributions of this checkout, built once, and the wheel as it is installed without its dependencies."""

import os
import subprocess
import sys

import pytest

from tests import processes


@pytest.fixture(scope="session")
def distributions(made_once):
    """The folder of the source distribution and of the wheel that is built from it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]

    def build(folder):
        subprocess.run([*command, str(folder)], cwd=processes.ROOT, check=True, capture_output=True)

    return made_once("distributions", build)


@pytest.fixture(scope="session")
def wheel(distributions):
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, made_once):
    """A folder that holds the wheel's content and its commands, and nothing else."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]

    def install(folder):
        subprocess.run([*command, str(folder), str(wheel)], check=True, capture_output=True)

    return made_once("installed", install)


@pytest.fixture(scope="session")
def elsewhere(installed, tmp_path_factory):
    """A function that runs a command, in a folder that has decoys of a checkout's names, with the installed wheel."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("models", "export", "train", "eval", "predict", "analyze", "experiments"):
        (folder / f"{name}.py").write_text(f"raise AssertionError('the decoy {name}.py is imported')")

    def call(*command, **environment):
        environment = {**os.environ, "PYTHONPATH": str(installed), **environment}
        return subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, env=environment)

    return call
