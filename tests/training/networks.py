"""A small classifier and its training, for the tests of the training loop."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from condconv_keras.layers import CondConv2D, use_fused_batch_norm
from condconv_keras.tasks.classification.task import TASK
from condconv_keras.training.model import TrainingModel
from condconv_keras.training.optimization import apply_weight_decay, make_optimizer
from condconv_keras.training.recipes import get_recipe
from tests.seeds import set_seed

CLASSES = 3
SHAPE = (4, 4, 2)


def recipe(**changes):
    """A recipe without warm-up and decay, and with the authors' routers, unless the changes say otherwise."""
    plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1, "schedule": "exponential", "decay_rate": 1.0}
    plain |= {"warmup_epochs": 0, "weight_decay": 0.0, "label_smoothing": 0.0}
    plain |= {"router_scale": 1.0, "router_learning_rate": 1.0}
    return dataclasses.replace(get_recipe("digits"), **{**plain, **changes})


def network(dropout_rate=0.0, shape=SHAPE, classes=CLASSES, routing_options=None):
    """A convolution, batch normalization, a dropped block, dropout and a classifier, of fixed initial weights.

    With options of its router a CondConv layer comes before the pooling.
    """
    set_seed(0)
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(4, 3, name="stem")(inputs)
    x = use_fused_batch_norm(keras.layers.BatchNormalization(momentum=0.9, name="stem_bn"))(x)
    x = keras.layers.ReLU()(x)
    if dropout_rate:
        x = keras.layers.Dropout(dropout_rate, noise_shape=(None, 1, 1, 1), name="block_1_drop")(x)
    if routing_options is not None:
        x = CondConv2D(4, 1, num_experts=3, routing_options=routing_options, name="routed")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(dropout_rate, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="classifier")(x))


def training_model(net, of_recipe, replicas=1, **options):
    """The `TrainingModel` of a network and a recipe."""
    optimizer = make_optimizer(of_recipe, 10, replicas)
    apply_weight_decay(net, of_recipe, optimizer)
    objective = TASK.make_objective(of_recipe, net.output_shape[-1])
    options |= {"ema_decay": of_recipe.ema_decay, "mean_gradients": of_recipe.clip_norm is not None}
    return TrainingModel(net, objective, TASK.step_means, optimizer, **options)


def batches(count, size=8, seed=0):
    """A list of `count` batches of (images, labels)."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((count, size, *SHAPE)).astype(np.float32)
    labels = rng.integers(0, CLASSES, (count, size)).astype(np.int32)
    return [(tf.constant(x), tf.constant(y)) for x, y in zip(images, labels, strict=True)]
