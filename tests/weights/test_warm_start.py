import itertools

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.data import AugmentationOptions, Preprocessing, open_dataset, training_batches
from condconv_keras.layers import with_routing
from condconv_keras.models import build_model
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.skipped_layers import layers_to_skip
from condconv_keras.weights.warm_start import warm_start
from tests.models.randomize import images, randomize
from tests.seeds import set_seed

# The families, as small as each allows.
FAMILIES = {
    "mobilenet_v1": {"width_multiplier": 0.25},
    "mobilenet_v2": {"width_multiplier": 0.35},
    "mnasnet_a1": {"width_multiplier": 0.35},
    "resnet50": {},
    "efficientnet_b0": {},
    "efficientnet_b0_depth": {},
    "efficientnet_lite0": {},
}
EXPERTS = {"plain": {}, "twin": {"num_experts": 4}}
CLASSIFIER = ("classifier", "classifier_routing")


def plain_model(name="mobilenet_v1", **kwargs):
    """A plain model with weights as of a trained one."""
    set_seed(0)
    model = build_model(name, **{"input_shape": (64, 64, 3), "classes": 7, **FAMILIES[name], **kwargs})
    randomize(model)
    return model


def twin_model(name="mobilenet_v1", **kwargs):
    set_seed(1)
    arguments = {"input_shape": (64, 64, 3), "classes": 7, "num_experts": 4, **FAMILIES[name], **kwargs}
    return build_model(f"condconv_{name}", **arguments)


def detector(name, **kwargs):
    set_seed(2)
    return build_model(name, **{"input_shape": (96, 96, 3), "classes": 5, "width_multiplier": 0.25, **kwargs})


def weights_of(model):
    return {weight.path: np.array(weight) for weight in model.weights}


def assert_same_function(twin, plain, size=64, channels=3):
    x = images(size, channels)
    expected = np.array(plain(x))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(np.array(twin(x)), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def conditional_layers(model):
    return [layer for layer in model.layers if isinstance(layer, CondConv2D | DepthwiseCondConv2D)]


def spread(layer):
    """The mean distance of a layer's experts from their mean."""
    bank = np.array(layer.bank, np.float64)
    return np.linalg.norm(bank - bank.mean(axis=0), axis=1).mean()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n != "mobilenet_v2" else n for n in FAMILIES]
)
def test_the_twin_starts_with_the_function_of_its_plain_model(name):
    plain, twin = plain_model(name), twin_model(name, num_experts=2)
    x = images(64, batch=8)
    warm_start(twin, plain, x)
    assert_same_function(twin, plain)
    routers = [layer.output for layer in twin.layers if isinstance(layer, Routing)]
    for weights in keras.Model(twin.input, routers)(x):
        logits = np.log(weights / (1 - weights))
        np.testing.assert_allclose(logits.mean(axis=0), 0, atol=0.02)
        np.testing.assert_allclose(logits.std(axis=0), 1, atol=0.02)


@pytest.mark.parametrize("num_experts", [1, 5])
def test_experts_and_routers(num_experts):
    plain = plain_model()
    twin = twin_model(num_experts=num_experts)
    before = weights_of(twin)
    warm_start(twin, plain)
    source, target = weights_of(plain), weights_of(twin)
    assert_same_function(twin, plain)
    half = num_experts // 2
    for path, value in target.items():
        layer, variable = path.split("/")
        if variable in ("condconv_kernel", "depthwise_condconv_kernel", "condconv_bias"):
            expected = source[f"{layer}/{'bias' if variable == 'condconv_bias' else 'kernel'}"].ravel()
            assert value.shape == (num_experts, expected.size)
            for expert in value:
                np.testing.assert_allclose(expert, 2 / num_experts * expected, rtol=1e-6)
        elif layer.endswith("_routing"):
            np.testing.assert_array_equal(value[..., :half], before[path][..., :half])
            np.testing.assert_array_equal(value[..., half : 2 * half], -before[path][..., :half])
            np.testing.assert_array_equal(value[..., 2 * half :], 0)
        else:
            np.testing.assert_array_equal(value, source[path])


def test_the_settings_of_imported_weights_are_part_of_the_function():
    settings = {"padding": "symmetric", "bn_epsilon": 1e-5}
    plain = plain_model(**settings)
    twin = twin_model(**settings)
    warm_start(twin, plain)
    assert_same_function(twin, plain)


@pytest.mark.parametrize(
    ("arguments", "contains"),
    [
        ({"bn_epsilon": 1e-5}, ["epsilon is 1e-05, not 0.001", "stem_bn and 26 more layers"]),
        ({"padding": "symmetric"}, ["padding is 'valid', not 'same'", "stem"]),
        ({"width_multiplier": 0.5}, ["'stem/kernel'", "(3, 3, 3, 8)", "(3, 3, 3, 16)", "more"]),
        ({"classes": 6}, ["classifier/condconv_kernel", "(1, 1, 256, 7)"]),
        ({"include_top": False}, ["left over 'classifier/kernel'"]),
    ],
)
def test_what_differs_is_named_and_nothing_is_changed(arguments, contains):
    twin = twin_model(**arguments)
    before = weights_of(twin)
    with pytest.raises(UserError) as error:
        warm_start(twin, plain_model())
    assert "\n" not in str(error.value)
    for text in ["'mobilenet_v1'", "'condconv_mobilenet_v1'", *contains]:
        assert text in str(error.value)
    for path, value in weights_of(twin).items():
        np.testing.assert_array_equal(value, before[path])


def test_another_network_is_refused():
    with pytest.raises(UserError, match="'mobilenet_v1'"):
        warm_start(twin_model("mobilenet_v2"), plain_model())


def test_a_plain_model_is_not_started_from_a_twin():
    with pytest.raises(UserError, match="missing 'block_6_depthwise/kernel'"):
        warm_start(plain_model(), twin_model())


def test_twin_to_twin_copies_and_the_experts_must_be_as_many():
    source, twin = twin_model(), twin_model()
    randomize(source)
    randomize(twin, seed=5)
    warm_start(twin, source)
    expected = weights_of(source)
    for path, value in weights_of(twin).items():
        np.testing.assert_array_equal(value, expected[path])
    with pytest.raises(UserError, match=r"\(4, \d+\).*\(2, \d+\)"):
        warm_start(twin_model(num_experts=2), source)
    # A plain layer among routers that have learned would need its experts to fit their routing weights.
    with pytest.raises(UserError, match="missing 'block_6_depthwise/depthwise_condconv_kernel'"):
        warm_start(twin, twin_model(start_block=7))


def test_layers_to_skip_keep_their_weights():
    plain, twin = plain_model(), twin_model(classes=3, start_block=13)
    before = weights_of(twin)
    warm_start(twin, plain, images(64), skip_layers=CLASSIFIER)
    after = weights_of(twin)
    for path in before:
        if path.startswith("classifier"):
            np.testing.assert_array_equal(after[path], before[path])
    features = (keras.Model(m.input, m.get_layer("global_pool").output) for m in (twin, plain))
    assert_same_function(*features)
    headless = twin_model(include_top=False, pooling="avg")
    warm_start(headless, plain, skip_layers=CLASSIFIER)


@pytest.mark.parametrize("source", ["plain", "twin"])
def test_a_detector_starts_with_the_features_of_its_backbone(source):
    """A classifier of other classes gives its blocks; all else keeps its weights, routers included."""
    backbone = plain_model() if source == "plain" else twin_model()
    randomize(backbone)
    model = detector("condconv_ssd300_mobilenet_v1", num_experts=4)
    before = weights_of(model)
    warm_start(model, backbone, images(96, batch=8), skip_layers=layers_to_skip(model, backbone))
    after = weights_of(model)
    for path in before:
        if path.startswith(("extra_", "box_head_", "class_head_")):
            np.testing.assert_array_equal(after[path], before[path])
    larger = build_model(backbone.name, input_shape=(96, 96, 3), classes=7, width_multiplier=0.25, **EXPERTS[source])
    larger.set_weights(backbone.get_weights())
    for endpoint in ("stride_16", "stride_32"):
        assert_same_function(*(keras.Model(m.input, m.get_layer(endpoint).output) for m in (model, larger)), size=96)


@pytest.mark.parametrize("classes", [5, 6])
def test_a_detector_starts_from_its_plain_one(classes):
    """Class predictors of other classes start anew, boxes are predicted as before."""
    plain = detector("ssd300_mobilenet_v1")
    randomize(plain)
    twin = detector("condconv_ssd300_mobilenet_v1", num_experts=4, classes=classes, condconv_predictors=True)
    before = weights_of(twin)
    warm_start(twin, plain, images(96), skip_layers=layers_to_skip(twin, plain))
    for output in ("box_codes", "class_logits") if classes == 5 else ("box_codes",):
        assert_same_function(*(keras.Model(m.input, m.output[output]) for m in (twin, plain)), size=96)
    after = weights_of(twin)
    changed = [
        number
        for number in range(1, 7)
        if not np.array_equal(*(w[f"class_head_{number}/condconv_kernel"] for w in (before, after)))
    ]
    assert changed == ([] if classes == 6 else list(range(1, 7)))


def test_another_network_is_no_backbone():
    model, other = detector("ssd300_mobilenet_v1"), plain_model("mobilenet_v2")
    with pytest.raises(UserError, match="compute another function than the model 'mobilenet_v2'"):
        warm_start(model, other, skip_layers=layers_to_skip(model, other))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_experts_grow_apart_in_training(name):
    dataset = open_dataset("digits", None, 0.2, False)
    preprocessing = Preprocessing(input_size=(64, 64), channels=1, mean=127.5, std=127.5)
    batches = iter(training_batches(dataset, dataset.train_split, preprocessing, 32, AugmentationOptions("pad_crop")))
    arguments = {"input_shape": (64, 64, 1), "classes": 10, "bn_momentum": 0.9, **FAMILIES[name]}
    plain = build_model(name, **arguments)
    train(plain, batches, steps=20)
    # Few CondConv blocks, for the time that tracing takes.
    placement = {"start_block": 10} if name == "mobilenet_v1" else {}
    twin = twin_model(name, **arguments, **placement)
    warm_start(twin, plain, next(batches)[0])
    experts = conditional_layers(twin)
    assert len(experts) >= 9
    assert all(spread(layer) < 1e-6 * np.linalg.norm(layer.bank) for layer in experts)
    losses = train(twin, batches, steps=50)
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10]), losses
    for layer in experts:
        assert spread(layer) > 1e-4 * np.linalg.norm(layer.bank), layer.name


def train(model, batches, steps):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.005, momentum=0.9, nesterov=True), loss, jit_compile=False)
    return [float(model.train_on_batch(*batch)) for batch in itertools.islice(batches, steps)]


def test_layers_with_routers_of_their_own():
    """A network that a user builds from the layers, without the zoo."""

    def network(conv, depthwise):
        inputs = keras.Input((None, None, 4))
        x = conv(6, 3, strides=2, padding="same", activation="relu", bias_initializer="ones", name="conv")(inputs)
        return keras.Model(inputs, depthwise(3, use_bias=False, name="depthwise")(x))

    plain = network(keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    twin = network(
        lambda *args, **kwargs: CondConv2D(*args, num_experts=4, **kwargs),
        lambda *args, **kwargs: DepthwiseCondConv2D(*args, num_experts=6, **kwargs),
    )
    randomize(plain)
    warm_start(twin, plain, images(11, channels=4))
    assert_same_function(twin, plain, size=11, channels=4)


def test_a_kernel_of_another_shape_and_as_many_values_is_refused():
    inputs, others = keras.Input((8, 8, 4)), keras.Input((8, 8, 6))
    twin = keras.Model(inputs, CondConv2D(6, 1, 2, use_bias=False, name="conv")(inputs))
    plain = keras.Model(others, keras.layers.Conv2D(4, 1, use_bias=False, name="conv")(others))
    with pytest.raises(UserError, match=r"'conv/kernel' .* \(1, 1, 6, 4\)"):
        warm_start(twin, plain)


@pytest.mark.parametrize(("routing_per", "num_experts"), [("block", 3), ("layer", 1), ("network", 4)])
def test_a_twin_with_a_softmax_starts_with_the_function_of_its_plain_model(routing_per, num_experts):
    plain = plain_model()
    twin = twin_model(
        routing_activation="softmax", routing_per=routing_per, num_experts=num_experts, condconv_classifier=True
    )
    before = weights_of(twin)
    warm_start(twin, plain)
    assert_same_function(twin, plain)
    source, target = weights_of(plain), weights_of(twin)
    for path, value in target.items():
        layer, variable = path.split("/")
        if variable.endswith("condconv_kernel"):
            np.testing.assert_array_equal(value, np.tile(source[f"{layer}/kernel"].reshape(1, -1), (num_experts, 1)))
        elif layer.endswith("_routing"):
            np.testing.assert_array_equal(value, before[path])
    warm_start(twin, plain, images(64, batch=8))
    assert_same_function(twin, plain)
    if num_experts > 1:
        scaled = {path: value for path, value in weights_of(twin).items() if path.endswith("_routing/kernel")}
        assert all(np.abs(value - before[path]).max() > 0 for path, value in scaled.items())


@pytest.mark.parametrize(
    ("route", "received"),
    [
        (Routing(2, activation="relu"), "'relu'"),
        (
            lambda x: keras.layers.Dense(2, name="own")(keras.layers.Flatten()(x)),
            "layer 'conv' with 'own'",
        ),
    ],
)
def test_routing_weights_of_an_unknown_sum_are_refused(route, received):
    inputs = keras.Input((8, 8, 4))
    twin = keras.Model(inputs, CondConv2D(6, 1, 2, name="conv")(inputs, route(inputs)))
    plain = keras.Model(inputs, keras.layers.Conv2D(6, 1, name="conv")(inputs))
    before = weights_of(twin)
    with pytest.raises(UserError, match="the sigmoid or the softmax of a Routing layer") as refusal:
        warm_start(twin, plain)
    assert received in str(refusal.value)
    assert all(np.array_equal(value, before[path]) for path, value in weights_of(twin).items())


@pytest.mark.parametrize("scale", [0, -1.0, float("nan")])
def test_routers_of_equal_weights_would_keep_equal_experts_equal(scale):
    twin = twin_model()
    before = weights_of(twin)
    with pytest.raises(UserError, match="positive number in `router_scale`"):
        warm_start(twin, plain_model(), images(64), router_scale=scale)
    assert all(np.array_equal(value, before[path]) for path, value in weights_of(twin).items())


OPTIONS = {"temperature": 2.0, "normalize_inputs": True, "expert_dropout": 0.5}


@pytest.mark.parametrize("anchored", [False, True])
def test_routers_with_options_of_training_start_with_the_function_of_the_plain_model(anchored):
    plain = plain_model()
    twin = with_routing(twin_model(), **OPTIONS, anchored=anchored)
    x = images(64, batch=8)
    warm_start(twin, plain, x, router_scale=0.5)
    assert_same_function(twin, plain)
    bank = np.array(twin.get_layer("block_12_pointwise").bank)
    assert bank[1].any() != anchored
    routers = [layer for layer in twin.layers if isinstance(layer, Routing)]
    outputs = keras.Model(twin.input, [layer.output for layer in routers])(x)
    for router, weights in zip(routers, outputs, strict=True):
        weights = np.array(weights)[:, int(anchored) :]
        # Before the temperature of 2.
        np.testing.assert_allclose(np.log(weights / (1 - weights)).std(axis=0), 0.25, atol=0.01)
        assert float(router.inverse_temperature) == 0.5


def test_a_twin_whose_routers_are_normalized_goes_on_with_the_function_of_a_twin():
    source = twin_model()
    randomize(source)
    twin = with_routing(twin_model(), **OPTIONS)
    warm_start(twin, source, images(64, batch=8))
    for layer in twin.layers:
        if isinstance(layer, Routing):
            layer.inverse_temperature.assign(1.0)
    assert_same_function(twin, source)


def test_a_source_with_options_of_training_is_taken_as_it_computes():
    source = with_routing(twin_model(), **OPTIONS, anchored=True)
    randomize(source)
    twin = twin_model()
    warm_start(twin, source)
    assert_same_function(twin, source)
    # It pins its first expert, as this one does.
    pinned = with_routing(twin_model(), anchored=True)
    warm_start(pinned, source)
    assert_same_function(pinned, source)


def test_experts_of_other_weights_are_not_anchored():
    source = twin_model()
    twin = with_routing(twin_model(), anchored=True)
    before = weights_of(twin)
    with pytest.raises(UserError, match="an anchored expert starts from a plain network or from an anchored expert"):
        warm_start(twin, source)
    for path, value in weights_of(twin).items():
        np.testing.assert_array_equal(value, before[path])
