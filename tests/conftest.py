"""The seed of every test, and one small trained run and its exports, shared by the tests of the commands."""

import fcntl
import gc

import keras
import pytest

from tests import processes


def pytest_collection_finish():
    """What has been imported stays: the collector need not look through it again and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed():
    """Fixes the initial weights of every model: some random networks are so ill-conditioned that rounding shows."""
    keras.utils.set_random_seed(0)


@pytest.fixture
def zeros(monkeypatch):
    """Kernels of networks are zeros: they are made faster, and counts and connections do not depend on the values."""
    monkeypatch.setattr("condconv_keras.models.blocks.conv_initializer", keras.initializers.Zeros)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A function of a name and of what makes a folder that returns the folder, one for all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def get(name, make):
        folder, done = base / name, base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def trained_run(made_once):
    """The folder of a short CondConv run on digits."""
    command = ("train.py", *processes.TRAINED_RUN, "--epochs=2")
    return made_once("digits", lambda folder: processes.run(*command, f"--model_dir={folder}", fresh=True))


@pytest.fixture(scope="session")
def exported(trained_run, made_once):
    """The folder of the run's exports."""
    command = ("-m", "export", f"--model={trained_run}", "--quantization=none,float16,dynamic")
    return made_once("digits_exports", lambda folder: processes.run(*command, f"--output_dir={folder}", fresh=True))
