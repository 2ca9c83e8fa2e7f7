"""Flags that a model has to do with: which of them it takes, and what it says where one is not given.

Its builder says which, its entry for the parts of a CondConv placement, its task.
"""

from absl import flags

from condconv_keras.models.building import PLACEMENT_FIELDS
from condconv_keras.tasks.recipe import EXPERT_FIELDS
from condconv_keras.tasks.table import nouns_of
from condconv_keras.utils.errors import UserError, one_line

# Smallest and largest --width_multiplier.
WIDTHS = (0.01, 16.0)
# The flags that are arguments of the model.
MODEL_ARGUMENTS = (*PLACEMENT_FIELDS, "width_multiplier")
# Flags that not every model has a use for: what is said of one that has none.
_REASONS = {
    "width_multiplier": "is not for --model={}, whose width is fixed",
    "condconv_head": "is not for --model={}, which has no convolution after its blocks",
    "condconv_shortcut": "is not for --model={}, which has no projection shortcuts",
    "condconv_classifier": "is not for --model={}, which has no classifier",
    "condconv_predictors": "is not for --model={}, which is no detector",
}


def lacking_flags(entry):
    """Returns the flags that the model of a `ModelEntry` has no use for, as a dict of flag to the reason."""
    taken = {*entry.keywords, *entry.parts}
    lacking = {name: reason.format(entry.name) for name, reason in _REASONS.items() if name not in taken}
    if entry.placement is None:
        lacking |= dict.fromkeys(
            (*PLACEMENT_FIELDS, *EXPERT_FIELDS, "log_routing"),
            f"is for condconv_ models, --model={entry.name} has no experts",
        )
    return lacking


def check_of_task(name, task, has):
    """Raises a `UserError` for a flag that is for the models of other tasks.

    Args:
        name: of the flag.
        task: `Task` of the model.
        has: function of a `Task` that returns whether its models have a use for the flag.
    """
    if not has(task):
        raise UserError(f"--{name} is for {nouns_of(has)}, the model is a {task.noun}")


def check_placement(entry, values):
    """Raises a `UserError` for CondConv layers that start behind the network's end.

    Args:
        entry: `ModelEntry`.
        values: `absl.flags.FlagValues`.
    """
    changes = {name: values[name].value for name in ("start_block", "start_stage") if values[name].value is not None}
    if entry.placement is not None and len(changes) == 1:
        try:
            entry.placement.replace(**changes).first_block(entry.stage_sizes)
        except ValueError as error:
            raise UserError(one_line(error)) from error


def define_orientation(**group):
    """Defines --apply_orientation of a command about a stored model.

    Args:
        **group: keywords of absl's `DEFINE_bool`.
    """
    flags.DEFINE_bool(
        "apply_orientation",
        None,
        "Turn image files as their EXIF orientation says; default: as the model was trained.",
        **group,
    )


def define_check(**group):
    """Defines --check_images of a command about a stored model.

    Args:
        **group: keywords of absl's `DEFINE_bool`.
    """
    flags.DEFINE_bool(
        "check_images",
        None,
        "Decode a folder's images first to find bad ones; --nocheck_images trusts them. Default: as the run did, else "
        "yes.",
        **group,
    )


def applied_orientation(values, stored):
    """Returns the value of --apply_orientation, or where it is not given that of the `StoredModel`."""
    return stored.applies_orientation if values.apply_orientation is None else values.apply_orientation
