import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras import model_card
from condconv_keras.data import Preprocessing
from condconv_keras.facts.model_card import ModelCard, archived_card
from condconv_keras.models import build_model
from condconv_keras.models.cards import registered_card
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.stored.keras_files import KerasFile
from condconv_keras.tasks.classification.predictor import keras_predict
from condconv_keras.utils.errors import UserError
from tests.seeds import set_seed

CARD = ModelCard("condconv_mobilenet_v1", ("cat", "dog"), Preprocessing((32, 48), 1, 127.5, 127.5, "bilinear", 0.9))


def _model(**kwargs):
    arguments = {"width_multiplier": 0.25, "num_experts": 2, "input_shape": (32, 48, 1), "classes": 2, **kwargs}
    return build_model("condconv_mobilenet_v1", **arguments)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of a file with a card."""
    set_seed(0)
    path = tmp_path_factory.mktemp("saved") / "m.keras"
    save_model(_model(), CARD, path)
    return path.read_bytes()


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
def test_a_damaged_file_is_one_clear_line(content, tmp_path, damage):
    path = tmp_path / "m.keras"
    if damage != "missing":
        path.write_bytes({"empty": b"", "text": b"hello", "truncated": content[: len(content) // 2]}[damage])
    with pytest.raises(UserError, match=r"expected a model saved as \.keras") as error:
        load_keras_file(path)
    assert "\n" not in str(error.value)


@pytest.mark.slow
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


def test_a_flipped_bit_in_the_weights_is_seen(content, tmp_path):
    """Keras reads them without the sum that the archive keeps of them."""
    path, content = tmp_path / "m.keras", bytearray(content)
    path.write_bytes(content)
    kernel = np.asarray(keras.saving.load_model(path).get_layer("classifier").weights[0]).tobytes()
    content[content.index(kernel) + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"m\.keras' is none \(its model\.weights\.h5 is damaged\)"):
        load_keras_file(path)


def test_an_archive_whose_compression_is_unknown_is_refused(content, tmp_path):
    path = tmp_path / "m.keras"
    begin = content.rindex(b"PK\1\2")  # the directory's entry of the card
    path.write_bytes(content[: begin + 10] + b"\x63\0" + content[begin + 12 :])
    with pytest.raises(UserError, match=r"expected a model saved as \.keras"):
        archived_card(path)


def test_a_card_for_images_of_another_shape_is_refused(tmp_path):
    card = dataclasses.replace(CARD, preprocessing=Preprocessing((48, 32), 1, 127.5, 127.5), returns="logits")
    save_model(_model(), card, tmp_path / "m.keras")
    with pytest.raises(UserError, match=r"does not take images of the shape \(48, 32, 1\).* takes \(None, 32, 48, 1\)"):
        KerasFile(tmp_path / "m.keras").load_to_answer()
    unknown = _model(input_shape=(None, None, 1))
    save_model(unknown, card, tmp_path / "n.keras")
    assert KerasFile(tmp_path / "n.keras").load_to_answer()[1] == card
