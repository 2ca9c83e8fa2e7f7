"""The hooks of .pre-commit-config.yaml, run in a repository of the test's own."""

import os
import re
import subprocess
import sys
import sysconfig

import pytest
import yaml

from tests.processes import ROOT

CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
HOOKS = [hook for each in CONFIG["repos"] for hook in each["hooks"]]
GOOD = '"""A module."""\n\nx = 1\n'


@pytest.fixture
def repository(tmp_path):
    """A repository with the hooks and the settings of ruff, as a clone has them: without an environment."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for name in (".pre-commit-config.yaml", "pyproject.toml", "CITATION.cff"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


@pytest.fixture
def with_our_programs(repository, monkeypatch):
    """The same repository, whose hooks run the programs of this environment: nothing is installed."""
    keys = ("id", "name", "entry", "files", "types_or", "require_serial")
    hooks = [{key: hook[key] for key in keys if key in hook} | {"language": "unsupported"} for hook in HOOKS]
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": hooks}]}))
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)
    return repository


def run_hooks(repository, **files):
    """Writes files, adds them, and runs the hooks on them; returns the exit code and the output."""
    for name, text in files.items():
        (repository / name.replace("_", ".")).write_text(text)
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    environment = {**os.environ, "PRE_COMMIT_HOME": str(repository / ".git/hooks-home")}
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    finished = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    return finished.returncode, finished.stdout + finished.stderr


def test_hooks_install_what_the_lock_pins():
    locked = re.findall(r"^\S+==\S+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    for hook in HOOKS:
        assert hook["language"] == "python"
        (pinned,) = hook["additional_dependencies"]
        assert pinned in locked, "requirements.lock has another version than .pre-commit-config.yaml"
        assert pinned.split("==")[0] == hook["entry"].split()[0]


def test_hooks_pass_what_is_right(with_our_programs):
    code, output = run_hooks(with_our_programs, module_py=GOOD)
    assert code == 0, output
    assert output.count("Passed") == 3, output  # there is no workflow


def test_hooks_find_what_is_not(with_our_programs):
    find_faults(with_our_programs)


@pytest.mark.slow
def test_hooks_find_it_in_a_clone_with_nothing_installed(repository):
    """pre-commit installs the programs from the package index."""
    find_faults(repository)


def find_faults(repository):
    citation = (ROOT / "CITATION.cff").read_text().replace("type: software", "type: program")
    code, output = run_hooks(repository, module_py=GOOD + "y  =  undefined\n", CITATION_cff=citation)
    assert code == 1
    assert [output.count(f"hook id: {name}") for name in ("ruff-check", "ruff-format", "citation")] == [1, 1, 1], output
    assert "F821" in output
