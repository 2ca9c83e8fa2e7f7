"""pyproject.toml says what the project needs; everything else that says so agrees with it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from condconv_keras.utils.lazy import _EXTRAS
from scripts import requirements
from tests import processes

PYPROJECT = (processes.ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
# The distribution of a package that is called otherwise.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "ai_edge_litert": "ai-edge-litert",
    "importlib_resources": "importlib-resources",
    "ml_dtypes": "ml-dtypes",
    "official": "tf-models-official",
    "pkg_resources": "setuptools",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
    "tf_keras": "tf-keras",
}


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0]


def brought_by(extra):
    """The names of the distributions of an extra, those of the extras in it included."""
    names = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        if name_of(requirement) == PROJECT["name"]:
            for inner in re.search(r"\[(.*)\]", requirement)[1].split(","):
                names |= brought_by(inner)
        else:
            names.add(name_of(requirement))
    return names


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_file_is_what_is_made_from_pyproject(name):
    assert (processes.ROOT / name).read_text() == requirements.texts(PYPROJECT)[name]


def test_requirements_are_those_of_the_library_and_of_every_extra_once():
    lines = requirements.texts(
        """
        [project]
        name = "own"
        dependencies = ["keras>=3"]
        [project.optional-dependencies]
        one = ["tqdm>=4,<5", "scipy"]
        two = ["own[one]", "tqdm>=4,<5"]
        [dependency-groups]
        dev = ["pytest>=8"]
        """
    )
    assert lines["requirements.txt"].splitlines()[1:] == ["keras>=3", "scipy", "tqdm>=4,<5"]
    assert lines["requirements-dev.txt"].splitlines()[1:] == ["-r requirements.txt", "pytest>=8"]


def test_the_lock_pins_every_requirement():
    locked = {name_of(line) for line in (processes.ROOT / "requirements.lock").read_text().splitlines()}
    files = requirements.texts(PYPROJECT).values()
    wanted = {name_of(line) for text in files for line in text.splitlines() if not line.startswith(("#", "-r"))}
    assert wanted - locked == set()


def test_all_is_every_extra():
    others = set(PROJECT["optional-dependencies"]) - {"all"}
    assert brought_by("all") == set().union(*map(brought_by, others))
    assert brought_by("tensorflow") < brought_by("augmentation") < brought_by("detection")
    assert brought_by("tensorflow") < brought_by("export")


def test_the_environment_of_the_backends_has_the_requirements_of_the_library():
    lines = (processes.ROOT / "requirements-backends.txt").read_text().splitlines()
    assert set(PROJECT["dependencies"]) <= set(lines)
    named = {name_of(line) for line in lines if not line.startswith("#")}
    assert named - set(map(name_of, PROJECT["dependencies"])) == {"jax", "pytest", "pytest-xdist"}


@pytest.mark.parametrize("package", sorted(_EXTRAS))
def test_the_extra_that_an_error_names_brings_the_package(package):
    assert DISTRIBUTIONS.get(package, package) in brought_by(_EXTRAS[package])


def test_every_package_that_the_library_imports_is_a_requirement():
    imported = set()
    for path in (processes.ROOT / "condconv_keras").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and getattr(node.func, "id", None) == "LazyModule":
                imported |= {node.args[0].value.split(".")[0]} if isinstance(node.args[0], ast.Constant) else set()
    others = imported - set(sys.stdlib_module_names) - {"condconv_keras"}
    assert {"keras", "numpy", "tensorflow", "safetensors"} <= others
    # The readers of .pth files ask for PyTorch in words of their own, and the layers where Keras runs on it.
    assert others - {"keras", "numpy", "torch"} <= set(_EXTRAS)


def chosen_python(folder, **variables):
    """What `make` would make the environment with, where the folder alone is searched for Pythons."""
    for tool in ("make", "sh"):
        if not (folder / tool).exists():
            (folder / tool).symlink_to(shutil.which(tool))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    return subprocess.run(
        ["make", "--dry-run", "VENV=no-such-folder", "lint"],
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
        env={**environment, "PATH": str(folder), **variables},
    )


def test_make_takes_the_first_python_that_runs(tmp_path):
    # As pyenv's, whose name is there for every version that is installed somewhere.
    for name, code in {"python3.11": 127, "python3.12": 0, "python3.13": 0}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    assert "python3.12 -m venv" in chosen_python(tmp_path).stdout
    (tmp_path / "python3.11").write_text("#!/bin/sh\nexit 0\n")
    assert "python3.11 -m venv" in chosen_python(tmp_path).stdout
    assert "/opt/python -m venv" in chosen_python(tmp_path, PYTHON="/opt/python").stdout


def test_make_says_which_pythons_it_knows(tmp_path):
    finished = chosen_python(tmp_path)
    assert finished.returncode == 2
    assert "expected one of python3.11 python3.12 python3.13, none of them runs" in finished.stderr
