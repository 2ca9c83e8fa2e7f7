"""Classification: one label an image, cross entropy, top-1 and top-5."""

import types

from condconv_keras.data.input.pipeline import NO_AUGMENTATION, evaluation_batches, training_batches
from condconv_keras.data.opening import open_dataset
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.tasks import progress
from condconv_keras.tasks.classification import metrics
from condconv_keras.tasks.classification.loss import make_loss
from condconv_keras.tasks.classification.prediction import keras_predict, probabilities
from condconv_keras.tasks.task import Task, Validation
from condconv_keras.utils.lazy import tensorflow as tf

_SUMMARY = {"top-1": "top_1", "top-5": "top_5", "loss": "loss"}


class _Classification(Task):
    step_means = ("accuracy",)
    validation = types.MappingProxyType({"val_loss": "loss", "val_accuracy": "top_1", "val_top_5": "top_5"})

    def open_dataset(self, *arguments, **options):
        return open_dataset(*arguments, **options)

    def make_card(self, model, dataset, preprocessing):
        return ModelCard(model, dataset.class_names, preprocessing)

    def training_batches(self, dataset, preprocessing, batch_size, recipe, position, shard, data_service=None):
        return training_batches(
            dataset,
            dataset.train_split,
            preprocessing,
            batch_size,
            NO_AUGMENTATION if recipe is None else recipe.augmentation_options,
            position.seed,
            position.first_epoch,
            position.first_step,
            shard,
            data_service,
        )

    def make_objective(self, recipe, num_classes):
        loss = make_loss(recipe, num_classes)
        return lambda labels, logits: (loss(labels, logits), {"accuracy": _correct(labels, logits)})

    def make_validation(self, model, card, dataset, split, batch_size, repeated=False):
        def make_batches(shard):
            return evaluation_batches(
                dataset, split, card.preprocessing, batch_size, scaled=False, repeated=repeated, shard=shard
            )

        return Validation(
            predict=lambda images: probabilities(model, card, images),
            make_batches=make_batches,
            examples=dataset.splits[split],
            count=lambda labels: int((labels >= 0).sum()),
            measure=lambda answers: metrics.evaluate(lambda answer: answer, answers),
        )

    def evaluate(self, predict, card, dataset, split, batch_size, with_progress=False):
        batches = evaluation_batches(dataset, split, card.preprocessing, batch_size, scaled=False)
        if with_progress:
            batches = progress.with_progress(batches, dataset.splits[split])
        return metrics.evaluate(predict, batches)

    def summary_rows(self, results):
        return [(name, f"{results[key]:.4f}") for name, key in _SUMMARY.items()]

    def fits(self, model, num_classes):
        return len(model.outputs) == 1 and model.output_shape == (None, num_classes)

    def keras_predict(self, model, card):
        return keras_predict(model, card)


def _correct(labels, logits):
    """Whether each example's highest logit is its label's, its most likely label's for a mixed example."""
    if labels.shape.rank == 2:
        labels = tf.argmax(labels, axis=-1)
    return tf.cast(tf.cast(tf.argmax(logits, axis=-1), labels.dtype) == labels, tf.float32)


TASK = _Classification()
