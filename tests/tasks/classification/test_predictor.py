"""Exported classifiers that someone else wrote: what they return is looked at, whatever they call it."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import FILE_NAME, LOGITS, ModelCard
from condconv_keras.stored import StoredModel
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.softmax import softmax

CARD = ModelCard("mine", ("a", "b", "c"), Preprocessing((4, 4), 3, 0.0, 255.0))
KERNEL = np.array([[2.0, -1.0, 0.5], [-3.0, 1.0, 0.0], [1.0, 2.0, -2.0]], np.float32) / 100
IMAGES = np.random.default_rng(1).uniform(0, 255, (5, 4, 4, 3)).astype(np.float32)
LOGITS_OF_IMAGES = IMAGES.mean(axis=(1, 2)) @ KERNEL


def write(kind, folder, activation, card=CARD, names=("images", "probabilities")):
    """Writes a classifier as a SavedModel or a `.tflite` file with a card; returns its path."""
    taken, returned = names
    batch = None if kind == "savedmodel" else 1

    @tf.function(input_signature=[tf.TensorSpec((batch, 4, 4, 3), tf.float32, name=taken)])
    def serve(images):
        return {returned: activation(tf.reduce_mean(images, axis=(1, 2)) @ KERNEL)}

    module = tf.Module()
    path = folder / "model"
    tf.saved_model.save(module, path, signatures=serve)
    place = path / "assets.extra"
    if kind == "tflite":
        content = tf.lite.TFLiteConverter.from_saved_model(str(path)).convert()
        path, place = folder / "model.tflite", folder
        path.write_bytes(content)
    place.mkdir(exist_ok=True)
    (place / FILE_NAME).write_text(card.to_json())
    return path


@pytest.mark.parametrize("kind", ["savedmodel", "tflite"])
def test_what_a_file_returns(kind, tmp_path):
    for name in ("p", "l", "s", "said"):
        (tmp_path / name).mkdir()
    expected = softmax(LOGITS_OF_IMAGES)
    path = write(kind, tmp_path / "p", tf.nn.softmax)
    np.testing.assert_allclose(StoredModel.open(path).predictor().predict(IMAGES), expected, atol=1e-5)
    path = write(kind, tmp_path / "l", tf.identity)
    with pytest.raises(
        UserError, match=r"expected probabilities of '.*model.*', it returns numbers from .* \"logits\"$"
    ):
        StoredModel.open(path).predictor().predict(IMAGES)
    path = write(kind, tmp_path / "s", tf.nn.sigmoid)
    with pytest.raises(UserError, match=r"it returns numbers from 0\.\d+ to 0\.\d+ with the sum"):
        StoredModel.open(path).predictor().predict(IMAGES)
    path = write(kind, tmp_path / "said", tf.identity, dataclasses.replace(CARD, returns=LOGITS))
    np.testing.assert_allclose(StoredModel.open(path).predictor().predict(IMAGES), expected, atol=1e-5)


def test_an_answer_that_is_not_finite_is_passed_on(tmp_path):
    path = write("savedmodel", tmp_path, lambda x: tf.nn.softmax(x * float("nan")))
    assert np.isnan(StoredModel.open(path).predictor().predict(IMAGES)).all()


@pytest.mark.parametrize("names", [("image", "probabilities"), ("images", "output_0")])
def test_a_saved_model_of_other_names_is_refused(names, tmp_path):
    path = write("savedmodel", tmp_path, tf.nn.softmax, names=names)
    message = rf"from 'images' to 'probabilities'; '.*model' goes from '{names[0]}' to '{names[1]}'$"
    with pytest.raises(UserError, match=message):
        StoredModel.open(path).predictor()
