"""The hooks of .pre-commit-config.yaml, run in a repository of the test's own."""

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT

GOOD = '"""A module."""\n\nx = 1\n'


@pytest.fixture
def repository(tmp_path):
    """A repository with the hooks, the settings of ruff, and the environment where `make` has it."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for name in (".pre-commit-config.yaml", "pyproject.toml", "CITATION.cff"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def run_hooks(repository, **files):
    """Writes files, adds them, and runs the hooks on them; returns the exit code and the output."""
    for name, text in files.items():
        (repository / name.replace("_", ".")).write_text(text)
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    environment = {**os.environ, "PRE_COMMIT_HOME": str(repository / ".git/hooks-home")}
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    finished = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    return finished.returncode, finished.stdout + finished.stderr


def test_hooks_pass_what_is_right(repository):
    code, output = run_hooks(repository, module_py=GOOD)
    assert code == 0, output
    assert output.count("Passed") == 3, output  # there is no workflow


def test_hooks_find_what_is_not(repository):
    citation = (ROOT / "CITATION.cff").read_text().replace("type: software", "type: program")
    code, output = run_hooks(repository, module_py=GOOD + "y  =  undefined\n", CITATION_cff=citation)
    assert code == 1
    assert [output.count(f"hook id: {name}") for name in ("ruff-check", "ruff-format", "citation")] == [1, 1, 1], output
    assert "F821" in output
