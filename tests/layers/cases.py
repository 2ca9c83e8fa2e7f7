"""A covering list of layer settings, with the layer, its random data and the oracle's answer for each."""

import dataclasses

import numpy as np

from condconv_keras import CondConv2D, DepthwiseCondConv2D
from tests import oracle


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer setting; `features` are the filters of a full convolution, the multiplier of a depthwise one."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "same"
    dilation: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (7, 6)
    channels: int = 4
    features: int = 6
    groups: int = 1
    depthwise: bool = False
    bias: bool = False
    experts: int = 4
    batch: int = 2
    data_format: str = "channels_last"

    def __str__(self):
        kind = f"dw{self.features}" if self.depthwise else f"g{self.groups}"
        kernel, strides, dilation, size = (
            "x".join(map(str, pair)) for pair in (self.kernel, self.strides, self.dilation, self.size)
        )
        return f"{kind}-k{kernel}-s{strides}-d{dilation}-{self.padding}-{size}-n{self.experts}-b{self.batch}"

    @property
    def convolution(self):
        return oracle.Convolution(self.strides, self.padding, self.dilation, self.groups, self.depthwise)

    @property
    def expert_shape(self):
        last = self.features
        return (*self.kernel, self.channels if self.depthwise else self.channels // self.groups, last)

    @property
    def filters(self):
        return self.channels * self.features if self.depthwise else self.features


CONV_CASES = [
    Case((1, 1), experts=8, batch=7, bias=True),
    Case((1, 1), strides=(2, 2), size=(8, 8), padding="valid"),
    Case((1, 1), strides=(2, 1), size=(7, 8), experts=1, batch=1),
    Case((1, 1), groups=2, bias=True),
    Case((3, 3), experts=8, batch=7, size=(5, 5)),
    Case((3, 3), strides=(2, 2), size=(8, 10), bias=True),
    Case((3, 3), strides=(2, 2), size=(7, 9), padding="valid", experts=1),
    Case((3, 3), strides=(2, 1), size=(6, 7), batch=7),
    Case((3, 3), strides=(1, 2), size=(7, 6), padding="valid"),
    Case((3, 3), dilation=(2, 2), size=(7, 8), batch=1, bias=True),
    Case((3, 3), dilation=(1, 2), size=(6, 8), padding="valid"),
    Case((3, 3), groups=2, strides=(2, 2), size=(6, 6), experts=8),
    Case((3, 3), groups=2, dilation=(2, 2), padding="valid", bias=True, batch=7),
    Case((3, 3), size=(7, 6), bias=True, strides=(2, 2), data_format="channels_first"),
    Case((3, 1), size=(6, 5), bias=True, batch=7, data_format="channels_first"),
    Case((1, 5), strides=(2, 2), size=(5, 9)),
    Case((5, 5), size=(8, 7), strides=(2, 2), experts=8, batch=1),
    Case((5, 5), size=(7, 7), padding="valid", bias=True),
    Case((5, 5), size=(2, 3), experts=4),
    Case((3, 5), size=(2, 1), strides=(2, 2), batch=1),
    Case((2, 4), size=(6, 6), strides=(2, 2)),
    Case((3, 3), size=(9, 5), strides=(3, 3), channels=1, features=1),
]
DEPTHWISE_CASES = [
    dataclasses.replace(case, depthwise=True)
    for case in [
        Case((1, 1), features=1, bias=True, experts=8, batch=7),
        Case((1, 1), features=2, strides=(2, 2), padding="valid", size=(8, 7)),
        Case((3, 3), features=1, experts=8, batch=7),
        Case((3, 3), features=2, strides=(2, 2), size=(8, 10), bias=True),
        Case((3, 3), features=1, strides=(2, 2), size=(7, 9), padding="valid", experts=1),
        Case((3, 3), features=1, strides=(2, 2), size=(8, 6), batch=1),
        Case((3, 3), features=2, strides=(2, 1), size=(8, 7), batch=7),
        Case((3, 3), features=1, strides=(1, 2), size=(6, 7), padding="valid", bias=True),
        Case((3, 3), features=1, dilation=(2, 2), size=(7, 8), bias=True),
        Case((3, 3), features=2, dilation=(2, 2), size=(8, 7), padding="valid", batch=1),
        Case((3, 3), features=2, bias=True, data_format="channels_first", strides=(2, 2)),
        Case((3, 1), features=1, batch=7, size=(5, 6), data_format="channels_first"),
        Case((1, 5), features=2, size=(4, 8), padding="valid"),
        Case((5, 5), features=1, strides=(2, 2), size=(8, 7), experts=8),
        Case((5, 5), features=1, strides=(2, 2), size=(9, 8), padding="valid", batch=1),
        Case((5, 5), features=1, size=(7, 7), batch=7, bias=True),
        Case((5, 3), features=1, size=(2, 2), batch=7),
        Case((3, 3), features=1, size=(1, 1), experts=8),
        Case((3, 3), features=1, strides=(3, 3), size=(8, 10), channels=1),
        Case((2, 4), features=1, strides=(2, 2), size=(6, 7)),
        Case((5, 5), features=1, strides=(3, 3), size=(10, 11)),
    ]
]


def build_layer(case, implementation="auto", **kwargs):
    """The layer of a case; not built."""
    common = {
        "num_experts": case.experts,
        "strides": case.strides,
        "padding": case.padding,
        "dilation_rate": case.dilation,
        "use_bias": case.bias,
        "data_format": case.data_format,
        "implementation": implementation,
        **kwargs,
    }
    if case.depthwise:
        return DepthwiseCondConv2D(case.kernel, depth_multiplier=case.features, **common)
    return CondConv2D(case.features, case.kernel, groups=case.groups, **common)


def random_arrays(case, seed=0):
    """Input, routing weights, experts, bias (or None) and upstream gradient, float32, channels_last."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((case.batch, *case.size, case.channels)).astype("float32")
    routing = rng.uniform(0.05, 0.95, (case.batch, case.experts)).astype("float32")
    experts = rng.standard_normal((case.experts, *case.expert_shape)).astype("float32")
    bias = rng.standard_normal((case.experts, case.filters)).astype("float32") if case.bias else None
    shape = oracle.forward(case.convolution, x, routing, experts).shape
    return x, routing, experts, bias, rng.standard_normal(shape).astype("float32")


def assert_agrees(case, arrays, result, implementation=None):
    """Compares outputs and gradients of a layer with the oracle, 1e-5 and 1e-4 of the largest absolute value."""
    x, routing, experts, bias, upstream = arrays
    outputs, input_gradients, variable_gradients = result
    expected = oracle.gradients(case.convolution, x, routing, experts, upstream, bias)
    assert oracle.relative_error(to_last(case, outputs), oracle.forward(case.convolution, *arrays[:4])) < 1e-5
    assert oracle.relative_error(to_last(case, input_gradients[0]), expected["x"]) < 1e-4
    assert oracle.relative_error(input_gradients[1], expected["routing"]) < 1e-4
    assert oracle.relative_error(variable_gradients[0].reshape(experts.shape), expected["experts"]) < 1e-4
    if case.bias:
        assert oracle.relative_error(variable_gradients[1], expected["bias"]) < 1e-4
    assert len(variable_gradients) == 1 + case.bias


def to_last(case, array):
    return array.transpose(0, 2, 3, 1) if case.data_format == "channels_first" else array


def to_format(case, array):
    """Moves a channels_last array to the data format of the case."""
    return array.transpose(0, 3, 1, 2) if case.data_format == "channels_first" else array


def set_experts(layer, experts, bias=None):
    """Gives a built layer its experts and, if any, their biases."""
    layer.bank.assign(experts.reshape(len(experts), -1))
    if bias is not None:
        layer.bias.assign(bias)
