"""What holds for every registered classification model."""

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.models import build_model, list_models, model_entry
from condconv_keras.models.settings import weight_settings
from condconv_keras.profiling import profile
from tests.models.randomize import images, randomize

MODELS = list_models(task="classification")
TWINS = list_models("condconv_*", task="classification")
PLAIN = [name for name in MODELS if name not in TWINS]
CONDITIONAL = (CondConv2D, DepthwiseCondConv2D)


def small(name, **kwargs):
    """A registered model at a small input size, with few classes and experts."""
    twin = {"num_experts": 2} if name in TWINS else {}
    return build_model(name, **{"input_shape": (32, 32, 3), "classes": 5, **twin, **kwargs})


# The same layers as another of the family, other numbers.
VARIANTS = ("_lite0", "_lite1", "_lite2", "_depth", "_4e")


def quick(names, chosen):
    """The names as parameters: those that are not chosen are slow."""
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.slow) for name in names]


# One of each family. The layers of plain networks are all in their twin, too.
FAMILIES = [name for name in TWINS if not name.endswith(VARIANTS)]


@pytest.mark.parametrize("name", quick(MODELS, FAMILIES))
def test_trains_saves_and_loads(name, tmp_path):
    rate = {"stochastic_depth_rate": 0.1} if "stochastic_depth_rate" in model_entry(name).keywords else {}
    # Half the blocks, which are all alike but for their numbers, where a network's depth is an argument.
    depth = {"depth_multiplier": 0.5} if "depth_multiplier" in model_entry(name).keywords else {}
    model = small(name, dropout_rate=0.1, **rate, **depth)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # One step: tracing the graph would take ten times as long as the step.
    model.compile(keras.optimizers.SGD(1e-2), loss, run_eagerly=True)
    before = [np.array(variable) for variable in model.trainable_variables]
    history = model.fit(images(32, batch=4), np.arange(4), batch_size=4, epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    pairs = zip(model.trainable_variables, before, strict=True)
    # A block that stochastic depth dropped for all four images, and what only feeds it, has no gradient.
    unchanged = [variable.path for variable, value in pairs if np.array_equal(variable, value)]
    assert len(unchanged) < len(before) / 10, unchanged
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images(32)), model(images(32)), rtol=1e-4, atol=1e-4)


# Trainable parameters with 1000 classes, as timm counts them: mobilenetv1_100, mobilenetv2_100, semnasnet_100,
# resnet50, tf_efficientnet_b0, tf_efficientnet_lite0 to 2; of the CondConv models as released.
PARAMETERS = {
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mnasnet_a1": 3_887_038,
    "resnet50": 25_557_032,
    "efficientnet_b0": 5_288_548,
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "condconv_efficientnet_b0_4e": 13_314_116,
    "condconv_efficientnet_b0": 24_013_284,
    "condconv_efficientnet_b0_depth": 39_715_968,
}
# Multiply-adds in millions that the default placements have by hand.
MULTIPLY_ADDS = {
    "mobilenet_v2": 301.05,
    "condconv_mobilenet_v2": 328.8,
    "mnasnet_a1": 311.6,
    "condconv_mnasnet_a1": 324.3,
    "resnet50": 4092.8 + 2.048,  # the classifier is in
    "condconv_resnet50": 4212.3 + 2.048,
    "efficientnet_b0": 390.7,
    "condconv_efficientnet_b0": 412.1,
    "condconv_efficientnet_b0_4e": 401.4,
    "condconv_efficientnet_b0_depth": 613.8,
}


# Deeper EfficientNets are scaled alike.
@pytest.mark.parametrize("name", quick(MODELS, [n for n in MODELS if not n.endswith(("_lite1", "_lite2", "_depth"))]))
def test_size_and_cost(name, zeros):
    entry, model = model_entry(name), build_model(name)
    counts = profile(model)
    millions = (counts.multiply_adds + (counts.elementwise if entry.counts_elementwise else 0)) / 1e6
    for figures in entry.paper:
        assert abs(millions / figures.multiply_adds - 1) < 0.01
    if name in MULTIPLY_ADDS:
        assert millions == pytest.approx(MULTIPLY_ADDS[name], abs=0.06)
    if name in PARAMETERS:
        assert counts.trainable_parameters == PARAMETERS[name]
    if name in PLAIN:
        # TensorFlow counts a multiply-add as two operations.
        assert counts.convolution == _operations_by_tensorflow(model) / 2


def _operations_by_tensorflow(model):
    """What the profiler of TensorFlow counts of the convolutions and the classifier for one image."""
    import tensorflow as tf

    graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, *model.input.shape[1:]))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options = {**options, "output": "none", "account_type_regexes": ["Conv2D", "DepthwiseConv2dNative", "MatMul"]}
    return tf.compat.v1.profiler.profile(graph, cmd="op", options=options).total_float_ops


@pytest.mark.parametrize(
    ("name", "placement", "millions"),
    [
        ("condconv_mobilenet_v1", {"start_block": 7}, 600.3),
        ("condconv_mobilenet_v2", {"start_block": 12, "condconv_head": False}, 322.9),
        ("condconv_resnet50", {"condconv_shortcut": False, "condconv_classifier": True}, 4208.4),
    ],
)
def test_alternative_placements(name, placement, millions, zeros):
    assert profile(build_model(name, **placement)).multiply_adds / 1e6 == pytest.approx(millions, abs=0.06)


# Of the default placements, what has a router.
CONDITIONAL_BLOCKS = {
    "condconv_mobilenet_v2": [*(f"block_{i}" for i in range(2, 18)), "head", "classifier"],
    "condconv_mnasnet_a1": [f"block_{i}" for i in range(11, 17)],
    "condconv_resnet50": [f"block_{i}" for i in range(14, 17)],
    "condconv_efficientnet_b0": [f"block_{i}" for i in range(9, 17)],
    "condconv_efficientnet_b0_depth": [f"block_{i}" for i in range(13, 24)],
}


@pytest.mark.parametrize("name", quick(TWINS, [n for n in TWINS if not n.endswith(("_lite1", "_lite2", "_4e"))]))
def test_twin_has_the_layers_of_its_plain_model_and_routers(name, zeros):
    plain_name = name.removeprefix("condconv_").removesuffix("_4e")
    plain, twin = ({layer.name: layer for layer in small(n).layers} for n in (plain_name, name))
    assert set(plain) <= set(twin)
    assert all(isinstance(twin[name], Routing) for name in set(twin) - set(plain))
    different = {name for name, layer in plain.items() if not isinstance(twin[name], type(layer))}
    assert different
    assert all(isinstance(twin[name], CONDITIONAL) for name in different)
    # Every router feeds a CondConv layer, and every CondConv layer the router of its own block.
    for layer in different:
        router = layer.rsplit("_", 1)[0] if layer.startswith("block_") else layer
        assert twin[layer].input[1] is twin[f"{router}_routing"].output
    if name in CONDITIONAL_BLOCKS:
        routers = [layer.name for layer in twin.values() if isinstance(layer, Routing)]
        assert routers == [f"{block}_routing" for block in CONDITIONAL_BLOCKS[name]]
    # Squeeze and excitation stays plain.
    squeezes = [layer for name, layer in twin.items() if name.endswith(("se_reduce", "se_expand"))]
    assert all(type(layer) is keras.layers.Conv2D for layer in squeezes)
    if name == "condconv_efficientnet_b0":
        assert len(squeezes) == 32


def test_shortcut_of_resnet_is_conditional_only_when_asked(zeros):
    for asked, kind in ((True, CondConv2D), (False, keras.layers.Conv2D)):
        model = small("condconv_resnet50", condconv_shortcut=asked)
        assert type(model.get_layer("block_14_shortcut")) is kind


@pytest.mark.parametrize("name", quick(PLAIN, [n for n in PLAIN if not n.endswith(VARIANTS)]))
def test_endpoints_have_their_strides(name, zeros):
    height, width = 64, 72
    model = small(name, input_shape=(height, width, 3), include_top=False)
    for stride in (8, 16, 32):
        assert model.get_layer(f"stride_{stride}").output.shape[1:3] == (height // stride, -(-width // stride))
    assert model.output.shape[1:3] == (2, 3)


@pytest.mark.parametrize(
    "name",
    quick(["mobilenet_v1", "mobilenet_v2", "mnasnet_a1", "resnet50", "efficientnet_b0"], ["mobilenet_v1", "resnet50"]),
)
def test_symmetric_padding_shifts_what_same_padding_sees(name):
    """At stride 2 on an even size, SAME pads only the end: the grid starts half a stride later than symmetric's."""
    models = {padding: small(name, padding=padding, bn_epsilon=1e-5) for padding in ("same", "symmetric")}
    kernel = np.asarray(models["same"].get_layer("stem").kernel)
    models["symmetric"].set_weights(models["same"].get_weights())
    half, x = kernel.shape[0] // 2, images(32)
    for padding, before in (("same", (kernel.shape[0] - 2) // 2), ("symmetric", half)):
        probe = keras.Model(models[padding].input, models[padding].get_layer("stem").output)
        padded = np.pad(x, ((0, 0), (before, 8), (before, 8), (0, 0)))
        window = padded[:, 4 : 4 + kernel.shape[0], 6 : 6 + kernel.shape[1]]
        expected = np.einsum("bijc,ijco->bo", window, kernel)
        np.testing.assert_allclose(np.asarray(probe(x))[:, 2, 3], expected, rtol=1e-3, atol=1e-4)
        assert weight_settings(models[padding]) == {"padding": padding, "bn_epsilon": 1e-5}
    assert [layer.name for layer in models["same"].layers if layer.name.endswith("_pad")] == []


def test_stochastic_depth_drops_whole_blocks_by_depth():
    model = small("mobilenet_v2", stochastic_depth_rate=0.5)
    rates = {layer.name: layer.rate for layer in model.layers if layer.name.endswith("_drop")}
    # Blocks with a residual sum, counted from 1 of 17: the later, the more often dropped.
    assert rates == pytest.approx({f"block_{i}_drop": 0.5 * (i - 1) / 17 for i in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)})
    drop = model.get_layer("block_16_drop")
    dropped = np.asarray(drop(np.ones((400, 2, 2, 3), "float32"), training=True))
    kept = dropped[:, 0, 0, 0] != 0
    np.testing.assert_allclose(
        dropped, np.where(kept[:, None, None, None], 1 / (1 - drop.rate), 0) * np.ones((2, 2, 3))
    )
    assert abs((1 - kept.mean()) - drop.rate) < 0.08
    np.testing.assert_array_equal(drop(dropped, training=False), dropped)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        (
            "condconv_mobilenet_v1",
            {"condconv_head": True},
            "`condconv_head` must be False: condconv_mobilenet_v1 has no",
        ),
        ("condconv_mnasnet_a1", {"condconv_shortcut": True}, "`condconv_shortcut` must be False"),
        ("condconv_resnet50", {"start_stage": 6}, "`start_stage` must be between 1 and 5 for 4 stages. Received"),
        ("condconv_resnet50", {"start_block": 18}, "`start_block` must be between 1 and 17 for 16 blocks. Received"),
        ("condconv_resnet50", {"start_block": 2, "start_stage": 2}, "Exactly one of `start_block` and `start_stage`"),
        ("resnet50", {"padding": "valid"}, "`padding` must be one of .* Received: padding='valid'"),
        ("resnet50", {"bn_epsilon": 0}, "`bn_epsilon` must be positive. Received: bn_epsilon=0"),
        ("mobilenet_v2", {"stochastic_depth_rate": 1}, r"`stochastic_depth_rate` must be in \[0, 1\)"),
        ("efficientnet_b0", {"depth_multiplier": 0}, "`depth_multiplier` must be positive"),
        ("mnasnet_a1", {"width_multiplier": 0}, "`width_multiplier` must be positive"),
    ],
)
def test_values_out_of_range(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        small(name, **kwargs)


def test_numbers_of_numpy_are_taken():
    model = small("condconv_mobilenet_v1", classes=np.int64(3), num_experts=np.int32(2), start_block=np.int64(13))
    assert model.output.shape == (None, 3)
    assert model.get_layer("block_13_routing").output.shape == (None, 2)


def test_start_block_takes_the_place_of_the_registered_stage(zeros):
    model = small("condconv_efficientnet_b0", start_block=16)
    assert [layer.name for layer in model.layers if isinstance(layer, Routing)] == ["block_16_routing"]
    model = small("condconv_mobilenet_v1", start_stage=5, width_multiplier=0.25)
    routers = [layer.name for layer in model.layers if isinstance(layer, Routing)]
    assert routers == ["block_12_routing", "block_13_routing", "classifier_routing"]


@pytest.mark.parametrize(
    "name", quick([f"condconv_{n}" for n in ("mnasnet_a1", "mobilenet_v2", "resnet50")], ["condconv_mnasnet_a1"])
)
def test_channels_first_computes_what_channels_last_does(name):
    last = small(name, padding="symmetric")
    randomize(last)
    keras.config.set_image_data_format("channels_first")
    try:
        first = small(name, padding="symmetric", input_shape=(3, 32, 32))
        first.set_weights(last.get_weights())
        actual = first(np.transpose(images(32), (0, 3, 1, 2)))
    finally:
        keras.config.set_image_data_format("channels_last")
    expected = np.asarray(last(images(32)))
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
