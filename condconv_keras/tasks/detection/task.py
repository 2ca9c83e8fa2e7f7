"""Detection: boxes in images, focal and smooth L1 loss, COCO's metrics."""

import types

import numpy as np

from condconv_keras.facts.model_card import DETECTION, ModelCard
from condconv_keras.tasks.task import Task

_SUMMARY = ("AP", "AP50", "AP75")


class _Detection(Task):
    step_means = ("class_loss", "box_loss")
    validation = types.MappingProxyType({"val_AP": "AP", "val_AP50": "AP50"})

    def open_dataset(self, *arguments, **options):
        from condconv_keras.data import open_detection_dataset

        return open_detection_dataset(*arguments, **options)

    def make_card(self, model, dataset, preprocessing):
        return ModelCard(model, dataset.class_names, preprocessing, DETECTION, dataset.category_ids)

    def training_batches(self, dataset, preprocessing, batch_size, recipe, position, shard, data_service=None):
        from condconv_keras.tasks.detection.batches import training_detection_batches

        augmentation = "none" if recipe is None else recipe.augmentation
        return training_detection_batches(
            dataset, preprocessing, batch_size, augmentation, position, shard, data_service
        )

    def make_objective(self, recipe, num_classes):
        """Focal and smooth L1 loss with equal weights, both for each matched anchor; see `tasks.detection`."""
        from condconv_keras.tasks.detection import SigmoidFocalLoss, SmoothL1Loss

        of_classes, of_boxes = SigmoidFocalLoss(reduction=None), SmoothL1Loss(reduction=None)

        def objective(targets, outputs):
            class_loss = of_classes(targets["class_logits"], outputs["class_logits"])
            box_loss = of_boxes(targets["box_codes"], outputs["box_codes"])
            return class_loss + box_loss, {"class_loss": class_loss, "box_loss": box_loss}

        return objective

    def make_validator(self, strategy, model, card, dataset, split, batch_size, repeated=False):
        from condconv_keras.tasks.detection.batches import FILLER_ID, evaluation_detection_batches
        from condconv_keras.tasks.detection.predictor import detections
        from condconv_keras.training.validation import Validator

        def make_batches(shard):
            return evaluation_detection_batches(dataset, split, card.preprocessing, batch_size, repeated, shard)

        return Validator(
            strategy,
            predict=lambda images: detections(model, card, images),
            make_batches=make_batches,
            examples=dataset.splits[split],
            count=lambda truth: int((truth["image_id"] != FILLER_ID).sum()),
            measure=lambda answers: _measure(answers, card),
        )

    def evaluate(self, predict, card, dataset, split, batch_size, with_progress=False):
        from condconv_keras.tasks.classification import metrics as evaluation
        from condconv_keras.tasks.detection.batches import evaluation_detection_batches

        batches = evaluation_detection_batches(dataset, split, card.preprocessing, batch_size)
        if with_progress:
            batches = evaluation.with_progress(batches, dataset.splits[split])
        answers = ((predict(images), {k: np.asarray(v) for k, v in truth.items()}) for images, truth in batches)
        return _measure(answers, card)

    def summary_rows(self, results):
        return [(name, "-" if results[name] is None else f"{results[name]:.4f}") for name in _SUMMARY]

    def fits(self, model, num_classes):
        from condconv_keras.facts.anchors import ssd_anchors

        anchors = len(ssd_anchors(model.input_shape[1:3]))
        expected = {"box_codes": (None, anchors, 4), "class_logits": (None, anchors, 1 + num_classes)}
        outputs = model.output
        return isinstance(outputs, dict) and {name: tuple(x.shape) for name, x in outputs.items()} == expected

    def keras_predict(self, model, card):
        from condconv_keras.tasks.detection.predictor import keras_predict

        return keras_predict(model, card)


def _measure(answers, card):
    """The `DetectionMetrics` of (detections, truth) by batch."""
    from condconv_keras.tasks.detection import CocoEvaluator
    from condconv_keras.tasks.detection.batches import unpadded

    evaluator = CocoEvaluator(card.class_names)
    for found, truth in answers:
        entries, rows = unpadded(truth)
        evaluator.add({name: np.asarray(value)[rows] for name, value in found.items()}, entries)
    return evaluator.metrics()


TASK = _Detection()
