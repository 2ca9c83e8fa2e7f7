"""Trains a model: `python train.py --model=condconv_mobilenet_v1 --dataset=digits --model_dir=runs/digits`.

Everything about the run is written to --model_dir: `config.json`, `model.keras`, `history.csv`, `tensorboard/` and
`results.json`. The same command goes on with a run that was interrupted.
"""

import dataclasses
import importlib.metadata
import os
import platform
import sys

from absl import flags

from condconv_keras import cli
from condconv_keras.data import open_dataset
from condconv_keras.data.dataset import is_folder
from condconv_keras.errors import UserError, one_line
from condconv_keras.training.config import PRECISIONS, TrainConfig
from condconv_keras.training.recipes import RECIPES, default_recipe_name, get_recipe
from condconv_keras.training.run_folder import RunFolder
from models import create_model, model_entry
from models.pretrained import IMAGENET, starting_file
from models.registry import PLACEMENT_FIELDS

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Name of the model; `python -m models` lists them.", required=True)
flags.DEFINE_string("model_dir", None, "Folder of the run.", required=True)
flags.DEFINE_string("dataset", "digits", "'digits', a TFDS name, or a folder of images by class.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets.")
flags.DEFINE_float("validation_fraction", 0.2, "Held-out part of data without a split of its own.", 0.0, 1.0)
flags.DEFINE_bool("skip_bad_images", False, "Leave out images that cannot be decoded instead of stopping.")
flags.DEFINE_integer("num_experts", None, "Experts of every CondConv layer.", lower_bound=1)
flags.DEFINE_integer("start_block", None, "First CondConv block.", lower_bound=1)
flags.DEFINE_integer("start_group", None, "First CondConv group of blocks, in place of --start_block.", lower_bound=1)
flags.DEFINE_bool("condconv_head", None, "Whether the convolution after the blocks is a CondConv layer.")
flags.DEFINE_bool("condconv_shortcut", None, "Whether projection shortcuts of CondConv blocks are CondConv layers.")
flags.DEFINE_bool("condconv_classifier", None, "Whether the classifier is a CondConv layer.")
flags.DEFINE_float("width_multiplier", None, "Scales the channels of every layer.", 0.01, 16.0)
flags.DEFINE_string(
    "recipe",
    None,
    f"Training recipe, one of {', '.join(RECIPES)}; default: the data set's, for ImageNet the model's, else small.",
)
flags.DEFINE_integer("input_size", None, "Height and width of the input in pixels.", lower_bound=32)
flags.DEFINE_integer("epochs", None, "Epochs; default: the recipe's.", lower_bound=1)
flags.DEFINE_integer("batch_size", None, "Batch size; scales the recipe's learning rate.", lower_bound=1)
flags.DEFINE_float("learning_rate", None, "Peak learning rate; default: the recipe's, scaled.", 0.0, 1000.0)
flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the computation.")
flags.DEFINE_integer("seed", 0, "Seed of initial weights, order and augmentation.", 0, 2**32 - 1)
flags.DEFINE_string(
    "initial_weights",
    None,
    "A trained model to start from: .keras, of this model or its plain twin, or .weights.h5, of this model.",
)
flags.DEFINE_string(
    "weights", None, "'imagenet' to start from the published weights of the model or, if it has none, its plain twin."
)
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")

_MODEL_ARGUMENTS = (*PLACEMENT_FIELDS, "width_multiplier")


def main(argv):
    if len(argv) > 1:
        raise UserError(f"expected flags only, received: {' '.join(argv[1:])}")
    config = config_from_flags()
    run = RunFolder(FLAGS.model_dir)
    run.check(config)
    results = run.read_results()
    if results is None:
        _check_initial_weights(config, run)
        # Before TensorFlow is imported: a wrong name is answered at once.
        dataset = open_dataset(config.dataset, config.data_dir, config.validation_fraction, config.skip_bad_images)
        results = train(config, run, dataset)
    else:
        print(f"{run.path} is complete; these are its results", file=sys.stderr)
    return cli.to_json(results) if FLAGS.json else summary(config, run, results)


def config_from_flags():
    """Returns the `TrainConfig` of the flags; raises a `UserError` for names and combinations that do not exist."""
    entry = model_entry(FLAGS.model)
    model_arguments = {name: FLAGS[name].value for name in _MODEL_ARGUMENTS if FLAGS[name].value is not None}
    for name in set(model_arguments) - {"width_multiplier"}:
        if entry.placement is None:
            raise UserError(f"--{name} is for condconv_ models, --model={entry.name} has no experts")
    recipe_name = FLAGS.recipe or default_recipe_name(FLAGS.dataset, entry.recipe)
    recipe = get_recipe(recipe_name)
    batch_size = FLAGS.batch_size or recipe.batch_size
    changes = {
        "epochs": FLAGS.epochs or recipe.epochs,
        "batch_size": batch_size,
        "input_size": FLAGS.input_size or recipe.input_size or entry.input_size,
        "learning_rate": recipe.learning_rate * batch_size / recipe.batch_size,
    }
    if FLAGS.learning_rate is not None:
        changes["learning_rate"] = FLAGS.learning_rate
    return TrainConfig(
        model=entry.name,
        model_arguments=model_arguments,
        dataset=_absolute(FLAGS.dataset) if is_folder(FLAGS.dataset, FLAGS.data_dir) else FLAGS.dataset,
        data_dir=_absolute(FLAGS.data_dir),
        validation_fraction=FLAGS.validation_fraction,
        skip_bad_images=FLAGS.skip_bad_images,
        recipe_name=recipe_name,
        recipe=dataclasses.replace(recipe, **changes),
        precision=FLAGS.precision,
        seed=FLAGS.seed,
        initial_weights=_initial_weights(),
    )


def _initial_weights():
    """Where the weights start, a path or `"imagenet"`, or None."""
    if FLAGS.weights is None:
        return _absolute(FLAGS.initial_weights)
    if FLAGS.initial_weights is not None:
        raise UserError("--weights and --initial_weights exclude each other")
    if FLAGS.weights != IMAGENET:
        raise UserError(f"--weights is {IMAGENET!r}; --initial_weights takes a file. Received: {FLAGS.weights!r}")
    return IMAGENET


def _check_initial_weights(config, run):
    path = config.initial_weights
    if path in (None, IMAGENET) or run.checkpoint_metadata.is_file():
        return
    if not path.endswith((".keras", ".weights.h5")):
        raise UserError(f"--initial_weights is a .keras or .weights.h5 file. Received: {path!r}")
    if not os.path.isfile(path):
        raise UserError(f"--initial_weights is an existing file. Received: {path!r}")


def _absolute(path):
    """A path that means the same from every folder, since the run outlives this process."""
    return None if path is None else os.path.abspath(os.path.expanduser(path))


def train(config, run, dataset):
    """Runs the configuration; see `condconv_keras.training.fit.train`."""
    from condconv_keras.training import fit

    entry = model_entry(config.model)
    recipe = config.recipe
    initial, weights = None, None
    if run.checkpoint_metadata.is_file():
        # The checkpoint holds the weights; the file that they started from may be gone.
        config = dataclasses.replace(config, inherited=run.read_config().inherited)
    elif config.initial_weights == IMAGENET or (config.initial_weights or "").endswith(".keras"):
        initial = _open_initial_model(config)
        config = dataclasses.replace(config, inherited=initial.inherited)
    else:
        weights = config.initial_weights
    inherited = config.inherited or {"model_arguments": {}, "preprocessing": {}}

    def preprocessing_of(channels):
        size = (recipe.input_size, recipe.input_size)
        fields = {"input_size": size, "channels": channels, "crop_fraction": recipe.crop_fraction}
        return entry.preprocessing(**{**fields, **inherited["preprocessing"]})

    def build_model(input_shape, classes):
        arguments = {**config.model_arguments, **inherited["model_arguments"], "dropout_rate": recipe.dropout_rate}
        if recipe.bn_momentum is not None:
            arguments["bn_momentum"] = recipe.bn_momentum
        if recipe.stochastic_depth_rate:
            arguments["stochastic_depth_rate"] = recipe.stochastic_depth_rate
        try:
            return create_model(config.model, input_shape=input_shape, classes=classes, weights=weights, **arguments)
        except (ValueError, TypeError) as error:
            raise UserError(one_line(error)) from error

    command = f"python {' '.join(sys.argv)}"
    return fit.train(config, run, dataset, build_model, preprocessing_of, command, versions(), initial)


def _open_initial_model(config):
    from condconv_keras.training.initial_weights import open_initial_model
    from models.cards import registered_card
    from models.settings import weight_settings

    path = config.initial_weights
    if path == IMAGENET:
        path = str(starting_file(config.model, config.model_arguments))
        print(f"starting from {path}", file=sys.stderr)
    return open_initial_model(path, registered_card, weight_settings)


def versions():
    """Returns the versions that a result depends on."""
    packages = ("tensorflow", "keras", "tensorflow-datasets", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def summary(config, run, results):
    """Returns the results as the lines that a person reads."""
    return cli.table(
        [
            ("model", config.model),
            ("data set", f"{config.dataset}, {results['examples']} examples of {results['split']}"),
            ("top-1", f"{results['top_1']:.4f}"),
            ("top-5", f"{results['top_5']:.4f}"),
            ("loss", f"{results['loss']:.4f}"),
            ("parameters", f"{results['parameters']:,}"),
            ("training", f"{results['epochs']} epochs, {results['seconds']} s"),
            ("run folder", run.path),
        ]
    )


if __name__ == "__main__":
    cli.run(main)
