"""The routing weights of a network as a function of images."""

from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

routers = LazyModule("condconv_keras.layers.routers")


class RoutingModel:
    """Computes what every router of a network returns, and nothing that no router needs.

    Routers are the `Routing` layers, wherever they are nested, and those inside CondConv layers that route themselves.
    One that is called several times counts as several.

    Args:
        model: any Keras model with CondConv layers.
        preprocessing: its `Preprocessing`.

    Attributes:
        layers: tuple of (name, number of experts) in the order in which the network computes them, input first. The
            name is as of `condconv_keras.layers.routers`; where it was met before a number follows, as in
            `"routing_2"`.

    Raises:
        UserError: the model has no router.
    """

    def __init__(self, model, preprocessing):
        if not routers.routers(model):
            raise UserError(f"expected a model with CondConv layers, {model.name!r} is a plain one: it routes nothing")
        layers = []

        def compute(images):
            with routers.recorded_routing(model) as calls:
                model(preprocessing.scale_images(images), training=False)
            layers[:] = [(name, int(weights.shape[-1])) for name, weights in calls]
            return [weights for _, weights in calls]

        # TensorFlow runs of a graph what its outputs need: here neither classifier nor detection heads.
        signature = [tf.TensorSpec((None, *preprocessing.input_shape), tf.float32)]
        self._compute = tf.function(compute, input_signature=signature, autograph=False).get_concrete_function()
        self.layers = tuple(layers)

    def __call__(self, images):
        """Computes the routing weights of images.

        Args:
            images: float32 [batch, height, width, channels] in 0..255, already resized to the model's input.

        Returns:
            List with a float NumPy array [batch, experts] for each of `layers`.
        """
        return [weights.numpy() for weights in self._compute(tf.convert_to_tensor(images, tf.float32))]
