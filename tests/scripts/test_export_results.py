"""The script that measures what exporting costs, with the commands that it calls replaced by their answers."""

import json
import pathlib

import pytest

from condconv_keras.export.formats import SAVED_MODEL, TFLITE
from condconv_keras.training.run_folder import RunFolder
from condconv_keras.utils.errors import UserError
from scripts import export_results
from tests import processes
from tests.training.configs import CONFIG

FILES = [mode.file_name for mode in (SAVED_MODEL, *TFLITE.values())]


class _Commands:
    """Stands for `call`: notes every command, and answers with figures that tell the files apart."""

    def __init__(self):
        self.seen = []

    def __call__(self, *arguments):
        self.seen.append(arguments)
        named = dict(argument.removeprefix("--").split("=", 1) for argument in map(str, arguments) if "=" in argument)
        if "output_dir" in named:
            return self._export(named["output_dir"])
        place = [named["model"].endswith(file) for file in FILES]
        top_1 = 0.5 if not any(place) else 0.6 + 0.01 * place.index(True)
        return {"top_1": top_1, "top_5": 1.0, "loss": 0.1, "examples": 360, "split": "test", "kind": "run"}

    def _export(self, folder):
        pathlib.Path(folder).mkdir(parents=True)
        (pathlib.Path(folder) / "model.json").write_text(json.dumps({"versions": {"keras": "3"}}))
        return {
            "files": [
                {
                    "file": file,
                    "bytes": 1_000_000 * (i + 1),
                    "images": 16,
                    "same_class": 16,
                    "relative_error": 2e-6,
                    "snr_db": 40.0 + i,
                }
                for i, file in enumerate(FILES)
            ]
        }


@pytest.fixture
def called(monkeypatch):
    fake = _Commands()
    monkeypatch.setattr(export_results, "call", fake)
    return fake


@pytest.fixture
def run(tmp_path):
    """A folder with what the script reads of a run."""
    folder = RunFolder(tmp_path / "runs" / "plain")
    folder.start(CONFIG)
    folder.model.write_bytes(bytes(700))
    folder.results.write_text(json.dumps({"command": "python train.py"}))
    return folder


def test_every_form_of_a_run_is_evaluated_with_its_own_figures(run, called, tmp_path):
    output = tmp_path / "out"
    text = export_results.measure_all([str(run.path)], output)
    (result,) = json.loads((output / "results.json").read_text())
    assert [form["as"] for form in result["stored"]] == ["Keras", *export_results.MODES]
    assert [form["top_1"] for form in result["stored"]] == [0.5, *(0.6 + 0.01 * i for i in range(5))]
    assert [form["bytes"] for form in result["stored"][1:]] == [1_000_000 * (i + 1) for i in range(5)]
    assert result["stored"][0]["bytes"] == 700
    assert (result["model"], result["dataset"], result["seed"]) == ("condconv_mobilenet_v1", "digits", 0)
    evaluated = [form["command"].split() for form in result["stored"]]
    assert evaluated[0][1:] == ["eval.py", f"--model={run.path}"]
    for command, file in zip(evaluated[1:], FILES, strict=True):
        assert command[1:] == ["eval.py", f"--model={output / 'digits' / 'plain' / file}", "--dataset=digits"]
    export = called.seen[0]
    assert "--quantization=none,float16,dynamic,int8" in export
    assert text == (output / "results.md").read_text().rstrip("\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["stored as", "`plain`"]
    assert rows[3] == ["SavedModel", "0.6000 (1.00 MB; error 2e-06)"]
    assert rows[7] == ["TFLite int8", "0.6400 (5.00 MB; 44 dB)"]


def test_a_table_for_each_data_set():
    form = {"as": "Keras", "top_1": 0.5, "bytes": 2_000_000, "examples": 360}
    runs = [{"dataset": d, "run": r, "stored": [form]} for d, r in (("a", "x"), ("b", "y"), ("a", "z"))]
    tables = export_results.markdown(runs).split("\n\n")
    assert ["| stored as | `x` | `z` |" in table for table in tables if table.startswith("|")] == [True, False]
    assert "| Keras | 0.5000 (2.00 MB) | 0.5000 (2.00 MB) |" in tables[1]


@pytest.mark.parametrize("taken", [True, False])
def test_exports_that_would_overwrite_each_other(taken, run, called, tmp_path):
    output = tmp_path / "out"
    if taken:
        (output / "digits" / "plain").mkdir(parents=True)
    with pytest.raises(UserError, match="taken already"):
        export_results.measure_all([str(run.path)] * (1 if taken else 2), output)
    assert not called.seen


def test_a_run_that_is_not_complete(run, called, tmp_path):
    run.results.unlink()
    with pytest.raises(UserError, match="has no results yet"):
        export_results.measure_all([str(run.path)], tmp_path / "out")
    assert not called.seen


def test_no_run(tmp_path):
    script = ("-m", "scripts.export_results", f"--output_dir={tmp_path / 'out'}")
    without = processes.without_frameworks(tmp_path)
    processes.assert_refused(*script, contains="expected run folders after the flags", **without)
    processes.assert_refused(*script, tmp_path, contains=["expected run folders", str(tmp_path)], **without)
    assert not (tmp_path / "out").exists()
