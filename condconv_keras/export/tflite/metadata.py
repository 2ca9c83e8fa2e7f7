"""Metadata inside a classifier's `.tflite` file: its labels, and that it scales pixels itself, for MediaPipe Tasks.

The format is that of TensorFlow Lite Support, `metadata_schema.fbs` 1.5 in MediaPipe: a flatbuffer among the model's
buffers, and the labels in a zip archive behind it. No library that writes it works for Python 3.11 and later
(docs/mobile.md says what was tried), so the few tables that a classifier needs are written here.
"""

import io
import zipfile

import numpy as np

from condconv_keras.serving.litert import INPUT, OUTPUT
from condconv_keras.serving.tflite_graph import TFLiteGraph
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule

flatbuffers = LazyModule("flatbuffers")

METADATA = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"
# The fields of each table in their order, as far as they are written.
TABLES = {
    "ModelMetadata": (
        "name", "description", "version", "subgraph_metadata", "author", "license", "associated_files",
        "min_parser_version",
    ),
    "SubGraphMetadata": ("name", "description", "input_tensor_metadata", "output_tensor_metadata"),
    "TensorMetadata": (
        "name", "description", "dimension_names", "content", "process_units", "stats", "associated_files",
    ),
    "Content": ("content_properties_type", "content_properties"),
    "ImageProperties": ("color_space",),
    "ProcessUnit": ("options_type", "options"),
    "NormalizationOptions": ("mean", "std"),
    "Stats": ("max", "min"),
    "AssociatedFile": ("name", "description", "type"),
}  # fmt: skip
# Members of the schema's enumerations and unions.
RGB = 1
IMAGE_PROPERTIES = 2
NORMALIZATION_OPTIONS = 1
TENSOR_AXIS_LABELS = 2


def check_card(card):
    """Raises a `UserError` unless MediaPipe Tasks has images for a classifier of this `ModelCard`."""
    if card.preprocessing.channels != 3:
        raise UserError(
            "`metadata` is for models of color images, which MediaPipe Tasks gives; this one takes gray ones"
        )


def with_metadata(content, card):
    """Returns the bytes of a classifier's file with metadata.

    Args:
        content: bytes of a file that takes one image, uint8 or float32, and returns `probabilities`.
        card: its `ModelCard`.
    """
    graph = TFLiteGraph(content)
    builder = flatbuffers.Builder()
    builder.Finish(_put(builder, _model_metadata(card)), IDENTIFIER)
    graph.add_metadata(METADATA, bytes(builder.Output()))
    file = io.BytesIO(graph.to_bytes())
    with zipfile.ZipFile(file, "a") as archive:
        # Neither compressed, which MediaPipe does not read, nor with the time of today.
        archive.writestr(zipfile.ZipInfo(LABELS), card.labels.encode(errors="backslashreplace"))
    return file.getvalue()


def _model_metadata(card):
    pixels = _table("NormalizationOptions", mean=[0.0], std=[1.0])  # as they are: the file scales them itself
    image = _table(
        "TensorMetadata",
        name=INPUT,
        content=_table(
            "Content",
            content_properties_type=IMAGE_PROPERTIES,
            content_properties=_table("ImageProperties", color_space=RGB),
        ),
        process_units=[_table("ProcessUnit", options_type=NORMALIZATION_OPTIONS, options=pixels)],
        stats=_table("Stats", max=[255.0], min=[0.0]),
    )
    labels = _table("AssociatedFile", name=LABELS, type=TENSOR_AXIS_LABELS)
    probabilities = _table(
        "TensorMetadata", name=OUTPUT, stats=_table("Stats", max=[1.0], min=[0.0]), associated_files=[labels]
    )
    graph = _table("SubGraphMetadata", input_tensor_metadata=[image], output_tensor_metadata=[probabilities])
    return _table("ModelMetadata", name=card.model, subgraph_metadata=[graph], min_parser_version="1.0.0")


def _table(kind, /, **fields):
    """A table to be written, a dict of each field's number to its value."""
    return {TABLES[kind].index(field): value for field, value in fields.items()}


def _put(builder, value):
    """Writes a string, a list of floats or tables, or a table; returns its offset. An int is a table's byte."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, list):
        if isinstance(value[0], float):
            return builder.CreateNumpyVector(np.array(value, np.float32))
        offsets = [_put(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    # What a table points to lies outside it, and before it.
    offsets = {number: _put(builder, field) for number, field in value.items() if not isinstance(field, int)}
    builder.StartObject(1 + max(value))
    for number, field in value.items():
        if number in offsets:
            builder.PrependUOffsetTRelativeSlot(number, offsets[number], 0)
        else:
            builder.PrependUint8Slot(number, field, 0)
    return builder.EndObject()
