"""The networks of the experiments, which are no part of the zoo and of the tests that go over its names."""

import pathlib

import keras
import numpy as np
import pytest

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing, card_of, create_model
from condconv_keras.models import list_models, model_entry
from condconv_keras.profiling import profile
from condconv_keras.utils.errors import UserError
from tests.models.randomize import randomize

ROOT = pathlib.Path(__file__).parents[3]

# Of 32x32 gray pixels and ten classes, by hand: kernels, gamma and beta, and the classifier with its bias.
#   separable: 72 and 2,112 weights of the stem and the blocks, 2 * 157, 270 + 10
#   residual: 72, 18,432 and 640 of the projections, 2 * 168, 320 + 10
# A twin has 8 of every kernel but those of the stem and the projections, and of the classifier's bias; its routers read
# 8 + 12 + 18 + 27 + 27 = 92 channels, and 8 + 8 + 16 + 32 = 64.
PARAMETERS = {
    "separable_cnn": 72 + 2112 + 314 + 280,
    "condconv_separable_cnn": 72 + 8 * 2112 + 314 + 8 * 280 + 8 * (92 + 5),
    "small_resnet": 72 + 18432 + 640 + 336 + 330,
    "condconv_small_resnet": 72 + 8 * 18432 + 640 + 336 + 8 * 330 + 8 * (64 + 4),
}
# Maps of 16x16, 8x8 and 4x4 pixels: a kernel's weights times the pixels that it makes. A twin mixes each of its kernels
# once an image, and its routers take as many again as they have weights.
SEPARABLE = 256 * (72 + 72 + 96) + 64 * (108 + 216 + 162 + 486) + 16 * (243 + 729) + 270
RESIDUAL = 256 * (72 + 2 * 576) + 64 * (128 + 1152 + 2304) + 16 * (512 + 4608 + 9216) + 320
MULTIPLY_ADDS = {
    "separable_cnn": SEPARABLE,
    "condconv_separable_cnn": SEPARABLE + 8 * (2112 + 270 + 92),
    "small_resnet": RESIDUAL,
    "condconv_small_resnet": RESIDUAL + 8 * (18432 + 320 + 64),
}
CONDITIONAL = {
    "condconv_separable_cnn": [f"block_{i}_{kind}" for i in range(1, 5) for kind in ("depthwise", "pointwise")],
    "condconv_small_resnet": [f"block_{i}_conv{j}" for i in range(1, 4) for j in (1, 2)],
}


def small(name, **arguments):
    return create_model(name, **{"input_shape": (32, 32, 1), "classes": 10, **arguments})


def conditional(model):
    return [layer.name for layer in model.layers if isinstance(layer, CondConv2D | DepthwiseCondConv2D)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_size_and_cost(name, zeros):
    counts = profile(small(name))
    assert (counts.trainable_parameters, counts.multiply_adds) == (PARAMETERS[name], MULTIPLY_ADDS[name])


@pytest.mark.parametrize("name", CONDITIONAL)
def test_placement(name, zeros):
    model = small(name)
    assert conditional(model) == [*CONDITIONAL[name], "classifier"]
    for layer in conditional(model):
        block = layer.rpartition("_")[0] or layer
        assert model.get_layer(layer).input[1] is model.get_layer(f"{block}_routing").output
    assert {model.get_layer(layer).num_experts for layer in conditional(model)} == {8}
    # A router reads what its block does.
    features = model.get_layer("block_3_routing").input
    assert features is model.get_layer("block_2_pointwise_activation" if "separable" in name else "stride_4").output
    later = small(name, start_block=3, num_experts=2, condconv_classifier=False)
    assert conditional(later) == [layer for layer in CONDITIONAL[name] if int(layer[6]) >= 3]
    assert not any(isinstance(layer, Routing) for layer in small(name.removeprefix("condconv_")).layers)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_trains_saves_and_loads(name, tmp_path):
    model = small(name, num_experts=2, input_shape=(33, 35, 1))  # maps of odd sizes, too
    card = card_of(model)
    assert (card.model, card.preprocessing.input_shape, len(card.class_names)) == (name, (33, 35, 1), 10)
    randomize(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)  # one step: tracing takes longer
    before = [np.array(variable) for variable in model.trainable_variables]
    batch = np.random.default_rng(0).normal(size=(8, 33, 35, 1)).astype("float32")
    model.train_on_batch(batch, np.arange(8))
    pairs = zip(model.trainable_variables, before, strict=True)
    assert [variable.path for variable, value in pairs if np.array_equal(variable, value)] == []
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(batch), model(batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "width", "filters"),
    [
        ("separable_cnn", 0.5, (4, 6, 9, 14, 14)),  # Python rounds 13.5 to the even number
        ("separable_cnn", 0.01, (1, 1, 1, 1, 1)),
        ("small_resnet", 1.5, (12, 12, 24, 48)),
    ],
)
def test_widths(name, width, filters, zeros):
    model = small(name, width_multiplier=width)
    last = "pointwise" if name == "separable_cnn" else "conv2"
    layers = ["stem", *(f"block_{i}_{last}" for i in range(1, len(filters)))]
    assert tuple(model.get_layer(layer).filters for layer in layers) == filters


@pytest.mark.parametrize("name", ["separable_cnn", "condconv_small_resnet"])
def test_a_width_of_0_is_refused(name):
    with pytest.raises(ValueError, match=r"`width_multiplier` must be positive. Received: width_multiplier=0"):
        small(name, width_multiplier=0)


def test_they_are_no_part_of_the_zoo_and_of_its_lists():
    assert not set(PARAMETERS) & set(list_models())
    page = (ROOT / "docs/models.md").read_text("utf-8")
    assert not [name for name in PARAMETERS if name in page]
    assert {model_entry(name).task for name in PARAMETERS} == {"classification"}
    with pytest.raises(UserError, match="unknown model 'separable_cn'"):
        model_entry("separable_cn")
