"""What `import condconv_keras` offers."""

import importlib
import subprocess
import sys

import pytest

import condconv_keras
from tests import processes


def test_the_names_are_there():
    assert set(condconv_keras.__all__) <= set(dir(condconv_keras))
    assert {
        name: getattr(condconv_keras, name).__name__ for name in condconv_keras.__all__ if name != "__version__"
    } == {
        **{name: name for name in ("AnnealedTemperature", "CondConv2D", "DepthwiseCondConv2D", "Routing")},
        **{name: name for name in ("card_of", "create_model", "list_models", "load_model", "to_condconv")},
        "fold": "fold",
        "use_fused_batch_norm": "use_fused_batch_norm",
        **{
            name: f"condconv_keras.{name}"
            for name in ("analysis", "data", "export", "layers", "models", "profiling", "training", "weights")
        },
    }


@pytest.mark.parametrize("package", ["analysis", "data", "export", "models", "tasks.detection", "training", "weights"])
def test_a_package_offers_what_it_lists(package):
    module = importlib.import_module(f"condconv_keras.{package}")
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize(
    "name",
    [
        *("training.fit", "export.formats"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("training.recipes", "analysis.report", "weights.warm_start", "pretrained")
        ),
    ],
)
def test_modules_are_attributes_without_an_import_of_their_own(name):
    program = f"import condconv_keras; print(condconv_keras.{name}.__name__)"
    finished = subprocess.run([sys.executable, "-c", program], cwd=processes.ROOT, capture_output=True, text=True)
    assert finished.stdout == f"condconv_keras.{name}\n", finished.stderr


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = condconv_keras.no_such_name


def test_importing_it_and_listing_the_models_imports_no_keras():
    program = """
import sys
import condconv_keras
assert "condconv_mobilenet_v1" in condconv_keras.list_models()
assert condconv_keras.__version__ != "unknown" and condconv_keras.export and condconv_keras.training
assert not {"keras", "tensorflow", "numpy"} & set(sys.modules), "imported"
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=processes.ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
