"""Puts what follows an 8-bit classifier's logits behind them in a `.tflite` file."""

from condconv_keras.serving.litert import OUTPUT
from condconv_keras.serving.tflite_graph import TFLiteGraph

LOGITS = "logits"


def with_softmax(content):
    """Puts a float32 softmax behind int8 logits, which the converter would have made an int8 one.

    Args:
        content: bytes of a file that returns `logits`, or `probabilities` already.

    Returns:
        The bytes of a file that returns `probabilities`.
    """
    graph = TFLiteGraph(content)
    if LOGITS not in graph.outputs:
        return content
    further = graph.outputs
    logits = further.pop(LOGITS)
    (softmax,) = graph.add_operator("SOFTMAX", [logits], {OUTPUT: graph.shape(logits)}, beta=1.0)
    graph.set_outputs({OUTPUT: softmax, **further})
    return graph.to_bytes()
