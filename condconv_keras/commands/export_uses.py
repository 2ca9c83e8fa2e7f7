"""Which flags of `python -m export` an export has a use for: one that it would ignore is an error."""

from condconv_keras.commands.export_flags import WEB, has_page, modes
from condconv_keras.export.formats import FORMATS, variants
from condconv_keras.tasks.table import get_task, nouns_of
from condconv_keras.utils.errors import UserError


def check_uses(values, formats, stored):
    """Raises a `UserError` for the first flag that the rest of the command would ignore.

    Args:
        values: parsed `absl.flags.FlagValues`.
        formats: as `chosen_formats` returns them.
        stored: `condconv_keras.stored.StoredModel`.
    """
    for names, is_used, reason in (
        *_USES_OF_MODEL,
        *_uses_of_formats(),
        *_USES_OF_TRAINING,
        *_USES_OF_PAGE,
        *_USES_OF_DATA,
    ):
        for name in names:
            # Where the default is False, or what a page alone turns on, that is no request.
            is_no_request = values[name].value is False and (
                values[name].default is not None or name == "routing_outputs"
            )
            is_given = values[name].present and not is_no_request
            if is_given and not is_used(values, formats, stored):
                raise UserError(f"--{name} {reason}")


def _uses_of_formats():
    """As `_USES_OF_MODEL`, of each flag that only some formats use."""
    for flag in dict.fromkeys(flag for file_format in FORMATS for flag in file_format.flags):
        users = [file_format for file_format in FORMATS if flag in file_format.flags]
        yield (flag,), lambda v, f, s, users=users: any(each in users for each in f), f"is for {_choice(users)}"


def _choice(formats):
    """The flags that choose these formats."""
    names = dict.fromkeys(file_format.name for file_format in formats)
    choice = f"--formats={','.join(names)}"
    if all(file_format in formats for name in names for file_format in variants(name).values()):
        return choice
    quantizations = dict.fromkeys(each.quantization for each in formats if each.quantization is not None)
    return f"{choice} with --quantization={','.join(quantizations)}"


def _has_dataset(values, formats, stored):
    return values.dataset is not None or stored.config is not None


# Flags, whether an export uses them (by the values, the formats and the stored model), and what to say if not.
_USES_OF_MODEL = (
    (
        ("num_experts", "static_kernels", "routing_outputs"),
        lambda v, f, s: not s.is_plain,
        "is for CondConv models, this one is plain",
    ),
    (
        ("raw_outputs",),
        lambda v, f, s: get_task(s.task).has_raw_outputs,
        f"is for {nouns_of(lambda task: task.has_raw_outputs)}",
    ),
    (
        ("batch_size",),
        lambda v, f, s: v.batch_size == 1 or v.raw_outputs or not get_task(s.task).has_raw_outputs,
        "above 1 takes --raw_outputs for a detector: the non-maximum suppression in a .tflite file takes one image",
    ),
    (
        ("metadata",),
        lambda v, f, s: get_task(s.task).has_metadata,
        f"is for {nouns_of(lambda task: task.has_metadata)}",
    ),
    (("metadata",), lambda v, f, s: v.batch_size == 1, "is for files of one image, which MediaPipe Tasks takes"),
    (
        ("metadata",),
        lambda v, f, s: v.int8_input != "int8",
        "is for files that take uint8 or float32, as MediaPipe Tasks gives them, not for --int8_input=int8",
    ),
)
_USES_OF_TRAINING = (
    (
        ("float_bytes", "float_multiply_adds"),
        lambda v, f, s: s.is_trained,
        "is for a trained model: the answers of random weights mean nothing",
    ),
)
_USES_OF_PAGE = (
    (("web_quantization", "litertjs"), lambda v, f, s: has_page(v), f"is for --formats={WEB}"),
    (
        ("web_quantization",),
        lambda v, f, s: v.web_quantization in modes(v),
        "is for a file that is written: --quantization lists others",
    ),
    (("batch_size",), lambda v, f, s: v.batch_size == 1 or not has_page(v), f"is 1 for --formats={WEB}"),
    (("raw_outputs",), lambda v, f, s: not has_page(v), f"is not for --formats={WEB}: the page draws boxes"),
    (
        ("int8_input",),
        lambda v, f, s: v.int8_input == "uint8" or not has_page(v),
        f"is uint8 for --formats={WEB}: LiteRT.js has no other 8-bit input",
    ),
    (
        ("metadata",),
        lambda v, f, s: not v.routing_outputs,
        "is for files with one output, which MediaPipe Tasks reads, not for --routing_outputs",
    ),
)
_USES_OF_DATA = (
    (("data_dir",), lambda v, f, s: _has_dataset(v, f, s) or v.representative_data is not None, "is for --dataset"),
    (("validation_fraction", "skip_bad_images", "check_images"), _has_dataset, "is for --dataset"),
    (
        ("check_examples",),
        lambda v, f, s: s.is_trained and _has_dataset(v, f, s),
        "is for a trained model and the --dataset that its accuracy is measured on",
    ),
)
