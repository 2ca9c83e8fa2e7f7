"""What has 8 bits in an 8-bit file, and what has not."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.data import Preprocessing
from condconv_keras.export.budget import Budget
from condconv_keras.export.tflite import eight_bits
from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.export.tflite.selection import signal_to_noise
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.serving.tflite_graph import TFLiteGraph
from tests.models.randomize import randomize
from tests.seeds import set_seed

_SIZE = 16


def network(activation="sigmoid", own_router=False):
    """A plain convolution, CondConv layers of both kinds, and a classifier."""
    set_seed(0)
    x = inputs = keras.Input((_SIZE, _SIZE, 3))
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6", name="stem")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="plain_depthwise")(x)
    x = keras.layers.Conv2D(64, 1, activation="relu6", name="plain_pointwise")(x)
    for name, layer in (("deep", DepthwiseCondConv2D(3, num_experts=4, padding="same", name="depthwise")),
                        ("point", CondConv2D(32, 1, num_experts=4, name="pointwise"))):  # fmt: skip
        x = layer(x) if own_router else layer(x, Routing(4, activation=activation, name=f"router_{name}")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(40, name="classifier")(x))
    randomize(model)
    return model


@pytest.fixture(scope="module")
def card():
    return ModelCard(
        "mine",
        [f"class {i}" for i in range(40)],
        Preprocessing(input_size=(_SIZE, _SIZE), channels=3, mean=127.5, std=127.5),
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (24, _SIZE, _SIZE, 3)).astype("float32")


def types(content):
    """Of each operator its name, the names of what it puts out, and whether one of these is int8."""
    graph = TFLiteGraph(content)
    return [
        (each.name, " ".join(map(graph.name, each.outputs)), any(map(graph.is_int8, each.outputs)))
        for each in graph.operators
    ]


@pytest.mark.parametrize("own_router", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_routers_and_mixed_kernels_are_float32(card, images, activation, own_router):
    found = types(tflite_bytes(network(activation, own_router), card, "int8", images))
    of_experts = [row for row in found if "router" in row[1] or "/depthwise" in row[1] or "/pointwise" in row[1]]
    inside = [row for row in of_experts if row[0] not in ("QUANTIZE", "DEQUANTIZE")]
    assert len(inside) > 10
    assert not [row for row in inside if row[2]]
    assert any(is_int8 for name, outputs, is_int8 in found if name == "CONV_2D" and "stem" in outputs)


@pytest.mark.parametrize("own_router", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_routers_beside_static_kernels_are_float32(card, images, activation, own_router):
    model = network(activation, own_router)
    content = tflite_bytes(model, card, "int8", images, static_kernels=True)
    of_routers = [row for row in types(content) if "rout" in row[1] and row[0] not in ("QUANTIZE", "DEQUANTIZE")]
    assert {"MEAN", "FULLY_CONNECTED", "EXP"} <= {name for name, _, _ in of_routers}
    assert not [row for row in of_routers if row[2]]
    assert snr(content, model, card, images) > 25


def test_pixels_reach_the_network_as_they_are(card, images):
    graph = TFLiteGraph(tflite_bytes(network(), card, "int8", images))
    names = [each.name for each in graph.operators]
    first = next(each for each in graph.operators if each.name == "SUB")
    assert graph.quantization(first.inputs[0]) == (1.0, -128)
    assert names.index("SUB") <= 1


def snr(content, model, card, images):
    run = Interpreter(model_content=content).get_signature_runner("serving_default")
    kind = run.get_input_details()["images"]["dtype"]
    whole = np.rint(images)
    answers = np.log(np.concatenate([run(images=image[None].astype(kind))["probabilities"] for image in whole]))
    expected = np.asarray(model(card.preprocessing.scale_images(whole), training=False))
    return signal_to_noise([expected], [answers])


@pytest.mark.parametrize("mode", ["dynamic", "int8"])
def test_layers_are_kept_out_for_a_target(card, images, mode, monkeypatch):
    model = network()
    without = tflite_bytes(model, card, mode, images)
    assert eight_bits.float_layers_of(without) == []
    monkeypatch.setitem(eight_bits.TARGET_DB, mode, 80.0)
    kept = tflite_bytes(model, card, mode, images, budget=Budget(10.0, 1.0))
    names = eight_bits.float_layers_of(kept)
    assert names and len(set(names)) == len(names)
    assert "plain_pointwise" in names
    assert snr(kept, model, card, images) > snr(without, model, card, images) + 0.5
    # Nothing to spend, nothing kept.
    unspent = tflite_bytes(model, card, mode, images, budget=Budget(0.0, 0.0))
    assert eight_bits.float_layers_of(unspent) == []


@pytest.mark.parametrize("mode", ["dynamic", "int8"])
def test_a_grouped_convolution(card, images, mode):
    set_seed(0)
    inputs = keras.Input((_SIZE, _SIZE, 3))
    x = keras.layers.Conv2D(64, 3, activation="relu6")(inputs)
    x = keras.layers.Conv2D(64, 3, groups=4, activation="relu6")(x)
    model = keras.Model(inputs, keras.layers.Dense(40)(keras.layers.GlobalAveragePooling2D()(x)))
    randomize(model)
    assert snr(tflite_bytes(model, card, mode, images), model, card, images) > 25


def test_a_loop_keeps_its_constants(card, images):
    """A recurrent layer's cell lies in a graph of its own inside the file."""
    set_seed(0)
    inputs = keras.Input((_SIZE, _SIZE, 3))
    x = keras.layers.GRU(32)(keras.layers.Reshape((_SIZE, 3 * _SIZE))(inputs))
    model = keras.Model(inputs, keras.layers.Dense(40)(x))
    randomize(model)
    assert snr(tflite_bytes(model, card, "dynamic", images), model, card, images) > 25


def test_candidates_of_int8_are_weighed(card, images, monkeypatch):
    seen = []
    monkeypatch.setattr(eight_bits, "choose", lambda candidates, *others: seen.extend(candidates) or [])
    tflite_bytes(network(), card, "int8", images, budget=Budget(1.0, 1.0))
    found = {each.name: each for each in seen}
    assert found["plain_pointwise"].multiply_adds == 8 * 8 * 16 * 64
    assert found["plain_pointwise"].bytes == 0
