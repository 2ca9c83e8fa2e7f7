import keras
import numpy as np
import pytest

from condconv_keras.training.averaging import MovingAverage
from tests.training import networks


def test_warm_average_of_weights_and_statistics():
    model = networks.network(dropout_rate=0.5)
    average = MovingAverage(model, 0.6)
    floats = [v for v in model.variables if v.dtype == "float32"]
    assert len(average.variables) == len(floats) == len(model.variables) - 2  # all but the seeds of the dropouts
    assert {"moving_mean", "moving_variance", "gamma", "kernel"} <= {v.path.split("/")[-1] for v in floats}
    rng = np.random.default_rng(0)
    expected = [v.numpy() for v in floats]
    for step in range(1, 20):
        decay = min(0.6, (1 + step) / (10 + step))  # 2/11 first, 0.6 from the 13th step on
        for i, variable in enumerate(floats):
            variable.assign(rng.standard_normal(variable.shape))
            expected[i] = decay * expected[i] + (1 - decay) * variable.numpy()
        average.update(step)
    for value, variable in zip(expected, average.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-6)


def test_in_place_for_a_while_and_for_good():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    kernel = model.layers[0].kernel
    kernel.assign([[1.0], [2.0]])
    average = MovingAverage(model, 0.9)
    kernel.assign([[5.0], [5.0]])
    with pytest.raises(KeyError), average.in_place():
        np.testing.assert_array_equal(kernel, [[1.0], [2.0]])
        raise KeyError
    np.testing.assert_array_equal(kernel, [[5.0], [5.0]])
    average.put()
    np.testing.assert_array_equal(kernel, [[1.0], [2.0]])
