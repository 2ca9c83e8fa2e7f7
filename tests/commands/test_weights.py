"""`python -m condconv_keras.weights` as a user runs it."""

import json

import pytest

from condconv_keras.models.saving import load_keras_file
from tests import processes
from tests.fixtures.timm.make_weights import save_safetensors
from tests.weights.importing import quarter_width_tensors

COMMAND = ("-m", "condconv_keras.weights")


def test_imports_and_says_what(tmp_path):
    save_safetensors(tmp_path / "model.safetensors", quarter_width_tensors())
    finished = processes.run(
        *COMMAND,
        f"--source={tmp_path / 'model.safetensors'}",
        "--model=mobilenet_v1",
        f"--output={tmp_path / 'x.keras'}",
        "--width_multiplier=0.25",
        "--json",
    )
    result = json.loads(finished.stdout)
    model, card = load_keras_file(tmp_path / "x.keras")
    assert result["model"] == card.model == model.name == "mobilenet_v1"
    assert "timm checkpoint" in result["source"]
    assert result["tensors"] == len(model.weights) == 137
    assert result["values"] == model.count_params()
    assert result["model_arguments"] == {
        "padding": "symmetric",
        "bn_epsilon": 1e-5,
        "classes": 10,
        "width_multiplier": 0.25,
    }
    assert result["preprocessing"] == card.preprocessing.to_dict()
    assert result["output"] == str(tmp_path / "x.keras")


@pytest.mark.parametrize(
    ("flags", "contains"),
    [
        ({}, "--source"),
        ({"unknown": 1}, "unknown"),
        ({"source": "x", "model": "mobilenet_v9", "output": "x.keras"}, "Did you mean 'mobilenet_v"),
        ({"source": "x", "model": "mobilenet_v1", "output": "x.h5"}, "--output is a file that ends in .keras"),
        ({"source": "missing", "model": "mobilenet_v1", "output": "x.keras"}, "nothing lies at 'missing'"),
        ({"source": "README.md", "model": "mobilenet_v1", "output": "x.keras"}, "is none of them"),
        ({"source": "README.md", "model": "mobilenet_v1", "output": "x.keras", "sha256": "00"}, "expected 00"),
        ({"source": "x", "model": "mobilenet_v1", "output": "x.keras", "num_experts": 0}, "num_experts"),
        ({"source": "x", "model": "mobilenet_v1", "output": "README.md/x.keras"}, "is a file"),
    ],
)
def test_a_wrong_command_is_answered_at_once_in_one_line(tmp_path, flags, contains):
    environment = processes.without_frameworks(tmp_path)
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    processes.assert_refused(*COMMAND, *arguments, contains=contains, **environment)


def test_help_is_answered_at_once(tmp_path):
    finished = processes.run(*COMMAND, "--help", check=False, **processes.without_frameworks(tmp_path))
    assert finished.returncode == 0
    for text in ("--source", "--sha256", "timm", "keras.applications", "TensorFlow"):
        assert text in finished.stdout
