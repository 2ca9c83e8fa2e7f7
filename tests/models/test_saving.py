import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras import model_card
from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.models import build_model
from condconv_keras.models.cards import registered_card
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.stored.keras_files import KerasFile
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.utils.errors import UserError

CARD = ModelCard("condconv_mobilenet_v1", ("cat", "dog"), Preprocessing((32, 48), 1, 127.5, 127.5, "bilinear", 0.9))


def _model(**kwargs):
    arguments = {"width_multiplier": 0.25, "num_experts": 2, "input_shape": (32, 48, 1), "classes": 2, **kwargs}
    return build_model("condconv_mobilenet_v1", **arguments)


def test_a_saved_model_keeps_its_card_and_its_values(tmp_path):
    model = _model()
    save_model(model, CARD, tmp_path / "m.keras")
    loaded, card = load_keras_file(tmp_path / "m.keras")
    x = np.random.default_rng(0).standard_normal((3, 32, 48, 1)).astype(np.float32)
    assert card == dataclasses.replace(CARD, returns="logits")
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(model(x)))
    # The file stays an ordinary Keras file.
    np.testing.assert_array_equal(np.asarray(keras.saving.load_model(tmp_path / "m.keras")(x)), np.asarray(model(x)))
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]


def test_the_documented_names_are_these():
    assert (model_card.load_model, model_card.save_model) == (load_keras_file, save_model)
    assert model_card.ModelCard is ModelCard


def test_a_file_without_a_card_gets_that_of_its_registered_name(tmp_path):
    _model().save(tmp_path / "m.keras")
    model, card = load_keras_file(tmp_path / "m.keras")
    assert card is None
    card = registered_card(model)
    assert (card.class_names, card.preprocessing.input_size, card.preprocessing.channels) == (("0", "1"), (32, 48), 1)
    assert (card.preprocessing.mean, card.preprocessing.crop_fraction) == (127.5, 0.875)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "missing"])
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "m.keras"
    save_model(_model(), CARD, path)
    if damage == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"hello", "truncated": data[: len(data) // 2]}[damage])
    with pytest.raises(UserError, match=r"expected a model saved as \.keras") as error:
        load_keras_file(path)
    assert "\n" not in str(error.value)


def test_a_model_of_mixed_precision_is_evaluated_in_float32(tmp_path):
    try:
        keras.config.set_dtype_policy("mixed_float16")
        model = _model()
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 48, 1)).astype(np.float32)
    for _ in range(20):
        model(CARD.preprocessing.scale_images(images), training=True)  # logits of ordinary size
    save_model(model, CARD, tmp_path / "m.keras")
    loaded, card = KerasFile(tmp_path / "m.keras").load_to_answer()
    twin = _model()
    twin.set_weights(model.get_weights())
    expected = keras_predict(twin, card)(images)
    np.testing.assert_allclose(keras_predict(loaded, card)(images), expected, atol=1e-5)
    # Half precision would be seen.
    scaled = card.preprocessing.scale_images(images)
    assert np.abs(np.asarray(model(scaled)) - np.asarray(twin(scaled))).max() > 1e-4
