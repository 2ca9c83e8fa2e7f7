"""What a run's configuration and its data set come to: the card, the network, the batches and the steps."""

import functools

from condconv_keras.data.input.streams import ONE_PIPELINE, InputPosition
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.models import model_entry
from condconv_keras.pretrained import create_model
from condconv_keras.tasks.table import get_task
from condconv_keras.training import experts
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.lazy import LazyModule
from condconv_keras.utils.lazy import tensorflow as tf

heads = LazyModule("condconv_keras.models.heads")
layers = LazyModule("condconv_keras.layers")
optimization = LazyModule("condconv_keras.training.optimization")
training_model = LazyModule("condconv_keras.training.model")

_ROUTER_IMAGES = 64


class TrainingPlan:
    """A configuration applied to its data set.

    Args:
        config: `TrainConfig` with what the run inherits.
        dataset: the data set of the configuration.
        network: `StoredNetwork` of a run that trains a stored classifier, once it is known; None of others.

    Attributes:
        config, dataset, network: the same.
        recipe: `Recipe` of the configuration.
    """

    def __init__(self, config, dataset, network=None):
        self.config = config
        self.dataset = dataset
        self.network = network
        self.recipe = config.recipe

    @functools.cached_property
    def task(self):
        """The `Task`."""
        return get_task(self.config.task)

    @functools.cached_property
    def steps_per_epoch(self):
        """The steps of an epoch; raises a `UserError` if the batch or the execution does not fit the data."""
        return self.config.steps_per_epoch(self.dataset)

    @functools.cached_property
    def card(self):
        """The card of the model that is trained."""
        inherited = (self.config.inherited or {}).get("preprocessing", {})
        fields = {
            "input_size": (self.recipe.input_size, self.recipe.input_size),
            "channels": self.dataset.image_shape[-1],
            "crop_fraction": self.recipe.crop_fraction,
            "apply_orientation": self.config.apply_orientation,
        }
        if self.config.is_stored:
            preprocessing = Preprocessing(**inherited, apply_orientation=self.config.apply_orientation)
            name, card_fields = self.config.inherited["model"], self.task.card_fields(self.dataset)
            return ModelCard(name, tuple(self.dataset.class_names), preprocessing, **card_fields)
        entry = model_entry(self.config.model)
        preprocessing = entry.preprocessing(**{**fields, **inherited})
        return entry.make_card(self.dataset.class_names, preprocessing, **self.task.card_fields(self.dataset))

    def build_network(self, weights=None):
        """Builds the network as it is trained: with the recipe's experts and routers, and fused batch normalization.

        Args:
            weights: as in `create_model`.

        Raises:
            UserError: an argument that the model does not have or that is out of range, or weights that do not fit.
        """
        if self.network is not None:
            return layers.use_fused_batch_norm(self.network.build())
        arguments = {
            **self.config.model_arguments,
            **(self.config.inherited or {}).get("model_arguments", {}),
            **self.task.network_arguments(self.recipe),
        }
        if self.recipe.bn_momentum is not None:
            arguments["bn_momentum"] = self.recipe.bn_momentum
        classes, shape = len(self.dataset.class_names), self.card.preprocessing.input_shape
        try:
            network = create_model(self.config.model, input_shape=shape, classes=classes, weights=weights, **arguments)
        except (ValueError, TypeError) as error:
            raise UserError(one_line(error)) from error
        return layers.use_fused_batch_norm(experts.with_recipe(network, self.recipe, starts_anew=weights is None))

    def make_training_model(self, network):
        """Returns the `TrainingModel` of a built network, under the strategy whose scope is open.

        The recipe's weight decay is added to the network's variables.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        optimizer = optimization.make_optimizer(self.recipe, self.steps_per_epoch, replicas)
        optimization.apply_weight_decay(network, self.recipe, optimizer)
        if self.recipe.router_learning_rate != 1:
            optimization.scale_updates(optimizer, experts.router_weights(network), self.recipe.router_learning_rate)
        return training_model.TrainingModel(
            network,
            self.task.make_objective(
                self.recipe, len(self.dataset.class_names), self.task.class_weights(self.recipe, self.dataset)
            ),
            self.task.step_means,
            optimizer,
            ema_decay=self.recipe.ema_decay,
            temperature_steps=self.recipe.temperature_epochs * self.steps_per_epoch,
            mean_gradients=self.recipe.clip_norm is not None,
            jit_compile=self.config.execution.jit_compile,
            steps_per_execution=self.config.execution.steps_per_execution,
            trained_alone=self._trained_alone(network),
        )

    def _trained_alone(self, network):
        """As of `TrainingModel`."""
        if not self.config.is_stored:
            return None
        return heads.trained_alone(network, self.config.model_arguments.get("classifier_layer"))

    def training_batches(self, first_epoch=0, first_step=0, shard=ONE_PIPELINE, batch_size=None):
        """Returns the batches from a step of the run on, as of `Task.training_batches`.

        Args:
            first_epoch, first_step: the epoch and, within it, the step that they start with.
            shard: `InputShard`.
            batch_size: int, or None for the recipe's.
        """
        position = InputPosition(self.config.seed, first_epoch, first_step)
        service = self.config.execution.data_service if batch_size is None else None
        size = self.recipe.batch_size if batch_size is None else batch_size
        return self.task.training_batches(self.dataset, self.card, size, self.recipe, position, shard, service)

    def router_images(self):
        """Returns training images to fit new routers to, as a network takes them.

        They are enough for a standard deviation and few enough for any memory; nothing augments them.
        """
        count = min(_ROUTER_IMAGES, self.dataset.splits[self.dataset.train_split])
        position = InputPosition(self.config.seed)
        batches = self.task.training_batches(self.dataset, self.card, count, None, position, ONE_PIPELINE)
        return next(iter(batches))[0]
