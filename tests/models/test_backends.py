"""A whole CondConv model trains, saves and loads on every Keras backend (`make test-backends`)."""

import keras
import numpy as np
import pytest

from condconv_keras.models import build_model
from tests.layers.backends import JIT
from tests.seeds import set_seed

pytestmark = pytest.mark.backends


@pytest.fixture(scope="module")
def trained():
    """The model after three steps on fixed random images, the images, and the loss before each step and after."""
    set_seed(0)
    model = build_model(
        "condconv_mobilenet_v1", input_shape=(32, 32, 3), width_multiplier=0.25, num_experts=4, classes=3
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 32, 32, 3)).astype("float32"), np.arange(12) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, jit_compile=JIT)
    before = [np.array(weight) for weight in model.get_weights()]
    losses = model.fit(x, y, batch_size=12, epochs=4, shuffle=False, verbose=0).history["loss"]
    return model, x, losses, before


def test_three_steps_lower_the_loss(trained):
    losses = trained[2]
    # Each epoch is one step; its loss is the one before the step.
    assert np.isfinite(losses).all()
    assert losses[3] < losses[0] - 0.05


def test_every_weight_moved(trained):
    model, _, _, before = trained
    pairs = zip(model.weights, before, model.get_weights(), strict=True)
    assert [weight.path for weight, old, new in pairs if np.array_equal(old, new)] == []


def test_keras_file_round_trip(trained, tmp_path):
    model, x, _, _ = trained
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-5)
    # Also in batches that leave a partial one.
    np.testing.assert_allclose(loaded.predict(x, batch_size=5, verbose=0), expected, rtol=1e-4, atol=1e-4)


def test_weights_file_round_trip(trained, tmp_path):
    model, _, _, _ = trained
    model.save_weights(tmp_path / "model.weights.h5")
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / "model.weights.h5")
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
