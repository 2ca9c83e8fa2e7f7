"""Flags that a run would ignore, and combinations that cannot work: each refused by one line, never passed over."""

from condconv_keras.data.augment.augmentation import SPATIAL
from condconv_keras.data.augment.box_augmentation import AUGMENTATIONS as BOX_AUGMENTATIONS
from condconv_keras.data.opening import find_source
from condconv_keras.data.unused_arguments import check_data_arguments
from condconv_keras.facts.model_card import DETECTION
from condconv_keras.utils.errors import UserError


def check_flags(given, config, lacking):
    """Raises a `UserError` for the first flag that the run would ignore or that cannot work with the others.

    Args:
        given: names of the flags whose values are not the defaults.
        config: `TrainConfig` of the flags.
        lacking: dict of flag name to the reason why the model has no use for it.
    """
    if config.recipe.stochastic_depth_rate == 0:
        lacking = {name: reason for name, reason in lacking.items() if name != "stochastic_depth_rate"}
    elif "stochastic_depth_rate" in lacking:
        # Of a flag, or of a recipe that was made for another model.
        raise UserError(f"`stochastic_depth_rate` {lacking['stochastic_depth_rate']}: it must be 0")
    for name in sorted(given & lacking.keys()):
        raise UserError(f"`{name}` {lacking[name]}")
    _check_task(config)
    check_data_arguments(given, config.dataset, config.data_dir)
    check_device_flags(config.execution)
    for names, is_used, reason in _USES:
        ignored = sorted(given.intersection(names))
        if ignored and not is_used(config):
            raise UserError(f"`{ignored[0]}` {reason}")
    _check_data_service(config)
    for is_wrong, reason in _CONFLICTS:
        if is_wrong(config):
            raise UserError(reason)


def check_device_flags(execution):
    """Raises a `UserError` for a flag of the devices that the strategy of an `Execution` has no use for."""
    for flag, strategy in (("tpu", "tpu"), ("logical_cpus", "mirrored")):
        if getattr(execution, flag) is not None and execution.strategy != strategy:
            raise UserError(f"`{flag}` is for `strategy={strategy!r}`")


def _is_distributed(config):
    return config.execution.strategy != "none"


def _is_mirrored(config):
    return config.execution.strategy in ("mirrored", "multi_worker_mirrored")


# Flags, whether a run uses them, and what to say where it does not.
_USES = (
    (("momentum",), lambda c: c.recipe.optimizer != "adamw", "is for sgd and rmsprop, not for `optimizer='adamw'`"),
    (
        ("decay_rate", "decay_epochs"),
        lambda c: c.recipe.schedule != "cosine",
        "is for `schedule='exponential'` and staircase, not for cosine",
    ),
    (
        ("policy_layers", "policy_magnitude"),
        lambda c: c.recipe.policy == "randaugment",
        "is for `policy='randaugment'`",
    ),
    (("synchronized_bn",), _is_distributed, "is for a `strategy` of several devices"),
    (("jit_compile",), lambda c: c.execution.strategy != "tpu", "is not for `strategy='tpu'`, which always compiles"),
)

# Fields of the recipe that a detector has no use for, and their values that change nothing.
_CLASSIFICATION_ONLY = {
    "label_smoothing": 0,
    "dropout_rate": 0,
    "stochastic_depth_rate": 0,
    "policy": None,
    "random_erasing": 0,
    "mixup_alpha": 0,
    "cutmix_alpha": 0,
    "freeze_epochs": 0,
}


def _check_task(config):
    """Raises a `UserError` for a part of the recipe, of a flag or its own, that is of another task."""
    recipe, detects = config.recipe, config.task == DETECTION
    augmentations = BOX_AUGMENTATIONS if detects else SPATIAL
    if recipe.augmentation not in augmentations:
        kind = "detector" if detects else "classifier"
        names = ", ".join(augmentations)
        raise UserError(f"`augmentation` of a {kind} is one of {names}; received: {recipe.augmentation!r}")
    if not detects:
        return
    for name, unused in _CLASSIFICATION_ONLY.items():
        if getattr(recipe, name) != unused:
            received = f"received: {getattr(recipe, name)!r} (recipe {config.recipe_name!r})"
            raise UserError(f"`{name}` is for classifiers, of a detector it is {unused or 0}; {received}")
    if recipe.crop_fraction not in (None, 1):
        raise UserError(f"`crop_fraction` would cut boxes, of a detector it is 1; received: {recipe.crop_fraction}")


def _check_data_service(config):
    """Raises a `UserError` where the machines of a tf.data service cannot make the images."""
    source = find_source(config.dataset, config.data_dir)
    if config.execution.data_service and source.made_by_this_process:
        raise UserError(f"`data_service` is not for {config.dataset}, which this process makes")


# What cannot work, and what to say.
_CONFLICTS = (
    (
        lambda c: {"start_block", "start_group"} <= c.model_arguments.keys(),
        "`start_block` and `start_group` exclude each other",
    ),
    (
        lambda c: c.recipe.freeze_epochs and c.initial_weights is None,
        "`freeze_epochs` trains the classifier on features that must have been learned: give `initial_weights` or "
        "`weights`, or `freeze_epochs=0`",
    ),
    (
        lambda c: c.execution.deterministic and c.execution.data_service,
        "`deterministic` cannot hold with `data_service`, which delivers batches as they get ready",
    ),
    (
        lambda c: c.execution.jit_compile and c.precision == "mixed_float16" and _is_mirrored(c),
        "`jit_compile` crashes TensorFlow with `precision='mixed_float16'` on mirrored devices: take mixed_bfloat16",
    ),
    (
        lambda c: c.execution.jit_compile and c.execution.logical_cpus is not None,
        "`jit_compile` does not work on `logical_cpus`: TensorFlow compiles for one of them",
    ),
    (
        lambda c: c.recipe.schedule != "cosine" and c.recipe.decay_rate == 1,
        "`schedule='exponential'` and `schedule='staircase'` need a `decay_rate` other than 1",
    ),
    (
        lambda c: c.recipe.augmentation_options.mixes and c.recipe.batch_size == 1,
        "`mixup_alpha` and `cutmix_alpha` mix the images of a batch: `batch_size` must be more than 1",
    ),
    (
        lambda c: c.execution.strategy == "tpu" and c.precision == "mixed_float16",
        "`precision='mixed_float16'` is not for `strategy='tpu'`: take mixed_bfloat16",
    ),
)
