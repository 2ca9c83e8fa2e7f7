"""Turns a float32 `.tflite` network into one of 8 bits, and keeps the layers in float that 8 bits would cost most."""

import contextlib
import dataclasses
import json
import os
import re
import sys

import numpy as np
import tensorflow as tf

from condconv_keras.export.budget import Budget
from condconv_keras.export.tflite import weights
from condconv_keras.export.tflite.selection import Candidate, choose
from condconv_keras.serving.litert import ROUTING
from condconv_keras.serving.tflite_graph import TFLiteGraph
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.lazy import LazyModule

litert = LazyModule("ai_edge_litert.interpreter")
convert = LazyModule("tensorflow.lite.python.convert")
util = LazyModule("tensorflow.lite.python.util")

# Operators that hand on what they are given, but for its layout.
_LAYOUT = ("RESHAPE", "CONCATENATION", "TRANSPOSE")
_ARITHMETIC = ("ADD", "SUB", "MUL")
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
# Signal-to-noise ratios that layers are kept out of 8 bits for, and the number of images that it is measured on.
TARGET_DB = {"dynamic": 37.0, "int8": 29.0}
_IMAGES = 16
# Under this name a file says which layers they are.
FLOAT_LAYERS = "condconv_keras.float_layers"


@dataclasses.dataclass(frozen=True)
class Network:
    """What has to be known of a float32 `.tflite` file to give it 8 bits.

    Attributes:
        content: bytes of the file.
        inputs: list of dicts of what it takes, real images, or None where there are none.
        layers: names of all layers, in order.
        float_layers: names of those whose activations stay in float32 in any case.
        experts: names of the CondConv layers.
    """

    content: bytes
    inputs: list[dict[str, np.ndarray]] | None
    layers: tuple[str, ...]
    float_layers: frozenset[str]
    experts: frozenset[str]


def with_8_bit_weights(network, budget=None):
    """The file of a network with weights of 8 bits: mode `"dynamic"`.

    Args:
        network: `Network`.
        budget: a fraction of the file's bytes and one of the multiply-adds that layers with weights of 16 bits, which
            compute in float32, may cost: a `Budget`, or None for none.

    Returns:
        The bytes of the new file.
    """
    means = _input_means(network, weights.WITH_8_BITS)

    def written(kept=()):
        graph = TFLiteGraph(network.content)
        names = {tensor for each in kept for tensor in each.tensors}
        operators = _rounded_operators(graph, network)
        whole = [operator for operator in operators if graph.name(operator.outputs[0]) in names]
        rounded = [operator for operator in operators if operator not in whole]
        weights.correct_biases(graph, rounded, means)
        weights.quantize(graph, rounded)
        weights.store_in_float16(graph, whole)
        return _signed(graph, kept)

    graph = TFLiteGraph(network.content)
    candidates = [
        Candidate(
            _layer_of(graph, operator, network),
            (graph.name(operator.outputs[0]),),
            weights.kernel_size(graph, operator),  # a byte more for each
            weights.multiply_adds(graph, operator),
        )
        for operator in _rounded_operators(graph, network)
        if not _layers_of(graph, operator, network.layers) & network.experts
    ]
    return written(_chosen(candidates, written, network, budget, TARGET_DB["dynamic"]))


def _rounded_operators(graph, network):
    """The operators whose weights have 8 bits in every file: all but the routers'."""
    routers = network.float_layers - network.experts
    operators = weights.weighted(graph, weights.WITH_8_BITS)
    return [operator for operator in operators if not _layers_of(graph, operator, network.layers) & routers]


def in_8_bits(network, int8_input, budget=None):
    """The file of a network that computes in 8 bits: mode `"int8"`.

    Args:
        network: `Network` with the ranges of its activations, as the converter writes it for
            `_experimental_calibrate_only`, and with images.
        int8_input: `"uint8"` or `"int8"`, what the new file takes.
        budget: fractions as of `with_8_bit_weights`, of layers that quantize their inputs as they come.

    Returns:
        The bytes of the new file.
    """
    graph = TFLiteGraph(network.content)
    operators = weights.weighted(graph, weights.CHANNEL_AXIS)
    weights.correct_biases(graph, operators, _input_means(network, weights.CHANNEL_AXIS))
    calibrated = graph.to_bytes()
    always = _float_operators(graph, network)

    def written(kept=(), input_type="float32"):
        content = _quantized(calibrated, [*always, *(tensor for each in kept for tensor in each.tensors)])
        if input_type != "float32":
            content = util.modify_model_io_type(content, getattr(tf, input_type), tf.float32)
        graph = TFLiteGraph(content)
        weights.quantize(graph, _rounded_operators(graph, network))
        _use_pixels_as_they_are(graph)
        return _signed(graph, kept)

    with_kernel = {operator.outputs for operator in operators}
    candidates = [
        _int8_candidate(graph, operator, network, operator.outputs in with_kernel)
        for operator in graph.operators
        if operator.name not in (*_LAYOUT, *_CONVERSIONS) and graph.name(operator.outputs[0]) not in always
    ]
    return written(_chosen(candidates, written, network, budget, TARGET_DB["int8"]), int8_input)


def float_layers_of(content):
    """The names of the layers that a file keeps out of 8 bits because they would cost too much, a list."""
    stored = TFLiteGraph(content).metadata(FLOAT_LAYERS)
    return [] if stored is None else json.loads(stored)


def _signed(graph, kept):
    """The bytes of a graph that says which layers were kept out of 8 bits."""
    if kept:
        names = list(dict.fromkeys(each.name for each in kept if each.name))
        graph.add_metadata(FLOAT_LAYERS, json_text(names).encode())
    return graph.to_bytes()


def _int8_candidate(graph, operator, network, has_kernel):
    """The `Candidate` of an operator; `has_kernel` is whether it is `weighted`."""
    return Candidate(
        _layer_of(graph, operator, network),
        tuple(graph.name(tensor) for tensor in operator.outputs),
        3 * weights.kernel_size(graph, operator) if has_kernel and operator.name not in weights.WITH_8_BITS else 0,
        weights.multiply_adds(graph, operator) if has_kernel else int(np.prod(graph.shape(operator.outputs[0]))),
    )


def _input_means(network, kinds):
    """The mean inputs of the operators with weights, by the name of the tensor; empty without images."""
    if network.inputs is None:
        return {}
    graph = TFLiteGraph(network.content)
    return weights.input_means(network.content, graph, weights.weighted(graph, kinds), network.inputs)


def _chosen(candidates, written, network, budget, target_db):
    """The candidates to keep, by what files that keep some of them answer to a part of the images."""
    if budget is None or network.inputs is None or 0 in (budget.bytes, budget.multiply_adds):
        return []
    count = max(1, _IMAGES // len(next(iter(network.inputs[0].values()))))
    places = np.linspace(0, len(network.inputs) - 1, min(count, len(network.inputs))).round().astype(int)
    inputs = [network.inputs[place] for place in places]

    def answers(content):
        runner = litert.Interpreter(model_content=content).get_signature_runner()
        found = [runner(**values) for values in inputs]
        return [
            np.concatenate([each[name] for each in found]) for name in sorted(found[0]) if not name.startswith(ROUTING)
        ]

    whole = Budget(
        budget.bytes * len(written()),
        budget.multiply_adds * sum(each.multiply_adds for each in candidates),
    )
    return choose(candidates, lambda kept: answers(written(kept)), answers(network.content), target_db, whole)


def _quantized(content, float_operators):
    """A calibrated file in 8 bits but for some operators, by the names of their outputs.

    What `tf.lite.experimental.QuantizationDebugger` calls for the nodes of its `denylisted_nodes`.
    """
    with quiet_stderr():
        return convert.mlir_quantize(content, denylisted_nodes=float_operators)


def _float_operators(graph, network):
    """The names of the outputs of operators that belong to a layer, or compute the network's outputs.

    The outputs are as large as a network's range of values, of which 8 bits would leave 256.
    """
    last = set(graph.outputs.values())
    found = []
    for operator in reversed(graph.operators):
        is_last = last.intersection(operator.outputs)
        if is_last and operator.name in (*_LAYOUT, *_ARITHMETIC):
            last.update(operator.inputs)
        if is_last or _layers_of(graph, operator, network.layers) & network.float_layers:
            found += [graph.name(tensor) for tensor in operator.outputs]
    return found


def _layers_of(graph, operator, layers):
    """The names of the layers that an operator was fused from.

    Keras appends a number to the scope of a layer's second call; what is converted is one.
    """
    scopes = {part for tensor in operator.outputs for part in re.split("[/;]", graph.name(tensor))}
    numbered = {re.sub(r"_\d+$", "", scope): scope for scope in scopes}
    return {bare if bare in layers else scope for bare, scope in numbered.items() if bare in layers or scope in layers}


def _layer_of(graph, operator, network):
    """The name of an operator's layer, the first of those that were fused into it; empty for what is of none."""
    found = _layers_of(graph, operator, network.layers)
    return next((layer for layer in network.layers if layer in found), "")


def _use_pixels_as_they_are(graph):
    """Takes out that integers which stand for pixels are expanded and rounded to other ones before arithmetic.

    The converter gives both sides of an operator one range, and the pixels one that holds the other side's values, too:
    their steps are no pixels any more.
    """
    operators = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    for operator in graph.operators:
        for index, tensor in enumerate(operator.inputs):
            again = operators.get(tensor)
            expand = again and again.name == "QUANTIZE" and operators.get(again.inputs[0])
            if not expand or expand.name != "DEQUANTIZE":
                continue
            pixels = expand.inputs[0]
            same = graph.quantization(pixels) == graph.quantization(tensor)
            if same or operator.name in _ARITHMETIC:
                graph.set_input(operator, index, pixels)


@contextlib.contextmanager
def quiet_stderr():
    """Drops what is written to standard error, by C++ too: the converter reports steps of its own and no errors."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
