"""Exact evaluation of a network under a distribution strategy: every example is counted once."""

import numpy as np
import tensorflow as tf
import tqdm

from condconv_keras.training.distribution import distributed_batches


class Validator:
    """Evaluates a model on a split, each replica on its part of it.

    Args:
        strategy: `tf.distribute.Strategy` that the model was made under.
        predict: function of a batch of images that returns a tensor or a dict of tensors, [batch, ...].
        make_batches: function of an `InputShard` that returns the pipeline's batches, as of `evaluation_stream`.
        examples: number of examples of the split.
        count: function of a batch's labels, NumPy arrays, that returns how many of them are no fillers.
        measure: function of an iterable of (predictions, labels), NumPy arrays of the batches of all replicas, fillers
            among them, that returns the metrics.
    """

    def __init__(self, strategy, *, predict, make_batches, examples, count, measure):
        self._strategy = strategy
        self._predict = predict
        self._examples = examples
        self._count = count
        self._measure = measure
        self._batches = distributed_batches(strategy, make_batches)
        self._step = tf.function(self._gathered_step, reduce_retracing=True)

    def __call__(self):
        """Returns the metrics with the model's present weights; every worker gets those of all."""
        return self._measure(self._gathered())

    def _gathered(self):
        with tqdm.tqdm(total=self._examples, desc="Evaluating", unit="img", leave=False, disable=None) as bar:
            for images, labels in self._batches:
                predictions, labels = tf.nest.map_structure(np.array, self._step(images, labels))
                yield predictions, labels
                bar.update(self._count(labels))

    def _gathered_step(self, images, labels):
        values = self._strategy.run(lambda images, labels: (self._predict(images), labels), args=(images, labels))
        return tf.nest.map_structure(lambda value: self._strategy.gather(value, axis=0), values)
