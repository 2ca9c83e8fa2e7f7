"""The routing of a network in TensorBoard while it is trained."""

import tensorflow as tf


class RoutingLog:
    """Writes the routing weights of images to TensorBoard.

    Of each routing layer: `routing/LAYER`, the histogram of all its weights, and the scalars
    `routing_mean/LAYER`, `class_specificity/LAYER` and `dead_experts/LAYER`, as `LayerStatistics` defines them.

    Args:
        folder: where TensorBoard's file is written.
    """

    def __init__(self, folder):
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, epoch, weights, layers):
        """Writes what `RoutingSample.measure` returns."""
        with self._writer.as_default(step=epoch):
            for values, layer in zip(weights, layers, strict=True):
                tf.summary.histogram(f"routing/{layer.name}", values)
                tf.summary.scalar(f"routing_mean/{layer.name}", layer.overall_mean.mean())
                tf.summary.scalar(f"class_specificity/{layer.name}", layer.class_specificity)
                tf.summary.scalar(f"dead_experts/{layer.name}", len(layer.dead))
        self._writer.flush()
