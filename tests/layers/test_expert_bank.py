"""Initialization, regularization and constraints see one expert at a time, in the shape of the kernel it replaces."""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D
from condconv_keras.layers.expert_bank import PerExpertConstraint, PerExpertInitializer, PerExpertRegularizer
from tests.layers.backends import JIT

KERNEL = (3, 3, 16, 32)
PENALTY = 0.5


def built(num_experts=4, use_bias=True, **kwargs):
    layer = CondConv2D(32, 3, num_experts, use_bias=use_bias, **kwargs)
    layer.build((None, 8, 8, 16), (None, num_experts))
    return layer


def bank_of(layer, shape=KERNEL):
    return keras.ops.convert_to_numpy(layer.bank).reshape(-1, *shape)


@pytest.mark.parametrize("depthwise", [False, True])
def test_initializer_is_called_once_per_expert_with_the_kernel_shape(depthwise):
    shapes = []

    def record(shape, dtype=None):
        shapes.append(tuple(shape))
        return keras.ops.full(shape, len(shapes), dtype=dtype)

    if depthwise:
        layer = DepthwiseCondConv2D(5, 3, depth_multiplier=2, depthwise_initializer=record, use_bias=False)
        expected = (5, 5, 16, 2)
    else:
        layer = CondConv2D(32, (3, 1), 3, groups=4, kernel_initializer=record, use_bias=False)
        expected = (3, 1, 4, 32)
    layer.build((None, 8, 8, 16), (None, 3))
    assert shapes == [expected] * 3
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.bank)[:, 0], [1, 2, 3])
    assert layer.bank.shape == (3, np.prod(expected))


def test_bias_initializer_sees_one_vector():
    shapes = []

    def record(shape, dtype=None):
        shapes.append(tuple(shape))
        return keras.ops.ones(shape, dtype=dtype)

    layer = built(num_experts=2, bias_initializer=record)
    assert shapes == [(32,), (32,)]
    assert layer.bias.shape == (2, 32)


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 3 * 3 * 16), ("fan_out", 3 * 3 * 32)])
def test_variance_scaling_has_the_variance_of_one_kernel(mode, fan):
    layer = built(8, kernel_initializer=keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal", seed=1))
    np.testing.assert_allclose(bank_of(layer).std(axis=(1, 2, 3, 4)), np.sqrt(2 / fan), rtol=0.05)


@pytest.mark.parametrize("seed", [None, 7])
def test_experts_differ(seed):
    bank = bank_of(built(kernel_initializer=keras.initializers.GlorotUniform(seed=seed))).reshape(4, -1)
    correlation = np.corrcoef(bank) - np.eye(4)
    assert np.abs(correlation).max() < 0.1


def test_a_seed_repeats_itself_and_expert_0_is_the_plain_kernel():
    make = lambda: keras.initializers.HeNormal(seed=7)  # noqa: E731
    first, second = (bank_of(built(kernel_initializer=make())) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    plain = keras.layers.Conv2D(32, 3, kernel_initializer=make())
    plain.build((None, 8, 8, 16))
    np.testing.assert_array_equal(first[0], keras.ops.convert_to_numpy(plain.kernel))
    assert not np.array_equal(first, bank_of(built(kernel_initializer=keras.initializers.HeNormal(seed=8))))


def test_a_seed_generator_is_drawn_from_for_each_expert():
    initializer = keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(3))
    bank = bank_of(built(kernel_initializer=initializer))
    assert not np.array_equal(bank[0], bank[1])


def test_a_bank_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"shape \(experts, 12\).*Received: shape=\(2, 13\)"):
        PerExpertInitializer(keras.initializers.Zeros(), (2, 2, 1, 3))((2, 13))


@keras.saving.register_keras_serializable(package="tests")
class SpectralPenalty(keras.regularizers.Regularizer):
    """A penalty that depends on the shape: the squared distance of the flattened kernel's Gram matrix from I."""

    def __call__(self, kernel):
        matrix = keras.ops.reshape(kernel, (-1, kernel.shape[-1]))
        gram = keras.ops.matmul(keras.ops.transpose(matrix), matrix)
        return PENALTY * keras.ops.sum(keras.ops.square(gram - keras.ops.eye(kernel.shape[-1])))


def test_l2_counts_every_expert_and_bias():
    layer = built(kernel_regularizer="l2", bias_regularizer=keras.regularizers.L2(0.3), bias_initializer="ones")
    expected = 0.01 * (bank_of(layer) ** 2).sum() + 0.3 * 4 * 32
    np.testing.assert_allclose(sum(float(loss) for loss in layer.losses), expected, rtol=1e-5)


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_shape_sensitive_regularizer_sees_each_kernel(depthwise):
    if depthwise:
        layer = DepthwiseCondConv2D(3, 4, depth_multiplier=2, depthwise_regularizer=SpectralPenalty())
        layer.build((None, 8, 8, 16), (None, 4))
    else:
        layer = built(kernel_regularizer=SpectralPenalty())
    shape = (3, 3, 16, 2) if depthwise else KERNEL
    last = shape[-1]
    grams = [e.reshape(-1, last).T @ e.reshape(-1, last) - np.eye(last) for e in bank_of(layer, shape)]
    np.testing.assert_allclose(float(layer.losses[0]), PENALTY * sum((g**2).sum() for g in grams), rtol=1e-4)


def test_orthogonal_regularizer_on_matrix_experts():
    # The kernel of a 1x1 convolution as a matrix: Keras' OrthogonalRegularizer takes nothing else.
    bank = np.random.default_rng(0).standard_normal((3, 12)).astype("float32")
    penalty = keras.regularizers.OrthogonalRegularizer(factor=0.1, mode="rows")
    expected = sum(float(penalty(keras.ops.convert_to_tensor(expert.reshape(4, 3)))) for expert in bank)
    actual = PerExpertRegularizer(penalty, (4, 3))(keras.ops.convert_to_tensor(bank))
    np.testing.assert_allclose(float(actual), expected, rtol=1e-5)


def test_max_norm_acts_on_each_expert_after_a_step():
    layer = built(
        3,
        kernel_constraint=keras.constraints.MaxNorm(0.5, axis=(0, 1, 2)),
        bias_constraint=keras.constraints.NonNeg(),
    )
    model = keras.Sequential([keras.Input((8, 8, 16)), CondConv2D.from_config(layer.get_config())])
    model.compile(keras.optimizers.SGD(5.0), "mse", jit_compile=JIT)
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.standard_normal((4, 8, 8, 16)), rng.standard_normal((4, 6, 6, 32)) * 10)
    norms = np.sqrt((bank_of(model.layers[0]) ** 2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(norms.max(axis=1), 0.5, rtol=1e-3)
    assert keras.ops.convert_to_numpy(model.layers[0].bias).min() >= 0


def test_a_constraint_sees_the_shape_of_one_kernel():
    shapes = []

    def record(kernel):
        shapes.append(tuple(kernel.shape))
        return kernel * (1.0 + len(shapes))

    bank = np.ones((3, 24), "float32")
    projected = keras.ops.convert_to_numpy(PerExpertConstraint(record, (2, 2, 3, 2))(keras.ops.convert_to_tensor(bank)))
    assert shapes == [(2, 2, 3, 2)] * 3
    np.testing.assert_array_equal(projected, bank * np.array([[2.0], [3.0], [4.0]]))


def test_activity_regularizer_sees_the_output():
    layer = CondConv2D(3, 1, 2, activity_regularizer=keras.regularizers.L1(0.1))
    outputs = layer(np.random.default_rng(0).standard_normal((2, 4, 4, 5)).astype("float32"))
    # Keras divides an activity penalty by the batch size.
    expected = 0.1 * np.abs(keras.ops.convert_to_numpy(outputs)).sum() / 2
    np.testing.assert_allclose(float(layer.losses[0]), expected, rtol=1e-5)
