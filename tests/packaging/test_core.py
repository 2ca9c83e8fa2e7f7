"""The zoo, profiles and `condconv-models` on Keras and NumPy alone, on every Keras backend (`make test-backends`)."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from condconv_keras.models import list_models, model_entry
from condconv_keras.pretrained import create_model
from condconv_keras.profiling import profile
from tests import processes

pytestmark = pytest.mark.backends

# What the extras bring and Keras's own backends do without.
_EXTRAS = [
    "PIL",
    "ai_edge_litert",
    "matplotlib",
    "official",
    "pycocotools",
    "safetensors",
    "sklearn",
    "tensorflow_datasets",
    "tf_keras",
    "tqdm",
]
_ALONE = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {_EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def alone(program, *arguments):
    """Runs a program in a process in which what the extras bring is missing; returns what it prints."""
    finished = subprocess.run(
        [sys.executable, "-c", _ALONE + program, *arguments],
        cwd=processes.ROOT,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="tests/models/test_zoo.py does more there")
@pytest.mark.parametrize("name", list_models())
def test_a_model_of_the_zoo_computes_one_image_as_it_does_in_a_batch(name):
    side = 32 if model_entry(name).task == "classification" else 96
    width = {"width_multiplier": 0.25} if "mobilenet_v" in name else {}
    experts = {"num_experts": 2} if name.startswith("condconv_") else {}
    model = create_model(name, input_shape=(side, side, 3), classes=3, **width, **experts)
    images = np.random.default_rng(0).uniform(-1, 1, (2, side, side, 3)).astype("float32")
    both, second = (outputs(model, batch) for batch in (images, images[1:]))
    assert all(np.isfinite(array).all() and np.ptp(array) > 0 for array in both)
    for batch, one in zip(both, second, strict=True):
        np.testing.assert_allclose(batch[1:], one, rtol=1e-3, atol=1e-4)
    counted = profile(model)
    assert counted.trainable_parameters == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def outputs(model, images):
    return [np.array(keras.ops.convert_to_numpy(x)) for x in keras.tree.flatten(model(images, training=False))]


def test_condconv_models_needs_nothing_else():
    program = "from condconv_keras.commands.models import main; sys.exit(main(['mobilenet_v1', '--csv']))"
    assert alone(program).splitlines()[1].startswith("mobilenet_v1,1,224x224x3,4231976,21888,568.74,")


def test_a_stored_model_is_read_with_nothing_else(tmp_path):
    model = create_model("condconv_mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, classes=3)
    model.save(tmp_path / "model.keras")
    program = """
import condconv_keras
import numpy as np
model, card = condconv_keras.load_model(sys.argv[1])
print(card.model, card.task, len(card.class_names), *np.array(model(np.ones((1, 32, 32, 3), "float32")))[0])
"""
    name, task, classes, *logits = alone(program, str(tmp_path / "model.keras")).split()
    assert (name, task, classes) == ("condconv_mobilenet_v1", "classification", "3")
    expected = outputs(model, np.ones((1, 32, 32, 3), "float32"))[0][0]
    np.testing.assert_allclose(np.array(logits, "float32"), expected, rtol=1e-4, atol=1e-5)
