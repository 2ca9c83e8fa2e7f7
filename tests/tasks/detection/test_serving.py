"""A written SavedModel of a detector against the Keras model and the evaluation's preprocessing."""

import io
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras import Routing, fold
from condconv_keras.data.input.decoding import read_image
from condconv_keras.data.sources.photographs import photographs
from condconv_keras.export.saved_model.writing import write_saved_model
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.layers.normalized_parts import find_parts
from condconv_keras.tasks.detection.predictor import keras_predict
from tests import processes
from tests.detectors import CLASSES, found_in_keras, small_detector
from tests.seeds import set_seed

# Height and width differ everywhere: pixels of the wrong side would show.
INPUT = (96, 120)


class _Served:
    def __init__(self, folder):
        self.model, card = small_detector(INPUT, width_multiplier=0.25)
        self.card = ModelCard(card.model, CLASSES, card.preprocessing, card.task)
        self.path = folder / "saved_model"
        write_saved_model(self.model, self.card, self.path)
        self.loaded = tf.saved_model.load(self.path)
        self.keras_predict = keras_predict(fold(self.model), self.card)

    def expected(self, images):
        """What Keras finds in images of any sizes, in their pixels."""
        found = [found_in_keras(self.keras_predict, self.card, image) for image in images]
        found = {name: np.stack([f[name] for f in found]) for name in found[0]}
        pixels = np.array([(*image.shape[:2], *image.shape[:2]) for image in images], np.float32)
        return {**found, "boxes": found["boxes"] * pixels[:, np.newaxis]}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    set_seed(0)
    return _Served(tmp_path_factory.mktemp("detector"))


def windows(height, width, count):
    return np.stack([window[:height, 5 : 5 + width] for window in photographs()][:count])


def encoded(image, file_format):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format)
    return buffer.getvalue()


def assert_found(results, expected):
    assert set(results) - {"class_names"} == {"boxes", "classes", "scores", "count"}
    dtypes = {"boxes": tf.float32, "classes": tf.int64, "scores": tf.float32, "count": tf.int32}
    assert {name: results[name].dtype for name in dtypes} == dtypes
    assert expected["count"].min() > 20
    assert np.ptp(expected["boxes"]) > 60
    np.testing.assert_array_equal(results["count"], expected["count"])
    np.testing.assert_array_equal(results["classes"], expected["classes"])
    np.testing.assert_allclose(results["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_allclose(results["boxes"], expected["boxes"], atol=2e-2)


def test_signatures(served):
    names = {"serving_default", "serve", "serve_uint8", "serve_bytes", "raw_outputs", "routing"}
    assert set(served.loaded.signatures) == names


@pytest.mark.parametrize(
    ("count", "size"), [pytest.param(1, (70, 160), marks=pytest.mark.slow), (3, (160, 70)), (3, INPUT)]
)
def test_images_of_any_size(served, size, count):
    images = windows(*size, count)
    expected = served.expected(images)
    signatures = served.loaded.signatures
    for results in (
        signatures["serving_default"](images=tf.constant(images, tf.float32)),
        signatures["serve"](images=images),
        signatures["serve_uint8"](images=tf.constant(images)),
        served.loaded.serving_default(tf.constant(images)),
    ):
        assert_found(results, expected)


def test_no_image(served):
    results = served.loaded.signatures["serve"](images=np.zeros((0, 50, 60, 3), np.float32))
    assert {name: tuple(value.shape) for name, value in results.items()} == {
        "boxes": (0, 100, 4),
        "classes": (0, 100),
        "scores": (0, 100),
        "count": (0,),
    }


def test_files_of_any_sizes(served, tmp_path):
    images = [windows(height, width, 3)[i] for i, (height, width) in enumerate([(64, 200), (200, 64), (90, 91)])]
    files = [encoded(image, file_format) for image, file_format in zip(images, ("PNG", "JPEG", "JPEG"), strict=True)]
    for i, content in enumerate(files):
        (tmp_path / str(i)).write_bytes(content)
    expected = served.expected([read_image(tmp_path / str(i)).numpy() for i in range(3)])
    results = served.loaded.signatures["serve_bytes"](image_bytes=tf.constant(files))
    assert_found(results, expected)
    for names, classes, count in zip(
        results["class_names"].numpy(), expected["classes"], expected["count"], strict=True
    ):
        assert [name.decode() for name in names[:count]] == [CLASSES[c] for c in classes[:count]]
        assert set(names[count:]) <= {b""}


@pytest.mark.parametrize("content", [b"", b"a text", encoded(windows(90, 90, 1)[0], "JPEG")[:700]])
def test_files_that_cannot_be_decoded_are_named(served, content):
    good = encoded(windows(90, 90, 1)[0], "PNG")
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        served.loaded.signatures["serve_bytes"](image_bytes=tf.constant([good, content]))
    assert "expected the bytes of whole JPEG, PNG, BMP, GIF or WebP files" in str(error.value)
    assert "none:] [1]" in str(error.value)


def test_raw_outputs_and_routing(served):
    images = windows(*INPUT, 2).astype(np.float32)
    routers = [layer for layer in served.model.layers if isinstance(layer, Routing)]
    scaled = served.card.preprocessing.scale_images(images)
    expected = keras.Model(served.model.inputs, [layer.output for layer in routers])(scaled)
    routing = served.loaded.signatures["routing"](images=images)
    assert set(routing) == {layer.name for layer in routers}
    for layer, weights in zip(routers, expected, strict=True):
        np.testing.assert_allclose(routing[layer.name], weights, atol=1e-4)
    outputs = served.loaded.signatures["raw_outputs"](images=images)
    for name, value in served.model(scaled).items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-3)


def test_the_variables_are_stored_once(served):
    checkpoint = tf.train.load_checkpoint(os.path.join(served.path, "variables/variables"))
    shapes = [shape for name, shape in checkpoint.get_variable_to_shape_map().items() if "VARIABLE_VALUE" in name]
    # Beside the weights the biases that batch normalizations become.
    parts = find_parts(served.model)
    shifts = sum(part.normalization.moving_mean.shape[0] for part in parts)
    assert sum(map(np.prod, shapes)) == served.model.count_params() + shifts


@pytest.mark.slow
def test_readers_that_know_nothing_of_this_package(served, tmp_path):
    images = windows(70, 160, 2)
    expected = served.expected(images)
    layer = keras.layers.TFSMLayer(served.path, call_endpoint="serving_default")
    assert_found(layer(tf.constant(images, tf.float32)), expected)
    np.save(tmp_path / "images.npy", images)
    processes.run(
        "-m", "tensorflow.python.tools.saved_model_cli", "run", "--dir", served.path, "--tag_set", "serve",
        "--signature_def", "serve_uint8", "--inputs", f"images={tmp_path}/images.npy", "--outdir", tmp_path,
        folder=tmp_path,
    )  # fmt: skip
    results = {name: tf.constant(np.load(tmp_path / f"{name}.npy")) for name in expected}
    assert_found(results, expected)
