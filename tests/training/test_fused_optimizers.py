import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.training import fused_optimizers

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
OPTIONS = [
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.0}),
    ("SGD", {"momentum": 0.9, "global_clipnorm": 0.5}),
    ("RMSprop", {"momentum": 0.9, "rho": 0.8, "epsilon": 1e-3}),
    ("RMSprop", {"momentum": 0.0, "epsilon": 1e-3}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "epsilon": 1e-3}),
    ("AdamW", {"weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.95}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
]
SHAPES = [(3, 4), (5,), ()]


def _after_steps(optimizer, steps=5):
    """Values of three variables and of the optimizer's own after some steps in a `tf.function`."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.standard_normal(shape)) for shape in SHAPES]
    optimizer.build(variables)

    @tf.function
    def step(gradients):
        optimizer.apply(gradients, variables)

    for _ in range(steps):
        step([tf.constant(rng.standard_normal(shape), tf.float32) for shape in SHAPES])
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_updates_are_those_of_keras(name, options):
    expected = _after_steps(getattr(keras.optimizers, name)(SCHEDULE, **options))
    received = _after_steps(getattr(fused_optimizers, name)(SCHEDULE, **options))
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_names_and_variables_are_those_of_keras(name, options):
    modules = (keras.optimizers, fused_optimizers)
    optimizers = [getattr(module, name)(SCHEDULE, name="optimizer", **options) for module in modules]
    variable = keras.Variable([1.0], name="kernel")
    for optimizer in optimizers:
        optimizer.build([variable])
    keras_own, fused = optimizers
    assert [v.path for v in fused.variables] == [v.path for v in keras_own.variables]
    assert fused.get_config() == keras_own.get_config()


@pytest.mark.parametrize(
    ("name", "operation"),
    [("SGD", "ResourceApplyKerasMomentum"), ("RMSprop", "ResourceApplyRMSProp"), ("AdamW", "ResourceApplyAdam")],
)
def test_a_variable_is_updated_by_one_operation(name, operation):
    options = {} if name == "AdamW" else {"momentum": 0.9}
    optimizer = getattr(fused_optimizers, name)(0.1, **options)
    variables = [keras.Variable(np.ones(shape)) for shape in SHAPES]
    optimizer.build(variables)
    step = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    graph = step.get_concrete_function([tf.ones(shape) for shape in SHAPES]).graph
    assert [op.type for op in graph.get_operations()].count(operation) == len(SHAPES)


def test_a_step_with_a_scaled_loss_is_that_of_keras():
    received, expected = (
        _after_steps(keras.optimizers.LossScaleOptimizer(module.SGD(SCHEDULE, momentum=0.9), initial_scale=4.0))
        for module in (fused_optimizers, keras.optimizers)
    )
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
