"""Exported detectors as functions of images, like `condconv_keras.tasks.detection.predictor` of Keras models."""

import numpy as np

from condconv_keras.serving.litert import LiteRTFile, check_shapes
from condconv_keras.serving.saved_model import as_input, check_signature
from condconv_keras.tasks.detection.boxes import load_operations
from condconv_keras.tasks.detection.postprocessing import MAX_DETECTIONS, detect
from condconv_keras.utils.errors import UserError

DETECTIONS = ("boxes", "classes", "scores", "count")
RAW_OUTPUTS = ("box_codes", "class_logits")


class LiteRTDetector(LiteRTFile):
    """A loaded `.tflite` detector, with non-maximum suppression inside or with raw outputs.

    Arguments and errors as of `LiteRTFile`.

    Attributes:
        has_raw_outputs: which of the two it is.
    """

    _expected = f"{', '.join(DETECTIONS)} or to {', '.join(RAW_OUTPUTS)}"

    def __init__(self, path, num_threads=None):
        super().__init__(path, num_threads)
        self.has_raw_outputs = set(RAW_OUTPUTS) <= set(self.outputs)

    def _accepts(self, outputs):
        return set(DETECTIONS) <= outputs or set(RAW_OUTPUTS) <= outputs


def tflite_detector(path, card, num_threads=None):
    """Returns the `predict` function of a `.tflite` detector: NumPy arrays as of `detect` for images in 0..255.

    Args:
        path: `.tflite` file.
        card: its `ModelCard`.
        num_threads: of its interpreter, or None for LiteRT's choice.

    Raises:
        UserError: LiteRT cannot load it, or it is no detector or not that of the card.
    """
    model = LiteRTDetector(path, num_threads)
    anchors = card.anchor_boxes
    batch = model.batch_size
    images = (batch, *card.preprocessing.input_shape)
    if not model.has_raw_outputs:
        boxes = (batch, MAX_DETECTIONS, 4)
        check_shapes(path, (model.input.shape, model.outputs["boxes"].shape), (images, boxes))
        return lambda images: clipped(model.run(images))
    load_operations()
    codes, logits = (model.outputs[name].shape for name in RAW_OUTPUTS)
    expected = (batch, len(anchors), 4), (batch, len(anchors), 1 + len(card.class_names))
    check_shapes(path, (model.input.shape, (codes, logits)), (images, expected))
    return lambda images: {name: value.numpy() for name, value in detect(model.run(images), anchors).items()}


def saved_detector(loaded, path, card):
    """Returns the `predict` function of a SavedModel: as `tflite_detector` returns it.

    Args:
        loaded: what TensorFlow loaded.
        path: of its folder.
        card: its card.

    Raises:
        UserError: it is no detector, or not one of the card's input, anchors and classes.
    """
    signature = loaded.signatures["serving_default"]
    check_signature(path, signature, DETECTIONS)
    if "raw_outputs" not in loaded.signatures:
        raise UserError(f"expected a SavedModel written by `python -m export`, {str(path)!r} has no 'raw_outputs'")
    raw = loaded.signatures["raw_outputs"]
    images, anchors = raw.structured_input_signature[1]["images"], len(card.anchor_boxes)
    received = tuple(images.shape), tuple(tuple(raw.structured_outputs[name].shape) for name in RAW_OUTPUTS)
    outputs = (None, anchors, 4), (None, anchors, 1 + len(card.class_names))
    check_shapes(path, received, ((None, *card.preprocessing.input_shape), outputs))

    def predict(images):
        found = signature(images=as_input(signature, images))
        height, width = images.shape[1:3]
        found = {name: value.numpy() for name, value in found.items()}
        boxes = found["boxes"] / np.array((height, width, height, width), np.float32)
        return {**found, "boxes": boxes, "classes": found["classes"].astype(np.int32)}

    return predict


def clipped(found):
    """What LiteRT's operator returns as `detect` does: boxes within the image, integers for classes and counts."""
    return {
        "boxes": np.clip(found["boxes"], 0, 1),
        "classes": found["classes"].astype(np.int32),
        "scores": found["scores"],
        "count": found["count"].astype(np.int32),
    }
