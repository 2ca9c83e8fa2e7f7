"""The patches that TensorFlow gathers, against those of every backend: by a matrix product and by slices."""

import numpy as np
import pytest

from condconv_keras.layers.forms import portable
from tests.layers.backends import requires_tensorflow
from tests.layers.cases import CONV_CASES, Case, build_layer

CASES = [
    *(case for case in CONV_CASES if case.kernel != (1, 1) and case.data_format == "channels_last"),
    Case((3, 3), strides=(3, 2), size=(10, 11), padding="valid"),
    Case((2, 3), strides=(3, 3), size=(11, 9)),
    Case((3, 3), size=(1, 1)),
]


@requires_tensorflow
@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[-3]], ids=str)
def test_patches_of_unknown_size(case):
    import tensorflow as tf

    from condconv_keras.layers.forms import tensorflow_patches

    layer = build_layer(case)
    layer.build((None, None, None, case.channels))
    x = tf.random.stateless_normal((case.batch, *case.size, case.channels), (0, 1))
    gather = tf.function(
        lambda x: tensorflow_patches.gather_patches(x, layer.spec)[0],
        input_signature=[tf.TensorSpec((None, None, None, case.channels))],
    )
    np.testing.assert_array_equal(gather(x), portable.gather_patches(x, layer.spec)[0])


@requires_tensorflow
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("few_pixels", [0, 1000], ids=["slices", "product"])
def test_patches_and_their_gradients(monkeypatch, case, few_pixels):
    import tensorflow as tf

    from condconv_keras.layers.forms import tensorflow_patches

    monkeypatch.setattr(tensorflow_patches, "FEW_PIXELS", few_pixels)
    layer = build_layer(case)
    layer.build((None, *case.size, case.channels))
    x = tf.random.stateless_normal((case.batch, *case.size, case.channels), (0, 1))
    results = []
    for gather in (portable.gather_patches, tensorflow_patches.gather_patches):
        with tf.GradientTape() as second:
            second.watch(x)
            with tf.GradientTape() as first:
                first.watch(x)
                patches, size = gather(x, layer.spec)
                loss = tf.reduce_sum(patches**3)
            gradient = first.gradient(loss, x)
        results.append((patches, gradient, second.gradient(gradient, x)))
        assert tuple(size[1:]) == (*layer.spec.geometry.output_size(*case.size), layer.spec.filters)
    for expected, computed in zip(*results, strict=True):
        np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-5)
