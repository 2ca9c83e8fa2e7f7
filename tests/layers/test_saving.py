"""Configuration, weights and whole models survive a round trip, the last one into another process."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from tests.layers import saved_models

SHARED = {
    "kernel_size": (3, 1),
    "num_experts": 3,
    "padding": "same",
    "data_format": "channels_first",
    "activation": "relu6",
    "use_bias": False,
    "bias_initializer": keras.initializers.Constant(0.5),
    "bias_regularizer": keras.regularizers.L1(0.1),
    "activity_regularizer": keras.regularizers.L2(0.2),
    "bias_constraint": keras.constraints.NonNeg(),
    "implementation": "mixture",
    "routing_options": {"temperature": 3.0, "anchored": True},
    "use_shared_bias": True,
    "name": "conditional",
    "dtype": "mixed_bfloat16",
    "trainable": False,
}
CONFIGS = [
    (
        CondConv2D,
        {
            **SHARED,
            "filters": 4,
            "groups": 2,
            "strides": (2, 1),
            "kernel_initializer": keras.initializers.HeNormal(seed=3),
            "kernel_regularizer": keras.regularizers.L2(0.3),
            "kernel_constraint": keras.constraints.MaxNorm(2.0, axis=[0, 1, 2]),
        },
    ),
    (
        DepthwiseCondConv2D,
        {
            **SHARED,
            "depth_multiplier": 2,
            "strides": (1, 1),
            "dilation_rate": (1, 2),
            "depthwise_initializer": keras.initializers.HeNormal(seed=3),
            "depthwise_regularizer": keras.regularizers.L2(0.3),
            "depthwise_constraint": keras.constraints.MaxNorm(2.0, axis=[0, 1, 2]),
        },
    ),
    (
        Routing,
        {
            "num_experts": 3,
            "activation": "tanh",
            "use_bias": False,
            "data_format": "channels_first",
            "kernel_initializer": keras.initializers.HeNormal(seed=3),
            "bias_initializer": keras.initializers.Constant(0.5),
            "kernel_regularizer": keras.regularizers.L2(0.3),
            "bias_regularizer": keras.regularizers.L1(0.1),
            "kernel_constraint": keras.constraints.MaxNorm(2.0),
            "bias_constraint": keras.constraints.NonNeg(),
            "temperature": 3.0,
            "normalize_inputs": True,
            "expert_dropout": 0.1,
            "diversity_penalty": 0.2,
            "balance_penalty": 0.3,
            "name": "routing",
            "dtype": "mixed_bfloat16",
            "trainable": False,
        },
    ),
]


def plain(value):
    """A configuration value as a comparable one."""
    if callable(value) and not isinstance(value, type):
        return keras.saving.serialize_keras_object(value)
    return value


@pytest.mark.parametrize(("kind", "arguments"), CONFIGS)
def test_every_argument_is_in_the_config_and_comes_back(kind, arguments):
    config = kind(**arguments).get_config()
    assert kind.from_config(config).get_config() == config
    for name, value in arguments.items():
        if name == "activation":
            assert config[name] == value
        elif name == "dtype":
            assert config[name]["config"]["name"] == value
        elif isinstance(value, tuple):
            assert tuple(config[name]) == value
        else:
            assert config[name] == plain(value), name
    # Nothing is configured that the constructor does not take, and nothing it takes is left out but an option of
    # training at its default: `anchored`, which is for the sigmoid.
    parameters = set(kind.__init__.__code__.co_varnames[1 : kind.__init__.__code__.co_argcount])
    assert set(config) == parameters - {"anchored"} | {"name", "trainable", "dtype"}


@pytest.mark.parametrize("kind", [CondConv2D, DepthwiseCondConv2D])
def test_a_form_that_is_no_more_is_read_as_the_default(kind):
    """Of a file of version 0.1; tests/test_v0_1.py has one."""
    arguments = {"filters": 4} if kind is CondConv2D else {}
    config = kind(**arguments, kernel_size=3, num_experts=2).get_config()
    assert config["implementation"] == "auto"
    with pytest.warns(UserWarning, match="implementation='vectorized_map' is no more, implementation='auto'") as caught:
        layers = [kind.from_config({**config, "implementation": "vectorized_map"}) for _ in range(2)]
    assert [layer.get_config() for layer in layers] == [config, config]
    assert len({str(warning.message) for warning in caught}) == 1
    assert "\n" not in str(caught[0].message)
    with pytest.raises(ValueError, match="`implementation` must be one of"):
        kind(**arguments, kernel_size=3, num_experts=2, implementation="vectorized_map")


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """Saves every model, loads them in another process; returns the outputs there and here."""
    folder, here = tmp_path_factory.mktemp("models"), {}
    for name, make in saved_models.MODELS.items():
        model = make()
        model(saved_models.images())
        saved_models.randomize(model)
        here[name] = model.predict(saved_models.images(), verbose=0)
        model.save(folder / f"{name}.keras")
    command = [sys.executable, "-m", "tests.layers.saved_models", str(folder)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=300)
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs), here


@pytest.mark.parametrize("name", saved_models.MODELS)
def test_keras_file_gives_equal_outputs_in_another_process(name, reloaded):
    there, here = reloaded
    np.testing.assert_allclose(there[name], here[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", saved_models.MODELS)
def test_weights_file_round_trip(name, tmp_path):
    first, second = saved_models.MODELS[name](), saved_models.MODELS[name]()
    x = saved_models.images()
    for model in (first, second):
        model(x)
    saved_models.randomize(first)
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(second.predict(x, verbose=0), first.predict(x, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_clone_model(name):
    model = saved_models.MODELS[name]()
    saved_models.randomize(model)
    clone = keras.models.clone_model(model)
    assert len(clone.weights) == len(model.weights)
    clone.set_weights(model.get_weights())
    x = saved_models.images()
    np.testing.assert_allclose(clone.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)


def test_a_layer_restores_the_router_it_was_built_with():
    with_router, without = CondConv2D(4, 3, 2), CondConv2D(4, 3, 2)
    with_router.build((None, 6, 6, 3))
    without.build((None, 6, 6, 3), (None, 2))
    for layer, count in ((with_router, 4), (without, 2)):
        copy = CondConv2D.from_config(layer.get_config())
        copy.build_from_config(layer.get_build_config())
        assert [w.shape for w in copy.weights] == [w.shape for w in layer.weights]
        assert len(copy.weights) == count
