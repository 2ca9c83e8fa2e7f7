"""How the routers of a network are while it is trained."""

import keras

from condconv_keras.layers.routers import routers
from condconv_keras.routing_statistics.by_epoch import RoutingOfEpoch, read_by_epoch, write_by_epoch
from condconv_keras.routing_statistics.sample import RoutingSample
from condconv_keras.routing_statistics.statistics import mean_of_layers
from condconv_keras.training.routing_advice import RoutingAdvice
from condconv_keras.training.routing_log import RoutingLog

IN_USE, SATURATION, SPREAD = "experts_in_use", "saturation", "spread"

IMAGES = 256
LOGGED_IMAGES = 512  # of a run that asks for more, in TensorBoard
# An image costs a forward pass, one of training two or three times as much: below 1 % of an epoch.
_TRAINED_PER_IMAGE = 64


class RoutingWatch(keras.callbacks.Callback):
    """After every epoch, measures the routing of held-out images, taken evenly over the split, with no large cost.

    Measured are the weights that are trained, also where a run averages them. It adds a row for each layer to
    `routing.csv`, all layers together to the logs (`experts_in_use`, a number of experts, where all routers are
    sigmoids; `saturation`; `spread`), and says what `RoutingAdvice` has to say before the next epoch begins. It
    comes before the callbacks that take the logs, and before the one that writes the epoch into `history.csv`: a run
    that goes on repeats the rows of an epoch that is not there.

    The process that writes the files of a run does all of it alone.

    Args:
        network: Keras model with CondConv layers, as it is trained.
        plan: `TrainingPlan` of the run.
        run: `RunFolder`.

    Attributes:
        experts: the number of experts of all layers, 0 before the first epoch.

    Raises:
        UserError: the run has a `routing.csv` that is no such table.
    """

    def __init__(self, network, plan, run):
        super().__init__()
        logged = plan.config.execution.log_routing
        fitting = plan.dataset.splits[plan.dataset.train_split] // _TRAINED_PER_IMAGE
        images = LOGGED_IMAGES if logged else min(IMAGES, fitting)
        self.experts = 0
        self._sample = RoutingSample(network, plan.card, plan.dataset, images)
        self._path = run.routing
        self._rows = read_by_epoch(self._path)
        self._log = RoutingLog(run.tensorboard / "routing") if logged else None
        self._sigmoid = all(router.activation is keras.activations.sigmoid for _, router in routers(network))
        self._advice = RoutingAdvice(self._sigmoid, plan.recipe, starts_anew=plan.config.starts_anew)
        self._news = None

    def on_epoch_begin(self, epoch, logs=None):
        self._give_advice()

    def on_epoch_end(self, epoch, logs=None):
        measured = self._sample.measure()
        weights, layers = measured or (None, ())
        rows = [row for row in self._rows if row.epoch < epoch]
        self._rows = (*rows, *(RoutingOfEpoch.of(epoch, layer, sigmoid=self._sigmoid) for layer in layers))
        write_by_epoch(self._path, self._rows)
        if measured is None:
            self._news = epoch, 0, None
            return
        if self._log is not None:
            self._log.write(epoch, weights, layers)
        self.experts = sum(layer.experts for layer in layers)
        if self._sigmoid:
            logs[IN_USE] = float(sum(layer.in_use for layer in layers))
        for name in (SATURATION, SPREAD):
            logs[name] = mean_of_layers(layers, name)
        self._news = epoch, len(weights[0]), layers

    def on_train_end(self, logs=None):
        self._give_advice()

    def _give_advice(self):
        """Says what is new, when the line of the epoch is printed."""
        if self._news is not None:
            self._advice.give(*self._news)
            self._news = None
