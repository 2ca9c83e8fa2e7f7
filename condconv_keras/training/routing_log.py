"""The routing of a network in TensorBoard while it is trained."""

import keras
import numpy as np
import tensorflow as tf

from condconv_keras.routing_statistics.gathering import presence_batches
from condconv_keras.routing_statistics.routing_model import RoutingModel
from condconv_keras.routing_statistics.statistics import RoutingStatistics

IMAGES = 512  # of the held-out split that are passed through the network after an epoch, up to twice as many
_BATCH = 64


class RoutingLog(keras.callbacks.Callback):
    """After every epoch, writes the routing weights of held-out images to TensorBoard, taken evenly over the split.

    Of each routing layer: `routing/LAYER`, the histogram of all its weights, and the scalars
    `routing_mean/LAYER`, `class_specificity/LAYER` and `dead_experts/LAYER`, as `LayerStatistics` defines them. They
    are those of the weights that are trained, also where a run averages them.

    Args:
        network: Keras model with CondConv layers, as it is trained.
        card: its card.
        dataset: data set of the task.
        folder: where TensorBoard's file is written.
    """

    def __init__(self, network, card, dataset, folder):
        super().__init__()
        self.network = network
        self.card = card
        self.dataset = dataset
        self.folder = folder
        self._routing = self._writer = None

    def on_train_begin(self, logs=None):
        self._routing = RoutingModel(self.network, self.card.preprocessing)
        self._writer = tf.summary.create_file_writer(str(self.folder))

    def on_epoch_end(self, epoch, logs=None):
        weights, layers = self._measure()
        with self._writer.as_default(step=epoch):
            for values, layer in zip(weights, layers, strict=True):
                tf.summary.histogram(f"routing/{layer.name}", values)
                tf.summary.scalar(f"routing_mean/{layer.name}", layer.overall_mean.mean())
                tf.summary.scalar(f"class_specificity/{layer.name}", layer.class_specificity)
                tf.summary.scalar(f"dead_experts/{layer.name}", len(layer.dead))
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.close()

    def _measure(self):
        """The weights [images, experts] and the `LayerStatistics` of each layer."""
        statistics = RoutingStatistics(self._routing.layers, self.dataset.class_names)
        gathered = []
        split = self.dataset.evaluation_split
        every = max(1, self.dataset.splits[split] // IMAGES)
        batches = presence_batches(self.card.task, self.dataset, split, self.card.preprocessing, _BATCH, every)
        for batch, presence in batches:
            if len(batch):
                gathered.append(self._routing(batch))
                statistics.add(gathered[-1], presence)
        return [np.concatenate(values) for values in zip(*gathered, strict=True)], statistics.layers()
