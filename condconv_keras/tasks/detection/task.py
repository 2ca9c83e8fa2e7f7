"""Detection: boxes in images, focal and smooth L1 loss, COCO's metrics."""

import types

import numpy as np

from condconv_keras.data.opening import open_detection_dataset
from condconv_keras.facts.anchors import ssd_anchors
from condconv_keras.facts.model_card import DETECTION, ModelCard
from condconv_keras.tasks import progress
from condconv_keras.tasks.detection.batches import (
    FILLER_ID,
    evaluation_detection_batches,
    training_detection_batches,
    unpadded,
)
from condconv_keras.tasks.detection.boxes import load_operations
from condconv_keras.tasks.detection.coco import CocoEvaluator
from condconv_keras.tasks.detection.predictor import detections, keras_predict
from condconv_keras.tasks.task import Task, Validation
from condconv_keras.utils.lazy import OFFICIAL_VISION, LazyModule

losses = LazyModule("condconv_keras.tasks.detection.losses")

_SUMMARY = ("AP", "AP50", "AP75")


class _Detection(Task):
    extra = "detection"
    packages = ("tensorflow", *OFFICIAL_VISION)
    metric_packages = ("tqdm", "pycocotools")
    step_means = ("class_loss", "box_loss")
    validation = types.MappingProxyType({"val_AP": "AP", "val_AP50": "AP50"})

    def open_dataset(self, *arguments, **options):
        return open_detection_dataset(*arguments, **options)

    def make_card(self, model, dataset, preprocessing):
        return ModelCard(model, dataset.class_names, preprocessing, DETECTION, dataset.category_ids)

    def training_batches(self, dataset, preprocessing, batch_size, recipe, position, shard, data_service=None):
        augmentation = "none" if recipe is None else recipe.augmentation
        return training_detection_batches(
            dataset, preprocessing, batch_size, augmentation, position, shard, data_service
        )

    def make_objective(self, recipe, num_classes):
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
            predict=lambda images: detections(model, card, images),
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
        return [(name, "-" if results[name] is None else f"{results[name]:.4f}") for name in _SUMMARY]

    def fits(self, model, num_classes):
        anchors = len(ssd_anchors(model.input_shape[1:3]))
        expected = {"box_codes": (None, anchors, 4), "class_logits": (None, anchors, 1 + num_classes)}
        outputs = model.output
        return isinstance(outputs, dict) and {name: tuple(x.shape) for name, x in outputs.items()} == expected

    def keras_predict(self, model, card):
        return keras_predict(model, card)


def _measure(answers, card):
    """The `DetectionMetrics` of (detections, truth) by batch."""
    evaluator = CocoEvaluator(card.class_names)
    for found, truth in answers:
        entries, rows = unpadded(truth)
        evaluator.add({name: np.asarray(value)[rows] for name, value in found.items()}, entries)
    return evaluator.metrics()


TASK = _Detection()
