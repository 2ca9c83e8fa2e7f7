"""The models that test_saving.py saves, and the process that loads them (`-m tests.layers.saved_models FOLDER`)."""

import sys
from pathlib import Path

import keras
import numpy as np

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.layers import BatchNormalization


def sequential():
    """Both layers with routers of their own."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            CondConv2D(6, 3, 4, strides=2, padding="same", activation="relu"),
            DepthwiseCondConv2D(3, 4, depth_multiplier=2, padding="same"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def functional():
    """Layers that get one routing as second input, positional and by name."""
    x = keras.Input((8, 8, 3))
    routing_weights = Routing(4, name="routing")(x)
    h = CondConv2D(6, 3, 4, padding="same", use_bias=False, name="first")(x, routing_weights)
    h = BatchNormalization()(h)
    h = DepthwiseCondConv2D(3, 4, name="second")(h, routing_weights=routing_weights)
    h = keras.layers.Flatten()(CondConv2D(2, 1, 4, name="third")(h, routing_weights))
    return keras.Model(x, keras.layers.Dense(2)(h))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A model class with one shared routing and one layer that routes itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.routing = Routing(3)
        self.shared = CondConv2D(5, 3, 3)
        self.own = DepthwiseCondConv2D(3, 2)

    def call(self, inputs):
        return self.own(self.shared(inputs, self.routing(inputs)))


MODELS = {"sequential": sequential, "functional": functional, "subclassed": Subclassed}


def images(batch=5):
    return np.random.default_rng(0).standard_normal((batch, 8, 8, 3)).astype("float32")


def randomize(model):
    """Moves every weight off its initial value."""
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.uniform(0.1, 0.3, w.shape).astype(w.dtype) for w in model.get_weights()])


def main(folder):
    models = {path.stem: keras.saving.load_model(path) for path in Path(folder).glob("*.keras")}
    outputs = {name: model.predict(images(), batch_size=2, verbose=0) for name, model in models.items()}
    np.savez(Path(folder) / "outputs.npz", **outputs)


if __name__ == "__main__":
    main(sys.argv[1])
