import keras
import numpy as np
import pytest

from condconv_keras.models import build_model


def tiny(name="condconv_mobilenet_v1", **kwargs):
    twin = {"num_experts": 2} if name.startswith("condconv") else {}
    return build_model(name, **{"input_shape": (64, 64, 3), "width_multiplier": 0.25, "classes": 5, **twin, **kwargs})


def images(batch=2):
    return np.random.default_rng(1).uniform(-1, 1, (batch, 64, 64, 3)).astype("float32")


def test_pooling_without_the_classifier():
    features = tiny(include_top=False)
    expected = np.asarray(features(images()))
    assert expected.shape == (2, 2, 2, 256)
    for pooling, reduce in [("avg", np.mean), ("max", np.max)]:
        model = tiny(include_top=False, pooling=pooling)
        model.set_weights(features.get_weights())
        np.testing.assert_allclose(model(images()), reduce(expected, axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_plain_classifier_is_the_affine_map_of_the_mean():
    model = tiny("mobilenet_v1")
    kernel, bias = model.get_layer("classifier").get_weights()
    bias = np.arange(5, dtype="float32")
    model.get_layer("classifier").set_weights([kernel, bias])
    features = keras.Model(model.input, model.get_layer("block_13_pointwise_activation").output)(images())
    expected = np.asarray(features).mean(axis=(1, 2)) @ kernel[0, 0] + bias
    np.testing.assert_allclose(model(images()), expected, rtol=1e-5, atol=1e-5)


def test_condconv_classifier_mixes_kernel_and_bias():
    model = tiny()
    rng = np.random.default_rng(0)
    bank = model.get_layer("classifier").get_weights()[0]
    bias = rng.normal(size=(2, 5)).astype("float32")
    model.get_layer("classifier").set_weights([bank, bias])
    outputs = [model.get_layer(name).output for name in ("block_13_pointwise_activation", "classifier_routing")]
    features, routing = (np.asarray(v) for v in keras.Model(model.input, outputs)(images()))
    kernels = np.einsum("bn,nco->bco", routing, bank.reshape(2, 256, 5))
    expected = np.einsum("bc,bco->bo", features.mean(axis=(1, 2)), kernels) + routing @ bias
    np.testing.assert_allclose(model(images()), expected, rtol=1e-4, atol=1e-5)


def test_classifier_activation():
    logits, softmax = tiny(), tiny(classifier_activation="softmax")
    softmax.set_weights(logits.get_weights())
    scores = np.exp(np.asarray(logits(images())))
    np.testing.assert_allclose(softmax(images()), scores / scores.sum(-1, keepdims=True), rtol=1e-5)


def test_dropout_drops_pooled_features_in_training_only():
    model = tiny(dropout_rate=0.5)
    names = ["global_pool", "dropout"]
    probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
    pooled, dropped = (np.asarray(v) for v in probe(images(), training=True))
    kept = (dropped != 0) & (pooled != 0)
    np.testing.assert_allclose(dropped[kept], 2 * pooled[kept], rtol=1e-5)
    assert 0.4 < kept.sum() / (pooled != 0).sum() < 0.6
    pooled, dropped = (np.asarray(v) for v in probe(images(), training=False))
    np.testing.assert_array_equal(pooled, dropped)


def test_logits_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("block_1_pointwise").output.dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"input_shape": (31, 32, 3)}, "height and width at least 32. Received: input_shape="),
        ({"input_shape": (32, 31, 3)}, "height and width at least 32. Received: input_shape="),
        ({"input_shape": (32, 32)}, "must be .height, width, channels. .* Received: input_shape="),
        ({"input_shape": (32, 32, 0)}, "Received: input_shape="),
        ({"input_shape": (32, 32, None)}, "Received: input_shape="),
        ({"input_shape": 32}, "Received: input_shape=32"),
        ({"pooling": "mean"}, "`pooling` must be one of .* Received: pooling='mean'"),
        ({"classes": 0}, "`classes` must be a positive integer. Received: classes=0"),
        ({"dropout_rate": 1.0}, "`dropout_rate` must be in .* Received: dropout_rate=1.0"),
        ({"dropout_rate": -0.1}, "`dropout_rate` must be in .* Received: dropout_rate=-0.1"),
    ],
)
def test_values_out_of_range(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tiny(**kwargs)
