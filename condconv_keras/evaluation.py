"""Exact evaluation of a classifier: every example is counted once."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Metrics:
    """Results on a labelled set of examples.

    Attributes:
        top_1, top_5: fractions of the examples whose label has the highest, or one of the five highest, probabilities.
        loss: mean cross entropy in nats, without label smoothing and weight decay.
        examples: number of examples.
    """

    top_1: float
    top_5: float
    loss: float
    examples: int

    def to_dict(self):
        """Returns the fields as a dict."""
        return dataclasses.asdict(self)


def evaluate(predict, batches):
    """Evaluates a classifier.

    Args:
        predict: function of images [batch, height, width, channels] that returns probabilities [batch, classes].
        batches: iterable of (images, integer labels [batch]).

    Returns:
        `Metrics`.

    Raises:
        ValueError: no example.
    """
    correct_1 = correct_5 = examples = 0
    loss = 0.0
    for images, labels in batches:
        labels = np.asarray(labels)
        probabilities = np.asarray(predict(images), np.float64)
        of_label = probabilities[np.arange(len(labels)), labels]
        # The rank of the label: how many classes are more probable. Of equal ones the first counts, as in argmax.
        earlier = np.arange(probabilities.shape[1]) < labels[:, None]
        ahead = (probabilities > of_label[:, None]) | ((probabilities == of_label[:, None]) & earlier)
        rank = ahead.sum(axis=1)
        correct_1 += int((rank < 1).sum())
        correct_5 += int((rank < 5).sum())
        loss -= float(np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).sum())
        examples += len(labels)
    if not examples:
        raise ValueError("expected at least one example to evaluate")
    return Metrics(correct_1 / examples, correct_5 / examples, loss / examples, examples)
