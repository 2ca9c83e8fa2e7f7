"""Commands about a stored model turn image files as it was trained, unless a flag says otherwise."""

import json

import keras
import numpy as np
import pytest

from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models.saving import save_model
from tests import processes
from tests.images import encoded, exif


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models that ask whether the upper or the left half of an image is the brighter one, by their orientation."""
    inputs = keras.Input((8, 8, 3))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    upper = np.where(np.arange(8) < 4, 1.0, -1.0)[:, None, None] * np.ones((8, 8, 3))
    kernel = np.stack([upper, upper.transpose(1, 0, 2)], axis=-1).reshape(-1, 2)
    dense.set_weights([kernel, np.zeros(2)])
    folder, paths = tmp_path_factory.mktemp("models"), {}
    for applied in (True, False):
        card = ModelCard("mine", ("above", "left"), Preprocessing((8, 8), 3, 0.0, 255.0, apply_orientation=applied))
        paths[applied] = folder / f"{applied}.keras"
        save_model(model, card, paths[applied])
    return paths


def _image():
    """A stored upper half that is bright, and is seen at the left."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255
    return encoded(pixels, "PNG", exif=exif(8))


@pytest.mark.parametrize(
    ("applied", "flags", "expected"),
    [(True, (), "left"), (True, ("--noapply_orientation",), "above")],
)
def test_predict(models, tmp_path, applied, flags, expected):
    (tmp_path / "x.png").write_bytes(_image())
    finished = processes.run("predict.py", f"--model={models[applied]}", "--json", *flags, tmp_path / "x.png")
    ((best, _),) = (image["classes"] for image in json.loads(finished.stdout)["predictions"])
    assert (best["name"], best["probability"] > 0.9) == (expected, True)


def test_eval(models, tmp_path):
    left = encoded(np.array([[255, 0], [255, 0]], np.uint8), "PNG")
    for name, content in (("above", _image()), ("left", left)):
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "test" / name / "0.png").write_bytes(content)
    finished = processes.run("eval.py", f"--model={models[False]}", f"--dataset={tmp_path}", "--json")
    assert json.loads(finished.stdout)["top_1"] == 1
