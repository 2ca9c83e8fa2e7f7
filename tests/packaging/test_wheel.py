"""The wheel, installed alone, used from a folder that has files called as those of a checkout."""

import json
import subprocess
import sys
import tomllib

import pytest

from tests import processes

VERSION = tomllib.loads((processes.ROOT / "pyproject.toml").read_text())["project"]["version"]

# Prints what the process has imported of what, and its `answer`.
_WHERE = """
import json
from pathlib import Path
own, checkout = Path(condconv_keras.__file__).parent.parent, Path(%r)
files = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
print(json.dumps({
    "version": condconv_keras.__version__,
    "from": str(own),
    # The environment may lie in the checkout, too.
    "checkout": [str(file) for file in files if checkout in file.parents and Path(sys.prefix) not in file.parents],
    "decoys": [name for name in ("models", "export", "train") if name in sys.modules],
    "answer": answer,
}))
""".replace("%r", repr(str(processes.ROOT)))

_SAVE = """
import sys
import condconv_keras
import numpy as np
model = condconv_keras.create_model("condconv_mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25,
                                    num_experts=2, classes=3)
model.save(sys.argv[1])
x = np.linspace(-1, 1, 32 * 32 * 3, dtype="float32").reshape(1, 32, 32, 3)
answer = model.predict(x, verbose=0).tolist()
"""

_LOAD = """
import sys
{imports}
import numpy as np
model = keras.saving.load_model(sys.argv[1])
x = np.linspace(-1, 1, 32 * 32 * 3, dtype="float32").reshape(1, 32, 32, 3)
answer = model.predict(x, verbose=0).tolist()
"""


def facts(finished):
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def stored(elsewhere, tmp_path_factory):
    """The path of a twin that the installed library built and saved, and what the process says of itself."""
    path = tmp_path_factory.mktemp("stored") / "twin.keras"
    return path, facts(elsewhere(sys.executable, "-c", _SAVE + _WHERE, path))


def test_it_builds_and_saves_a_twin_with_nothing_of_a_checkout(stored, installed):
    path, said = stored
    assert path.is_file()
    assert (said["version"], said["from"]) == (VERSION, str(installed))
    assert (said["checkout"], said["decoys"]) == ([], [])


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param("import keras\nimport condconv_keras", id="after"),
        pytest.param("import condconv_keras\nimport keras", id="before", marks=pytest.mark.slow),
    ],
)
def test_keras_loads_the_twin_in_a_fresh_process_whichever_is_imported_first(stored, elsewhere, installed, imports):
    path, saved = stored
    said = facts(elsewhere(sys.executable, "-c", _LOAD.format(imports=imports) + _WHERE, path))
    assert said["answer"][0] == pytest.approx(saved["answer"][0], rel=1e-5, abs=1e-6)
    assert (said["from"], said["checkout"], said["decoys"]) == (str(installed), [], [])


def test_load_model_reads_the_twin_and_knows_its_card(stored, elsewhere):
    path, saved = stored
    program = _LOAD.format(imports="import condconv_keras").replace(
        "model = keras.saving.load_model(sys.argv[1])", "model, card = condconv_keras.load_model(sys.argv[1])"
    )
    said = facts(elsewhere(sys.executable, "-c", program + "\nanswer.append(list(card.class_names))" + _WHERE, path))
    assert said["answer"][0] == pytest.approx(saved["answer"][0], rel=1e-5, abs=1e-6)
    assert said["answer"][1] == ["0", "1", "2"]


@pytest.mark.slow
def test_condconv_models_counts_a_model(elsewhere, installed):
    finished = elsewhere(installed / "bin" / "condconv-models", "mobilenet_v1", "--csv")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.splitlines()[1].startswith("mobilenet_v1,1,224x224x3,4231976,")


def test_condconv_models_calls_itself_by_its_name(elsewhere, installed):
    finished = elsewhere(installed / "bin" / "condconv-models", "--help")
    assert finished.stdout.startswith("usage: condconv-models ")


@pytest.mark.parametrize("name", ["analyze", "convert", "eval", "experiments", "export", "predict", "train", "weights"])
def test_help_of_a_command_needs_neither_tensorflow_nor_keras(elsewhere, installed, tmp_path, name):
    without = processes.without_frameworks(tmp_path)["PYTHONPATH"]
    finished = elsewhere(installed / "bin" / f"condconv-{name}", "--help", PYTHONPATH=f"{without}:{installed}")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "\n\nFlags:" in finished.stdout or "\n  --" in finished.stdout


@pytest.mark.slow
def test_pip_installs_the_library_and_what_it_needs(tmp_path):
    """Takes the package index: in an environment of its own, from the folder."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(processes.ROOT)], check=True, capture_output=True)
    program = "import condconv_keras, numpy; print(condconv_keras.__version__, len(condconv_keras.list_models()) > 10)"
    finished = subprocess.run([python, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert finished.stdout == f"{VERSION} True\n"
    help_text = subprocess.run(
        [tmp_path / "fresh" / "bin" / "condconv-train", "--help"], cwd=tmp_path, check=True, capture_output=True
    )
    assert b"--model_dir" in help_text.stdout
