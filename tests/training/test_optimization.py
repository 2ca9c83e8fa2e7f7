import dataclasses

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D
from condconv_keras.training.optimization import apply_weight_decay, make_optimizer
from condconv_keras.training.recipes import get_recipe


def _model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            CondConv2D(4, 3, num_experts=3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5),
        ]
    )


def test_sgd_weight_decay_is_half_the_sum_of_squares_of_all_but_batch_norm():
    recipe = dataclasses.replace(get_recipe("mobilenet"), weight_decay=3e-3)
    model = _model()
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(0).standard_normal(variable.shape))
    apply_weight_decay(model, recipe, make_optimizer(recipe, 10))
    conv, _, _, dense = model.layers
    decayed = [*conv.trainable_variables, *dense.trainable_variables]
    assert len(decayed) == 6  # bank, bias, router kernel and bias, dense kernel and bias
    expected = 3e-3 / 2 * sum(float(np.sum(np.square(v.numpy()))) for v in decayed)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_adamw_decays_all_but_batch_norm():
    recipe = dataclasses.replace(
        get_recipe("digits"), optimizer="adamw", weight_decay=0.5, warmup_epochs=0, learning_rate=0.1
    )
    model = _model()
    optimizer = make_optimizer(recipe, 10)
    apply_weight_decay(model, recipe, optimizer)
    assert not model.losses
    variables = model.trainable_variables
    before = [v.numpy() for v in variables]
    optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    norm = {id(v) for v in model.layers[1].trainable_variables}
    for variable, value in zip(variables, before, strict=True):
        # Without a gradient only the decay moves a variable: by learning rate times decay times itself.
        factor = 1.0 if id(variable) in norm else 1 - 0.1 * 0.5
        np.testing.assert_allclose(variable.numpy(), value * factor, rtol=1e-5)


def test_rmsprop_step_of_the_efficientnet_recipe():
    recipe = dataclasses.replace(get_recipe("efficientnet"), warmup_epochs=0)
    optimizer = make_optimizer(recipe, 10)
    variable = keras.Variable([1.0, -2.0])
    mean_square, velocity, expected = np.zeros(2), np.zeros(2), np.array([1.0, -2.0])
    for gradient in ([0.5, -0.1], [0.3, 0.2]):
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        mean_square = 0.9 * mean_square + 0.1 * np.square(gradient)
        velocity = 0.9 * velocity + 0.016 * 8 * np.array(gradient) / np.sqrt(mean_square + 1e-3)
        expected -= velocity
    np.testing.assert_allclose(variable, expected, rtol=1e-5)


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="Received: optimizer='adam'"):
        make_optimizer(dataclasses.replace(get_recipe("digits"), optimizer="adam"), 10)
