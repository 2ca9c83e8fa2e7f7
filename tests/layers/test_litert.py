"""A user's own network with our layers in LiteRT, by Keras's export and by TensorFlow's converters.

The file has builtin operators alone: `ai_edge_litert` has no others.
"""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.layers import BatchNormalization
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf
from tests.layers.backends import requires_tensorflow

convert_to_constants = LazyModule("tensorflow.python.framework.convert_to_constants")
litert = LazyModule("ai_edge_litert.interpreter")
pytestmark = requires_tensorflow

SIZE = 18


def network():
    """Both layers in every form that is chosen for a batch of unknown size, and what stands around them."""
    inputs = keras.Input((SIZE, SIZE, 3))
    # A loop over the images: the work of one is large.
    x = DepthwiseCondConv2D(3, num_experts=2, depth_multiplier=2, padding="same", name="large")(inputs)
    routing = Routing(3)(x)
    x = CondConv2D(6, 3, num_experts=3, strides=2, padding="same", use_bias=False, name="kxk")(x, routing)
    x = keras.layers.ReLU(6.0)(BatchNormalization()(x))
    x = DepthwiseCondConv2D(3, num_experts=3, padding="same", name="small")(x, routing)
    x = CondConv2D(8, 1, num_experts=3, activation="relu", name="1x1")(x, routing)
    x = CondConv2D(8, 3, num_experts=2, groups=2, name="groups")(x)
    x = DepthwiseCondConv2D((5, 3), num_experts=2, padding="same", strides=2, name="strides")(x)
    x = DepthwiseCondConv2D(3, num_experts=2, padding="same", strides=(2, 1), name="asymmetric")(x)
    x = DepthwiseCondConv2D(3, num_experts=2, padding="same", dilation_rate=2, activation="silu", name="dilated")(x)
    x = CondConv2D(8, 1, num_experts=2, strides=2, name="strided_1x1")(x)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    return keras.Model(inputs, keras.layers.Flatten()(CondConv2D(5, 1, num_experts=2, name="classifier")(x)))


def by_keras(model, folder):
    model.export(folder / "model.tflite", format="litert", verbose=False)
    return (folder / "model.tflite").read_bytes()


def from_keras_model(model, folder):
    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def from_saved_model(model, folder):
    model.export(folder / "saved_model", verbose=False)
    return tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model")).convert()


def from_concrete_functions(model, folder):
    call = tf.function(lambda images: model(images), autograph=False)
    function = call.get_concrete_function(tf.TensorSpec((None, *model.input_shape[1:])))
    # The converter leaves the variables of any Keras 3 model outside the file.
    frozen = convert_to_constants.convert_variables_to_constants_v2(function)
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()


def answers(content, images):
    """What the file answers to images in one batch."""
    interpreter = litert.Interpreter(model_content=content)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize(
    "convert",
    [
        by_keras,
        pytest.param(from_keras_model, marks=pytest.mark.slow),
        pytest.param(from_saved_model, marks=pytest.mark.slow),
        pytest.param(from_concrete_functions, marks=pytest.mark.slow),
    ],
)
def test_a_network_runs_and_answers_as_in_keras(convert, tmp_path):
    model = network()
    rng = np.random.default_rng(0)
    model.set_weights([weight + rng.uniform(0.1, 0.3, weight.shape) for weight in model.get_weights()])
    content = convert(model, tmp_path)
    for batch in (1, 9):
        images = rng.normal(size=(batch, SIZE, SIZE, 3)).astype(np.float32)
        expected = model(images, training=False).numpy()
        np.testing.assert_allclose(answers(content, images), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
