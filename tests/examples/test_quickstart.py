"""examples/quickstart.ipynb is valid, uses public names only, and runs from top to bottom without a network."""

import ast
import base64
import copy
import importlib
import json
import os
import re
import sysconfig
import tomllib

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

import condconv_keras
from tests.docs.links import problems, references
from tests.docs.openings import bad_openings
from tests.processes import ROOT

PATH = ROOT / "examples/quickstart.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=nbformat.NO_CONVERT)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
# Besides those that `import condconv_keras` offers.
PUBLIC_MODULES = {"condconv_keras", "condconv_keras.model_card", "condconv_keras.weights.warm_start"}
PUBLIC_MODULES |= {f"condconv_keras.{name}" for name in condconv_keras.__all__}
# What every Python of the kernel and of its commands runs first: another machine is refused, and written down.
NO_NETWORK = """
import os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        address = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = address[0] if isinstance(address, tuple) else address
        local = (None, "", "localhost", "::1", b"localhost")
        if not (host in local or str(host).startswith(("127.", "/", "b'"))):
            with open(os.environ["CONNECTIONS"], "a") as file:
                print(event, host, file=file)
            raise OSError(f"the test has no network: {host}")

sys.addaudithook(refuse)
"""


def program(cell):
    """The Python of a cell, its commands of the shell as calls."""
    return TransformerManager().transform_cell(cell.source)


def test_it_is_valid():
    nbformat.validate(NOTEBOOK)
    assert NOTEBOOK.metadata.kernelspec.name == "python3"


def test_its_code_parses_and_its_imports_are_public():
    found = []
    for node in ast.walk(ast.parse("\n".join(map(program, CODE)))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("condconv_keras") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("condconv_keras"):
            assert node.module in PUBLIC_MODULES
            module = importlib.import_module(node.module)
            names = {alias.name for alias in node.names}
            assert names <= set(getattr(module, "__all__", [name for name in dir(module) if name[0] != "_"]))
            found += names
    assert {"create_model", "open_dataset", "save_model", "profile"} <= set(found)


def test_its_commands_are_installed():
    commands = re.findall(r"^!([\w-]+)", "\n".join(cell.source for cell in CODE), re.MULTILINE)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(commands) == {"condconv-analyze", "condconv-export"}
    assert set(commands) <= set(scripts)


def test_its_text_is_plain_and_its_links_lead_somewhere():
    text = "\n\n".join(cell.source for cell in NOTEBOOK.cells if cell.cell_type == "markdown")
    assert bad_openings(text) == []
    assert len(references(text)) >= 5
    assert problems("examples/quickstart.ipynb", text) == []


def test_stored_outputs_are_of_one_run_and_small():
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4
    assert max(len(base64.b64decode(picture)) for picture in pictures) < 100_000
    assert PATH.stat().st_size < 300_000
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)  # of the machine that it ran on


@pytest.mark.slow
def test_it_runs_without_a_network(tmp_path, monkeypatch):
    """It took 158 s of processor time on two x86 cores that did other work as well (2026-11-29)."""
    connections = tmp_path / "connections.txt"
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    monkeypatch.setenv("CONNECTIONS", str(connections))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    # As a program has it that starts the kernel by its path: without the commands of the environment.
    ours = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != ours))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    notebook = copy.deepcopy(NOTEBOOK)
    facts = "float(before), [float(a[-1]) for a in accuracies.values()], means.tolist()"
    answers = "float(agreement), float(difference), float(accuracy)"
    notebook.cells.append(nbformat.v4.new_code_cell(f"import json; print(json.dumps([{facts}, {answers}]))"))

    client = NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # an error of a cell is one of the test

    before, accuracies, means, agreement, difference, exported = json.loads(notebook.cells[-1].outputs[0].text)
    assert before < 1e-3
    assert len(accuracies) == 2 and min(accuracies) > 0.9
    assert agreement > 0.99
    assert difference < 1e-3
    assert exported == pytest.approx(accuracies[0], abs=1.5 / 360)
    assert [len(row) for row in means] == [4] * 10
    assert all(0 <= weight <= 1 for row in means for weight in row)
    assert not connections.exists(), connections.read_text()
