"""Detection: boxes in images, focal and smooth L1 loss, COCO's metrics; files return boxes, suppression inside."""

import types

import numpy as np

from condconv_keras.data.augment.box_augmentation import AUGMENTATIONS
from condconv_keras.data.detection_dataset import DetectionDataset
from condconv_keras.facts.model_card import DETECTION, card_class
from condconv_keras.tasks import progress
from condconv_keras.tasks.detection import exported, postprocessing, predictor, presence
from condconv_keras.tasks.detection.batches import (
    FILLER_ID,
    evaluation_detection_batches,
    training_detection_batches,
    unpadded,
)
from condconv_keras.tasks.detection.boxes import CODE_SCALES, load_operations
from condconv_keras.tasks.detection.coco import CocoEvaluator, DetectionMetrics
from condconv_keras.tasks.detection.predictions import BoxPredictions
from condconv_keras.tasks.detection.recipes import RECIPES, DetectionRecipe
from condconv_keras.tasks.detection.reports import REPORTS
from condconv_keras.tasks.task import Task, Validation
from condconv_keras.utils.files import put_text
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.lazy import OFFICIAL_VISION, LazyModule

answers = LazyModule("condconv_keras.tasks.detection.answers")
losses = LazyModule("condconv_keras.tasks.detection.losses")
serving = LazyModule("condconv_keras.tasks.detection.serving")
tflite = LazyModule("condconv_keras.tasks.detection.tflite")

_SUMMARY = ("AP", "AP50", "AP75")
ANCHORS_FILE = "anchors.json"


class Detection(Task):
    """Boxes in images."""

    card = card_class(DETECTION)
    noun = "detector"
    extra = "detection"
    packages = ("tensorflow", *OFFICIAL_VISION)
    metric_packages = ("tqdm", "pycocotools")

    dataset = DetectionDataset
    folders = "a folder with COCO or Pascal VOC annotations"
    published_data = "coco"

    recipe = DetectionRecipe
    recipes = RECIPES
    small_recipe = "ssd_small"
    augmentations = tuple(AUGMENTATIONS)

    step_means = ("class_loss", "box_loss")
    validation = types.MappingProxyType({"val_AP": "AP", "val_AP50": "AP50"})
    curves = types.MappingProxyType(
        {
            "loss": {"loss": "training", "class_loss": "training, classes", "box_loss": "training, boxes"},
            "average precision": {"val_AP": "validation", "val_AP50": "validation, IoU 0.5"},
        }
    )
    metrics = DetectionMetrics.NAMES

    has_raw_outputs = True
    reports = REPORTS
    predictions = BoxPredictions()

    def card_fields(self, dataset):
        return {"category_ids": dataset.category_ids}

    def training_batches(self, dataset, card, batch_size, recipe, position, shard, data_service=None):
        augmentation = "none" if recipe is None else recipe.augmentation
        return training_detection_batches(dataset, card, batch_size, augmentation, position, shard, data_service)

    def presence_batches(self, dataset, split, preprocessing, batch_size, shard=None):
        return presence.presence_batches(dataset, split, preprocessing, batch_size, shard)

    def network_arguments(self, recipe):
        return {}

    def make_objective(self, recipe, num_classes, class_weights=None):
        """Focal and smooth L1 loss with equal weights, both for each matched anchor; see `tasks.detection`."""
        of_classes, of_boxes = losses.SigmoidFocalLoss(reduction=None), losses.SmoothL1Loss(reduction=None)

        def objective(targets, outputs):
            class_loss = of_classes(targets["class_logits"], outputs["class_logits"])
            box_loss = of_boxes(targets["box_codes"], outputs["box_codes"])
            return class_loss + box_loss, {"class_loss": class_loss, "box_loss": box_loss}

        return objective

    def make_validation(self, model, card, dataset, split, batch_size, repeated=False):
        load_operations()

        def make_batches(shard):
            return evaluation_detection_batches(dataset, split, card.preprocessing, batch_size, repeated, shard)

        return Validation(
            predict=lambda images: predictor.detections(model, card, images),
            make_batches=make_batches,
            examples=dataset.splits[split],
            count=lambda truth: int((truth["image_id"] != FILLER_ID).sum()),
            measure=lambda answers: _measure(answers, card),
        )

    def evaluate(self, predict, card, dataset, split, batch_size, with_progress=False):
        batches = evaluation_detection_batches(dataset, split, card.preprocessing, batch_size)
        if with_progress:
            batches = progress.with_progress(batches, dataset.splits[split])
        answers = ((predict(images), {k: np.asarray(v) for k, v in truth.items()}) for images, truth in batches)
        return _measure(answers, card)

    def summary_rows(self, results):
        return [(name, _figure(results[name])) for name in _SUMMARY]

    def metric_rows(self, metrics):
        """COCO's table, then the AP of every class; "-" where there is nothing to find."""
        results = metrics.to_dict()
        figures = [(name, results[name]) for name in DetectionMetrics.NAMES] + list(metrics.per_class.items())
        return [(name, _figure(value)) for name, value in figures]

    def keras_predict(self, model, card):
        return predictor.keras_predict(model, card)

    def saved_model_predict(self, loaded, path, card):
        return exported.saved_detector(loaded, path, card)

    def tflite_predict(self, path, card, num_threads=None):
        return exported.tflite_detector(path, card, num_threads)

    def endpoints(self, model, card, class_names):
        return serving.endpoints(model, card, class_names)

    def converted_outputs(self, outputs, card, quantize):
        return outputs

    def finish_tflite(self, content, card, quantize, raw_outputs):
        return content if raw_outputs else tflite.with_postprocessing(content, card)

    def tflite_raw_outputs(self, path, images, num_threads=None):
        return tflite.raw_outputs(path, images, num_threads)

    def answers(self, model, card, images):
        return answers.DetectorAnswers(self, model, card, images)

    def output_facts(self, card):
        most = postprocessing.MAX_DETECTIONS
        return {
            "outputs": {"boxes": [most, 4], "classes": [most], "scores": [most], "count": []},
            "box_format": ["ymin", "xmin", "ymax", "xmax"],
            "postprocessing": {
                "max_detections": most,
                "score_threshold": postprocessing.SCORE_THRESHOLD,
                "iou_threshold": postprocessing.IOU_THRESHOLD,
                "code_scales": list(CODE_SCALES),
            },
        }

    def file_facts(self, file_format, card, raw_outputs):
        """The unit of the boxes; of a file with raw outputs these and the file with the anchors."""
        if not (raw_outputs and "raw_outputs" in file_format.flags):
            return {"box_unit": file_format.box_unit}
        anchors = len(card.anchor_boxes)
        shapes = ([anchors, 4], [anchors, 1 + len(card.class_names)])
        return {"outputs": dict(zip(exported.RAW_OUTPUTS, shapes, strict=True)), "anchors": ANCHORS_FILE}

    def write_beside(self, folder, card, raw_outputs):
        """Writes the anchors of raw outputs: (ycenter, xcenter, height, width), fractions of the image."""
        if raw_outputs:
            # The digits that tell float32 numbers apart.
            rows = [[float(f"{value:.9g}") for value in anchor] for anchor in tflite.center_anchors(card).tolist()]
            fields = {"format": ["ycenter", "xcenter", "height", "width"], "anchors": rows}
            put_text(folder / ANCHORS_FILE, json_text(fields, indent=None) + "\n")


def _figure(value):
    return "-" if value is None else f"{value:.4f}"


def _measure(answers, card):
    """The `DetectionMetrics` of (detections, truth) by batch."""
    evaluator = CocoEvaluator(card.names_told_apart())
    for found, truth in answers:
        entries, rows = unpadded(truth)
        evaluator.add({name: np.asarray(value)[rows] for name, value in found.items()}, entries)
    return evaluator.metrics()


TASK = Detection()
