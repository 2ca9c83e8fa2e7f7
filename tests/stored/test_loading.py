import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import condconv_keras
from condconv_keras.pretrained import create_model
from condconv_keras.stored import StoredModel
from condconv_keras.stored.loading import load_model
from condconv_keras.utils.errors import UserError

SAVED_MODEL_0_1 = pathlib.Path(__file__).parents[1] / "fixtures/v0_1/exported/saved_model"


@pytest.fixture
def images(trained_run):
    shape = load_model(trained_run)[1].preprocessing.input_shape
    return np.random.default_rng(0).uniform(0, 255, (3, *shape)).astype("float32")


def test_it_is_a_name_of_the_library():
    assert condconv_keras.load_model is load_model


def test_a_run_is_its_model_and_its_card(trained_run, images):
    model, card = load_model(str(trained_run))
    assert (card.model, card.task, card.class_names) == (
        "condconv_mobilenet_v1",
        "classification",
        tuple("0123456789"),
    )
    logits = model(card.preprocessing.scale_images(images), training=False)
    expected = StoredModel.open(trained_run).predictor().predict(images)
    np.testing.assert_allclose(keras.ops.softmax(logits), expected, rtol=1e-5, atol=1e-6)


def test_a_model_that_keras_saved_has_the_card_of_its_registered_name(tmp_path):
    model = create_model("mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, classes=4)
    model.save(tmp_path / "model.keras")
    loaded, card = load_model(tmp_path / "model.keras")
    assert (card.model, card.class_names, card.preprocessing.input_shape) == (
        "mobilenet_v1",
        ("0", "1", "2", "3"),
        (32, 32, 3),
    )
    x = np.linspace(-1, 1, 32 * 32 * 3, dtype="float32").reshape(1, 32, 32, 3)
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-5, atol=1e-5)


def test_a_model_of_someone_else_has_no_card(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(tmp_path / "own.keras")
    loaded, card = load_model(tmp_path / "own.keras")
    assert card is None
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_the_last_weights_of_a_run_are_asked_for_as_raw(trained_run):
    with pytest.raises(UserError, match="does not average the weights"):
        load_model(trained_run, raw=True)


@pytest.mark.parametrize(
    ("name", "message"), [("nothing", "nothing lies at"), ("model.tflite", "predictor"), ("x.keras", "damaged")]
)
def test_what_it_does_not_load_is_refused(tmp_path, name, message):
    if name != "nothing":
        (tmp_path / name).write_bytes(b"?")
    with pytest.raises(UserError, match=message):
        load_model(tmp_path / name)


def test_a_saved_model_is_the_model_and_the_card_of_its_run(exported, trained_run, images):
    # The last test: another process may still be exporting.
    (path,) = (file.parent for file in exported.rglob("saved_model.pb"))
    (model, card), (of_run, card_of_run) = load_model(path), load_model(trained_run)
    assert card == card_of_run
    for received, expected in zip(model.get_weights(), of_run.get_weights(), strict=True):
        np.testing.assert_array_equal(received, expected)
    scaled = card.preprocessing.scale_images(images)
    np.testing.assert_array_equal(model(scaled, training=False), of_run(scaled, training=False))


def test_a_saved_model_of_version_0_1_is_what_tensorflow_loads():
    loaded, card = load_model(SAVED_MODEL_0_1)
    images = np.zeros((1, *card.preprocessing.input_shape), "float32")
    answer = loaded.signatures["serving_default"](images=tf.constant(images))["probabilities"]
    np.testing.assert_array_equal(answer, StoredModel.open(SAVED_MODEL_0_1).predictor().predict(images))
