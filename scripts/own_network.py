"""A user's own network trained on, and as a twin: `python -m scripts.own_network --data_dir=data --output_dir=own`.

    python -m scripts.fashion_mnist --output_dir=data
    python -m scripts.own_network --data_dir=data --output_dir=own --seeds=3

For each seed a small `Sequential` network with a `Rescaling` inside is trained by `fit` on Fashion-MNIST and saved.
Then `train.py --model=FILE` trains it for as many epochs again, as it is and with 8 experts in its convolutions, and
all three are evaluated on the test images, or on the held-out training images of a folder that `scripts.fashion_mnist
--validation_images` wrote, to choose learning rates on. `runs.csv` has a row for each network, written after each;
what is there already is not run again. The output is one JSON object.
"""

import csv
import json
import pathlib
import statistics
import time

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.data import open_dataset
from condconv_keras.experiments.gain.comparison import paired_difference
from condconv_keras.utils.files import check_parents, write_rows
from condconv_keras.utils.lazy import LazyModule, keras
from condconv_keras.utils.progress import progress
from scripts.commands import output_of

COLUMNS = ("seed", "side", "learning_rate", "top_1", "epochs", "parameters", "seconds")
PLAIN, CONTINUED, TWIN = "plain", "continued", "twin"
_DATASET = "fashion_mnist"
_BATCH = 128
tfds = LazyModule("tensorflow_datasets")
FLAGS = flags.FLAGS


def main(argv):
    cli.expect_flags_only(argv)
    check_parents(FLAGS.output_dir, "output_dir")
    folder = pathlib.Path(FLAGS.output_dir)
    folder.mkdir(exist_ok=True)
    rows = read_rows(folder / "runs.csv")
    for seed, side, rate in progress(_missing(rows), unit="network"):
        rows.append(_row(folder, seed, side, rate))
        write_rows(folder / "runs.csv", COLUMNS, rows)
    return cli.to_json(summary(rows))


def read_rows(path):
    """The rows of a `runs.csv`, a list of dicts; none without a file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return [{**row, "seed": int(row["seed"]), "top_1": float(row["top_1"])} for row in csv.DictReader(file)]


def _missing(rows):
    """What is left to run, a list of (seed, side, learning rate); the plain network of a seed first."""
    wanted = []
    for seed in range(FLAGS.seeds):
        wanted.append((seed, PLAIN, ""))
        wanted += [(seed, CONTINUED, rate) for rate in FLAGS.continued_rates]
        wanted += [(seed, TWIN, rate) for rate in FLAGS.twin_rates]
    done = {(row["seed"], row["side"], row["learning_rate"]) for row in rows}
    return [each for each in wanted if each not in done]


def _row(folder, seed, side, rate):
    file = folder / f"plain_{seed}.keras"
    if side == PLAIN:
        return {"seed": seed, "side": side, "learning_rate": rate, **_train_plain(seed, file)}
    arguments = [f"--model={file}", f"--dataset={_DATASET}", f"--data_dir={FLAGS.data_dir}", f"--seed={seed}"]
    arguments += [f"--epochs={FLAGS.epochs}", f"--learning_rate={rate}", "--warmup_epochs=0.5", "--augmentation=none"]
    if side == TWIN:
        arguments += ["--num_experts=8", "--layers=conv_*"]
    arguments += [f"--model_dir={folder / f'{side}_{rate}_{seed}'}", "--json"]
    results = json.loads(output_of("-m", "condconv_keras.commands.train", *arguments))
    return {"seed": seed, "side": side, "learning_rate": rate, **{name: results[name] for name in COLUMNS[3:]}}


def _train_plain(seed, file):
    """Trains the user's network by `fit` and saves it; returns the further columns of its row."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv_1"),
            layers.Conv2D(16, 3, strides=2, activation="relu", name="conv_2"),
            layers.Conv2D(16, 3, activation="relu", name="conv_3"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    start = time.monotonic()
    model.fit(*_images("train"), batch_size=_BATCH, epochs=FLAGS.epochs, verbose=0)
    seconds = round(time.monotonic() - start, 1)
    model.save(file)
    images, labels = _images(open_dataset(_DATASET, FLAGS.data_dir).evaluation_split)
    top_1 = float((model.predict(images, verbose=0).argmax(axis=-1) == labels).mean())
    return {"top_1": top_1, "epochs": FLAGS.epochs, "parameters": model.count_params(), "seconds": seconds}


def _images(split):
    """The images of a split, uint8, and their labels."""
    return tfds.as_numpy(
        tfds.load(_DATASET, split=split, data_dir=FLAGS.data_dir, batch_size=-1, as_supervised=True, download=False)
    )


def summary(rows):
    """Accuracies in percent by side and learning rate, and differences to the plain network that was trained on.

    Args:
        rows: list of dicts of `COLUMNS`.
    """
    accuracies = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        key = row["side"] if row["side"] == PLAIN else f"{row['side']} {row['learning_rate']}"
        accuracies.setdefault(key, []).append(100 * row["top_1"])
    means = {key: statistics.fmean(values) for key, values in accuracies.items()}
    continued = [key for key in accuracies if key.startswith(CONTINUED)]
    twins = [key for key in accuracies if key.startswith(TWIN)]
    if len(continued) != 1 or len(twins) != 1:
        return {"means": means}
    found = {}
    for name, base, side in (("twin - continued", continued[0], twins[0]), ("twin - plain", PLAIN, twins[0])):
        difference = paired_difference(accuracies[base], accuracies[side])
        found[name] = {"mean": difference.mean, "standard_error": difference.standard_error}
    return {"means": means, "accuracies": accuracies, "differences": found}


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "Folder that scripts.fashion_mnist has written.", required=True)
    flags.DEFINE_string("output_dir", None, "Folder of the networks, the runs and runs.csv.", required=True)
    flags.DEFINE_integer("seeds", 3, "Number of seeds, from 0 on.", lower_bound=1)
    flags.DEFINE_integer("epochs", 8, "Epochs of `fit`, and as many again of `train.py`.", lower_bound=1)
    flags.DEFINE_list("continued_rates", ["0.1"], "Learning rates of the plain network that is trained on.")
    flags.DEFINE_list("twin_rates", ["0.1"], "Learning rates of the twin.")
    cli.run(main)
