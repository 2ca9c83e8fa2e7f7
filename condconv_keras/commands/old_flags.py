"""Flags under the names that they had in earlier versions."""

from absl import flags

_GROUP = "Old names of flags"


def define_old_names(values, names):
    """Lets flags be given under their old names, too; to give one under both is an error.

    Args:
        values: `absl.flags.FlagValues` that has the flags.
        names: a table of `condconv_keras.facts.old_names`, from old names to new.
    """
    for old, new in names.items():
        flags.DEFINE_alias(old, new, flag_values=values, module_name=_GROUP)
        flags.register_validator(
            old, _given_once(values[old], values[new]), f"--{new} and --{old}, its old name, exclude each other", values
        )


def _given_once(old, new):
    """A validator: what is given under the old name counts for the new one, too."""
    return lambda _: old.present in (0, new.present)
