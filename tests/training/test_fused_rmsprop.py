import keras
import numpy as np
import pytest
import tensorflow as tf

from condconv_keras.training.fused_rmsprop import RMSprop
from tests import processes

KERAS_OWN = keras.optimizers.RMSprop
SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
FUSED = {"momentum": 0.9, "rho": 0.8, "epsilon": 1e-3}
OPTIONS = [
    FUSED,
    {**FUSED, "global_clipnorm": 0.5},
    {**FUSED, "gradient_accumulation_steps": 2},
    {**FUSED, "momentum": 0.0},
    {**FUSED, "centered": True},
]
SHAPES = [(3, 4), (5,), ()]


def _after_steps(optimizer, steps=5, jit_compile=False):
    """Values of three variables and of the optimizer's own after some steps in a `tf.function`."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.standard_normal(shape), dtype="float32") for shape in SHAPES]
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile)
    def step(gradients):
        optimizer.apply(gradients, variables)

    for _ in range(steps):
        step([tf.constant(rng.standard_normal(shape), tf.float32) for shape in SHAPES])
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


def _assert_equal(received, expected):
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_updates_are_those_of_keras(options):
    _assert_equal(*(_after_steps(kind(SCHEDULE, **options)) for kind in (RMSprop, KERAS_OWN)))


def test_updates_compiled_by_xla():
    _assert_equal(_after_steps(RMSprop(0.1, **FUSED), jit_compile=True), _after_steps(KERAS_OWN(0.1, **FUSED)))


def test_a_step_with_a_scaled_loss():
    scaled = (keras.optimizers.LossScaleOptimizer(kind(SCHEDULE, **FUSED), 4.0) for kind in (RMSprop, KERAS_OWN))
    _assert_equal(*map(_after_steps, scaled))


def test_a_sparse_gradient():
    values = []
    for kind in (RMSprop, KERAS_OWN):
        variable = keras.Variable(np.ones((4, 2)), dtype="float32")
        optimizer = kind(0.1, **FUSED)
        optimizer.build([variable])
        optimizer.apply([tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, -1.0]]), tf.constant([1, 1]), (4, 2))])
        values.append([variable.numpy(), *(v.numpy() for v in optimizer.variables)])
    _assert_equal(*values)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_names_and_variables_are_those_of_keras(options):
    variable = keras.Variable([1.0], name="kernel")
    fused, keras_own = (kind(SCHEDULE, name="optimizer", **options) for kind in (RMSprop, KERAS_OWN))
    for optimizer in (fused, keras_own):
        optimizer.build([variable])
    assert [v.path for v in fused.variables] == [v.path for v in keras_own.variables]
    assert fused.get_config() == keras_own.get_config()


def test_a_variable_is_updated_by_one_operation():
    optimizer = RMSprop(0.1, **FUSED)
    variables = [keras.Variable(np.ones(shape), dtype="float32") for shape in SHAPES]
    optimizer.build(variables)
    step = tf.function(lambda gradients: optimizer.apply(gradients, variables))
    graph = step.get_concrete_function([tf.ones(shape) for shape in SHAPES]).graph
    assert [op.type for op in graph.get_operations()].count("ResourceApplyRMSProp") == len(SHAPES)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
from condconv_keras.training.fused_rmsprop import RMSprop

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
results = []
for kind in (RMSprop, keras.optimizers.RMSprop):
    with strategy.scope():
        variable = keras.Variable([1.0, -2.0])
        optimizer = kind(0.1, momentum=0.9)
        optimizer.build([variable])

    def of_replica(gradient):
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        optimizer.apply([gradient * (1.0 + tf.cast(index, tf.float32))], [variable])

    step = tf.function(lambda gradient: strategy.run(of_replica, (gradient,)))
    for gradient in ([0.5, 0.1], [-0.2, 0.3], [0.1, 0.1]):
        step(tf.constant(gradient))
    results.append([value.numpy() for value in variable.value.values])
    np.testing.assert_array_equal(*results[-1])
np.testing.assert_allclose(*results, rtol=1e-5)
print("equal")
"""


def test_replicas_of_a_mirrored_variable_are_updated_alike():
    """In a process of its own: the CPU is split before TensorFlow starts."""
    assert processes.run("-c", MIRRORED).stdout.split() == ["equal"]
