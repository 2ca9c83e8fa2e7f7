"""Imports of generated timm checkpoints against what timm itself computes with them (tests/fixtures/README.md)."""

import json

import keras
import numpy as np
import pytest

from condconv_keras.facts.imagenet import class_names
from condconv_keras.models.inverted_residual import TIMM_NAMES
from condconv_keras.models.saving import load_keras_file
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.readers import pytorch
from tests.fixtures.timm import make_weights
from tests.weights.importing import FIXTURES, import_into, timm_tensors

NETWORKS = {
    "mobilenetv1_100": "mobilenet_v1",
    "resnet50": "resnet50",
    "tf_efficientnet_cc_b0_4e": "condconv_efficientnet_b0_4e",
}


@pytest.fixture(scope="module", params=NETWORKS)
def imported(request, tmp_path_factory):
    """timm's name, what the import said, and the model and its card as they are loaded from the written file."""
    folder = tmp_path_factory.mktemp("timm")
    make_weights.save_safetensors(folder / "model.safetensors", timm_tensors(request.param))
    result = import_into(NETWORKS[request.param], folder / "model.safetensors", folder / "model.keras")
    return request.param, result, *load_keras_file(folder / "model.keras")


def test_computes_what_timm_does(imported):
    name, _, model, _ = imported
    expected = json.loads((FIXTURES / f"expected_{name}.json").read_text())
    routers = [layer.output for layer in model.layers if layer.name.endswith("_routing")]
    network = keras.Model(model.input, [model.output, *routers])
    for record in expected["records"]:
        x = make_weights.make_input(expected["input_seed"], record["size"], record["index"])
        np.testing.assert_allclose(x.ravel()[:4], record["input_first"], rtol=1e-6)
        logits, *routing_weights = (np.asarray(output)[0] for output in keras.tree.flatten(network(x)))
        np.testing.assert_allclose(logits, record["logits"], rtol=0, atol=1e-4 * np.abs(record["logits"]).max())
        assert logits.argmax() == record["argmax"]
        if "routing_weights" in record:
            # The blocks in their order: 4.0, 4.1, 4.2, 5.0, ...
            by_block = [record["routing_weights"][key] for key in sorted(record["routing_weights"])]
            np.testing.assert_allclose(routing_weights, by_block, rtol=0, atol=1e-4)


def test_takes_every_weight_of_the_checkpoint(imported):
    name, result, model, _ = imported
    manifest = make_weights.load_manifest(FIXTURES / f"manifest_{name}.json")
    assert (result.tensors, result.values) == (
        manifest["checksum"]["num_tensors"],
        manifest["checksum"]["num_values"],
    )
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable == manifest["num_params"]


def test_settings_and_card_are_those_of_the_checkpoint(imported):
    name, result, _, card = imported
    manifest = make_weights.load_manifest(FIXTURES / f"manifest_{name}.json")
    same = name.startswith("tf_")
    assert dict(result.model_arguments) == {
        "padding": "same" if same else "symmetric",
        "bn_epsilon": manifest["bn_eps"],
        "classes": 1000,
    }
    assert (card.model, card.class_names) == (NETWORKS[name], class_names())
    assert card.preprocessing == result.preprocessing
    assert card.preprocessing.crop_fraction == (0.95 if name == "resnet50" else 0.875)
    # (x / 255 - mean) / std, with ImageNet's statistics or 0.5.
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if name == "resnet50" else (0.5, 0.5)
    np.testing.assert_allclose(card.preprocessing.mean, np.multiply(255, mean))
    np.testing.assert_allclose(card.preprocessing.std, np.multiply(255, std))


def test_the_padding_chooses_between_networks_of_the_same_names():
    tensors = {"conv_stem.weight": np.zeros(1)}
    of_tensorflow = pytorch.weight_source("timm", tensors, "x", "efficientnet_lite0", {})
    of_pytorch = pytorch.weight_source("timm", tensors, "x", "efficientnet_lite0", {"padding": "symmetric"})
    assert of_tensorflow.model_arguments == {"padding": "same", "bn_epsilon": 1e-3}
    assert of_pytorch.model_arguments == {"padding": "symmetric", "bn_epsilon": 1e-5}
    assert of_tensorflow.preprocessing["mean"] == 127.5
    assert of_pytorch.preprocessing["mean"] == (123.675, 116.28, 103.53)


def test_blocks_are_numbered_in_their_natural_order():
    keys = [f"blocks.{stage}.{i}.conv_dw.weight" for stage, i in [(10, 0), (2, 10), (2, 9), (0, 0)]]
    names = pytorch._modules(TIMM_NAMES, dict.fromkeys(["conv_stem.weight", *keys]))
    assert [names[f"block_{n}_depthwise"] for n in (1, 2, 3, 4)] == [
        "blocks.0.0.conv_dw",
        "blocks.2.9.conv_dw",
        "blocks.2.10.conv_dw",
        "blocks.10.0.conv_dw",
    ]


def test_refuses_networks_without_timm_weights():
    with pytest.raises(UserError, match=r"not for 'condconv_resnet50'; import them as 'resnet50' and warm start"):
        pytorch.weight_source("timm", {}, "x", "condconv_resnet50", {})
    with pytest.raises(UserError, match=r"expected tensors named as in timm, 'x' has features\.0\.weight, \.\.\."):
        pytorch.weight_source("timm", {"features.0.weight": np.zeros(1)}, "x", "mobilenet_v2", {})
