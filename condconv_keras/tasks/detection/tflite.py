"""Puts what follows a detector's network behind it in a `.tflite` file: limits of sizes, scores, box decoding and NMS.

Non-maximum suppression is the custom operator `TFLite_Detection_PostProcess`, which the runtimes of LiteRT and
TensorFlow Lite have. All of it computes in float32, in every mode: eight bits cannot tell low scores apart.

With T > 1 threads the operator leaves out class T (tensorflow/tensorflow#56058; still so in LiteRT 2.3). So it is given
`UNUSED_CLASSES` classes before the real ones that no box has, and their number is taken off what it returns.
"""

import pathlib
import tempfile

import numpy as np

from condconv_keras.serving.tflite_graph import TFLiteGraph
from condconv_keras.tasks.detection.boxes import CODE_SCALES
from condconv_keras.tasks.detection.exported import DETECTIONS, RAW_OUTPUTS, LiteRTDetector
from condconv_keras.tasks.detection.postprocessing import IOU_THRESHOLD, MAX_DETECTIONS, SCORE_THRESHOLD
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule

box_ops = LazyModule("official.vision.ops.box_ops", extra="detection")
flexbuffers = LazyModule("flatbuffers.flexbuffers")

OPERATOR = "TFLite_Detection_PostProcess"
# No class is left out with less threads than this; each costs a look at every anchor's zero.
UNUSED_CLASSES = 64
# A center has no limit.
_ANY = 3e38


def with_postprocessing(content, card):
    """Makes a file with raw outputs one that returns detections.

    Args:
        content: bytes of a file that returns `box_codes` and `class_logits`.
        card: the detector's `ModelCard`.

    Returns:
        The bytes of a file that returns `boxes` [1, max, 4] (fractions of the image, not clipped), `classes` [1, max],
        `scores` [1, max] and `count` [1], all float32, with the limits of `condconv_keras.tasks.detection.detect`, and
        what else the given file returns.

    Raises:
        UserError: the file takes several images at a time.
    """
    graph = TFLiteGraph(content)
    further = graph.outputs
    codes, logits = (further.pop(name) for name in RAW_OUTPUTS)
    if graph.shape(codes)[0] != 1:
        raise UserError(f"the operator {OPERATOR} takes one image, received a batch of {graph.shape(codes)[0]}")
    for name, tensor in zip(RAW_OUTPUTS, (codes, logits), strict=True):
        graph.rename(tensor, name)
    limits = graph.add_constant("largest_codes", _largest_codes())
    (codes,) = graph.add_operator("MINIMUM", [codes, limits], {"limited_codes": graph.shape(codes)})
    scores = _add_scores(graph, logits)
    anchors = graph.add_constant("anchors", center_anchors(card))
    most = MAX_DETECTIONS
    shapes = {"boxes": [1, most, 4], "shifted_classes": [1, most], "scores": [1, most], "count": [1]}
    options = postprocessing_options(len(card.class_names))
    boxes, classes, scores, count = graph.add_operator(OPERATOR, [codes, scores, anchors], shapes, _flexbuffer(options))
    classes = _add_classes(graph, classes)
    found = dict(zip(DETECTIONS, (boxes, classes, scores, count), strict=True))
    graph.set_outputs({**found, **further})
    return graph.to_bytes()


def without_postprocessing(content):
    """Returns the file that `with_postprocessing` was given, but for unused tensors."""
    graph = TFLiteGraph(content)
    graph.set_outputs({name: graph.find(name) for name in RAW_OUTPUTS})
    return graph.to_bytes()


def raw_outputs(path, images, num_threads=None):
    """Returns what the network in a detector's file returns; as of `Task.tflite_raw_outputs`."""
    detector = LiteRTDetector(path, num_threads)
    if detector.has_raw_outputs:
        return detector.run(images)
    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory() as folder:
        network = pathlib.Path(folder, path.name)
        network.write_bytes(without_postprocessing(path.read_bytes()))
        return LiteRTDetector(network, num_threads).run(images)


def center_anchors(card):
    """The anchors as center and size, float32 [anchors, 4] (ycenter, xcenter, height, width), fractions of an image."""
    ymin, xmin, ymax, xmax = card.anchor_boxes.astype(np.float64).T
    columns = ((ymin + ymax) / 2, (xmin + xmax) / 2, ymax - ymin, xmax - xmin)
    return np.stack(columns, axis=-1).astype(np.float32)


def postprocessing_options(classes):
    """The attributes of the operator for a number of classes."""
    most = MAX_DETECTIONS
    scales = dict(zip(("y_scale", "x_scale", "h_scale", "w_scale"), CODE_SCALES, strict=True))
    return {
        "max_detections": most,
        "max_classes_per_detection": 1,
        "detections_per_class": most,
        "use_regular_nms": True,
        "nms_score_threshold": SCORE_THRESHOLD,
        "nms_iou_threshold": IOU_THRESHOLD,
        "num_classes": UNUSED_CLASSES + classes,
        **scales,
    }


def _add_scores(graph, logits):
    """The scores of all classes: the unused ones, one of them in the place of the background, then the real ones."""
    shape = graph.shape(logits)
    (scores,) = graph.add_operator("LOGISTIC", [logits], {"all_scores": shape})
    is_class = graph.add_constant("is_class", np.array([0] + [1] * (shape[-1] - 1), np.float32))
    (scores,) = graph.add_operator("MUL", [scores, is_class], {"class_scores": shape}, fusedActivationFunction=0)
    padding = graph.add_constant("unused_classes", np.array([[0, 0], [0, 0], [UNUSED_CLASSES, 0]], np.int32))
    wide = [*shape[:-1], UNUSED_CLASSES + shape[-1]]
    (scores,) = graph.add_operator("PAD", [scores, padding], {"padded_scores": wide})
    return scores


def _add_classes(graph, classes):
    """The numbers of the real classes; 0 after the detections, as the operator fills up."""
    shape = graph.shape(classes)
    unused = graph.add_constant("number_of_unused", np.array(UNUSED_CLASSES, np.float32))
    (classes,) = graph.add_operator("SUB", [classes, unused], {"real_classes": shape}, fusedActivationFunction=0)
    (classes,) = graph.add_operator("RELU", [classes], {"classes": shape})
    return classes


def _largest_codes():
    """The codes, float32 [4], of the largest box that `decode_boxes` returns."""
    _, _, height, width = CODE_SCALES
    return np.array([_ANY, _ANY, box_ops.BBOX_XFORM_CLIP * height, box_ops.BBOX_XFORM_CLIP * width], np.float32)


def _flexbuffer(options):
    builder = flexbuffers.Builder()
    add = {bool: builder.Bool, int: builder.Int, float: builder.Float}
    with builder.Map():
        for name, value in options.items():
            add[type(value)](name, value)
    return bytes(builder.Finish())
