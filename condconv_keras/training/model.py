"""The Keras model that `fit` trains: a network with its training step, the same on one device and on many."""

import keras
import tensorflow as tf

from condconv_keras.layers.annealing import inverse_temperature, routers_with_temperature
from condconv_keras.training.averaging import MovingAverage
from condconv_keras.training.distribution import is_multi_worker
from condconv_keras.utils.keras_graph import BuiltBeforeFit, all_layers, losses_of_thread, tell_threads_losses_apart
from condconv_keras.weights.skipped_layers import CLASSIFIER

STOP = "stop"
# Names of the layers of a network of the zoo that are trained while the others are frozen.
TRAINED_ALONE = ("dropout", *CLASSIFIER)


class TrainingModel(BuiltBeforeFit, keras.Model):
    """A network in training.

    The logs of a step are `loss` and what the objective reports besides, means since the start of the epoch, and
    `stop`: whether a worker was asked to stop (`request_stop`), which all workers learn at the same step.

    Built, compiled and fitted under the strategy of the run. Keras 3.15's own step fails with several workers
    (keras-team/keras#20585): `fit` reduces the first batch over the workers to build the model, here everything is
    built already; and it reduces the logs over an axis that they do not have, here they get one.

    Args:
        network: built functional model.
        objective: function of targets and outputs, as of `Task.make_objective`.
        step_means: names of what the objective reports besides the loss.
        optimizer: Keras optimizer; it is built for all trainable variables of the network.
        trained_alone: layers of the network, or of models inside it, that are trained while the others are frozen; None
            for those of a network of the zoo.
        ema_decay: of `MovingAverage`, or 0 for none.
        temperature_steps: steps over which the temperature falls to 1 of the routers that have one.
        mean_gradients: whether the gradients are averaged over the replicas before the optimizer sees them, as clipping
            by a norm that is divided by the number of replicas needs.
    """

    def __init__(
        self,
        network,
        objective,
        step_means,
        optimizer,
        *,
        trained_alone=None,
        ema_decay=0.0,
        temperature_steps=1.0,
        mean_gradients=False,
        **compile_options,
    ):
        super().__init__(name="training")
        self.network = network
        tell_threads_losses_apart(network)
        self.objective = objective
        self.mean_gradients = mean_gradients
        self.loss_mean = keras.metrics.Mean(name="loss")
        self.step_means = [keras.metrics.Mean(name=name) for name in step_means]
        self._heated = routers_with_temperature(network)
        self._temperature_steps = temperature_steps
        # The averages are used at the temperature of their step, which an average would be behind.
        temperatures = [router.inverse_temperature for router in self._heated]
        self.average = MovingAverage(network, ema_decay, left_out=temperatures) if ema_decay else None
        self.stop_flag = keras.Variable(
            0.0, trainable=False, dtype="float32", aggregation="only_first_replica", name="stop"
        )
        self.compile(optimizer, **compile_options)
        self.optimizer.build(network.trainable_variables)
        self.built = True
        if trained_alone is None:
            trained_alone = [layer for layer in network.layers if layer.name in TRAINED_ALONE]
        kept = {id(inner) for layer in trained_alone for inner in all_layers(layer)}
        layers = all_layers(network, include_self=False)
        # What holds one of them is not frozen itself: its flag would go to the layers inside.
        self._frozen = [layer for layer in layers if not any(id(inner) in kept for inner in all_layers(layer))]
        # Before what they contain: a flag that is set goes to the layers inside.
        self._trainable = [(layer, layer.trainable) for layer in layers]
        # Stochastic depth; the dropout before the classifier is the classifier's.
        self._block_drops = [
            (layer, layer.rate) for layer in layers if isinstance(layer, keras.layers.Dropout) and id(layer) not in kept
        ]

    def freeze(self, frozen):
        """Lets the network train its classifier alone, or all of it again that is not frozen by its own flags.

        What comes before a classifier that is trained alone computes as in inference: batch normalization uses its
        moving statistics and leaves them as they are, and no block is dropped. To be called between two `fit`s.
        """
        for layer, trainable in self._trainable:
            layer.trainable = trainable
        for layer in self._frozen if frozen else ():
            layer.trainable = False
        for layer, rate in self._block_drops:
            layer.rate = 0.0 if frozen else rate
        self.make_train_function(force=True)

    def call(self, images, training=False):
        """Returns the network's outputs."""
        return self.network(images, training=training)

    def train_step(self, data):
        """One step of the optimizer on a batch of images and targets."""
        images, targets = data
        replicas = self.distribute_strategy.num_replicas_in_sync
        self._set_temperature()
        with tf.GradientTape() as tape, losses_of_thread() as penalties:
            outputs = self(images, training=True)
            losses, means = self.objective(targets, outputs)
            loss = tf.reduce_mean(losses)
            terms = [*penalties, *self.losses]
            loss += tf.add_n([tf.cast(term, loss.dtype) for term in terms]) if terms else 0.0
            # Each replica contributes its part of the mean over the global batch: gradients are summed.
            scaled = self.optimizer.scale_loss(loss / replicas)
        variables = self.trainable_variables
        gradients = tape.gradient(scaled, variables)
        if self.mean_gradients and replicas > 1:
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if self.average is not None:
            self.average.update(self.optimizer.iterations)
        self.loss_mean.update_state(loss)
        for mean in self.step_means:
            mean.update_state(means[mean.name])
        return self._shared_logs()

    def _set_temperature(self):
        """Gives the routers the temperature of this step of the optimizer, in the graph: every step has its own."""
        for router in self._heated:
            value = inverse_temperature(self.optimizer.iterations, router.options.temperature, self._temperature_steps)
            router.inverse_temperature.assign(value)

    def _shared_logs(self):
        """The step's logs, the same on every replica."""
        logs = {mean.name: mean.result() for mean in (self.loss_mean, *self.step_means)}
        logs[STOP] = self.stop_flag.value
        # A read of a variable has no device, and a reduction needs one.
        logs = {name: tf.identity(value) for name, value in logs.items()}
        if self.distribute_strategy.num_replicas_in_sync > 1:
            logs = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, logs)
        if is_multi_worker(self.distribute_strategy):
            logs = {name: value[tf.newaxis] for name, value in logs.items()}
        return logs

    def request_stop(self):
        """Makes `stop` of the next step's logs positive, for all workers."""
        self.stop_flag.assign(1.0)
