import keras
import numpy as np

from condconv_keras.models import build_model
from condconv_keras.models.blocks import LayerFactory, conv_initializer
from condconv_keras.models.placement import CondConvPlacement
from condconv_keras.models.saving import load_keras_file
from condconv_keras.utils.lazy import tensorflow as tf


def factory(placement=None):
    return LayerFactory(
        placement=placement,
        first_block=placement and placement.first_block([4]),
        bn_momentum=0.7,
        bn_epsilon=0.01,
        activation="relu6",
    )


def test_initial_deviation_of_the_kernels():
    model = build_model("condconv_mobilenet_v1", num_experts=2, input_shape=(32, 32, 3), classes=400)
    for name, weight, fan_out in [
        ("stem", "kernel", 9 * 32),
        ("block_5_depthwise", "kernel", 9),
        ("block_5_pointwise", "kernel", 256),
        ("block_13_depthwise", "depthwise_condconv_kernel", 9),
        ("block_13_pointwise", "condconv_kernel", 1024),
    ]:
        values = np.asarray(getattr(model.get_layer(name), weight))
        # The deviation of N samples is known to about 1 / sqrt(2 N).
        np.testing.assert_allclose(values.std(), (2 / fan_out) ** 0.5, rtol=4 / (2 * values.size) ** 0.5)
        # Not truncated: a truncated normal of this size has nothing beyond 2.3 deviations.
        assert np.abs(values).max() > 2.5 * (2 / fan_out) ** 0.5
    classifier = np.asarray(model.get_layer("classifier").condconv_kernel)
    assert 0.99 / 20 < np.abs(classifier).max() <= 1 / 20
    np.testing.assert_allclose(classifier.std(), 1 / 20 / 3**0.5, rtol=0.01)


def test_layers_and_experts_of_one_shape_start_different():
    model = build_model("condconv_mobilenet_v1", num_experts=2, input_shape=(32, 32, 3), start_block=8)
    seven = np.asarray(model.get_layer("block_6_pointwise").kernel).ravel()[: 256 * 512]
    eight, nine = (np.asarray(model.get_layer(f"block_{i}_pointwise").condconv_kernel) for i in (8, 9))
    for a, b in [(eight[0], eight[1]), (eight[0], nine[0]), (eight[0][: seven.size], seven)]:
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.02


def test_initializer_is_new_every_time():
    assert not np.array_equal(conv_initializer()((3, 3, 4, 1)), conv_initializer()((3, 3, 4, 1)))


def test_norm_act_normalizes_and_clips_at_six():
    x = keras.Input((4, 4, 2))
    model = keras.Model(x, factory().norm_act(x, name="a"))
    norm = model.get_layer("a_bn")
    norm.set_weights([np.array(v, "float32") for v in ([2, 2], [1, 1], [3, 3], [4, 4])])
    values = np.linspace(-20, 20, 32, dtype="float32").reshape(1, 4, 4, 2)
    expected = np.clip(2 * (values - 3) / np.sqrt(4 + 0.01) + 1, 0, 6)
    np.testing.assert_allclose(model(values), expected, rtol=1e-5, atol=1e-6)
    assert norm.momentum == 0.7


def test_routing_of_plain_blocks_is_none():
    x = keras.Input((4, 4, 2))
    assert factory().block_routing(x, 1) is None
    assert factory().classifier_routing(x) is None
    placement = CondConvPlacement(num_experts=3, start_block=2, condconv_classifier=False)
    assert factory(placement).block_routing(x, 1) is None
    assert factory(placement).classifier_routing(x) is None
    assert factory(placement).block_routing(x, 2).shape == (None, 3)


def test_a_pixel_is_padded_before_a_strided_convolution_in_bfloat16():
    """Its gradient has NaN otherwise, now and then: what memory happened to hold."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((1, 1, 8))
        model = keras.Model(inputs, factory().conv(inputs, 4, 3, strides=2, name="conv"))
        assert "conv_pad" in [layer.name for layer in model.layers]
        larger = keras.Input((2, 2, 8))
        assert len(keras.Model(larger, factory().conv(larger, 4, 3, strides=2, name="conv")).layers) == 2
    finally:
        keras.config.set_dtype_policy("float32")
    same = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)
    x = np.random.default_rng(0).standard_normal((5, 1, 1, 8)).astype(np.float32)
    same.build(x.shape)
    same.set_weights(model.get_layer("conv").get_weights())
    np.testing.assert_allclose(model(x).numpy().astype(np.float32), same(x), rtol=0.02, atol=0.02)


def strided_1x1(model):
    """How many convolutions of a 1x1 kernel have a stride, in the graph of a network's outputs and gradients."""

    def gradients(images):
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
        return outputs, tape.gradient(outputs, model.trainable_variables)

    graph = (
        tf.function(gradients, autograph=False).get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]))).graph
    )
    kernels = {
        "Conv2D": lambda operation: operation.inputs[1],
        "Conv2DBackpropInput": lambda operation: operation.inputs[1],
        "Conv2DBackpropFilter": lambda operation: operation.outputs[0],
    }
    convolutions = [operation for operation in graph.get_operations() if operation.type in kernels]
    assert len(convolutions) > 10
    return sum(
        kernels[operation.type](operation).shape[:2] == (1, 1) and max(operation.get_attr("strides")) > 1
        for operation in convolutions
    )


def test_no_strided_1x1_convolution_of_a_network_is_differentiated(zeros, tmp_path):
    """Of all networks ResNet-50 has some, its projections: here the blocks up to the first of them with a stride."""
    whole = build_model("resnet50", input_shape=(32, 32, 3))
    model = keras.Model(whole.input, whole.get_layer("block_4_shortcut").output)
    assert strided_1x1(model) == 0
    assert strided_1x1(keras.models.clone_model(model)) > 0  # as Keras's own
    model.save(tmp_path / "model.keras")
    assert strided_1x1(load_keras_file(tmp_path / "model.keras")[0]) == 0
