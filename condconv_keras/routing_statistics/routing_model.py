"""The routing weights of a network as a function of images."""

import contextlib
import functools

from condconv_keras.utils.errors import UserError
from condconv_keras.utils.keras_graph import wrapped_call


class RoutingModel:
    """Computes what every router of a network returns, and nothing that no router needs.

    Routers are the `Routing` layers, wherever they are nested, and those inside CondConv layers that route themselves.
    One that is called several times counts as several.

    Args:
        model: any Keras model with CondConv layers.
        preprocessing: its `Preprocessing`.

    Attributes:
        layers: tuple of (name, number of experts) in the order in which the network computes them, input first. The
            name is that of the `Routing` layer, or of the CondConv layer that routes itself; where it was met before a
            number follows, as in `"routing_2"`.

    Raises:
        UserError: the model has no router.
    """

    def __init__(self, model, preprocessing):
        import tensorflow as tf

        routers = _named_routers(model)
        if not routers:
            raise UserError(f"expected a model with CondConv layers, {model.name!r} is a plain one: it routes nothing")
        layers = []

        def compute(images):
            with _recorded(routers) as calls:
                model(preprocessing.scale_images(images), training=False)
            layers[:] = [(name, int(weights.shape[-1])) for name, weights in calls]
            return [weights for _, weights in calls]

        # TensorFlow runs of a graph what its outputs need: here neither classifier nor detection heads.
        signature = [tf.TensorSpec((None, *preprocessing.input_shape), tf.float32)]
        self._compute = tf.function(compute, input_signature=signature, autograph=False).get_concrete_function()
        self.layers = tuple(zip(_unique([name for name, _ in layers]), [experts for _, experts in layers], strict=True))

    def __call__(self, images):
        """Computes the routing weights of images.

        Args:
            images: float32 [batch, height, width, channels] in 0..255, already resized to the model's input.

        Returns:
            List with a float NumPy array [batch, experts] for each of `layers`.
        """
        import tensorflow as tf

        return [weights.numpy() for weights in self._compute(tf.convert_to_tensor(images, tf.float32))]


def _named_routers(model):
    """List of (name, `Routing` layer)."""
    from condconv_keras.layers.base_cond_conv import BaseCondConv2D
    from condconv_keras.layers.routing import Routing

    # Keras has no public list of layers that reaches into layers which are not models.
    layers = list(model._flatten_layers())
    own = {
        id(layer.router): layer.name
        for layer in layers
        if isinstance(layer, BaseCondConv2D) and layer.router is not None
    }
    return [(own.get(id(layer), layer.name), layer) for layer in layers if isinstance(layer, Routing)]


@contextlib.contextmanager
def _recorded(routers):
    """While open, every call of a router appends its name and its weights to the list that is yielded."""
    calls = []
    with contextlib.ExitStack() as stack:
        for name, router in routers:
            stack.enter_context(wrapped_call(router, _recorder(name, calls)))
        yield calls


def _recorder(name, calls):
    def wrap(call):
        @functools.wraps(call)
        def recorded(*args, **kwargs):
            weights = call(*args, **kwargs)
            calls.append((name, weights))
            return weights

        return recorded

    return wrap


def _unique(names):
    """The names, each that was taken before with the first free number from 2 on."""
    taken = []
    for name in names:
        number, candidate = 1, name
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.append(candidate)
    return taken
