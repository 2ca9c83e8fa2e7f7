"""The files of a model, with what the comparison takes beside them."""

import dataclasses
import pathlib

import numpy as np

from condconv_keras.export.format import ExportFormat, WriteOptions
from condconv_keras.export.formats import TFLITE
from condconv_keras.facts.model_card import DETECTION
from condconv_keras.serving.litert import OUTPUT, LiteRTFile
from condconv_keras.serving.tflite_graph import TFLiteGraph
from condconv_keras.tasks.detection.exported import RAW_OUTPUTS
from scripts.arm.models import STATIC

# Follows the name of an output in the name of the int8 tensor that it is made of.
STEPS = "_steps"
_INT8 = "int8"
_FLOAT_MODES = ("none", "float16")


@dataclasses.dataclass(frozen=True, eq=False)
class File:
    """A `.tflite` file of a model.

    Attributes:
        model: name of the model.
        format: `ExportFormat`.
        kernels: as of `Subject`.
        path: of the file.
        network: path of the part of it that returns what the network does: of a detector the outputs before
            suppression, of an int8 file the int8 tensors behind them, their names ending in `STEPS`. Else None.
        inputs: path of an `.npy` file of the images, as the file takes them.
        anchors: of a detector, else None.
    """

    model: str
    format: ExportFormat
    kernels: str
    path: pathlib.Path
    network: pathlib.Path | None
    inputs: pathlib.Path
    anchors: np.ndarray | None


def write_files(subject, folder):
    """Writes the files of a `Subject` as the exporter does, without its check; yields each `File` when it is there.

    Args:
        subject: `Subject`.
        folder: `pathlib.Path` of a folder that exists.
    """
    anchors = subject.card.anchor_boxes if subject.card.task == DETECTION else None
    for kernels in subject.kernels:
        for mode, file_format in TFLITE.items():
            path = folder / f"{mode}-{kernels.replace(' ', '_')}.tflite"
            options = WriteOptions(subject.calibration, static_kernels=kernels == STATIC)
            file_format.write(path, subject.model, subject.card, options)
            content = network_of(path.read_bytes(), anchors is not None, mode == _INT8)
            network = None if content is None else path.with_suffix(".network")
            if content is not None:
                network.write_bytes(content)
            inputs = path.with_suffix(".npy")
            count = subject.float_images if mode in _FLOAT_MODES else len(subject.images)
            np.save(inputs, LiteRTFile(path).input.quantize(subject.images[:count]))
            yield File(subject.name, file_format, kernels, path, network, inputs, anchors)


def network_of(content, is_detector, is_int8):
    """Returns the bytes of `File.network` for those of a file, or None."""
    graph = TFLiteGraph(content)
    if is_detector:
        tensors = {name: graph.find(name) for name in RAW_OUTPUTS}
        outputs = dict(tensors)
    else:
        tensors, outputs = {OUTPUT: graph.outputs[OUTPUT]}, {}
    if is_int8:
        outputs |= {f"{name}{STEPS}": _int8_source(graph, tensor) for name, tensor in tensors.items()}
    if not outputs:
        return None
    graph.set_outputs(outputs)
    return graph.to_bytes()


def _int8_source(graph, tensor):
    """The int8 tensor that a float one is made of, by operators of one input."""
    while not graph.is_int8(tensor):
        (tensor,) = graph.inputs_of(tensor)
    return tensor
