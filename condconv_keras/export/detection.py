"""Export of detectors: boxes, classes and scores, non-maximum suppression inside; or what the network returns."""

import json

from condconv_keras.export.modes import SAVED_MODEL
from condconv_keras.export.tasks import ExportTask
from condconv_keras.stored.exported_detector import RAW_OUTPUTS
from condconv_keras.tasks.detection.boxes import CODE_SCALES
from condconv_keras.tasks.detection.postprocessing import IOU_THRESHOLD, MAX_DETECTIONS, SCORE_THRESHOLD

ANCHORS = "anchors.json"


class _Detection(ExportTask):
    def endpoints(self, model, card, class_names):
        from condconv_keras.export.saved_model.detector import endpoints

        return endpoints(model, card, class_names)

    def converted_outputs(self, outputs, quantize):
        return outputs

    def finish(self, content, card, quantize, raw_outputs):
        if raw_outputs:
            return content
        from condconv_keras.export.tflite.postprocessing import with_postprocessing

        return with_postprocessing(content, card)

    def answers(self, model, card, images):
        from condconv_keras.export.check.detector_answers import DetectorAnswers

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

    def file_facts(self, mode, card, raw_outputs):
        """The unit of the boxes; of a file with raw outputs these and the file with the anchors."""
        if mode is SAVED_MODEL:
            return {"box_unit": "pixel"}
        if not raw_outputs:
            return {"box_unit": "fraction"}
        anchors = len(_anchors(card))
        shapes = ([anchors, 4], [anchors, 1 + len(card.class_names)])
        return {"outputs": dict(zip(RAW_OUTPUTS, shapes, strict=True)), "anchors": ANCHORS}

    def write_beside(self, folder, card, raw_outputs):
        """Writes the anchors of raw outputs: (ycenter, xcenter, height, width), fractions of the image."""
        if raw_outputs:
            # The digits that tell float32 numbers apart.
            rows = [[float(f"{value:.9g}") for value in anchor] for anchor in _anchors(card).tolist()]
            fields = {"format": ["ycenter", "xcenter", "height", "width"], "anchors": rows}
            (folder / ANCHORS).write_text(json.dumps(fields) + "\n", encoding="utf-8")


def _anchors(card):
    from condconv_keras.export.tflite.postprocessing import centre_anchors

    return centre_anchors(card)


TASK = _Detection()
