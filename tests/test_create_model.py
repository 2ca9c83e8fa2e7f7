"""`create_model(weights=...)` with files of weights; tests/test_pretrained.py has published ones."""

import keras
import numpy as np
import pytest

from condconv_keras.pretrained import create_model
from condconv_keras.utils.errors import UserError


def tiny(name="condconv_mobilenet_v1", **kwargs):
    twin = {"num_experts": 2} if name.startswith("condconv") else {}
    return create_model(name, **{"input_shape": (64, 64, 3), "width_multiplier": 0.25, "classes": 5, **twin, **kwargs})


def images(batch=2):
    return np.random.default_rng(1).uniform(-1, 1, (batch, 64, 64, 3)).astype("float32")


@pytest.mark.parametrize(
    ("suffix", "saved_rate", "loaded_rate"),
    [
        (".weights.h5", 0.0, 0.2),
        pytest.param(".weights.h5", 0.2, 0.0, marks=pytest.mark.slow),
        pytest.param(".keras", 0.0, 0.2, marks=pytest.mark.slow),
        (".keras", 0.2, 0.0),
    ],
)
def test_weights_file_round_trip(tmp_path, suffix, saved_rate, loaded_rate):
    path = tmp_path / f"file{suffix}"
    model = tiny(dropout_rate=saved_rate)
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    loaded = tiny(weights=path, dropout_rate=loaded_rate)
    np.testing.assert_array_equal(loaded(images()), model(images()))


@pytest.mark.parametrize(
    "other",
    [{"classes": 6}, {"width_multiplier": 0.5}, {"num_experts": 3}, {"start_block": 7}, {"condconv_classifier": False}],
)
def test_weights_of_another_model(tmp_path, other):
    path = str(tmp_path / "file.weights.h5")
    tiny(**other).save_weights(path)
    assert_user_error(path, "must fit the model 'condconv_mobilenet_v1'")


def test_keras_file_brings_the_settings_of_its_weights(tmp_path):
    path = tmp_path / "trained.keras"
    trained = tiny(padding="symmetric", bn_epsilon=1e-5)
    trained.save(path)
    np.testing.assert_array_equal(tiny(weights=path)(images()), trained(images()))
    with pytest.raises(UserError, match=r"need padding='symmetric'\. Received: padding='same'"):
        tiny(weights=path, padding="same")


@pytest.mark.parametrize("conditional", [True, False])
def test_keras_file_of_other_classes_leaves_the_classifier(tmp_path, conditional):
    path = tmp_path / "trained.keras"
    trained = tiny(condconv_classifier=not conditional)
    trained.save(path)
    new = tiny(weights=path, classes=7, condconv_classifier=conditional)
    assert new.output.shape == (None, 7)
    feature = "block_13_pointwise_activation"
    probes = [keras.Model(model.input, model.get_layer(feature).output) for model in (new, trained)]
    np.testing.assert_array_equal(*(probe(images()) for probe in probes))


def test_keras_file_of_the_plain_model_warm_starts_the_twin(tmp_path):
    path = tmp_path / "plain.keras"
    plain = tiny("mobilenet_v1", padding="symmetric")
    plain.save(path)
    expected = np.asarray(plain(images()))
    np.testing.assert_allclose(tiny(weights=path)(images()), expected, atol=1e-4 * np.abs(expected).max())


def test_keras_file_of_another_model(tmp_path):
    path = str(tmp_path / "file.keras")
    tiny(num_experts=3).save(path)
    assert_user_error(path, "does not fit the model 'condconv_mobilenet_v1'")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="other").save(path)
    with pytest.raises(UserError, match="expected a network of this zoo, the model 'other' has"):
        tiny(weights=path)


def test_weights_of_the_plain_model_do_not_fit_the_twin(tmp_path):
    path = str(tmp_path / "file.weights.h5")
    tiny("mobilenet_v1").save_weights(path)
    assert_user_error(path, "must fit the model 'condconv_mobilenet_v1'")


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_file_that_is_broken(tmp_path, suffix):
    path = str(tmp_path / f"file{suffix}")
    with open(path, "wb") as file:
        file.write(b"not a weights file")
    message = "must fit the model" if suffix == ".weights.h5" else "expected a model saved as .keras"
    assert_user_error(path, message)


def test_weights_file_that_is_missing_or_of_another_kind(tmp_path):
    assert_user_error(str(tmp_path / "none.keras"), "must be an existing local file")
    assert_user_error("ImageNet", "must be 'imagenet', a .keras or a .weights.h5 file")


def assert_user_error(path, message):
    with pytest.raises(UserError, match=message) as raised:
        tiny(weights=path)
    assert path in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_accepted_keywords_name_the_weights_too():
    with pytest.raises(TypeError, match=r"'mobilenet_v1' got an unexpected .* 'weight'. Accepted: .*, weights, width_"):
        create_model("mobilenet_v1", weight="imagenet")


def test_arguments_of_0_1_are_taken():
    layers = [type(layer).__name__ for layer in tiny(start_group=5).layers]
    assert layers == [type(layer).__name__ for layer in tiny(start_stage=5).layers]
    assert layers.count("Routing") < [type(layer).__name__ for layer in tiny().layers].count("Routing")
    with pytest.raises(ValueError, match="expected 'start_stage' or 'start_group', its old name"):
        tiny(start_group=5, start_stage=5)
