"""A recipe's optimizer and weight decay."""

import keras

from condconv_keras.training.fused_rmsprop import RMSprop
from condconv_keras.training.schedules import WarmupSchedule
from condconv_keras.utils.keras_graph import all_layers, optimizer_index


def make_schedule(recipe, steps_per_epoch):
    """Returns the recipe's learning rate as a function of the optimizer's step; see `Recipe`."""
    return WarmupSchedule(
        recipe.learning_rate,
        recipe.schedule,
        warmup_steps=round(recipe.warmup_epochs * steps_per_epoch),
        total_steps=recipe.epochs * steps_per_epoch,
        decay_rate=recipe.decay_rate,
        decay_steps=recipe.decay_epochs * steps_per_epoch,
        warmup_start=recipe.warmup_start,
    )


def make_optimizer(recipe, steps_per_epoch, replicas=1):
    """Returns the recipe's optimizer with its learning rate schedule; see `Recipe`.

    Args:
        recipe: `Recipe`.
        steps_per_epoch: steps.
        replicas: the number of replicas whose gradients the optimizer sums. Clipping comes before the sum: each gets
            the mean gradient and its part of the norm.
    """
    schedule = make_schedule(recipe, steps_per_epoch)
    clip = {"global_clipnorm": recipe.clip_norm / replicas} if recipe.clip_norm is not None else {}
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(schedule, momentum=recipe.momentum, nesterov=recipe.nesterov, **clip)
    if recipe.optimizer == "rmsprop":
        return RMSprop(schedule, rho=0.9, momentum=recipe.momentum, epsilon=1e-3, **clip)
    if recipe.optimizer == "adamw":
        return keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, **clip)
    raise ValueError(f"`optimizer` must be 'sgd', 'rmsprop' or 'adamw'. Received: optimizer={recipe.optimizer!r}")


def scale_updates(optimizer, variables, factor):
    """Lets an optimizer change some variables by a factor of what it would.

    It is the learning rate of these variables that is multiplied: the gradient would be divided out again by optimizers
    that normalize it, as RMSProp and Adam do. AdamW's weight decay, which is no part of the update, stays as it is.

    Args:
        optimizer: Keras optimizer, whose step is not traced yet.
        variables: list of variables that it will be built with.
        factor: number of at least 0.
    """
    update = optimizer.update_step

    def update_step(gradient, variable, learning_rate):
        scaled = {optimizer_index(optimizer, each) for each in variables}
        is_scaled = optimizer_index(optimizer, variable) in scaled
        update(gradient, variable, learning_rate * factor if is_scaled else learning_rate)

    optimizer.update_step = update_step


def apply_weight_decay(model, recipe, optimizer):
    """Applies the recipe's weight decay to every trainable variable but those of batch normalization.

    With SGD and RMSProp it is an L2 term of the loss, as in the paper's code (`weight_decay * l2_loss`, experts and
    routers included); AdamW decays the variables itself and is told which to leave out.
    """
    layers = all_layers(model, include_self=False)
    normalization = [v for layer in layers if isinstance(layer, keras.layers.BatchNormalization) for v in layer.weights]
    if recipe.optimizer == "adamw":
        optimizer.exclude_from_weight_decay(var_list=normalization)
        return
    excluded = {id(variable) for variable in normalization}
    for variable in model.trainable_variables:
        if id(variable) not in excluded and recipe.weight_decay:
            variable.regularizer = keras.regularizers.L2(recipe.weight_decay / 2)
