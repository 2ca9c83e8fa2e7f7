import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.facts.anchors import SSD_MOBILENET_V1
from condconv_keras.layers import BatchNormalization
from condconv_keras.pretrained import create_model
from condconv_keras.profiling import profile
from tests.models.randomize import images, randomize
from tests.seeds import set_seed

PLAIN, TWIN = "ssd300_mobilenet_v1", "condconv_ssd300_mobilenet_v1"
EXTRAS = [f"extra_{stage}{layer}" for stage in range(1, 5) for layer in ("_project", "")]
HEADS = [f"{head}_head_{number}" for number in range(1, 7) for head in ("box", "class")]


def tiny(name=TWIN, **kwargs):
    twin = {"num_experts": 2} if name == TWIN else {}
    return create_model(name, **{"input_shape": (96, 96, 3), "width_multiplier": 0.25, "classes": 5, **twin, **kwargs})


def numpy_outputs(model, x):
    return {name: np.asarray(value) for name, value in model(x).items()}


def assert_same_outputs(actual, expected, tolerance=1e-4):
    assert actual.keys() == expected.keys() == {"box_codes", "class_logits"}
    for name, value in expected.items():
        assert np.ptp(value) > 0.1
        np.testing.assert_allclose(actual[name], value, atol=tolerance * np.abs(value).max())


# Millions of multiply-adds at 300x300, 90 classes and 8 experts: the paper's figure, and our count by hand.
@pytest.mark.parametrize(
    ("name", "width", "paper", "millions"),
    [
        pytest.param(PLAIN, 0.5, 352, 352.15, marks=pytest.mark.slow),
        (PLAIN, 0.75, 730, 728.04),
        pytest.param(PLAIN, 1.0, 1230, 1237.13, marks=pytest.mark.slow),
        (TWIN, 0.5, 363, 362.8),
        pytest.param(TWIN, 0.75, 755, 751.9, marks=pytest.mark.slow),
        pytest.param(TWIN, 1.0, 1280, 1279.4, marks=pytest.mark.slow),
    ],
)
def test_multiply_adds_are_those_of_the_paper(name, width, paper, millions, zeros):
    counted = profile(create_model(name, width_multiplier=width)).multiply_adds / 1e6
    assert abs(counted / paper - 1) < 0.01
    assert counted == pytest.approx(millions, abs=0.06)


def test_convolutions_agree_with_the_profiler_of_tensorflow():
    import tensorflow as tf

    model = tiny(PLAIN)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, 96, 96, 3))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options = {**options, "output": "none", "account_type_regexes": ["Conv2D", "DepthwiseConv2dNative"]}
    counted = tf.compat.v1.profiler.profile(graph, cmd="op", options=options).total_float_ops
    assert profile(model).convolution == counted / 2


@pytest.mark.parametrize(
    ("size", "anchors"), [((96, 96), 204), ((128, 97), 306), ((300, 300), 1917), ((320, 320), 2034)]
)
@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_a_prediction_for_every_anchor(size, anchors, padding, zeros):
    model = tiny(PLAIN, input_shape=(*size, 3), padding=padding)
    shapes = {name: output.shape for name, output in model.output.items()}
    assert shapes == {"box_codes": (None, anchors, 4), "class_logits": (None, anchors, 6)}
    assert len(SSD_MOBILENET_V1.boxes(size)) == anchors
    maps = [model.get_layer(f"box_head_{number}").input.shape[1:3] for number in range(1, 7)]
    assert maps == SSD_MOBILENET_V1.map_sizes(size)


@pytest.mark.parametrize("condconv_predictors", [False, True])
def test_rows_are_in_the_order_of_the_anchors(condconv_predictors):
    """Map by map, row by row, the anchors of a location one after the other: each from its own part of the kernel."""
    model = tiny(input_shape=(112, 96, 3), condconv_predictors=condconv_predictors)
    randomize(model)
    tensors = {}
    for name in HEADS:
        inputs = model.get_layer(name).input
        tensors |= {f"{name}/{i}": tensor for i, tensor in enumerate(inputs if condconv_predictors else [inputs])}
    tensors = keras.Model(model.input, tensors)(images(112)[:, :, :96])
    actual = numpy_outputs(model, images(112)[:, :, :96])
    for output, head, size in (("box_codes", "box_head", 4), ("class_logits", "class_head", 6)):
        row = 0
        for number, anchors in enumerate(SSD_MOBILENET_V1.per_location, start=1):
            name = f"{head}_{number}"
            x, layer = np.asarray(tensors[f"{name}/0"]), model.get_layer(name)
            kernel, bias = (np.asarray(weight) for weight in layer.get_weights())
            routing = np.asarray(tensors[f"{name}/1"]) if condconv_predictors else np.ones((2, 1), "float32")
            kernel = kernel.reshape(-1, x.shape[-1], anchors, size)
            bias = bias.reshape(-1, anchors, size)
            for y in range(x.shape[1]):
                for column in range(x.shape[2]):
                    for anchor in range(anchors):
                        mixed = np.einsum("bn,ncs->bcs", routing, kernel[:, :, anchor])
                        expected = np.einsum("bc,bcs->bs", x[:, y, column], mixed) + routing @ bias[:, anchor]
                        np.testing.assert_allclose(actual[output][:, row], expected, rtol=1e-3, atol=1e-3)
                        row += 1
        assert row == actual[output].shape[1]


@pytest.fixture(scope="module")
def plain():
    """Layer types of the plain network by name."""
    return {layer.name: type(layer) for layer in tiny(PLAIN).layers}


@pytest.mark.parametrize("condconv_predictors", [False, True])
@pytest.mark.parametrize("start_block", [1, 6, 14])
def test_placement_makes_exactly_the_named_layers_conditional(start_block, condconv_predictors, plain, zeros):
    twin = {
        layer.name: type(layer)
        for layer in tiny(start_block=start_block, condconv_predictors=condconv_predictors).layers
    }
    blocks = range(start_block, 14)
    expected = {f"block_{block}_depthwise": DepthwiseCondConv2D for block in blocks}
    conditional = [f"block_{block}_pointwise" for block in blocks] + EXTRAS + HEADS * condconv_predictors
    expected |= dict.fromkeys(conditional, CondConv2D)
    expected |= {name: BatchNormalization for name in plain if name.endswith("_bn")}
    assert {name: kind for name, kind in twin.items() if name in plain and kind is not plain[name]} == expected
    routers = {f"block_{block}_routing" for block in blocks} | {f"extra_{stage}_routing" for stage in range(1, 5)}
    routers |= {f"heads_{number}_routing" for number in range(1, 7)} if condconv_predictors else set()
    assert {name for name, kind in twin.items() if kind is Routing} == set(twin) - set(plain) == routers


def test_routers_see_what_their_layers_do():
    model = tiny(condconv_predictors=True)
    sources = {f"extra_{i}_routing": f"extra_{i - 1}_activation" for i in range(2, 5)}
    sources |= {f"heads_{i + 2}_routing": f"extra_{i}_activation" for i in range(1, 5)}
    sources |= {"extra_1_routing": "stride_32", "heads_2_routing": "stride_32", "heads_1_routing": "stride_16"}
    for router, source in sources.items():
        assert model.get_layer(router).input is model.get_layer(source).output
    for layer in EXTRAS + HEADS:
        router = f"heads_{layer[-1]}_routing" if layer in HEADS else f"{layer.removesuffix('_project')}_routing"
        assert model.get_layer(layer).input[1] is model.get_layer(router).output


@pytest.mark.parametrize("condconv_predictors", [pytest.param(False, marks=pytest.mark.slow), True])
def test_twin_of_equal_experts_equals_the_plain_network(condconv_predictors):
    plain, twin = tiny(PLAIN), tiny(num_experts=4, condconv_predictors=condconv_predictors)
    randomize(plain)
    for layer in plain.layers:
        target = twin.get_layer(layer.name)
        if isinstance(target, type(layer)):
            target.set_weights(layer.get_weights())
        else:
            # Routers at zero weigh every expert by 1/2.
            target.set_weights([np.tile(weight.reshape(1, -1) / 2, (4, 1)) for weight in layer.get_weights()])
    for layer in twin.layers:
        if isinstance(layer, Routing):
            layer.set_weights([np.zeros(weight.shape, "float32") for weight in layer.get_weights()])
    assert_same_outputs(numpy_outputs(twin, images(96)), numpy_outputs(plain, images(96)))


def test_a_training_step_changes_every_trainable_variable():
    model = tiny(condconv_predictors=True)
    loss = dict.fromkeys(("box_codes", "class_logits"), keras.losses.MeanSquaredError())
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=True)  # one step: tracing takes longer
    before = {variable.path: np.array(variable) for variable in model.trainable_variables}
    rng = np.random.default_rng(0)
    targets = {name: rng.normal(size=(8, *output.shape[1:])) for name, output in model.output.items()}
    model.train_on_batch(images(96, batch=8), targets)
    unchanged = [v.path for v in model.trainable_variables if np.array_equal(before[v.path], v)]
    assert unchanged == []
    assert all(np.isfinite(v).all() for v in model.variables)


def test_keras_file_round_trip(tmp_path):
    model = tiny(condconv_predictors=True)
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_outputs(numpy_outputs(loaded, images(96)), numpy_outputs(model, images(96)), tolerance=1e-6)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        pytest.param("mobilenet_v1", PLAIN, marks=pytest.mark.slow),
        ("mobilenet_v1", TWIN),
        ("condconv_mobilenet_v1", TWIN),
    ],
)
def test_starts_from_the_file_of_its_backbone(source, name, tmp_path):
    experts = {"num_experts": 2} if source.startswith("condconv") else {}
    settings = {"width_multiplier": 0.25, "padding": "symmetric", "bn_epsilon": 1e-5}
    trained = create_model(source, input_shape=(64, 64, 3), classes=7, **settings, **experts)
    randomize(trained)
    trained.save(tmp_path / "trained.keras")
    model = tiny(name, weights=tmp_path / "trained.keras")
    trained = create_model(
        source, input_shape=(96, 96, 3), classes=7, **settings, **experts, weights=tmp_path / "trained.keras"
    )
    for stride in (16, 32):
        probes = (keras.Model(m.input, m.get_layer(f"stride_{stride}").output) for m in (model, trained))
        actual, expected = (np.asarray(probe(images(96))) for probe in probes)
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(model.get_layer("class_head_1").bias), -4.6, rtol=1e-6)


def test_outputs_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("box_head_1").output.dtype == "bfloat16"
    assert {output.dtype for output in model.output.values()} == {"float32"}


def test_channels_first_computes_what_channels_last_does():
    arguments = {"padding": "symmetric", "condconv_predictors": True}
    last = tiny(**arguments)
    randomize(last)
    keras.config.set_image_data_format("channels_first")
    try:
        first = tiny(**arguments, input_shape=(3, 96, 96))
        first.set_weights(last.get_weights())
        actual = numpy_outputs(first, np.transpose(images(96), (0, 3, 1, 2)))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert_same_outputs(actual, numpy_outputs(last, images(96)))


@pytest.mark.parametrize("width", [0.1, 0.75])
def test_width_scales_every_channel_count(width):
    model = tiny(PLAIN, width_multiplier=width)
    counts = [256, 512, 128, 256, 128, 256, 64, 128]
    assert [model.get_layer(name).filters for name in EXTRAS] == [max(int(count * width), 16) for count in counts]
    assert model.get_layer("stem").filters == max(int(32 * width), 8)


def test_initial_values():
    set_seed(0)
    model = create_model(TWIN, width_multiplier=0.5, num_experts=3, classes=20, condconv_predictors=True)
    extra = np.asarray(model.get_layer("extra_1").condconv_kernel)
    # A normal distribution that is cut at two deviations has 0.88 of its deviation left.
    np.testing.assert_allclose(extra.std(), 0.88 * 0.03, rtol=0.01)
    assert 0.059 < np.abs(extra).max() <= 0.06
    assert model.get_layer("stem_bn").momentum == model.get_layer("extra_4_bn").momentum == 0.97
    assert model.get_layer("stem_bn").epsilon == model.get_layer("extra_4_bn").epsilon == 1e-3
    # Mixed with the routing weights 1/2 of the start, predictors are normal(0, 0.01) with the bias of the class.
    for head, bias in (("box_head_2", 0), ("class_head_2", -4.6)):
        layer = model.get_layer(head)
        np.testing.assert_allclose((np.asarray(layer.condconv_kernel) / 2).sum(axis=0).std(), 0.01, rtol=0.03)
        np.testing.assert_allclose((np.asarray(layer.bias) / 2).sum(axis=0), bias, rtol=1e-5)
    plain = create_model(PLAIN, width_multiplier=0.5, classes=20)
    for head, bias in (("box_head_2", 0), ("class_head_2", -4.6)):
        kernel, biases = plain.get_layer(head).get_weights()
        np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.03)
        np.testing.assert_allclose(biases, bias, rtol=1e-5)


@pytest.mark.parametrize("side", [None, 95, 96.0])
def test_input_sizes_that_have_no_anchors(side):
    with pytest.raises(
        ValueError, match=r"\(height, width, channels\) with known .* at least 96. Received: input_shape="
    ):
        tiny(input_shape=(96, side, 3))


@pytest.mark.parametrize(
    ("name", "kwargs", "error", "message"),
    [
        (PLAIN, {"width_multiplier": 0}, ValueError, "`width_multiplier` must be positive. Received"),
        (PLAIN, {"include_top": False}, ValueError, "`include_top` must be True: .* has no classifier. Received: inc"),
        (PLAIN, {"pooling": "avg"}, ValueError, "`pooling` must be None: .* Received: pooling='avg'"),
        (PLAIN, {"dropout_rate": 0.1}, ValueError, "`dropout_rate` must be 0.0: .* Received: dropout_rate=0.1"),
        (PLAIN, {"classifier_activation": "softmax"}, ValueError, "`classifier_activation` must be None"),
        (PLAIN, {"condconv_predictors": True}, TypeError, "unexpected keyword argument 'condconv_predictors'"),
        (TWIN, {"start_block": 15}, ValueError, "`start_block` must be between 1 and 14"),
        (TWIN, {"condconv_classifier": True}, ValueError, "`condconv_classifier` must be False: .* has no such layer"),
        ("condconv_mobilenet_v1", {"condconv_predictors": True}, ValueError, "`condconv_predictors` must be False"),
    ],
)
def test_values_out_of_range(name, kwargs, error, message):
    with pytest.raises(error, match=message):
        create_model(name, **{"input_shape": (96, 96, 3), "width_multiplier": 0.25, **kwargs})
