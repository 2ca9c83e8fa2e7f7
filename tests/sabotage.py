"""Ways to make a wrong file that both kinds of networks share."""

import keras
import tensorflow as tf

from condconv_keras.export.check.representative import check_images
from condconv_keras.export.tflite import mobile_layers
from condconv_keras.export.tflite.mobile_network import conditional_layers
from condconv_keras.utils.keras_graph import calls_of


def mix_kernels_of_first_image(model, card, photographs, monkeypatch):
    """Makes every later export use the kernels of the first of the photographs for all images."""
    first = card.preprocessing.scale_images(check_images(photographs, card.preprocessing)[:1])
    routing = {name: calls_of(layer)[0].inputs[1] for name, layer in conditional_layers(model).items()}
    routing = {name: weights.numpy() for name, weights in keras.Model(model.inputs, routing)(first).items()}
    right = mobile_layers.MobileCondConv.call

    def wrong(self, inputs, routing_weights):
        return right(self, inputs, tf.constant(routing[self.name]))

    monkeypatch.setattr(mobile_layers.MobileCondConv, "call", wrong)
