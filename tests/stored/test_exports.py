import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.data import Preprocessing
from condconv_keras.export.manifest import write_cards
from condconv_keras.facts.model_card import DetectorCard, ModelCard
from condconv_keras.stored.exports import SavedModel
from condconv_keras.utils.errors import UserError


class _Model(tf.Module):
    def __init__(self):
        super().__init__()
        self.factors = tf.Variable([1.0, 2.0])

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="images")])
    def times(self, images):
        return {"products": self.factors * images}


@pytest.mark.parametrize("name", ["run [2]", "back\\slash", "a*b {c,d}?"])
def test_a_saved_model_in_a_folder_whose_name_looks_like_a_pattern(name, tmp_path, monkeypatch):
    model = _Model()
    tf.saved_model.save(model, str(tmp_path / name), signatures={"serving_default": model.times})
    monkeypatch.chdir(tmp_path)
    loaded = SavedModel(name).load_signatures()
    products = loaded.signatures["serving_default"](images=tf.constant(3.0))["products"]
    np.testing.assert_array_equal(products, [3.0, 6.0])


class _OfPixels(tf.Module):
    """What someone else may export: it takes whole pixels."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1, 1, 1], tf.uint8, name="images")])
    def classify(self, images):
        part = tf.reshape(tf.cast(images, tf.float32) / 255, (-1, 1))
        return {"probabilities": tf.concat([part, 1 - part], axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1, 1, 1], tf.int8, name="images")])
    def classify_shifted(self, images):
        return self.classify(tf.cast(tf.cast(images, tf.int32) + 128, tf.uint8))

    @tf.function(input_signature=[tf.TensorSpec([None, 1, 1, 1], tf.float32, name="images")])
    def detect(self, images):
        return dict.fromkeys(("boxes", "classes", "scores", "count"), images)


def _saved(folder, function, card):
    module = _OfPixels()
    tf.saved_model.save(module, str(folder / "m"), signatures={"serving_default": function(module)})
    (folder / "m" / SavedModel.cards).mkdir()
    write_cards(folder, card)
    (folder / "model.json").rename(folder / "m" / SavedModel.cards / "model.json")
    return SavedModel(folder / "m")


def test_a_saved_model_of_integers_is_given_the_nearest_pixels(tmp_path):
    card = ModelCard("mine", ("white", "black"), Preprocessing((1, 1), 1, 0.0, 1.0))
    predictor = _saved(tmp_path, lambda module: module.classify, card).predictor()
    received = predictor.predict(np.float32([0.4, 101.6, 254.9]).reshape(3, 1, 1, 1))
    np.testing.assert_allclose(received[:, 0], [0, 102 / 255, 1], atol=1e-6)


def test_a_saved_model_of_int8_is_refused(tmp_path):
    card = ModelCard("mine", ("white", "black"), Preprocessing((1, 1), 1, 0.0, 1.0))
    with pytest.raises(UserError, match=r"m' takes int8, which does not say what stands for a pixel of 255$"):
        _saved(tmp_path, lambda module: module.classify_shifted, card).predictor()


def test_a_saved_detector_of_someone_else_is_refused(tmp_path):
    card = DetectorCard("mine", ("car",), Preprocessing((1, 1), 1, 0.0, 1.0))
    with pytest.raises(UserError, match=r"expected a SavedModel written by .*m' has no 'raw_outputs'$"):
        _saved(tmp_path, lambda module: module.detect, card).predictor()
