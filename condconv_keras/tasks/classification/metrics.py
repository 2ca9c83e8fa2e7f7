"""Exact evaluation of a classifier: every example is counted once."""

import dataclasses

import numpy as np

_TOP = 5


@dataclasses.dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Results per class: arrays [classes]. A ratio of nothing is 0, as with scikit-learn's `zero_division=0`.

    Attributes:
        support: int64, examples of the class.
        precision: of the examples predicted as the class, the fraction that is.
        recall: of the examples of the class, the fraction predicted as it: the class's own top-1 accuracy.
        f1: harmonic mean of precision and recall.
    """

    support: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Metrics:
    """Results on a labeled set of examples.

    Attributes:
        top_1, top_5: fractions of the examples whose label has the highest, or one of the five highest, probabilities.
        loss: mean cross entropy in nats, without label smoothing and weight decay. A probability below the smallest
            normal float32 counts as that, so that one example adds 87.3 at most.
        examples: number of examples.
        not_finite: number of the examples for which the model returned a NaN or an infinity. They have no prediction:
            they are wrong in every count and lie in no cell of the confusion matrix.
        confusion: int64 [classes, classes], number of examples by class (row) and predicted class (column).
        per_class: `ClassMetrics`.
        subset_classes: None, or of data that has only some of the model's classes how many.
        top_1_subset: with those, the fraction of the examples whose label has the highest probability of them.
    """

    top_1: float
    top_5: float
    loss: float
    examples: int
    not_finite: int
    confusion: np.ndarray = dataclasses.field(repr=False)
    per_class: ClassMetrics = dataclasses.field(repr=False)
    subset_classes: int | None = None
    top_1_subset: float | None = None

    @property
    def precision_macro(self):
        """Mean precision of the classes that occur among the labels."""
        return self._macro(self.per_class.precision)

    @property
    def recall_macro(self):
        """Mean recall of the classes that occur among the labels, also known as balanced accuracy."""
        return self._macro(self.per_class.recall)

    @property
    def f1_macro(self):
        """Mean F1 of the classes that occur among the labels."""
        return self._macro(self.per_class.f1)

    def to_dict(self):
        """Returns the numbers, without those per class, as a dict that JSON can hold."""
        names = ("top_1", "top_5", "loss", "precision_macro", "recall_macro", "f1_macro", "examples", "not_finite")
        if self.subset_classes is not None:
            names += ("subset_classes", "top_1_subset")
        return {name: getattr(self, name) for name in names}

    def _macro(self, values):
        return float(values[self.per_class.support > 0].mean())


def evaluate(predict, batches, subset=None):
    """Evaluates a classifier.

    Of equally probable classes the first is the prediction, as in argmax. The macro averages are what scikit-learn's
    `precision_recall_fscore_support(average="macro", zero_division=0)` gives with `labels=` the classes that occur
    among the labels: a class without examples does not pull them down.

    Args:
        predict: function of images [batch, height, width, channels] that returns probabilities [batch, classes].
        batches: iterable of (images, integer labels [batch]). The label -1 marks an image that only fills up its batch;
            it is not counted.
        subset: indices of the only classes that the labels may have, or None for all; of them there is a top-1 accuracy
            more.

    Returns:
        `Metrics`.

    Raises:
        ValueError: no example.
    """
    counts = None
    for images, labels in batches:
        labels = np.asarray(labels)
        probabilities = np.asarray(predict(images), np.float64)
        counts = counts or _Counts(probabilities.shape[1], subset)
        counts.add(probabilities[labels >= 0], labels[labels >= 0])
    if counts is None or not counts.support.sum():
        raise ValueError("expected at least one example to evaluate")
    return counts.metrics()


class _Counts:
    """What is summed over the batches."""

    def __init__(self, classes, subset):
        self.confusion = np.zeros((classes, classes), np.int64)
        self.support = np.zeros(classes, np.int64)
        self.subset = None if subset is None else np.asarray(subset)
        self.correct_subset = 0
        self.correct_5 = 0
        self.not_finite = 0
        self.loss = 0.0

    def add(self, probabilities, labels):
        np.add.at(self.support, labels, 1)
        finite = np.isfinite(probabilities).all(axis=1)
        self.not_finite += int((~finite).sum())
        np.add.at(self.confusion, (labels[finite], probabilities[finite].argmax(axis=1)), 1)
        if self.subset is not None:
            chosen = self.subset[probabilities[finite][:, self.subset].argmax(axis=1)]
            self.correct_subset += int((chosen == labels[finite]).sum())
        of_label = probabilities[np.arange(len(labels)), labels]
        # The rank of the label: how many classes come before it, more probable or as probable and earlier.
        earlier = np.arange(probabilities.shape[1]) < labels[:, None]
        ahead = (probabilities > of_label[:, None]) | ((probabilities == of_label[:, None]) & earlier)
        self.correct_5 += int(((ahead.sum(axis=1) < _TOP) & finite).sum())
        smallest = np.finfo(np.float32).tiny
        self.loss -= float(np.log(np.maximum(np.where(finite, of_label, 0.0), smallest)).sum())

    def metrics(self):
        examples = int(self.support.sum())
        return Metrics(
            top_1=int(np.trace(self.confusion)) / examples,
            top_5=self.correct_5 / examples,
            loss=self.loss / examples,
            examples=examples,
            not_finite=self.not_finite,
            confusion=self.confusion,
            per_class=_class_metrics(self.confusion, self.support),
            subset_classes=None if self.subset is None else len(self.subset),
            top_1_subset=None if self.subset is None else self.correct_subset / examples,
        )


def _class_metrics(confusion, support):
    correct = np.diag(confusion)
    predicted = confusion.sum(axis=0)
    return ClassMetrics(
        support=support,
        precision=_ratio(correct, predicted),
        recall=_ratio(correct, support),
        f1=_ratio(2 * correct, predicted + support),  # 2pr / (p + r), without the detour over p and r
    )


def _ratio(numerator, denominator):
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
