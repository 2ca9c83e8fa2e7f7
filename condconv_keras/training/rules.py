"""Settings of a run that cannot work together: each refused by one line before the work begins."""

from condconv_keras.data.opening import find_source
from condconv_keras.models import model_entry
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError, one_line


def check_config(config):
    """Raises a `UserError` for the first setting of a `TrainConfig` that cannot work with the others."""
    _check_recipe(config)
    _check_stochastic_depth(config)
    check_devices(config.execution)
    _check_data_service(config)
    for is_wrong, reason in _CONFLICTS:
        if is_wrong(config):
            raise UserError(reason)
    if not config.is_stored:  # the network says it when it is loaded
        _check_routing_log(config)
        _check_expert_start(config)


def check_devices(execution):
    """Raises a `UserError` for devices that the strategy of an `Execution` has no use for."""
    for name, strategy in (("tpu", "tpu"), ("logical_cpus", "mirrored")):
        if getattr(execution, name) is not None and execution.strategy != strategy:
            raise UserError(f"`{name}` is for `strategy={strategy!r}`")


def _check_recipe(config):
    """Raises a `UserError` for the recipe of another task."""
    task = get_task(config.task)
    if not isinstance(config.recipe, task.recipe):
        received = type(config.recipe).__name__
        raise UserError(f"`recipe` of a {task.noun} is a {task.recipe.__name__}. Received: a {received}")


def _check_stochastic_depth(config):
    """Raises a `UserError` where residual blocks are to be dropped and the model has none: a recipe may say so."""
    if config.is_stored:
        if config.recipe.stochastic_depth_rate:
            raise UserError("`stochastic_depth_rate` is for registered models: it must be 0 for a stored one")
        return
    entry = model_entry(config.model)
    if config.recipe.stochastic_depth_rate and "stochastic_depth_rate" not in entry.keywords:
        raise UserError(
            f"`stochastic_depth_rate` is not for `model={entry.name!r}`, which has no residual blocks: it must be 0"
        )


def _check_routing_log(config):
    """Raises a `UserError` where routing is to be logged and no layer is routed: a placement may say so."""
    entry = model_entry(config.model)
    try:
        has_routers = not config.execution.log_routing or entry.has_routers(config.model_arguments)
    except ValueError as error:
        raise UserError(one_line(error)) from error
    if not has_routers:
        raise UserError(
            f"`log_routing` is for networks with CondConv layers: `model={entry.name!r}` has none with these arguments"
        )


def _check_expert_start(config):
    """Raises a `UserError` for a start of experts that the routing weights, or those of a file, cannot have."""
    placement, recipe = model_entry(config.model).placement, config.recipe
    if placement is None:
        return
    activation = config.model_arguments.get("routing_activation", placement.routing_activation)
    if recipe.expert_start == "anchored" and activation != "sigmoid":
        raise UserError(f"`expert_start='anchored'` is for `routing_activation='sigmoid'`. Received: {activation!r}")
    if config.weights is None or not config.weights.endswith(".weights.h5"):
        return
    if recipe.expert_start == "anchored":
        raise UserError(
            "`expert_start='anchored'` is for a new network or one from a plain .keras file, not .weights.h5"
        )
    if recipe.router_normalization:
        # Nothing fits the routers of such a file to normalized inputs, as a warm start does.
        raise UserError("`router_normalization` is for a new network or one from a .keras file, not .weights.h5")


def _is_mirrored(config):
    return config.execution.strategy in ("mirrored", "multi_worker_mirrored")


def _check_data_service(config):
    """Raises a `UserError` where the machines of a tf.data service cannot make the images."""
    source = find_source(config.dataset, config.data_dir)
    if config.execution.data_service and source.made_by_this_process:
        raise UserError(f"`data_service` is not for {config.dataset}, which this process makes")


# What cannot work, and what to say.
_CONFLICTS = (
    (
        lambda c: {"start_block", "start_stage"} <= c.model_arguments.keys(),
        "`start_block` and `start_stage` exclude each other",
    ),
    (
        lambda c: c.recipe.freeze_epochs and c.starts_anew,
        "`freeze_epochs` trains the classifier on features that must have been learned: give `weights`, or "
        "`freeze_epochs=0`",
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
        lambda c: c.recipe.mixes_images and c.recipe.batch_size == 1,
        "`mixup_alpha` and `cutmix_alpha` mix the images of a batch: `batch_size` must be more than 1",
    ),
    (
        lambda c: c.execution.strategy == "tpu" and c.precision == "mixed_float16",
        "`precision='mixed_float16'` is not for `strategy='tpu'`: take mixed_bfloat16",
    ),
)
