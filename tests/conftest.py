"""The seed of every test, and one small trained run and its exports, shared by the tests of the commands."""

import keras
import pytest

from tests import commands


@pytest.fixture(autouse=True)
def _seed():
    """Fixes the initial weights of every model: some random networks are so ill-conditioned that rounding shows."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """The folder of a short CondConv run on digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    commands.run(
        "train.py",
        *commands.TRAINED_RUN,
        "--epochs=2",
        f"--model_dir={folder}",
    )
    return folder


@pytest.fixture(scope="session")
def exported(trained_run, tmp_path_factory):
    """The folder of the run's exports."""
    folder = tmp_path_factory.mktemp("exports") / "digits"
    modes = "--quantization=none,float16,dynamic"
    commands.run("-m", "export", f"--model={trained_run}", f"--output_dir={folder}", modes)
    return folder
