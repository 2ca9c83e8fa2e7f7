"""The flags of an export, in the groups that `--help` shows, and which of them go together."""

from absl import flags

from condconv_keras.commands.model_flags import WIDTHS, define_check, define_orientation
from condconv_keras.commands.old_flags import define_old_names
from condconv_keras.export.budget import Budget
from condconv_keras.export.formats import FORMATS, format_names, variants
from condconv_keras.facts import old_names
from condconv_keras.utils.errors import UserError, unknown_name

INT8_INPUTS = ("uint8", "int8")
# The check has a whole batch in memory, in Keras and in LiteRT.
LARGEST_BATCH = 256
# The value of --formats that is a page, the name of the formats that it runs, and the mode that it takes by default: a
# small file that answers nearly as Keras does.
WEB, _OF_PAGE, _FOR_PAGE = "web", "tflite", "dynamic"
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
    define_old_names(values, old_names.EXPORT_FLAGS)


def _define_model(values):
    group = {"module_name": "Model", "flag_values": values}
    flags.DEFINE_string(
        "model",
        None,
        "Run folder, .keras file, SavedModel of an earlier export or name of a registered model.",
        required=True,
        **group,
    )
    flags.DEFINE_string(
        "weights", None, "'imagenet' for a registered model's published weights; default: random weights.", **group
    )
    flags.DEFINE_integer("num_experts", None, "Experts of a registered CondConv model.", lower_bound=1, **group)
    flags.DEFINE_float("width_multiplier", None, "Scales a registered model's channels.", *WIDTHS, **group)
    flags.DEFINE_integer(
        "input_size", None, "Height and width of an untrained model's input in pixels.", lower_bound=1, **group
    )
    flags.DEFINE_integer("seed", 0, "Seed of an untrained model's weights.", 0, 2**32 - 1, **group)


def _define_output(values):
    group = {"module_name": "Files", "flag_values": values}
    flags.DEFINE_string("output_dir", None, "Folder to write; it must be new or empty.", required=True, **group)
    written = dict.fromkeys(file_format.name for file_format in FORMATS if file_format.is_default)
    flags.DEFINE_list(
        "formats",
        ",".join(written),
        f"Formats to write, of {', '.join(format_names())}. {WEB!r} adds a page that runs a .tflite file in a browser.",
        **group,
    )
    meanings = ", ".join(f"{name} ({summary})" for name, summary in _quantizations().items())
    flags.DEFINE_list(
        "quantization", "none", f"TFLite files to write: {meanings}. Default for a page: {_FOR_PAGE}.", **group
    )
    flags.DEFINE_enum(
        "int8_input", "uint8", INT8_INPUTS, "Type of an int8 file's input; int8 is the pixel less 128.", **group
    )
    flags.DEFINE_float(
        "float_bytes",
        Budget.bytes,
        "The part of its size by which an 8-bit file may grow for layers that 8 bits cost too much; 0: all have them.",
        lower_bound=0.0,
        **group,
    )
    flags.DEFINE_float(
        "float_multiply_adds",
        Budget.multiply_adds,
        "The part of the multiply-adds that those layers may have, which take more time; 0: every layer has 8 bits.",
        0.0,
        1.0,
        **group,
    )
    flags.DEFINE_integer(
        "batch_size", 1, "Images that a .tflite file takes at a time, no more and no fewer.", 1, LARGEST_BATCH, **group
    )
    flags.DEFINE_bool(
        "static_kernels",
        False,
        "Convolve with every expert and mix the results, for accelerators that refuse kernels mixed at run time; the "
        "command prints the cost.",
        **group,
    )
    flags.DEFINE_bool(
        "raw_outputs",
        False,
        "Write a detector's .tflite files without non-maximum suppression: they return what the network does, and the "
        "anchors lie beside them.",
        **group,
    )
    flags.DEFINE_bool(
        "metadata",
        False,
        "Put labels and the scaling of pixels into a classifier's .tflite files, for MediaPipe's ImageClassifier.",
        **group,
    )
    flags.DEFINE_bool(
        "routing_outputs",
        None,
        "Let the .tflite files of a CondConv model return routing weights as well; default: only for a page.",
        **group,
    )
    flags.DEFINE_enum(
        "web_quantization",
        None,
        list(_quantizations()),
        "Mode of the page's file; default: the smallest file.",
        **group,
    )
    flags.DEFINE_string(
        "litertjs", None, "Folder with the packages of LiteRT.js for the page; default: npm fetches them once.", **group
    )
    flags.DEFINE_bool("json", False, "Print the results as one JSON object.", **group)


def _define_data(values):
    group = {"module_name": "Data", "flag_values": values}
    flags.DEFINE_string(
        "representative_data",
        None,
        "Images to calibrate 8-bit files on: a data set, of which the training split is used, or a folder of any "
        "images; default: the training images of --dataset.",
        **group,
    )
    flags.DEFINE_string(
        "dataset",
        None,
        "Data set, as for train.py, whose held-out images check the files; default: the run's, else photographs.",
        **group,
    )
    flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: the run's.", **group)
    flags.DEFINE_float(
        "validation_fraction", None, "Part to hold out of data without a split of its own.", 0.0, 1.0, **group
    )
    flags.DEFINE_bool("skip_bad_images", False, "Leave out images that cannot be decoded instead of stopping.", **group)
    define_check(**group)
    define_orientation(**group)
    flags.DEFINE_integer(
        "check_examples",
        None,
        "Number of held-out images to measure accuracy on; default: all.",
        lower_bound=1,
        **group,
    )


def _quantizations():
    """What --quantization may name, a dict to what it means."""
    return {each.quantization: each.summary for each in FORMATS if each.quantization is not None}


def chosen_formats(values):
    """Returns the `ExportFormat`s of --formats and --quantization, each once.

    Raises:
        UserError: one of the two names none, or one that is unknown.
    """
    names = (*format_names(), WEB)
    known_names = (("format", "formats", names), ("quantization", "quantization", _quantizations()))
    for kind, flag, known in known_names:
        for name in values[flag].value:
            if name not in known:
                raise unknown_name(kind, name, known)
        if not values[flag].value:
            raise UserError(f"--{flag} must name at least one of {', '.join(known)}")
    chosen = []
    for name in format_names():
        if name in values.formats or (name == _OF_PAGE and has_page(values)):
            known = variants(name)
            for quantization in [None] if None in known else dict.fromkeys(modes(values)):
                if quantization not in known:
                    raise unknown_name(f"quantization of --formats={name}", quantization, known)
                chosen.append(known[quantization])
    return chosen


def has_page(values):
    """Whether the flags ask for a page."""
    return WEB in values.formats


def modes(values):
    """The modes of the `.tflite` files to write."""
    if has_page(values) and not values["quantization"].present:
        return [values.web_quantization or _FOR_PAGE]
    return values.quantization
