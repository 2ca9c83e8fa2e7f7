"""Classification: one label an image, cross entropy, top-1 and top-5; files return probabilities, softmax inside."""

import types

from condconv_keras.data.augment.augmentation import SPATIAL
from condconv_keras.data.dataset import ImageDataset
from condconv_keras.data.input.pipeline import NO_AUGMENTATION, evaluation_batches, training_batches
from condconv_keras.facts.model_card import CLASSIFICATION, LOGITS, card_class
from condconv_keras.models.returned import softmax_input, with_returns
from condconv_keras.serving.litert import OUTPUT
from condconv_keras.tasks import progress
from condconv_keras.tasks.classification import metrics, predictor, presence
from condconv_keras.tasks.classification.loss import balanced_weights, make_loss
from condconv_keras.tasks.classification.predictions import ClassPredictions
from condconv_keras.tasks.classification.recipes import RECIPES, ClassificationRecipe
from condconv_keras.tasks.classification.reports import REPORTS
from condconv_keras.tasks.task import Task, Validation
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

answers = LazyModule("condconv_keras.tasks.classification.answers")
serving = LazyModule("condconv_keras.tasks.classification.serving")
tflite = LazyModule("condconv_keras.tasks.classification.tflite")

_SUMMARY = {"top-1": "top_1", "top-5": "top_5", "loss": "loss"}
# Of the classes of an evaluation with so many times more examples of one than of another the recall is shown: of the
# ten that are recognized worst.
_UNEVEN = 2
_SHOWN_CLASSES = 10


class Classification(Task):
    """One label an image."""

    card = card_class(CLASSIFICATION)
    noun = "classifier"

    dataset = ImageDataset
    folders = "a folder of images by class"
    published_data = "imagenet"

    recipe = ClassificationRecipe
    recipes = RECIPES
    small_recipe = "small"
    augmentations = tuple(SPATIAL)

    step_means = ("accuracy",)
    validation = types.MappingProxyType({"val_loss": "loss", "val_accuracy": "top_1", "val_top_5": "top_5"})
    curves = types.MappingProxyType(
        {
            "loss": {"loss": "training", "val_loss": "validation"},
            "accuracy": {"accuracy": "training", "val_accuracy": "validation", "val_top_5": "validation, top-5"},
        }
    )
    metrics = tuple(_SUMMARY.values())

    has_metadata = True

    reports = REPORTS
    predictions = ClassPredictions()

    def check_training_data(self, dataset):
        if len(dataset.class_names) < 2:
            raise UserError(
                f"expected two classes or more in {dataset.name!r}, received {', '.join(dataset.class_names)!r} alone: "
                "there is nothing to tell apart"
            )

    def card_fields(self, dataset):
        return {"returns": LOGITS}  # what `make_objective` takes

    def training_batches(self, dataset, card, batch_size, recipe, position, shard, data_service=None):
        return training_batches(
            dataset,
            dataset.train_split,
            card.preprocessing,
            batch_size,
            NO_AUGMENTATION if recipe is None else recipe.augmentation_options,
            position.seed,
            position.first_epoch,
            position.first_step,
            shard,
            data_service,
        )

    def presence_batches(self, dataset, split, preprocessing, batch_size, shard=None):
        return presence.presence_batches(dataset, split, preprocessing, batch_size, shard)

    def network_arguments(self, recipe):
        arguments = {"dropout_rate": recipe.dropout_rate}
        if recipe.stochastic_depth_rate:
            arguments["stochastic_depth_rate"] = recipe.stochastic_depth_rate
        return arguments

    def make_objective(self, recipe, num_classes, class_weights=None):
        loss = make_loss(recipe, num_classes, class_weights)
        return lambda labels, logits: (loss(labels, logits), {"accuracy": _correct(labels, logits)})

    def class_weights(self, recipe, dataset):
        if recipe.class_weights == "none":
            return None
        return balanced_weights(dataset.class_counts(dataset.train_split))

    def data_facts(self, recipe, dataset):
        if not dataset.has_labels_in_memory and recipe.class_weights == "none":
            return {}
        counts = dataset.class_counts(dataset.train_split).tolist()
        return {"class_counts": [*map(list, zip(dataset.class_names, counts, strict=True))]}

    def make_validation(self, model, card, dataset, split, batch_size, repeated=False):
        card = with_returns(model, card)

        def make_batches(shard):
            return evaluation_batches(
                dataset, split, card.preprocessing, batch_size, scaled=False, repeated=repeated, shard=shard
            )

        return Validation(
            predict=lambda images: predictor.probabilities(model, card, images),
            make_batches=make_batches,
            examples=dataset.splits[split],
            count=lambda labels: int((labels >= 0).sum()),
            measure=lambda answers: metrics.evaluate(lambda answer: answer, answers, dataset.present_classes),
        )

    def evaluate(self, predict, card, dataset, split, batch_size, with_progress=False):
        batches = evaluation_batches(dataset, split, card.preprocessing, batch_size, scaled=False)
        if with_progress:
            batches = progress.with_progress(batches, dataset.splits[split])
        return metrics.evaluate(predict, batches, dataset.present_classes)

    def result_facts(self, metrics, card):
        support, recall = metrics.per_class.support, metrics.per_class.recall
        if support.max() < _UNEVEN * support.min():
            return {}
        return {"recall_by_class": [*map(list, zip(card.class_names, recall.tolist(), strict=True))]}

    def summary_rows(self, results):
        rows = [(name, f"{results[key]:.4f}") for name, key in _SUMMARY.items()]
        lowest = sorted(results.get("recall_by_class", []), key=lambda pair: pair[1])[:_SHOWN_CLASSES]
        return rows + [(f"recall of {name}", f"{recall:.4f}") for name, recall in lowest]

    def metric_rows(self, metrics):
        results = metrics.to_dict()
        rows = self.summary_rows(results)
        if metrics.subset_classes is not None:
            among = f"among the {metrics.subset_classes} classes of the data"
            rows.insert(1, ("top-1 subset", f"{metrics.top_1_subset:.4f}, {among}"))
        rows += [(f"macro {name}", f"{results[f'{name}_macro']:.4f}") for name in ("precision", "recall", "f1")]
        if results["not_finite"]:
            rows.append(("not finite", f"{results['not_finite']} answers, counted as wrong"))
        return rows

    def keras_predict(self, model, card):
        return predictor.keras_predict(model, card)

    def saved_model_predict(self, loaded, path, card):
        return predictor.saved_model_predict(loaded, path, card)

    def tflite_predict(self, path, card, num_threads=None):
        return predictor.tflite_predict(path, card, num_threads)

    def endpoints(self, model, card, class_names):
        return serving.endpoints(model, card, class_names)

    def converted_outputs(self, outputs, card, quantize):
        if card.returns == LOGITS:
            return {tflite.LOGITS: outputs} if quantize else {OUTPUT: tf.nn.softmax(outputs)}
        # Without a softmax at its end, the network's own probabilities are quantized.
        logits = softmax_input(outputs) if quantize else None
        return {OUTPUT: outputs} if logits is None else {tflite.LOGITS: logits}

    def finish_tflite(self, content, card, quantize, raw_outputs):
        return tflite.with_softmax(content) if quantize else content

    def answers(self, model, card, images):
        return answers.ClassifierAnswers(model, card, images)

    def output_facts(self, card):
        return {"outputs": {OUTPUT: [len(card.class_names)]}}

    def file_facts(self, file_format, card, raw_outputs):
        return {}

    def write_beside(self, folder, card, raw_outputs):
        pass


def _correct(labels, logits):
    """Whether each example's highest logit is its label's, its most likely label's for a mixed example."""
    if labels.shape.rank == 2:
        labels = tf.argmax(labels, axis=-1)
    return tf.cast(tf.cast(tf.argmax(logits, axis=-1), labels.dtype) == labels, tf.float32)


TASK = Classification()
