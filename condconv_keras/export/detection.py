"""Export of detectors: boxes, classes and scores, non-maximum suppression inside; or what the network returns."""

import json

from condconv_keras.export.check.detector_answers import DetectorAnswers
from condconv_keras.export.task import ExportTask
from condconv_keras.export.tflite.postprocessing import center_anchors, with_postprocessing
from condconv_keras.stored.exported_detector import RAW_OUTPUTS
from condconv_keras.tasks.detection.boxes import CODE_SCALES
from condconv_keras.tasks.detection.postprocessing import IOU_THRESHOLD, MAX_DETECTIONS, SCORE_THRESHOLD
from condconv_keras.utils.lazy import LazyModule

detector = LazyModule("condconv_keras.export.saved_model.detector")

ANCHORS = "anchors.json"


class DetectorExport(ExportTask):
    """The answers are detections, or what the network returns."""

    def endpoints(self, model, card, class_names):
        return detector.endpoints(model, card, class_names)

    def converted_outputs(self, outputs, quantize):
        return outputs

    def finish(self, content, card, quantize, raw_outputs):
        if raw_outputs:
            return content
        return with_postprocessing(content, card)

    def answers(self, model, card, images):
        return DetectorAnswers(model, card, images)

    def facts(self, card):
        most = MAX_DETECTIONS
        return {
            "outputs": {"boxes": [most, 4], "classes": [most], "scores": [most], "count": []},
            "box_format": ["ymin", "xmin", "ymax", "xmax"],
            "postprocessing": {
                "max_detections": most,
                "score_threshold": SCORE_THRESHOLD,
                "iou_threshold": IOU_THRESHOLD,
                "code_scales": list(CODE_SCALES),
            },
        }

    def file_facts(self, file_format, card, raw_outputs):
        """The unit of the boxes; of a file with raw outputs these and the file with the anchors."""
        if not (raw_outputs and "raw_outputs" in file_format.flags):
            return {"box_unit": file_format.box_unit}
        anchors = len(center_anchors(card))
        shapes = ([anchors, 4], [anchors, 1 + len(card.class_names)])
        return {"outputs": dict(zip(RAW_OUTPUTS, shapes, strict=True)), "anchors": ANCHORS}

    def write_beside(self, folder, card, raw_outputs):
        """Writes the anchors of raw outputs: (ycenter, xcenter, height, width), fractions of the image."""
        if raw_outputs:
            # The digits that tell float32 numbers apart.
            rows = [[float(f"{value:.9g}") for value in anchor] for anchor in center_anchors(card).tolist()]
            fields = {"format": ["ycenter", "xcenter", "height", "width"], "anchors": rows}
            (folder / ANCHORS).write_text(json.dumps(fields) + "\n", encoding="utf-8")
