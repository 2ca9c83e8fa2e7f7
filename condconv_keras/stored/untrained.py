"""A registered network with random weights, to learn the size and the latency of its files before it is trained."""

import contextlib
import functools

from condconv_keras.data.sources.photographs import photographs
from condconv_keras.models import build_model
from condconv_keras.models.cards import registered_card
from condconv_keras.utils.keras_graph import all_layers, wrapped_call
from condconv_keras.utils.lazy import LazyModule, keras

layers = LazyModule("condconv_keras.layers")
ops = LazyModule("keras.ops")

# Root mean square of what every batch normalization puts out. Small, because there swish, sigmoid and ReLU6 are nearly
# linear or piecewise linear: at full swing a deep random network multiplies every rounding error.
_ROOT_MEAN_SQUARE = 0.01
# Standard deviation over the images of what every router's sigmoid is given. Small, too: rounding shows in what little
# tells the images apart in a random network. Equal kernels for all images then still cost more than int8 may.
_ROUTING_DEVIATION = 0.05
# Root mean square of what every predictor of a detector adds to its bias: boxes near their anchors, scores that differ.
_PREDICTION = 1.0


def untrained_model(name, seed=0, **arguments):
    """Builds a network with random weights whose answers can be compared.

    As initialized, batch normalization passes everything through, and the activations of a deep network shrink or grow
    a thousandfold: its probabilities are equal to the last bit, or all 0 but one; and the routing weights are 1/2 for
    every image. So every batch normalization scales its input, as it is on photographs, to one size, and every router
    tells them apart: a file that mixes the same kernel for all images differs. The predictors of a detector, whose
    initial kernels leave little but the bias, put out different boxes and scores.

    Args:
        name: registry name.
        seed: of the weights.
        arguments: further arguments of `condconv_keras.models.build_model`.

    Returns:
        The Keras model and its `ModelCard`, whose classes are named by their index.
    """

    keras.utils.set_random_seed(seed)
    model = layers.use_fused_batch_norm(build_model(name, **arguments))
    card = registered_card(model)
    images = card.preprocessing.evaluation_images(photographs())
    with _scaled_by_images(model, card.predictor_layers):
        model(card.preprocessing.scale_images(images), training=False)
    return model, card


@contextlib.contextmanager
def _scaled_by_images(model, predictor_layers):
    """Lets every batch normalization, router and predictor take its scale from the images that pass through."""
    with contextlib.ExitStack() as stack:
        for layer in all_layers(model):
            for kind, scale in ((keras.layers.BatchNormalization, _scale_norm), (layers.Routing, _scale_router)):
                if isinstance(layer, kind):
                    stack.enter_context(wrapped_call(layer, functools.partial(_scaled_call, layer, scale)))
            if layer.name.startswith(predictor_layers) and layer.weights:
                stack.enter_context(wrapped_call(layer, functools.partial(_scaled_prediction, layer)))
        yield


def _scaled_call(layer, scale, call):
    @functools.wraps(call)
    def scaled_call(inputs, *args, **kwargs):
        scale(layer, inputs)
        return call(inputs, *args, **kwargs)

    return scaled_call


def _scale_norm(layer, inputs):
    # One number for all channels: to scale up the faint ones would scale up their rounding errors.
    variance = ops.mean(ops.square(inputs)) / _ROOT_MEAN_SQUARE**2
    layer.moving_variance.assign(ops.full_like(layer.moving_variance, variance))


def _scale_router(layer, inputs):
    features = ops.mean(inputs, axis=(1, 2)) if len(inputs.shape) == 4 else inputs
    logits = ops.matmul(features, layer.kernel)
    scale = _ROUTING_DEVIATION / ops.std(logits, axis=0)
    layer.kernel.assign(layer.kernel * scale)
    layer.bias.assign(-ops.mean(logits, axis=0) * scale)


def _scaled_prediction(layer, call):
    @functools.wraps(call)
    def scaled_call(inputs, *args, **kwargs):
        linear = call(inputs, *args, **kwargs) - call(ops.zeros_like(inputs), *args, **kwargs)
        kernel = layer.bank if hasattr(layer, "bank") else layer.kernel
        kernel.assign(kernel * (_PREDICTION / ops.sqrt(ops.mean(ops.square(linear)))))
        return call(inputs, *args, **kwargs)

    return scaled_call
