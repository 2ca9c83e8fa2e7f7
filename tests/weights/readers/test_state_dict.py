"""Layouts of PyTorch tensors, element by element, and the files that hold them."""

import sys

import keras
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from condconv_keras import CondConv2D, DepthwiseCondConv2D, Routing
from condconv_keras.utils.errors import MissingPackage, UserError
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.weights.readers import state_dict
from condconv_keras.weights.readers.state_dict import keras_variable, read_safetensors, read_torch_file

RNG = np.random.default_rng(0)


def _converted(layer, input_shape, variable, array):
    layer.build(*input_shape) if isinstance(input_shape, list) else layer.build(input_shape)
    parameter, convert = keras_variable(layer, variable)
    value = convert(array)
    weight = next(weight for weight in layer.weights if weight.name == variable)
    assert value.shape == tuple(weight.shape)
    return parameter, value


def test_convolution():
    array = RNG.normal(size=(5, 4, 3, 2))  # out, in, kh, kw
    parameter, kernel = _converted(keras.layers.Conv2D(5, (3, 2)), (None, 8, 8, 4), "kernel", array)
    assert parameter == "weight"
    for out, channel, row, column in np.ndindex(array.shape):
        assert kernel[row, column, channel, out] == array[out, channel, row, column]


def test_linear_layer_as_1x1_convolution():
    array = RNG.normal(size=(5, 4))
    _, kernel = _converted(keras.layers.Conv2D(5, 1), (None, 1, 1, 4), "kernel", array)
    x = RNG.normal(size=4)
    np.testing.assert_allclose(x @ kernel[0, 0], array @ x)


def test_depthwise_convolution():
    array = RNG.normal(size=(4, 1, 3, 2))
    _, kernel = _converted(keras.layers.DepthwiseConv2D((3, 2)), (None, 8, 8, 4), "kernel", array)
    for channel, _, row, column in np.ndindex(array.shape):
        assert kernel[row, column, channel, 0] == array[channel, 0, row, column]


def test_expert_bank():
    experts = RNG.normal(size=(2, 5, 4, 3, 2))  # n, out, in, kh, kw
    layer = CondConv2D(5, (3, 2), num_experts=2)
    _, bank = _converted(layer, [(None, 8, 8, 4), (None, 2)], "condconv_kernel", experts.reshape(2, -1))
    bank = bank.reshape(2, 3, 2, 4, 5)
    for expert, out, channel, row, column in np.ndindex(experts.shape):
        assert bank[expert, row, column, channel, out] == experts[expert, out, channel, row, column]


def test_depthwise_expert_bank():
    experts = RNG.normal(size=(2, 4, 1, 3, 2))
    layer = DepthwiseCondConv2D((3, 2), num_experts=2)
    _, bank = _converted(layer, [(None, 8, 8, 4), (None, 2)], "depthwise_condconv_kernel", experts.reshape(2, -1))
    bank = bank.reshape(2, 3, 2, 4, 1)
    for expert, channel, _, row, column in np.ndindex(experts.shape):
        assert bank[expert, row, column, channel, 0] == experts[expert, channel, 0, row, column]


def test_router():
    array = RNG.normal(size=(3, 4))
    parameter, kernel = _converted(Routing(3), (None, 4), "kernel", array)
    assert parameter == "weight"
    np.testing.assert_array_equal(kernel, array.T)
    assert keras_variable(Routing(3), "bias")[0] == "bias"


def test_batch_normalization():
    layer = keras.layers.BatchNormalization()
    names = {name: keras_variable(layer, name)[0] for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    assert list(names.values()) == ["weight", "bias", "running_mean", "running_var"]


def test_a_bias_bank_has_no_counterpart():
    with pytest.raises(KeyError):
        keras_variable(CondConv2D(5, 1, num_experts=2), "condconv_bias")


def test_safetensors_of_half_precision(tmp_path):
    tensors = {
        "a.weight": np.ones((2, 3), np.float16),
        "b.weight": np.full(2, 0.5, ml_dtypes.bfloat16),
        "a.num_batches_tracked": np.array(7),
    }
    save_file(tensors, tmp_path / "x.safetensors")
    read = read_safetensors(tmp_path / "x.safetensors")
    assert {name: str(array.dtype) for name, array in read.items()} == {"a.weight": "float16", "b.weight": "bfloat16"}
    np.testing.assert_array_equal(read["b.weight"].astype(np.float32), [0.5, 0.5])


def test_without_pytorch_a_pth_file_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(state_dict, "torch", LazyModule("torch"))
    with pytest.raises(MissingPackage, match="takes PyTorch: pip install torch"):
        read_torch_file(tmp_path / "x.pth")


@pytest.mark.parametrize("nested", [None, "model", "state_dict", "state_dict_ema"])
def test_reads_state_dicts_of_pytorch(tmp_path, nested):
    torch = pytest.importorskip("torch")
    tensors = {"a.weight": torch.full((2,), 0.5, dtype=torch.bfloat16), "a.num_batches_tracked": torch.tensor(7)}
    other = {"state_dict": {"a.weight": torch.zeros(2)}} if nested == "state_dict_ema" else {}
    torch.save({"epoch": 3, **other, nested: tensors} if nested else tensors, tmp_path / "x.pth")
    read = read_torch_file(tmp_path / "x.pth")
    assert list(read) == ["a.weight"]
    np.testing.assert_array_equal(read["a.weight"], np.full(2, 0.5, np.float32))


def test_names_of_a_wrapped_network_and_parameters(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"module.a": torch.nn.Parameter(torch.ones(2)), "module.b": torch.zeros(1)}, tmp_path / "x.pth")
    read = read_torch_file(tmp_path / "x.pth")
    assert {name: value.tolist() for name, value in read.items()} == {"a": [1, 1], "b": [0]}


class _Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("content", ["code", "list", "numbers", "truncated"])
def test_refuses_what_is_no_state_dict(tmp_path, content):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pth"
    objects = {"code": {"a": _Code(tmp_path / "ran")}, "list": [torch.ones(2)], "numbers": {"epoch": 3}}
    torch.save(objects.get(content, {"a": torch.ones(1000)}), path, _use_new_zipfile_serialization=content == "list")
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    is_read = content in ("list", "numbers")
    message = "holds something else" if is_read else "damaged or holds other Python objects, which are never loaded"
    with pytest.raises(UserError, match=message) as error:
        read_torch_file(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()
