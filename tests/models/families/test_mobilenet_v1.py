import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D
from condconv_keras.layers import BatchNormalization
from condconv_keras.models import build_model
from condconv_keras.profiling import profile
from tests.models.randomize import images


def randomize(model, seed=0):
    """Sets every weight to random values, as of a trained model: no batch norm or bias keeps its start."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 2.5, weight.shape)
        elif name in ("beta", "moving_mean", "bias"):
            value = rng.normal(0, 0.3, weight.shape)
        else:
            value = np.asarray(weight) * 1.5
        weight.assign(value.astype("float32"))


def tiny(name="condconv_mobilenet_v1", **kwargs):
    twin = {"num_experts": 2} if name.startswith("condconv") else {}
    return build_model(name, **{"input_shape": (32, 32, 3), "width_multiplier": 0.25, "classes": 5, **twin, **kwargs})


@pytest.mark.parametrize(("size", "width"), [pytest.param(224, 1.0, marks=pytest.mark.slow), (160, 0.5)])
def test_plain_model_equals_keras_applications(size, width):
    reference = keras.applications.MobileNet(
        (size, size, 3), alpha=width, weights=None, classifier_activation=None, classes=1000
    )
    model = build_model("mobilenet_v1", input_shape=(size, size, 3), width_multiplier=width)
    # Our initial kernels keep the features strong enough to tell ReLU6 from ReLU.
    randomize(model)
    reference.set_weights(model.get_weights())
    expected = reference.predict(images(size), verbose=0)
    difference = np.abs(model.predict(images(size), verbose=0) - expected).max()
    assert difference < 1e-4 * np.abs(expected).max()


# Millions of multiply-adds at 224x224 by hand from the block table, CondConv in blocks 6 to 13 and the classifier.
EXPECTED_MILLIONS = {
    None: (41.0, 149.5, 325.4, 568.7),
    4: (42.9, 154.6, 335.4, 585.1),
    8: (44.7, 159.8, 345.4, 601.4),
    16: (48.3, 170.1, 365.4, 634.1),
    32: (55.6, 190.7, 405.3, 699.4),
}


@pytest.mark.parametrize(
    "num_experts", [pytest.param(n, marks=pytest.mark.slow) if n in (4, 16, 32) else n for n in EXPECTED_MILLIONS]
)
def test_multiply_adds_by_experts_and_width(num_experts, zeros):
    for width, expected in zip((0.25, 0.5, 0.75, 1.0), EXPECTED_MILLIONS[num_experts], strict=True):
        if num_experts is None:
            model = build_model("mobilenet_v1", width_multiplier=width)
        else:
            model = build_model("condconv_mobilenet_v1", width_multiplier=width, num_experts=num_experts)
        assert round(profile(model).multiply_adds / 1e6, 1) == expected


def test_size_and_cost_at_the_papers_setting(zeros):
    models = [build_model(name) for name in ("mobilenet_v1", "condconv_mobilenet_v1")]
    plain, twin = map(profile, models)
    norms = [[layer for layer in model.layers if layer.name.endswith("_bn")] for model in models]
    batch_norm, of_twin = (sum(layer.gamma.shape[0] + layer.beta.shape[0] for layer in layers) for layers in norms)
    assert 567e6 < plain.multiply_adds < 569e6
    assert 600e6 < twin.multiply_adds < 602e6
    assert plain.parameters == 4_253_864  # keras.applications.MobileNet
    assert round((plain.parameters - batch_norm) / 1e6, 1) == 4.2
    assert round((twin.parameters - batch_norm) / 1e6, 1) == 32.8
    assert batch_norm == of_twin


@pytest.fixture(scope="module")
def plain():
    """Layer types of the plain network by name."""
    return {layer.name: type(layer) for layer in tiny("mobilenet_v1").layers}


@pytest.mark.parametrize("start_block", [1, 6, 13, 14])
@pytest.mark.parametrize("condconv_classifier", [True, False])
def test_placement_makes_exactly_the_named_layers_conditional(start_block, condconv_classifier, plain, zeros):
    twin = tiny(start_block=start_block, condconv_classifier=condconv_classifier)
    names = {layer.name: type(layer) for layer in twin.layers}
    blocks = range(start_block, 14)
    expected = {f"block_{block}_depthwise": DepthwiseCondConv2D for block in blocks}
    expected |= {f"block_{block}_pointwise": CondConv2D for block in blocks}
    expected |= {"classifier": CondConv2D} if condconv_classifier else {}
    expected |= {name: BatchNormalization for name in plain if name.endswith("_bn")}
    assert {name: kind for name, kind in names.items() if name in plain and kind is not plain[name]} == expected
    routers = [f"block_{block}_routing" for block in blocks] + ["classifier_routing"] * condconv_classifier
    assert [layer.name for layer in twin.layers if layer.name not in plain] == routers
    assert set(plain) <= set(names)


def test_one_router_per_block_sees_the_blocks_input():
    model = tiny(num_experts=3)
    randomize(model)
    outputs = {layer.name: layer.output for layer in model.layers}
    values = keras.Model(model.input, outputs)(images(32))
    for router, source in [
        ("block_6_routing", "block_5_pointwise_activation"),
        ("block_13_routing", "block_12_pointwise_activation"),
        ("classifier_routing", "block_13_pointwise_activation"),
    ]:
        layer = model.get_layer(router)
        pooled = np.asarray(values[source]).mean(axis=(1, 2))
        expected = 1 / (1 + np.exp(-(pooled @ np.asarray(layer.kernel) + np.asarray(layer.bias))))
        np.testing.assert_allclose(values[router], expected, rtol=1e-4)
    for name in ("depthwise", "pointwise"):
        assert model.get_layer(f"block_6_{name}").input[1] is model.get_layer("block_6_routing").output


def test_twin_of_equal_experts_equals_the_plain_model():
    plain, twin = tiny("mobilenet_v1"), tiny(num_experts=4)
    randomize(plain)
    for layer in plain.layers:
        target = twin.get_layer(layer.name)
        if isinstance(target, type(layer)):
            target.set_weights(layer.get_weights())
        else:
            # Routers at zero weigh every expert by 1/2.
            target.set_weights([np.tile(weight.reshape(1, -1) / 2, (4, 1)) for weight in layer.get_weights()])
    for layer in twin.layers:
        if layer.name.endswith("_routing"):
            layer.set_weights([np.zeros(weight.shape, "float32") for weight in layer.get_weights()])
    expected = plain.predict(images(32), verbose=0)
    np.testing.assert_allclose(twin.predict(images(32), verbose=0), expected, atol=1e-4 * np.abs(expected).max())


def test_a_training_step_changes_every_trainable_variable():
    model = tiny(num_experts=2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)  # one step: tracing takes longer
    before = {variable.path: np.array(variable) for variable in model.trainable_variables}
    model.train_on_batch(images(32, batch=8), np.arange(8) % 5)
    unchanged = [v.path for v in model.trainable_variables if np.array_equal(before[v.path], v)]
    assert unchanged == []


# The layers of the plain network are in its twin.
@pytest.mark.parametrize("name", [pytest.param("mobilenet_v1", marks=pytest.mark.slow), "condconv_mobilenet_v1"])
@pytest.mark.parametrize(
    ("shape", "feature_shape"),
    [((32, 32, 1), (1, 1)), ((65, 96, 5), (3, 3)), ((None, None, 3), (None, None))],
)
def test_any_size_and_channels(name, shape, feature_shape):
    model = tiny(name, input_shape=shape, include_top=False)
    assert model.output.shape == (None, *feature_shape, 256)
    x = np.zeros((2, *(side or 64 for side in shape)), "float32")
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_unknown_size_computes_what_a_fixed_one_does():
    fixed, free = tiny(), tiny(input_shape=(None, None, 3))
    randomize(fixed)
    free.set_weights(fixed.get_weights())
    np.testing.assert_allclose(free(images(32)), fixed(images(32)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v1", "condconv_mobilenet_v1"])
def test_channels_first_computes_what_channels_last_does(name):
    last = tiny(name)
    randomize(last)
    keras.config.set_image_data_format("channels_first")
    try:
        first = tiny(name, input_shape=(3, 32, 32))
        first.set_weights(last.get_weights())
        actual = first(np.transpose(images(32), (0, 3, 1, 2)))
    finally:
        keras.config.set_image_data_format("channels_last")
    expected = np.asarray(last(images(32)))
    # The wide random weights multiply rounding; a wrong layout would be off by as much as the logits themselves.
    np.testing.assert_allclose(actual, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("width", [0.1, 0.3])
def test_width_scales_every_channel_count(width, zeros):
    model = tiny("mobilenet_v1", width_multiplier=width)
    counts = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    expected = [max(int(count * width), 8) for count in [32, *counts]]
    layers = ["stem", *(f"block_{i}_pointwise" for i in range(1, 14))]
    assert [model.get_layer(name).filters for name in layers] == expected


def test_keras_file_round_trip(tmp_path):
    model = tiny()
    randomize(model)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(images(32)), model(images(32)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"width_multiplier": 0}, "`width_multiplier` must be positive. Received: width_multiplier=0"),
        ({"width_multiplier": -1.0}, "`width_multiplier` must be positive. Received: width_multiplier=-1.0"),
        ({"start_block": 0}, "`start_block` must be a positive integer. Received: start_block=0"),
        ({"start_block": 15}, "`start_block` must be between 1 and 14 .* Received: start_block=15"),
        ({"num_experts": 0}, "`num_experts` must be a positive integer. Received: num_experts=0"),
        ({"num_experts": 2.5}, "`num_experts` must be a positive integer. Received: num_experts=2.5"),
    ],
)
def test_values_out_of_range(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tiny(**kwargs)
