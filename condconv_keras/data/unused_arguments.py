"""Arguments that a data set has no use for: refused by one line, never passed over."""

from condconv_keras.data.opening import find_source
from condconv_keras.utils.errors import UserError

_OWN_SPLIT = "is for data without a held-out split"
# Arguments of `open_dataset`, whether a source of this name uses them, and what to say where it does not.
_USES = (
    (
        "data_dir",
        lambda source, name: source.uses_data_dir,
        "is for data sets of TFDS, not for an embedded one or a folder of images",
    ),
    (
        "validation_fraction",
        # Judged before the data set is opened: a folder is decoded then.
        lambda source, name: source.may_hold_out(name),
        f"{_OWN_SPLIT}, this data set has one",
    ),
    ("skip_bad_images", lambda source, name: source.checks_images, "is for a folder of images"),
    ("apply_orientation", lambda source, name: source.reads_files, "is for image files, an embedded data set has none"),
)


def check_data_arguments(given, name, data_dir):
    """Raises a `UserError` for an argument that a data set, not opened yet, has no use for.

    Args:
        given: set of the names of the arguments of `open_dataset` that were given.
        name, data_dir: as in `condconv_keras.data.open_dataset`.
    """
    for argument, is_used, reason in _USES:
        if argument in given and not is_used(find_source(name, data_dir), name):
            raise UserError(f"`{argument}` {reason}")


def check_validation_fraction(given, dataset):
    """Raises a `UserError` where a fraction was given for an opened data set that has a held-out split of its own."""
    if "validation_fraction" in given and not dataset.held_out:
        raise UserError(f"`validation_fraction` {_OWN_SPLIT}, {dataset.name!r} has one")
