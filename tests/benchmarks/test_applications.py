import numpy as np

from benchmarks.applications import APPLICATIONS, make_inputs, tensorflow_call
from condconv_keras import CondConv2D


def test_every_application_is_computed():
    layer = CondConv2D(3, 1, num_experts=2)
    shapes = [(2, 4, 4, 5), (2, 2)]
    layer.build(*shapes)
    inputs = make_inputs(shapes)
    assert len(inputs) == APPLICATIONS and not np.array_equal(inputs[0][0], inputs[1][0])
    for each, (outputs,) in zip(inputs, tensorflow_call(layer, inputs, training=False)(), strict=True):
        np.testing.assert_allclose(outputs, layer(*each), atol=1e-5)
    for (images, routing), gradients in zip(inputs, tensorflow_call(layer, inputs, training=True)(), strict=True):
        of_images, of_routing, of_bank, of_bias = (gradient.numpy() for gradient in gradients)
        assert of_images.shape == images.shape and of_routing.shape == routing.shape
        # Of the sum of the outputs: every pixel's input for every filter, and once for every pixel, by routing weight.
        sums = np.einsum("bn,bc->nc", routing, images.sum((1, 2)))
        np.testing.assert_allclose(of_bank.reshape(2, 5, 3), np.repeat(sums[..., None], 3, -1), rtol=1e-4)
        np.testing.assert_allclose(of_bias, np.repeat(16 * routing.sum(0)[:, None], 3, -1), rtol=1e-5)
