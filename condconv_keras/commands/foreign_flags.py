"""Flags that say of a SavedModel of another program what a card would: evaluation and prediction take it then."""

from absl import flags

from condconv_keras.commands.preprocessing_flags import (
    PREPROCESSING_FLAGS,
    define_preprocessing,
    given_preprocessing,
)
from condconv_keras.facts.model_card import LOGITS, PROBABILITIES
from condconv_keras.stored import StoredModel
from condconv_keras.stored.exports import SavedModel
from condconv_keras.stored.foreign import Description, ForeignSavedModel
from condconv_keras.utils.errors import UserError

_GROUP = "SavedModels of other programs"
_NAMES = ("class_names", "signature", "input_name", "output_name", "returns")


def define_foreign():
    """Defines the flags of a command that runs a SavedModel."""
    group = {"module_name": _GROUP}
    flags.DEFINE_string(
        "class_names",
        None,
        "File with the names of the classes, one a line, in the order of the output; default: assets/labels.txt of the "
        "SavedModel.",
        **group,
    )
    define_preprocessing(**group)
    flags.DEFINE_string("signature", "serving_default", "Signature to run.", **group)
    flags.DEFINE_string(
        "input_name", None, "Input of the signature that takes the images; default: its only one.", **group
    )
    flags.DEFINE_string(
        "output_name", None, "Output of the signature, a number for each class; default: its only one.", **group
    )
    flags.DEFINE_enum(
        "returns", None, (LOGITS, PROBABILITIES), "Kind of the output; default: by its values on three images.", **group
    )


def open_to_run(values, weights=None, raw=False):
    """Opens the stored model of --model, which may be a SavedModel of another program.

    Args:
        values: `absl.flags.FlagValues`, parsed.
        weights, raw: as of `StoredModel.open`.

    Raises:
        UserError: as of `StoredModel.open`; flags are lacking, or given for a model that has a card.
    """
    stored = StoredModel.open(values.model, weights, raw)
    if isinstance(stored, SavedModel) and not stored.has_card:
        described = {name: values[name].value for name in _NAMES}
        return ForeignSavedModel(stored.name, Description(preprocessing=given_preprocessing(values), **described))
    for name in (*_NAMES, *PREPROCESSING_FLAGS):
        if values[name].value != values[name].default:
            raise UserError(f"--{name} is for SavedModels of other programs, {stored.name!r} is none")
    return stored
