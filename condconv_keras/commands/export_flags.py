"""The flags of an export, in the groups that `--help` shows, and which of them go together."""

from absl import flags

from condconv_keras.export.modes import SAVED_MODEL, TFLITE_MODES
from condconv_keras.export.source import UNTRAINED
from condconv_keras.facts.model_card import DETECTION
from condconv_keras.pretrained import IMAGENET
from condconv_keras.utils.errors import UserError, unknown_name

FORMATS = ("savedmodel", "tflite")
INT8_INPUTS = ("uint8", "int8")
# Those that are keywords of `create_model`.
MODEL_ARGUMENTS = ("num_experts", "width_multiplier")


def define_flags(values):
    """Defines the flags of an export.

    Args:
        values: `absl.flags.FlagValues` that they are added to.
    """
    _define_model(values)
    _define_output(values)
    _define_data(values)


def _define_model(values):
    group = {"module_name": "Model", "flag_values": values}
    flags.DEFINE_string("model", None, "Run folder, .keras file or name of a registered model.", required=True, **group)
    flags.DEFINE_string(
        "weights", None, "'imagenet' for a registered model's published weights; default: random weights.", **group
    )
    flags.DEFINE_integer("num_experts", None, "Experts of a registered CondConv model.", lower_bound=1, **group)
    flags.DEFINE_float("width_multiplier", None, "Scales a registered model's channels.", 0.01, 16.0, **group)
    flags.DEFINE_integer(
        "input_size", None, "Height and width of an untrained model's input in pixels.", lower_bound=1, **group
    )
    flags.DEFINE_integer("seed", 0, "Seed of an untrained model's weights.", 0, 2**32 - 1, **group)


def _define_output(values):
    group = {"module_name": "Files", "flag_values": values}
    flags.DEFINE_string("output_dir", None, "Folder to write; must not exist or be empty.", required=True, **group)
    flags.DEFINE_list("formats", ",".join(FORMATS), f"Formats to write, of {', '.join(FORMATS)}.", **group)
    flags.DEFINE_list(
        "quantization",
        "none",
        "TFLite files to write: none (float32), float16 (half the size), dynamic (int8 weights), int8 (int8 weights "
        "and activations).",
        **group,
    )
    flags.DEFINE_enum(
        "int8_input", "uint8", INT8_INPUTS, "What an int8 file takes; int8 is the pixel less 128.", **group
    )
    flags.DEFINE_bool(
        "static_kernels",
        False,
        "Convolve with every expert and mix the results, for accelerators that refuse kernels that are mixed at run "
        "time; the command prints what it costs.",
        **group,
    )
    flags.DEFINE_bool(
        "raw_outputs",
        False,
        "Of a detector: write .tflite files that return what the network does, without non-maximum suppression, and "
        "the anchors beside them.",
        **group,
    )
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.", **group)


def _define_data(values):
    group = {"module_name": "Data", "flag_values": values}
    flags.DEFINE_string(
        "representative_data",
        None,
        "Data set, whose training split is taken, or folder of any images to calibrate int8 on; default: the training "
        "images of --dataset.",
        **group,
    )
    flags.DEFINE_string(
        "dataset",
        None,
        "A data set, as of train.py, whose held-out images check the files; default: the run's, else photographs.",
        **group,
    )
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: the run's.", **group)
    flags.DEFINE_float(
        "validation_fraction", None, "Held-out part of data without a split of its own.", 0.0, 1.0, **group
    )
    flags.DEFINE_bool("skip_bad_images", False, "Leave out images that cannot be decoded instead of stopping.", **group)
    flags.DEFINE_integer(
        "gate_examples", None, "Held-out images that measure the accuracy; default: all.", lower_bound=1, **group
    )


def chosen_modes(values):
    """Returns the `Mode`s of --formats and --quantization, each once; raises a `UserError` for an unknown one."""
    for kind, flag, known in (("format", "formats", FORMATS), ("quantization", "quantization", TFLITE_MODES)):
        for name in values[flag].value:
            if name not in known:
                raise unknown_name(kind, name, known)
        if not values[flag].value:
            raise UserError(f"--{flag} must name at least one of {', '.join(known)}")
    modes = [SAVED_MODEL] if "savedmodel" in values.formats else []
    if "tflite" in values.formats:
        modes += [TFLITE_MODES[name] for name in dict.fromkeys(values.quantization)]
    return modes


def check_uses(values, modes, source):
    """Raises a `UserError` for the first flag that the rest of the command would ignore.

    Args:
        values: parsed `absl.flags.FlagValues`.
        modes: as `chosen_modes` returns them.
        source: `condconv_keras.export.source.Source`.
    """
    for names, is_used, reason in _USES:
        for name in names:
            is_given = values[name].present and values[name].value is not False
            if is_given and not is_used(values, modes, source):
                raise UserError(f"--{name} {reason}")


def _has_dataset(values, modes, source):
    return values.dataset is not None or source.config is not None


# Flags, whether an export uses them, and what to say where it does not.
_USES = (
    (MODEL_ARGUMENTS, lambda v, m, s: s.kind in (UNTRAINED, IMAGENET), "is for registered models"),
    (("input_size", "seed"), lambda v, m, s: s.kind == UNTRAINED, "is for registered models without --weights"),
    (("num_experts", "static_kernels"), lambda v, m, s: not s.is_plain, "is for CondConv models, this one is plain"),
    (("raw_outputs",), lambda v, m, s: s.task == DETECTION, "is for detectors, this is a classifier"),
    (("quantization", "static_kernels", "raw_outputs"), lambda v, m, s: m != [SAVED_MODEL], "is for --formats=tflite"),
    (
        ("int8_input", "representative_data"),
        lambda v, m, s: TFLITE_MODES["int8"] in m,
        "is for --formats=tflite with --quantization=int8",
    ),
    (("data_dir",), lambda v, m, s: _has_dataset(v, m, s) or v.representative_data is not None, "is for --dataset"),
    (("validation_fraction", "skip_bad_images"), _has_dataset, "is for --dataset"),
    (
        ("gate_examples",),
        lambda v, m, s: s.is_trained and _has_dataset(v, m, s),
        "is for a trained model and the --dataset that its accuracy is measured on",
    ),
)
