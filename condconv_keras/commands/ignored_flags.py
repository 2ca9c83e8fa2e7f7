"""Flags that a training run would ignore: each refused by one line, never passed over."""

from condconv_keras.data.unused_arguments import check_data_arguments
from condconv_keras.tasks.table import get_task
from condconv_keras.utils.errors import UserError


def check_ignored_flags(given, config, lacking):
    """Raises a `UserError` for the first flag that the run would ignore.

    Args:
        given: set of the names of the flags whose values are not the defaults.
        config: `TrainConfig` of the flags.
        lacking: dict of flag name to the reason why the model has no use for it.
    """
    for name in sorted(given & lacking.keys()):
        raise UserError(f"--{name} {lacking[name]}")
    check_data_arguments(given, config.dataset, config.data_dir, get_task(config.task).dataset)
    for names, is_used, reason in _USES:
        ignored = sorted(given.intersection(names))
        if ignored and not is_used(config):
            raise UserError(f"--{ignored[0]} {reason}")


# Flags, whether a run uses them, and what to say where it does not.
_USES = (
    (("momentum",), lambda c: c.recipe.optimizer != "adamw", "is for sgd and rmsprop, not for --optimizer=adamw"),
    (
        ("decay_rate", "decay_epochs"),
        lambda c: c.recipe.schedule != "cosine",
        "is for --schedule=exponential and staircase, not for cosine",
    ),
    (("policy_layers", "policy_magnitude"), lambda c: c.recipe.policy == "randaugment", "is for --policy=randaugment"),
    (
        ("temperature_epochs",),
        lambda c: c.recipe.routing_temperature != 1,
        "is for a --routing_temperature of more than 1",
    ),
    (("synchronized_bn",), lambda c: c.execution.strategy != "none", "is for a --strategy of several devices"),
    (("jit_compile",), lambda c: c.execution.strategy != "tpu", "is not for --strategy=tpu, which always compiles"),
)
