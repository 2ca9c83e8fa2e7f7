"""What is in the distributions, and what they say of themselves."""

import email
import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

from tests import processes

PROJECT = tomllib.loads((processes.ROOT / "pyproject.toml").read_text())["project"]
COMMANDS = ("analyze", "convert", "eval", "experiments", "export", "models", "predict", "train", "weights")


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel, names):
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(name))


def test_the_library_and_its_metadata_are_the_only_names_at_the_top(names):
    assert {name.split("/")[0] for name in names} == {
        "condconv_keras",
        f"condconv_keras-{PROJECT['version']}.dist-info",
    }


def test_every_file_of_the_library_is_in_the_wheel_and_no_other(names):
    package = processes.ROOT / "condconv_keras"
    files = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    expected = {path.relative_to(processes.ROOT).as_posix() for path in files}
    assert {name for name in names if name.startswith("condconv_keras/")} == expected
    assert {"condconv_keras/facts/imagenet_classes.txt", "condconv_keras/py.typed"} <= expected


def test_the_source_distribution_builds_the_wheel_and_has_the_tests(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    expected = {"pyproject.toml", "README.md", "LICENSE", "tests/conftest.py", "train.py"}
    expected |= {"CHANGELOG.md", "CITATION.cff", "docs/upgrading.md", "examples/quickstart.ipynb"}
    assert expected | {"condconv_keras/__init__.py", "condconv_keras/py.typed"} <= held
    assert not any(name.startswith((".venv", "runs/", "site/", ".git/")) for name in held)


def test_twine_has_nothing_to_say(distributions):
    files = sorted(map(str, distributions.glob("*.*")))
    finished = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.count("PASSED") == len(files) == 2


def test_the_layers_and_the_zoo_need_keras_and_numpy_alone(metadata):
    required = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    assert [re.match(r"[\w-]+", text)[0] for text in required] == ["keras", "numpy"]
    assert set(metadata.get_all("Provides-Extra")) == {"all", "augmentation", "detection", "export", "tensorflow"}
    assert (metadata["Version"], metadata["License-Expression"]) == (PROJECT["version"], "Apache-2.0")


def test_every_command_is_there_and_is_a_main_of_the_library(installed):
    (distribution,) = importlib.metadata.distributions(path=[str(installed)])
    points = distribution.entry_points.select(group="console_scripts")
    assert sorted(point.name for point in points) == [f"condconv-{name}" for name in COMMANDS]
    for point in points:
        run = point.load()
        assert (run.__module__, run.__name__) == (f"condconv_keras.commands.{point.name.partition('-')[2]}", "run")
    assert sorted(path.name for path in (installed / "bin").iterdir()) == sorted(point.name for point in points)
