"""Exact evaluation of a network under a distribution strategy: every example is counted once."""

import numpy as np
import tensorflow as tf
import tqdm

from condconv_keras.data import evaluation_batches
from condconv_keras.evaluation import evaluate
from condconv_keras.predictors import probabilities
from condconv_keras.training.distribution import distributed_batches


class Validator:
    """Evaluates a classifier on a split, each replica on its part of it.

    Args:
        strategy: `tf.distribute.Strategy` that the model was made under.
        model: classifier that returns logits or probabilities.
        card: its `ModelCard`.
        dataset: `ImageDataset`.
        split: name of one of its splits.
        batch_size: images at a time on one replica.
        repeated: whether it will be called more than once, as in `evaluation_batches`.
    """

    def __init__(self, strategy, model, card, dataset, split, batch_size, repeated=False):
        self._strategy = strategy
        self._model = model
        self._card = card
        self._examples = dataset.splits[split]

        def make_batches(shard):
            return evaluation_batches(
                dataset, split, card.preprocessing, batch_size, scaled=False, repeated=repeated, shard=shard
            )

        self._batches = distributed_batches(strategy, make_batches)
        self._step = tf.function(self._probabilities, reduce_retracing=True)

    def __call__(self):
        """Returns the `Metrics` with the model's present weights; every worker gets those of all."""
        return evaluate(lambda answers: answers, self._gathered())

    def _gathered(self):
        """Yields (probabilities, labels) of the batches of all replicas; a label of -1 is a filler."""
        with tqdm.tqdm(total=self._examples, desc="Evaluating", unit="img", leave=False, disable=None) as bar:
            for images, labels in self._batches:
                answers, labels = (np.array(values) for values in self._step(images, labels))
                yield answers, labels
                bar.update(int((labels >= 0).sum()))

    def _probabilities(self, images, labels):
        def of_replica(images, labels):
            return probabilities(self._model, self._card, images), labels

        values = self._strategy.run(of_replica, args=(images, labels))
        return [self._strategy.gather(value, axis=0) for value in values]
