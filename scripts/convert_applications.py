"""Converts the networks of keras.applications to CondConv and checks each: `python -m scripts.convert_applications`.

    python -m scripts.convert_applications --output=applications.csv

The networks have small inputs, random weights, and batch normalization's statistics of random images, so that what
they compute has a known scale. Each gets 4 experts by `condconv_keras.to_condconv`, is compared with the original,
saved, and loaded by a process of its own. Where the converted network has at most 60 million parameters it also takes
three steps of training, after which the experts of each layer have to differ, and `python -m export` writes a float32
`.tflite` file of it, which has to pass the check. --networks names some of them, as in `MobileNetV2,ResNet50`.
`docs/results/convert/README.md` has the table of the rows that `docs/results/convert/applications.csv` holds.
"""

import inspect
import json
import pathlib
import tempfile

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_parents, write_rows
from condconv_keras.utils.lazy import LazyModule, keras
from condconv_keras.utils.lazy import numpy as np
from condconv_keras.utils.progress import progress
from scripts.commands import output_of

convert = LazyModule("condconv_keras.convert")
graph = LazyModule("condconv_keras.convert.graph")
cards = LazyModule("condconv_keras.model_card")
layers = LazyModule("condconv_keras.layers.base_cond_conv")
preprocessing = LazyModule("condconv_keras.facts.preprocessing")

NUM_EXPERTS = 4
MOST_TRAINED = 60_000_000  # parameters of a converted network that is trained and exported, too
COLUMNS = (
    *("network", "input_size", "layers", "converted", "parameters", "converted_parameters"),
    *("largest_difference", "after_loading", "least_growth", "tflite_bytes", "tflite_error"),
)
_CLASSES = 10
_SIZES = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}
_SIZE = 32
# The network of seed 0 amplifies rounding: its plain `.tflite` file is 0.99e-4 off for the exporter's photographs, the
# twin's 1.3e-4, which may be 1e-4.
_SEEDS = {"EfficientNetV2B3": 1}
MOST_DIFFERENT = 1e-5
# Networks of seed 0 that amplify rounding: how far their own answers in float32 are from those in float64.
ROUNDING = {"InceptionV3": 6.0e-5}

FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    check_parents(FLAGS.output, "output")
    known = network_names()
    unknown = [name for name in FLAGS.networks or () if name not in known]
    if unknown:
        raise UserError(f"expected networks of keras.applications in --networks, {unknown[0]!r} is none")
    rows = []
    for name in progress(FLAGS.networks or known, unit="network"):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(converted_row(name, pathlib.Path(folder)))
        write_rows(FLAGS.output, COLUMNS, rows)
        keras.utils.clear_session()
    return cli.to_json(rows) if FLAGS.json else f"written: {FLAGS.output}"


def network_names():
    """The names of the builders of keras.applications."""
    members = vars(keras.applications).items()
    return sorted(name for name, value in members if name[0].isupper() and inspect.isfunction(value))


def converted_row(name, folder):
    """Converts a network and returns a dict of `COLUMNS`.

    `largest_difference` is that of the outputs, over the largest output. `after_loading` is the same of the network
    that another process has loaded. `least_growth` is the least over the layers of how far the experts are from their
    mean after three steps, over their norm. What is not done has None.

    Args:
        name: of the builder.
        folder: `pathlib.Path` of an empty folder.
    """
    size = _SIZES.get(name, _SIZE)
    images = np.random.default_rng(1).uniform(0, 255, (16, size, size, 3)).astype("float32")
    plain = _network(name, size, images)
    twin = convert.to_condconv(plain, NUM_EXPERTS, images=images, verbose=False)
    expected = _outputs(plain, images)
    row = dict.fromkeys(COLUMNS) | {
        "network": name,
        "input_size": size,
        "layers": len(graph.places(plain)),
        "converted": len(_experts(twin)),
        "parameters": plain.count_params(),
        "converted_parameters": twin.count_params(),
        "largest_difference": _difference(_outputs(twin, images), expected),
    }
    card = cards.ModelCard(
        name.lower(),
        tuple(map(str, range(_CLASSES))),
        preprocessing.Preprocessing(input_size=(size, size), channels=3, mean=0.0, std=1.0),
    )
    cards.save_model(twin, card, folder / "twin.keras")
    np.save(folder / "images.npy", images)
    row["after_loading"] = _difference(_outputs_of_file(folder), expected)
    if twin.count_params() <= MOST_TRAINED:
        row |= _export(folder)
        row["least_growth"] = _growth(twin, images)
    return row


def table(rows):
    """The table of the page, Markdown.

    Args:
        rows: list of dicts of `COLUMNS`, values as text, as `csv.DictReader` has them.
    """
    lines = [
        "| network | layers with experts | parameters, millions | largest difference | experts apart | `.tflite`, MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        before, after = (int(row[name]) / 1e6 for name in ("parameters", "converted_parameters"))
        difference = max(float(row[name]) for name in ("largest_difference", "after_loading"))
        growth, size = row["least_growth"], row["tflite_bytes"]
        lines.append(
            f"| {row['network']} | {row['converted']} of {row['layers']} | {before:.1f} -> {after:.1f} | "
            f"{difference:.1e} | {f'{float(growth):.1e}' if growth else '-'} | "
            f"{f'{int(size) / 1e6:.0f}' if size else '-'} |"
        )
    return "\n".join(lines)


def _network(name, size, images):
    keras.utils.set_random_seed(_SEEDS.get(name, 0))
    builder = getattr(keras.applications, name)
    network = builder(weights=None, input_shape=(size, size, 3), classes=_CLASSES, classifier_activation=None)
    # Without statistics of its features a deep network amplifies rounding to anything; without their floor, too.
    normalizations = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.momentum = 0.0
    network(images, training=True)
    for layer in normalizations:
        layer.momentum = 0.99
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        layer.moving_variance.assign(np.maximum(variance, variance.mean()))
    return network


def _outputs(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def _difference(values, expected):
    return float(np.abs(values - expected).max() / np.abs(expected).max())


def _outputs_of_file(folder):
    program = (
        "import sys, numpy, condconv_keras; model, _ = condconv_keras.load_model(sys.argv[1] + '/twin.keras'); "
        "numpy.save(sys.argv[1] + '/outputs.npy', model(numpy.load(sys.argv[1] + '/images.npy'), training=False))"
    )
    output_of("-c", program, str(folder))
    return np.load(folder / "outputs.npy")


def _export(folder):
    arguments = (f"--model={folder}/twin.keras", f"--output_dir={folder}/exported", "--formats=tflite", "--json")
    (file,) = json.loads(output_of("-m", "export", *arguments))["files"]
    return {"tflite_bytes": file["bytes"], "tflite_error": file["relative_error"]}


def _growth(twin, images):
    twin.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(3):
        twin.train_on_batch(images, np.arange(len(images)) % _CLASSES)
    banks = [keras.ops.convert_to_numpy(layer.bank) for layer in _experts(twin)]
    return float(min(np.linalg.norm(bank - bank.mean(axis=0)) / np.linalg.norm(bank) for bank in banks))


def _experts(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BaseCondConv2D)]


if __name__ == "__main__":
    flags.DEFINE_string("output", None, "Name of the CSV file to write.", required=True)
    flags.DEFINE_list("networks", None, "Names of builders; default: all of them.")
    flags.DEFINE_bool("json", False, "Print the rows as one JSON array.")
    cli.run(main)
