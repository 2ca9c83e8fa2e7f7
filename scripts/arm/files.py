"""The files of a model, with what the comparison takes beside them."""

import dataclasses
import pathlib

import numpy as np

from condconv_keras.export.budget import Budget
from condconv_keras.export.format import ExportFormat, WriteOptions
from condconv_keras.export.formats import TFLITE
from condconv_keras.facts.model_card import DETECTION
from condconv_keras.serving.litert import LiteRTFile
from condconv_keras.tasks.detection.tflite import without_postprocessing
from scripts.arm.models import STATIC

_FLOAT_MODES = ("none", "float16")


@dataclasses.dataclass(frozen=True, eq=False)
class File:
    """A `.tflite` file of a model.

    Attributes:
        model: name of the model.
        format: `ExportFormat`.
        kernels: as of `Subject`.
        path: of the file.
        network: path of the part of a detector's file that returns its outputs before suppression, else None.
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
            budget = Budget() if subject.trained else None
            options = WriteOptions(subject.calibration, static_kernels=kernels == STATIC, budget=budget)
            file_format.write(path, subject.model, subject.card, options)
            network = None if anchors is None else path.with_suffix(".network")
            if network is not None:
                network.write_bytes(without_postprocessing(path.read_bytes()))
            inputs = path.with_suffix(".npy")
            count = subject.float_images if mode in _FLOAT_MODES else len(subject.images)
            np.save(inputs, LiteRTFile(path).input.quantize(subject.images[:count]))
            yield File(subject.name, file_format, kernels, path, network, inputs, anchors)
