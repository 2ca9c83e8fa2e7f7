"""A written SavedModel against the Keras model and the evaluation's preprocessing; every encoded file is PIL's."""

import io
import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing, fold
from condconv_keras.data import Preprocessing
from condconv_keras.data.input.decoding import read_image
from condconv_keras.export.saved_model.writing import write_saved_model
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.layers.normalized_parts import find_parts
from condconv_keras.pretrained import create_model
from condconv_keras.routing_statistics.routing_model import RoutingModel
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.softmax import softmax
from tests import processes
from tests.heads import CARD as OF_HEADS
from tests.heads import HEADS, IMAGES, LOGITS_OF_IMAGES, model_with
from tests.seeds import set_seed

CLASSES = tuple(f"class {i} é" for i in range(10))
RGB = Preprocessing((32, 40), 3, (120.0, 110.0, 100.0), 60.0, crop_fraction=0.875)
GRAY = Preprocessing((32, 32), 1, 127.5, 127.5, "bilinear")
READERS = pathlib.Path(__file__).with_name("saved_model_readers.py")


def _photo(seed, width, height):
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def _encoded(seed, mode="RGB", file_format="JPEG", **options):
    buffer = io.BytesIO()
    _photo(seed, 30 + 11 * seed, 90 - 4 * seed).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


FILES = [
    *(_encoded(seed, quality=quality) for seed, quality in enumerate((95, 75, 40))),
    _encoded(3, "L"),
    _encoded(4, "CMYK"),
    _encoded(5, progressive=True),
    _encoded(6, subsampling=0),
    *(_encoded(seed, mode, "PNG") for seed, mode in enumerate(("RGB", "L", "RGBA", "LA", "P", "1"), start=7)),
    *(_encoded(seed) for seed in range(13, 17)),
]


def _images(preprocessing, count, seed=0):
    height, width = preprocessing.input_size
    mode = "RGB" if preprocessing.channels == 3 else "L"
    photos = [np.asarray(_photo(100 * seed + i, width, height).convert(mode)) for i in range(count)]
    return np.array(photos, np.uint8).reshape(count, height, width, preprocessing.channels)


def test_a_softmax_of_the_network_is_the_only_one(tmp_path):
    write_saved_model(model_with(HEADS["softmax layer"]), OF_HEADS, tmp_path / "saved_model")
    loaded = tf.saved_model.load(tmp_path / "saved_model")
    received = loaded.signatures["serve"](images=tf.constant(IMAGES))["probabilities"]
    np.testing.assert_allclose(received, softmax(LOGITS_OF_IMAGES), atol=1e-5)


def _evaluation_images(files, preprocessing, folder):
    images = []
    for i, content in enumerate(files):
        (folder / str(i)).write_bytes(content)
        images.append(preprocessing.evaluation_image(read_image(folder / str(i))))
    return np.stack(images)


def _answering_to_the_image(model, preprocessing):
    """The model with weights that make its answers and its routing differ from image to image."""
    for layer in model.layers:
        if isinstance(layer, Routing):
            layer.kernel.assign(np.random.default_rng(0).standard_normal(layer.kernel.shape))
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # it learns the activations' scale from one batch
    model(preprocessing.scale_images(_images(preprocessing, 32, seed=1)), training=True)
    return model


def _zoo_model():
    model = create_model(
        "condconv_mobilenet_v1",
        width_multiplier=0.25,
        num_experts=2,
        start_block=12,
        input_shape=(*RGB.input_size, RGB.channels),
        classes=10,
    )
    return _answering_to_the_image(model, RGB)


def _plain_model():
    """A user's network without a CondConv layer, which returns logits."""
    inputs = keras.Input((32, 32, 1))
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    return _answering_to_the_image(keras.Model(inputs, keras.layers.Dense(10)(x)), GRAY)


def _model_with_own_routers():
    """A user's network: routers inside the layers, a hidden dense layer, the softmax inside."""
    inputs = keras.Input((32, 32, 1))
    x = CondConv2D(8, 3, num_experts=3, strides=2, activation="relu", name="first")(inputs)
    x = DepthwiseCondConv2D(3, num_experts=2, strides=2, activation="relu", name="second")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(6, activation="tanh", name="hidden")(x)
    large = keras.initializers.RandomNormal(stddev=10.0)
    return keras.Model(inputs, keras.layers.Dense(10, "softmax", kernel_initializer=large, name="answer")(x))


class _Served:
    """A model, its SavedModel and how it is read."""

    def __init__(self, model, preprocessing, folder):
        self.model, self.preprocessing = model, preprocessing
        card = ModelCard("model", CLASSES, preprocessing)
        write_saved_model(model, card, folder / "written")
        # Whatever it needs moves with it.
        self.path = shutil.move(folder / "written", folder / "moved")
        self.loaded = tf.saved_model.load(self.path)
        self.keras_predict = keras_predict(fold(model), card)

    def tensors(self, images, *tensors):
        """The model's tensors on images in 0..255."""
        values = keras.Function(self.model.inputs, list(tensors))([self.preprocessing.scale_images(images)])
        return [np.asarray(value).reshape(len(images), -1) for value in values]


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    set_seed(0)
    return _Served(_zoo_model(), RGB, tmp_path_factory.mktemp("conditional"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    set_seed(0)
    return _Served(_plain_model(), GRAY, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def own_routers(tmp_path_factory):
    set_seed(0)
    return _Served(_model_with_own_routers(), GRAY, tmp_path_factory.mktemp("own_routers"))


@pytest.fixture(params=["conditional", "plain", "own_routers"])
def served(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("count", [0, 17, pytest.param(1, marks=pytest.mark.slow)])
def test_images_of_both_dtypes(served, count):
    images = _images(served.preprocessing, count, seed=count)
    floats = images.astype(np.float32)
    signatures = served.loaded.signatures
    expected = served.keras_predict(floats) if count else np.zeros((0, 10))
    assert count < 17 or expected.std(axis=0).max() > 1e-3, "the answers do not depend on the image"
    for results in (
        signatures["serving_default"](images=tf.constant(floats)),
        signatures["serving_default"](images=images),
        signatures["serve_uint8"](images=tf.constant(images)),
        served.loaded.serve(images),
        *([served.loaded.serving_default(tf.constant(x)) for x in (images, floats)] if count == 3 else []),
    ):
        assert set(results) == {"probabilities", "class_ids"}
        assert results["probabilities"].dtype == tf.float32
        np.testing.assert_allclose(results["probabilities"], expected, atol=1e-6)
        assert results["class_ids"].dtype == tf.int64
        np.testing.assert_array_equal(results["class_ids"], expected.argmax(-1))


@pytest.mark.parametrize("count", [0, 17, pytest.param(1, marks=pytest.mark.slow)])
def test_files_of_any_size(served, count, tmp_path):
    results = served.loaded.signatures["serve_bytes"](image_bytes=tf.constant(FILES[:count], tf.string))
    expected = np.zeros((0, 10))
    if count:
        expected = served.keras_predict(_evaluation_images(FILES[:count], served.preprocessing, tmp_path))
    assert set(results) == {"probabilities", "class_ids", "class_names"}
    np.testing.assert_allclose(results["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(results["class_ids"], expected.argmax(-1))
    assert [name.decode() for name in results["class_names"].numpy()] == [CLASSES[i] for i in expected.argmax(-1)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a text",
        b"<html>not found</html>",
        FILES[0][: len(FILES[0]) // 2],
        FILES[7][: len(FILES[7]) // 2],
        FILES[0][:20],
        FILES[7][:8] + bytes(1000),
    ],
    ids=["empty", "text", "HTML", "half a JPEG", "half a PNG", "head of a JPEG", "PNG of zeros"],
)
def test_files_that_cannot_be_decoded_are_named(own_routers, content):
    serve_bytes = own_routers.loaded.signatures["serve_bytes"]
    for batch, positions in (([content], "0"), ([FILES[0], content, FILES[1], content], "1 3")):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            serve_bytes(image_bytes=tf.constant(batch))
        assert "expected the bytes of whole JPEG, PNG, BMP, GIF or WebP files" in str(error.value)
        assert f"none:] [{positions}]" in str(error.value)
    assert serve_bytes(image_bytes=tf.constant(FILES[:2]))["class_ids"].shape == (2,)


@pytest.mark.parametrize(
    ("served", "layer"), [("conditional", "global_pool"), ("own_routers", "hidden")], indirect=["served"]
)
@pytest.mark.parametrize("count", [1, 3])
def test_features(served, layer, count):
    images = _images(served.preprocessing, count)
    (expected,) = served.tensors(images, served.model.get_layer(layer).output)
    assert expected.std() > 1e-3
    for results in (served.loaded.signatures["features"](images=images), served.loaded.features(images)):
        np.testing.assert_allclose(results["features"], expected, rtol=1e-3, atol=1e-4)


def test_shared_routing(conditional):
    layers = [layer for layer in conditional.model.layers if isinstance(layer, Routing)]
    images = _images(RGB, 5)
    expected = dict(
        zip([x.name for x in layers], conditional.tensors(images, *(x.output for x in layers)), strict=True)
    )
    assert min(weights.std() for weights in expected.values()) > 1e-3
    for results in (conditional.loaded.signatures["routing"](images=images), conditional.loaded.routing(images)):
        assert set(results) == {"block_12_routing", "block_13_routing", "classifier_routing"}
        for name, weights in results.items():
            np.testing.assert_allclose(weights, expected[name], atol=1e-4)


def test_routers_inside_the_layers(own_routers):
    images = _images(GRAY, 4)
    first, second = (own_routers.model.get_layer(name) for name in ("first", "second"))
    results = own_routers.loaded.signatures["routing"](images=images)
    assert set(results) == {"first", "second"}
    (feature_map,) = own_routers.tensors(images, first.output)
    for layer, inputs in ((first, GRAY.scale_images(images)), (second, feature_map.reshape(4, 15, 15, 8))):
        logits = np.asarray(inputs).mean((1, 2)) @ np.asarray(layer.router.kernel) + np.asarray(layer.router.bias)
        np.testing.assert_allclose(results[layer.name], 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_routers_that_are_called_twice_have_the_names_of_the_analysis(tmp_path):
    inputs = keras.Input((32, 32, 1))
    own = CondConv2D(1, 3, num_experts=3, padding="same", name="own")
    shared = Routing(2, name="shared", kernel_initializer=keras.initializers.RandomNormal(stddev=50.0))
    x = own(inputs)
    own.router.kernel.assign([[20.0, -30.0, 40.0]])
    x = CondConv2D(1, 3, num_experts=2, strides=2)(x, shared(x))
    x = own(x)
    x = CondConv2D(4, 3, num_experts=2)(x, shared(x))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))
    write_saved_model(model, ModelCard("model", CLASSES, GRAY), tmp_path / "saved_model")
    routing, images = RoutingModel(model, GRAY), _images(GRAY, 3).astype(np.float32)
    assert routing.layers == (("own", 3), ("shared", 2), ("own_2", 3), ("shared_2", 2))
    results = tf.saved_model.load(tmp_path / "saved_model").signatures["routing"](images=images)
    assert set(results) == {name for name, _ in routing.layers}
    for (name, _), weights in zip(routing.layers, routing(images), strict=True):
        np.testing.assert_allclose(results[name], weights, atol=1e-5)
    for name in ("own", "shared"):
        assert np.abs(results[name] - results[f"{name}_2"]).max() > 1e-3
    # The first of each is of what its layer is given first.
    np.testing.assert_allclose(results["own"], own.router(GRAY.scale_images(images)), atol=1e-5)
    np.testing.assert_allclose(results["shared"], shared(own(GRAY.scale_images(images))), atol=1e-5)


def test_a_plain_model_has_no_routing(plain):
    assert set(plain.loaded.signatures) == {"serving_default", "serve", "serve_uint8", "serve_bytes", "features"}


def test_a_new_batch_size_is_not_traced_anew(own_routers):
    for name in ("serve", "serve_uint8", "features", "routing"):
        function = getattr(own_routers.loaded, name)
        function(_images(GRAY, 2))
        traces = function.experimental_get_tracing_count()
        function(_images(GRAY, 5))
        assert function.experimental_get_tracing_count() == traces, name


def test_the_variables_are_stored_once(served):
    checkpoint = tf.train.load_checkpoint(os.path.join(served.path, "variables/variables"))
    shapes = [shape for name, shape in checkpoint.get_variable_to_shape_map().items() if "VARIABLE_VALUE" in name]
    # Beside the weights the biases that batch normalizations become.
    parts = find_parts(served.model)
    shifts = sum(part.normalization.moving_mean.shape[0] for part in parts)
    assert sum(map(np.prod, shapes)) == served.model.count_params() + shifts


def test_the_labels_are_an_asset(served):
    with open(os.path.join(served.path, "assets/labels.txt"), encoding="utf-8") as labels:
        assert labels.read().splitlines() == list(CLASSES)


@pytest.mark.parametrize("name", ["", "two\nlines"])
def test_a_name_that_a_list_cannot_hold(own_routers, name, tmp_path):
    card = ModelCard("model", (*CLASSES[:9], name), GRAY)
    with pytest.raises(UserError, match="expected class names of one line, class 9 has the name"):
        write_saved_model(own_routers.model, card, tmp_path / "saved_model")
    assert not (tmp_path / "saved_model").exists()


@pytest.mark.slow
def test_three_readers_that_know_nothing_of_this_package(own_routers, tmp_path):
    images = _images(GRAY, 3)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "files.npy", np.array(FILES[:3]))
    np.save(tmp_path / "damaged.npy", np.array([FILES[0], FILES[1][:300]]))
    finished = processes.run(READERS, own_routers.path, tmp_path, folder=tmp_path)
    results = json.loads(finished.stdout.splitlines()[-1])
    assert results.pop("ours") == []
    assert "expected the bytes of whole JPEG, PNG, BMP, GIF or WebP files" in results["cli error"]
    assert "none:] [1]" in results.pop("cli error")
    of_images = own_routers.keras_predict(images.astype(np.float32))
    of_files = own_routers.keras_predict(_evaluation_images(FILES[:3], GRAY, tmp_path))
    assert results.pop("layer names") == [CLASSES[i] for i in of_files.argmax(-1)]
    assert len(results) == 8
    for reader, probabilities in results.items():
        expected = of_files if "bytes" in reader or reader == "load" else of_images
        np.testing.assert_allclose(probabilities, expected, atol=1e-6, err_msg=reader)
    assert "signature_def['routing']" in finished.stdout


def test_no_trace_of_what_routers_have_for_training(tmp_path):
    inputs = keras.Input((32, 32, 1))
    routing = Routing(2, temperature=3.0, normalize_inputs=True, anchored=True, name="shared")(inputs)
    x = CondConv2D(4, 3, num_experts=2)(inputs, routing)
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))
    write_saved_model(model, ModelCard("model", CLASSES, GRAY, returns="logits"), tmp_path / "saved_model")
    loaded, images = tf.saved_model.load(tmp_path / "saved_model"), _images(GRAY, 3).astype(np.float32)
    received = loaded.signatures["serve"](images=images)["probabilities"]
    np.testing.assert_allclose(received, softmax(np.array(model(GRAY.scale_images(images)))), atol=1e-5)
    # Kernel and bias of router, experts and classifier.
    assert len(loaded.signatures["serve"].variables) == 6
