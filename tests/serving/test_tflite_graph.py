"""Changes to the graph of a `.tflite` file."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from condconv_keras.export.tflite.conversion import tflite_bytes
from condconv_keras.serving.tflite_graph import TFLiteGraph
from tests.heads import BIAS, CARD, HEADS, IMAGES, KERNEL, model_with


def test_constants_inputs_metadata_and_what_is_dropped():
    content = tflite_bytes(model_with(HEADS["softmax layer"]), CARD)
    graph = TFLiteGraph(content)
    (dense,) = [operator for operator in graph.operators if operator.name == "FULLY_CONNECTED"]
    np.testing.assert_allclose(graph.values(dense.inputs[1]), KERNEL.T, rtol=1e-6)
    assert graph.values(dense.inputs[0]) is None and graph.quantization(dense.inputs[1]) is None
    integers = graph.add_constant("integers", np.array([[1, 2]], np.int8), np.float32([0.5]), 0)
    assert graph.is_int8(integers) and graph.quantization(integers) == (0.5, 0) and graph.values(integers) is None
    unused = graph.add_constant("unused", np.zeros(100_000, np.float32))
    bias = graph.add_constant("other", BIAS + np.float32([0, 1, 0]))
    graph.set_input(dense, 2, bias)
    graph.add_metadata("mine", b"some bytes")
    assert graph.metadata("mine") == b"some bytes" and graph.metadata("yours") is None
    changed = graph.to_bytes()
    assert len(changed) < len(content) + 2000
    new = TFLiteGraph(changed)
    assert new.metadata("mine") == b"some bytes" and new.values(unused) is None
    (dense,) = [operator for operator in new.operators if operator.name == "FULLY_CONNECTED"]
    assert new.name(dense.inputs[2]) == "other"
    before, after = (
        np.log(Interpreter(model_content=each).get_signature_runner()(images=IMAGES[:1])["probabilities"])
        for each in (content, changed)
    )
    np.testing.assert_allclose((after - before) - (after - before)[:, :1], [[0, 1, 0]], atol=1e-5)
