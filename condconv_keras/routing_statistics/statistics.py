"""Statistics of routing weights, gathered batch by batch in memory that does not grow with the number of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from condconv_keras.utils.errors import UserError

BINS = 50
BIN_EDGES = np.linspace(0, 1, BINS + 1)
ON = 0.5  # an expert is on for an image where its weight is above
DEAD_MEAN = 0.1  # a dead expert is never on and has a lower mean weight
ALWAYS_ON_MEAN = 0.9  # one that is always on has a higher one, besides
SATURATED = (0.05, 0.95)  # a weight below the first or above the second: the sigmoid's slope is under 0.05 there
NEAR_BINS = BINS // 10  # at either end of the histogram: weights within 0.1 of 0, of 1


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LayerStatistics:
    """The routing weights of one layer on a set of images. Deviations are those of the population (divided by n).

    Attributes:
        name: of the layer.
        class_count: int64 [classes], images with the class in them.
        classed_images: images with at least one class.
        mean, std: float64 [classes, experts], over the images of a class; NaN for a class without images.
        overall_mean, overall_std: float64 [experts], over all images, those without any class too.
        above_half: float64 [experts], the share of all images for which the expert is on (above `ON`), in [0, 1].
        saturated: float64 [experts], the share of all images for which the expert's weight is below 0.05 or above 0.95
            (`SATURATED`), in [0, 1].
        histogram: int64 [experts, BINS], all images' weights by the bins of `BIN_EDGES`, each closed below and open
            above, the last one closed. A weight outside [0, 1], which no sigmoid gives, counts in the bin next to it.
    """

    name: str
    class_count: np.ndarray
    classed_images: int
    mean: np.ndarray
    std: np.ndarray
    overall_mean: np.ndarray
    overall_std: np.ndarray
    above_half: np.ndarray
    saturated: np.ndarray
    histogram: np.ndarray

    @property
    def experts(self) -> int:
        """The number of experts."""
        return len(self.overall_mean)

    @property
    def class_variance(self) -> np.ndarray:
        """Between-class variance of each expert's weight, float64 [experts].

        That is the variance of the class means around their mean, classes weighted by their images. 0 where no class
        has an image.
        """
        count, mean = self._seen
        if not len(count):
            return np.zeros(self.experts)
        share = count[:, None] / count.sum()
        return (share * (mean - (share * mean).sum(axis=0)) ** 2).sum(axis=0)

    @property
    def class_specificity(self) -> float:
        """Between-class variance over total variance of the weights, each summed over the experts, in [0, 1].

        Total is between plus within: the mean over classes, weighted by their images, of the variance inside a class.
        An image with several classes counts once for each, one without any not at all. Also known as the correlation
        ratio, eta squared. 0 where nothing varies.
        """
        count, _ = self._seen
        if not len(count):
            return 0.0
        within = (count[:, None] * self.std[self.class_count > 0] ** 2).sum() / count.sum()
        between = self.class_variance.sum()
        return float(between / (between + within)) if between + within > 0 else 0.0

    @property
    def chance_specificity(self) -> float:
        """What `class_specificity` would be on average if the images' classes were dealt out anew at random.

        With few images of many classes that is not near 0. For C classes with images, M images with a class and N pairs
        of both it is (C M - N) / (N (M - 1)): the mean of a class of n images varies by (M - n) / (n (M - 1)) of the
        variance. With one class an image, (C - 1) / (M - 1).
        """
        count, _ = self._seen
        images, pairs = self.classed_images, count.sum()
        return float((len(count) * images - pairs) / (pairs * (images - 1))) if images > 1 else 0.0

    @property
    def dead(self) -> list[int]:
        """Indices of the experts that are on for no image and have a mean below `DEAD_MEAN`, a list."""
        return np.flatnonzero((self.above_half == 0) & (self.overall_mean < DEAD_MEAN)).tolist()

    @property
    def always_on(self) -> list[int]:
        """Indices of the experts that are on for every image and have a mean above `ALWAYS_ON_MEAN`, a list."""
        return np.flatnonzero((self.above_half == 1) & (self.overall_mean > ALWAYS_ON_MEAN)).tolist()

    @property
    def near_0(self) -> float:
        """The share of all weights that are below 0.1."""
        return float(self.histogram[:, :NEAR_BINS].sum() / self.histogram.sum())

    @property
    def near_1(self) -> float:
        """The share of all weights that are at least 0.9."""
        return float(self.histogram[:, -NEAR_BINS:].sum() / self.histogram.sum())

    @property
    def in_use(self) -> int:
        """The number of experts that are not `dead`, from 0 to `experts`."""
        return self.experts - len(self.dead)

    @property
    def routed(self) -> slice:
        """The experts that the router decides on: all but a first one whose weight is 1 for every image.

        An anchored expert is of that kind, while it is trained and in the file that the run leaves.
        """
        pinned = self.experts > 1 and self.overall_mean[0] == 1 and self.overall_std[0] == 0
        return slice(1 if pinned else 0, self.experts)

    @property
    def saturation(self) -> float:
        """The share of the `routed` experts' weights that are below 0.05 or above 0.95, in [0, 1].

        A router learns little from them.
        """
        return float(self.saturated[self.routed].mean())

    @property
    def spread(self) -> float:
        """The deviation of an expert's weight over all images, mean over the `routed` experts.

        In [0, 0.5] for a sigmoid, and 0 where every image gets the same kernel.
        """
        return float(self.overall_std[self.routed].mean())

    def top_classes(self, count: int) -> np.ndarray:
        """The classes with the highest mean weights of each expert, best first, int64 [experts, at most `count`].

        Of equal ones the first comes first; classes without images are left out.
        """
        seen = np.flatnonzero(self.class_count)
        order = np.argsort(-self.mean[seen], axis=0, kind="stable")[:count]
        return seen[order].T

    @property
    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts and means of the classes that have images."""
        seen = self.class_count > 0
        return self.class_count[seen], self.mean[seen]


def mean_of_layers(layers: Sequence[LayerStatistics], name: str) -> float:
    """The `"saturation"` or `"spread"` (`name`) of the `routed` experts of all layers together."""
    counts = [layer.experts - layer.routed.start for layer in layers]
    return float(np.average([getattr(layer, name) for layer in layers], weights=counts))


class RoutingStatistics:
    """Gathers the routing weights of a network's layers by class.

    Mean and variance are merged from batch to batch, in float64, by the pairwise rule of Chan, Golub and LeVeque
    ("Algorithms for computing the sample variance", 1983): no difference of large sums, so a small deviation far from
    0 is kept. The result depends on the order and the size of the batches by rounding only.

    Args:
        layers: sequence of (name, number of experts), input first.
        class_names: sequence of strings.
    """

    def __init__(self, layers: Sequence[tuple[str, int]], class_names: Iterable[str]) -> None:
        self.names = tuple(name for name, _ in layers)
        self.experts = tuple(experts for _, experts in layers)
        self.class_names = tuple(class_names)
        # The layers lie side by side, so that every sum is one NumPy call for all of them.
        width = sum(self.experts)
        self._by_class = _Moments(len(self.class_names), width)
        self._overall = _Moments(1, width)
        self._classed_images = 0
        self._above_half = np.zeros(width, np.int64)
        self._saturated = np.zeros(width, np.int64)
        self._histogram = np.zeros((width, BINS), np.int64)

    @property
    def images(self) -> int:
        """The number of images so far."""
        return int(self._overall.count[0])

    def add(self, weights: Sequence[np.ndarray], presence: np.ndarray) -> None:
        """Adds a batch of images.

        Args:
            weights: list with an array [batch, experts] for each layer.
            presence: booleans [batch, classes], the classes in each image: one, several or none.

        Raises:
            ValueError: other shapes.
            UserError: a weight that is not finite.
        """
        presence = np.asarray(presence, bool)
        self._check(weights, presence)
        values = np.concatenate([np.asarray(weight, np.float64) for weight in weights], axis=1)
        images, classes = np.nonzero(presence)
        self._by_class.add(values[images], classes)
        self._classed_images += int(presence.any(axis=1).sum())
        self._overall.add(values, np.zeros(len(values), np.int64))
        self._above_half += (values > ON).sum(axis=0)
        self._saturated += ((values < SATURATED[0]) | (values > SATURATED[1])).sum(axis=0)
        bins = np.clip((values * BINS).astype(np.int64), 0, BINS - 1) + BINS * np.arange(values.shape[1])
        self._histogram += np.bincount(bins.ravel(), minlength=self._histogram.size).reshape(self._histogram.shape)

    def layers(self) -> tuple[LayerStatistics, ...]:
        """Returns a tuple with the `LayerStatistics` of every layer; raises a ValueError before the first image."""
        if not self.images:
            raise ValueError("expected at least one image to analyze")
        count = self._by_class.count.astype(np.int64)
        seen = count[:, None] > 0
        mean, std = (np.where(seen, value, np.nan) for value in (self._by_class.mean, self._by_class.std))
        ends = np.cumsum(self.experts)
        return tuple(
            LayerStatistics(
                name=name,
                class_count=count,
                classed_images=self._classed_images,
                mean=mean[:, start:end],
                std=std[:, start:end],
                overall_mean=self._overall.mean[0, start:end],
                overall_std=self._overall.std[0, start:end],
                above_half=self._above_half[start:end] / self.images,
                saturated=self._saturated[start:end] / self.images,
                histogram=self._histogram[start:end],
            )
            for name, start, end in zip(self.names, ends - self.experts, ends, strict=True)
        )

    def _check(self, weights: Sequence[np.ndarray], presence: np.ndarray) -> None:
        batch = len(presence)
        expected = ([(batch, experts) for experts in self.experts], (batch, len(self.class_names)))
        received = ([np.shape(weight) for weight in weights], presence.shape)
        if received != expected:
            raise ValueError(f"The shapes of `weights` and `presence` must be {expected}. Received: {received}")
        for name, weight in zip(self.names, weights, strict=True):
            if not np.isfinite(weight).all():
                raise UserError(f"expected finite routing weights, those of {name!r} are not: the model has diverged")


class _Moments:
    """Count [groups], mean and sum of squared deviations [groups, width] of rows of values, by group."""

    def __init__(self, groups: int, width: int) -> None:
        self.count = np.zeros(groups)
        self.mean = np.zeros((groups, width))
        self.squares = np.zeros((groups, width))

    def add(self, values: np.ndarray, groups: np.ndarray) -> None:
        """Adds float64 values [rows, width], each row to the group of this index, integers [rows]."""
        membership = np.zeros((len(self.count), len(values)))
        membership[groups, np.arange(len(values))] = 1
        count = membership.sum(axis=1)
        mean = _ratio(membership @ values, count[:, None])
        squares = membership @ (values - mean[groups]) ** 2
        total = self.count + count
        delta = mean - self.mean
        added = _ratio(count, total)[:, None]
        self.mean += delta * added
        self.squares += squares + delta**2 * added * self.count[:, None]
        self.count = total

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(_ratio(self.squares, self.count[:, None]))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, 0 where the denominator is."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
