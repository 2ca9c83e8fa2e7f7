"""The Keras network that a SavedModel gives back: equal to the bit, or one clear line."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras import CondConv2D, create_model, load_model
from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.layers import use_fused_batch_norm
from condconv_keras.layers.normalized_parts import find_parts
from condconv_keras.models import saved_networks
from condconv_keras.models.saving import save_model
from condconv_keras.stored import StoredModel
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import file_hash
from condconv_keras.utils.keras_graph import all_layers
from tests.models.randomize import randomize
from tests.saved_models import write_exported
from tests.seeds import set_seed

RGB = Preprocessing((32, 32), 3, (120.0, 110.0, 100.0), 60.0, crop_fraction=0.875)
PIXELS = Preprocessing((12, 12), 3, 0.0, 1.0)
CLASSES = ("a", "b", "c", "d")


def _zoo(name, **arguments):
    model = create_model(name, input_shape=(32, 32, 3), width_multiplier=0.25, classes=4, **arguments)
    randomize(model)
    return model, ModelCard(name, CLASSES, RGB, returns="logits")


def _of_a_user():
    """A sequential network that scales its images itself, by statistics that are weights, and ends in a softmax."""
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).uniform(0, 1, (4, 12, 12, 3)).astype("float32"))
    layers = [keras.layers.Rescaling(1 / 255), normalization, CondConv2D(4, 3, num_experts=2, name="mixed")]
    layers += [keras.layers.BatchNormalization(), keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((12, 12, 3)), *layers, keras.layers.Dense(4, "softmax")], name="mine")
    model.get_layer("mixed").trainable = False
    return model, ModelCard("mine", CLASSES, PIXELS, returns="probabilities")


@keras.saving.register_keras_serializable("tests")
class WithUnused(keras.layers.Layer):
    """A layer with a weight for training alone, which no signature has a use for, and one of whole numbers."""

    def build(self, shape):
        self.unused = self.add_weight(shape=(3,), initializer="random_normal", name="unused", trainable=False)
        self.steps = self.add_weight(shape=(), dtype="int64", initializer="ones", name="steps", trainable=False)

    def call(self, inputs):
        return inputs


def _with_unused():
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.GlobalAveragePooling2D()(WithUnused()(inputs))
    return keras.Model(inputs, keras.layers.Dense(4)(x)), ModelCard("mine", CLASSES, PIXELS, returns="logits")


MODELS = {
    "plain": lambda: _zoo("mobilenet_v1"),
    "CondConv": lambda: _zoo("condconv_mobilenet_v1", num_experts=2),
    "sequential": _of_a_user,
    "unused weights": _with_unused,
}


@pytest.fixture(scope="module", params=[*MODELS, "detector"])
def case(request, tmp_path_factory):
    """A model, its card and its SavedModel."""
    set_seed(0)
    if request.param == "detector":
        model, card = request.getfixturevalue("detector")
        card = dataclasses.replace(card, category_ids=(3, 5, 7))
    else:
        model, card = MODELS[request.param]()
    model = use_fused_batch_norm(model)
    return model, card, write_exported(tmp_path_factory.mktemp("network"), model, card)


def _assert_equal(received, expected):
    assert [layer.name for layer in all_layers(received)] == [layer.name for layer in all_layers(expected)]
    assert [layer.trainable for layer in all_layers(received)] == [layer.trainable for layer in all_layers(expected)]
    for got, weight in zip(received.weights, expected.weights, strict=True):
        assert (got.name, got.dtype) == (weight.name, weight.dtype)
        np.testing.assert_array_equal(np.asarray(got), np.asarray(weight))


def _images(card):
    return np.random.default_rng(1).uniform(0, 255, (3, *card.preprocessing.input_shape)).astype("float32")


def _outputs(model, images):
    return keras.tree.map_structure(np.asarray, model(images, training=False))


def test_there_and_back_is_equal_to_the_bit(case, tmp_path):
    model, card, path = case
    loaded, loaded_card = load_model(path)
    assert loaded_card == card
    _assert_equal(loaded, model)
    assert not loaded.compiled

    again, again_card = StoredModel.open(path).load_to_answer()
    assert again_card == card
    scaled = card.preprocessing.scale_images(_images(card))
    for each in (again, use_fused_batch_norm(loaded)):
        keras.tree.map_structure(np.testing.assert_array_equal, _outputs(each, scaled), _outputs(model, scaled))

    second = write_exported(tmp_path, again, again_card)
    _assert_equal(load_model(second)[0], model)
    first, answers = (StoredModel.open(place).predictor().predict(_images(card)) for place in (path, second))
    keras.tree.map_structure(np.testing.assert_array_equal, answers, first)
    assert np.ptp(np.asarray(first if isinstance(first, np.ndarray) else first["scores"]), axis=0).max() > 0
    names = [(place / "assets.extra/network.json").read_text() for place in (path, second)]
    assert json.loads(names[0])["network"] == json.loads(names[1])["network"]


def test_it_costs_kilobytes(case):
    model, _, path = case
    assert (path / "assets.extra/network.json").stat().st_size < 400e3
    size = sum(np.asarray(weight).nbytes for weight in model.weights)
    assert (path / "variables/variables.data-00000-of-00001").stat().st_size < size + 100e3
    # Beside the weights the biases that batch normalizations become, and what gives the scaled weights back.
    parts = find_parts(model)
    assert len(tf.train.list_variables(str(path / "variables/variables"))) == 1 + len(model.weights) + len(parts)
    rounding = path / "assets.extra/network_rounding.npz"
    assert rounding.exists() == bool(parts)
    assert not parts or rounding.stat().st_size < size / 10 + 50e3


def test_a_network_that_was_trained_in_mixed_precision(tmp_path):
    set_seed(0)
    inputs, mixed = keras.Input((12, 12, 3)), "mixed_bfloat16"
    x = keras.layers.Conv2D(4, 3, activation="relu", dtype=mixed)(inputs)
    x = keras.layers.GlobalAveragePooling2D(dtype=mixed)(x)
    model = keras.Model(inputs, keras.layers.Dense(4, dtype="float32")(x))
    assert model.layers[1].compute_dtype == "bfloat16"
    save_model(model, ModelCard("mine", CLASSES, PIXELS), tmp_path / "m.keras")
    stored, card = StoredModel.open(tmp_path / "m.keras").load_to_answer()
    loaded, _ = load_model(write_exported(tmp_path, stored, card))
    assert loaded.layers[1].compute_dtype == "float32"
    images = card.preprocessing.scale_images(_images(card))
    np.testing.assert_array_equal(_outputs(loaded, images), _outputs(stored, images))


def test_a_network_of_another_precision(tmp_path):
    """Its kernels are stored as they are: dividing scaled ones would not give them back."""
    set_seed(0)
    inputs = x = keras.Input((12, 12, 3))
    for dtype in ("float64", "float32"):
        x = keras.layers.BatchNormalization(dtype=dtype)(keras.layers.Conv2D(4, 3, dtype=dtype)(x))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))
    randomize(model)
    path = write_exported(tmp_path, model, ModelCard("mine", CLASSES, PIXELS, returns="logits"))
    _assert_equal(load_model(path)[0], model)


@pytest.fixture
def written(tmp_path):
    """A small SavedModel."""
    set_seed(0)
    return write_exported(tmp_path, *_of_a_user())


@pytest.mark.parametrize("name", ["run [2]", "back\\slash"])
def test_a_folder_whose_name_looks_like_a_pattern(written, tmp_path, name):
    expected, _ = load_model(written)
    moved = shutil.copytree(written, tmp_path / name / "m")
    _assert_equal(load_model(moved)[0], expected)
    (tmp_path / f"{name} new").mkdir()
    _assert_equal(load_model(write_exported(tmp_path / f"{name} new", *load_model(moved)))[0], expected)


def _refusal(path):
    with pytest.raises(UserError) as refusal:
        load_model(path)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def _without_files(path):
    """Takes out of the card what it says of its files, so that the network's own checks are asked."""
    place = path / "assets.extra/model.json"
    place.write_text(json.dumps({name: v for name, v in json.loads(place.read_text()).items() if name != "files"}))


def test_a_damaged_network_is_one_line(written):
    place = written / "assets.extra/network.json"
    text = place.read_text()
    content = json.loads(text)
    changed = [text[:100], "", "[]", "3", "{}", text.replace('"filters": 4', '"filters": 5')]
    changed += [text.replace('"returns": "probabilities"', '"returns": "logits"')]
    first, second = content["weights"][-1]["key"], content["weights"][-2]["key"]
    changed += [text.replace(first, "KEY").replace(second, first).replace("KEY", second)]
    for other in changed:
        assert other != text
        place.write_text(other)
        assert f"the network in {str(place)!r} is damaged (" in _refusal(written)
    # Spaces are no damage.
    place.write_text(json.dumps(content, indent=2))
    assert load_model(written)[0].name == "mine"


def _forged(path, change):
    """Changes the network of a SavedModel, its digest with it."""
    place = path / "assets.extra/network.json"
    content = json.loads(place.read_text())
    change(content)
    del content["sha256"]
    place.write_text(json.dumps({"sha256": saved_networks._digest(content), **content}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["weights"][0].update(key="nothing"), "weights of the SavedModel .* are damaged"),
        (lambda content: content["weights"][0].update(shape=[4]), "is built with other weights than it has"),
        (lambda content: content["weights"].pop(), "is built with other weights than it has"),
        (lambda content: content["network"]["config"].update(layers=[]), "cannot be built"),
        (lambda content: content.pop("weights"), r"damaged \('weights'\)"),
        (lambda content: content.update(files=[]), "damaged"),
        (lambda content: content.update(returns="percent"), "damaged"),
    ],
)
def test_a_forged_network_is_one_line(written, change, message):
    _forged(written, change)
    with pytest.raises(UserError, match=message):
        load_model(written)


def test_code_in_a_network_is_not_run(written):
    text = json.dumps(
        keras.saving.serialize_keras_object(keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: 1 / 0)]))
    )
    _forged(written, lambda content: content.update(network=json.loads(text)))
    assert "cannot be built" in _refusal(written)


def test_the_network_of_another_saved_model_is_one_line(written, tmp_path):
    (tmp_path / "other").mkdir()
    set_seed(1)
    other = write_exported(tmp_path / "other", *_of_a_user())
    shutil.copy(other / "assets.extra/network.json", written / "assets.extra")
    assert "is the network of another SavedModel, by the SHA-256 of its saved_model.pb" in _refusal(written)
    # As after a training that ended later.
    shutil.copytree(written / "variables", other / "variables", dirs_exist_ok=True)
    assert "it is the card of other files" in _refusal(other)
    _without_files(other)
    assert "by the SHA-256 of its variables/variables.index" in _refusal(other)


def test_damaged_weights_are_one_line(written):
    _without_files(written)
    place = written / "variables/variables.data-00000-of-00001"
    content = place.read_bytes()
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    # The last bytes are TensorFlow's graph of objects; the first ones those of a weight.
    place.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert "are damaged (" in _refusal(written)
    place.unlink()
    assert "are damaged (" in _refusal(written)


def test_damaged_rounding_is_one_line(written):
    _without_files(written)
    place = written / "assets.extra/network_rounding.npz"
    content = place.read_bytes()
    place.write_bytes(content[:-10])
    assert "is the network of another SavedModel, by the SHA-256 of its assets.extra/network_rounding.npz" in _refusal(
        written
    )
    network = json.loads((written / "assets.extra/network.json").read_text())
    assert [("scale" in record) for record in network["weights"]].count(
        True
    ) == 2  # kernels and biases of the mixed layer
    _forged(written, lambda content: content["files"].update({f"assets.extra/{place.name}": file_hash(place)}))
    assert f"{str(place)!r} is damaged (" in _refusal(written)
    place.unlink()
    assert "by the SHA-256" in _refusal(written)


@pytest.mark.parametrize("scale", [{}, {"gamma": None, "variance": 99, "epsilon": 0.1}, 3])
def test_a_forged_scale_is_one_line(written, scale):
    def change(content):
        next(record for record in content["weights"] if "scale" in record)["scale"] = scale

    _forged(written, change)
    assert "damaged (" in _refusal(written)


def test_a_network_with_code_of_its_own_is_written_without_it_and_says_so(tmp_path, capsys):
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Lambda(lambda x: x / 255)(inputs))
    model, card = keras.Model(inputs, keras.layers.Dense(4)(x)), ModelCard("mine", CLASSES, PIXELS, returns="logits")
    path = write_exported(tmp_path, model, card)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert f"{path} cannot be loaded as a Keras model, only run: expected the network" in line
    stored = StoredModel.open(path)
    assert not stored.has_layers
    with pytest.raises(UserError, match="is a savedmodel export: it has no layers"):
        stored.load_to_answer()
    images = _images(card)
    expected = keras.ops.softmax(model(images))
    np.testing.assert_allclose(stored.predictor().predict(images), expected, rtol=1e-5, atol=1e-6)


def test_a_class_that_is_not_registered_is_named(tmp_path):
    set_seed(0)
    path = write_exported(tmp_path, *_with_unused())
    classes = keras.saving.get_custom_objects()
    name = next(name for name, value in classes.items() if value is WithUnused)
    registered = classes.pop(name)
    try:
        assert "WithUnused" in _refusal(path)
    finally:
        classes[name] = registered
