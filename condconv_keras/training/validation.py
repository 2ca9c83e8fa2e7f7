"""Exact evaluation of a network under a distribution strategy: every example is counted once."""

import numpy as np

from condconv_keras.training.distribution import distributed_batches
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

tqdm = LazyModule("tqdm")


class Validator:
    """Evaluates a model on a split, each replica on its part of it.

    Args:
        strategy: `tf.distribute.Strategy` that the model was made under.
        validation: `condconv_keras.tasks.task.Validation`.
    """

    def __init__(self, strategy, validation):
        self._strategy = strategy
        self._validation = validation
        self._batches = distributed_batches(strategy, validation.make_batches)
        self._step = tf.function(self._gathered_step, reduce_retracing=True)

    def __call__(self):
        """Returns the metrics with the model's present weights; every worker gets those of all."""
        return self._validation.measure(self._gathered())

    def _gathered(self):
        examples = self._validation.examples
        with tqdm.tqdm(total=examples, desc="Evaluating", unit="img", leave=False, disable=None) as bar:
            for images, labels in self._batches:
                predictions, labels = tf.nest.map_structure(np.array, self._step(images, labels))
                yield predictions, labels
                bar.update(self._validation.count(labels))

    def _gathered_step(self, images, labels):
        def answer(images, labels):
            return self._validation.predict(images), labels

        values = self._strategy.run(answer, args=(images, labels))
        return tf.nest.map_structure(lambda value: self._strategy.gather(value, axis=0), values)
