"""The seed of every test, and what is made once for all: a small trained run and its exports, a small detector."""

import fcntl
import gc
import os

import keras
import pytest

from condconv_keras.utils.lazy import LazyModule
from tests import processes
from tests.seeds import set_seed

# The tests of the other backends do without TensorFlow.
detectors = LazyModule("tests.detectors")
blocks = LazyModule("tests.docs.blocks")


def pytest_collection_modifyitems(items):
    """The last folders first: their files are the longest, and one that begins last leaves a core without work.

    The code of the documentation comes before them: with its slow blocks it is one long file.
    """
    items.sort(key=lambda item: (item.path.name == "test_blocks.py", item.path), reverse=True)


def pytest_collection_finish():
    """What has been imported stays: the collector need not look through it again and again."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """How much of the documentation's code has been run, if any has."""
    done = [report.nodeid for key in ("passed", "failed") for report in terminalreporter.stats.get(key, ())]
    if any("tests/docs/test_blocks.py" in nodeid for nodeid in done):
        terminalreporter.write_line(blocks.summary(done))


@pytest.fixture(autouse=True)
def _seed():
    """Fixes the initial weights of every model: some random networks are so ill-conditioned that rounding shows."""
    set_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _keras_home(tmp_path_factory):
    """What the library keeps for later lies with the tests' own files, not with those of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras_home")))
        patch.setitem(processes.READ_AT_START, "KERAS_HOME", os.environ["KERAS_HOME"])
        patch.setattr(processes, "bytecode", str(tmp_path_factory.mktemp("bytecode")))
        yield


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
    return made_once("digits", lambda folder: processes.run(*command, f"--model_dir={folder}"))


@pytest.fixture(scope="session")
def exported(trained_run, made_once):
    """The folder of the run's exports."""
    command = ("-m", "export", f"--model={trained_run}", "--quantization=none,float16,dynamic")
    return made_once("digits_exports", lambda folder: processes.run(*command, f"--output_dir={folder}"))


@pytest.fixture(scope="session")
def detector():
    """A small Keras detector with random weights, and its card."""
    return detectors.small_detector()


@pytest.fixture(scope="session")
def detector_images(detector):
    """Images that the detector is checked on, float32 in 0..255."""
    return detectors.check_images(detector[1])


@pytest.fixture(scope="session")
def raw_detectors(detector, made_once):
    """Dict of mode to the bytes of the detector's file with raw outputs."""

    def convert(folder):
        folder.mkdir()
        set_seed(0)
        for mode, content in detectors.raw_files(*detector).items():
            (folder / mode).write_bytes(content)

    return {path.name: path.read_bytes() for path in made_once("raw_detectors", convert).iterdir()}
