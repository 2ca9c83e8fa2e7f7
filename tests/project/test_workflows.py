"""The workflows fit the schema of GitHub Actions, may do nothing but read, and run what the Makefile has."""

import re
import tomllib

import pytest
import yaml
from check_jsonschema import main as check
from click.testing import CliRunner

from tests.processes import ROOT

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
SCHEMAS = ("vendor.github-workflows", "custom.github-workflows-require-timeout")
RUNS = {"test": "make test", "backends": "make test-backends", "docs": "make docs", "wheel": "make dist"}


def fits(schema, path):
    """Whether a file fits one of the schemas that check-jsonschema carries."""
    finished = CliRunner().invoke(check, ["--builtin-schema", schema, str(path)])
    assert finished.exit_code in (0, 1), finished.output
    return finished.exit_code == 0


def test_there_is_one_for_each_job():
    assert {path.stem for path in FILES} == set(RUNS)
    assert {path for path in FOLDER.iterdir() if path not in FILES} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_fits_the_schema(path):
    assert [schema for schema in SCHEMAS if not fits(schema, path)] == []


@pytest.mark.parametrize(
    ("schema", "old", "new"),
    [
        (SCHEMAS[0], "runs-on:", "runs_on:"),
        (SCHEMAS[0], "contents: read", "contents: reads"),
        (SCHEMAS[1], "    timeout-minutes: 60\n", ""),
    ],
)
def test_a_workflow_with_a_fault_does_not(schema, old, new, tmp_path):
    text = (FOLDER / "test.yml").read_text()
    assert text.count(old) == 1
    (tmp_path / "test.yml").write_text(text.replace(old, new))
    assert not fits(schema, tmp_path / "test.yml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_reads_and_runs_a_target_of_make(path):
    workflow = yaml.safe_load(path.read_text())
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    assert "concurrency" in workflow
    (command,) = (step["run"] for step in job["steps"] if "run" in step)
    assert command.split(" PYTHON=")[0] == RUNS[path.stem]
    target = RUNS[path.stem].removeprefix("make ")
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions), actions
    (python,) = (step["with"] for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert (python["cache"], "requirements.lock" in python["cache-dependency-path"]) == ("pip", True)


def test_the_tests_run_on_every_python_of_the_package_and_of_make():
    (job,) = yaml.safe_load((FOLDER / "test.yml").read_text())["jobs"].values()
    tried = job["strategy"]["matrix"]["python"]
    (named,) = re.findall(r"^PYTHONS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [f"python{version}" for version in tried] == named.split()
    classifiers = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert tried == classifiers
    minors = [int(version.removeprefix("3.")) for version in tried]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">=3.{minors[0]},<3.{minors[-1] + 1}"
