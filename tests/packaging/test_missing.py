"""Without TensorFlow a command and a program get one line that names the `pip install`."""

import os
import subprocess
import sys

import pytest

from condconv_keras.pretrained import create_model
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule, installs_named
from tests import processes

LINE = "the package 'tensorflow' is not installed; it comes with pip install 'condconv-keras[tensorflow]'"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Of a process in which TensorFlow, and nothing else, is missing."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "tensorflow.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tensorflow'\", name='tensorflow')"
    )
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The path of a `.keras` file."""
    path = tmp_path_factory.mktemp("stored") / "model.keras"
    create_model("mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, classes=10).save(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--model=mobilenet_v1", "--model_dir={folder}/run"),
        ("train", "--model=mobilenet_v1", "--dry_run"),
        ("eval", "--model={stored}", "--dataset=digits"),
        ("predict", "--model={stored}", "{folder}"),
        ("analyze", "--model={stored}", "--dataset=digits", "--output_dir={folder}/routing"),
        ("export", "--model={stored}", "--output_dir={folder}/exported"),
        ("models", "mobilenet_v1"),
        ("weights", "--source={stored}", "--model=mobilenet_v1", "--output={folder}/out.keras"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_ends_with_one_line(command, environment, stored, tmp_path):
    (tmp_path / "picture.png").write_bytes(b"never read")
    name, *arguments = (word.format(stored=stored, folder=tmp_path) for word in command)
    finished = processes.assert_refused(
        "-m", f"condconv_keras.commands.{name}", *arguments, contains=LINE, **environment
    )
    assert finished.returncode == 2
    assert finished.stderr == f"error: {LINE}\n"


@pytest.mark.parametrize(
    "statement",
    [
        "from condconv_keras import CondConv2D",
        "import condconv_keras; condconv_keras.create_model('mobilenet_v1')",
        "import condconv_keras; condconv_keras.load_model({stored!r})",
        "from condconv_keras.utils.lazy import tensorflow; tensorflow.zeros([])",
    ],
)
def test_a_program_gets_the_same_line(statement, environment, stored):
    program = f"""
from condconv_keras.utils.errors import UserError
try:
    {statement.format(stored=str(stored))}
except UserError as error:
    print(error)
"""
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=processes.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert (finished.returncode, finished.stdout) == (0, f"{LINE}\n"), finished.stderr


def test_a_package_of_another_extra_is_named_with_it():
    with (
        pytest.raises(UserError, match=r"'pycocotools' .* pip install 'condconv-keras\[detection\]'$"),
        installs_named(),
    ):
        raise ModuleNotFoundError("No module named 'pycocotools.mask'", name="pycocotools.mask")


def test_what_no_extra_brings_stays_pythons_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        _ = LazyModule("no_such_package").attribute
