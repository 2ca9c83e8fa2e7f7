"""Evaluates a stored classifier: `python eval.py --model=runs/digits`.

--model is a run folder, a `.keras` file, a SavedModel or a `.tflite` file; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Every example of the split is counted once.
"""

import os

from absl import flags

from condconv_keras import cli
from condconv_keras.errors import UserError
from condconv_keras.predictors import model_kind, open_predictor
from condconv_keras.training.config import open_run_dataset
from condconv_keras.training.run_folder import RunFolder
from models.cards import registered_card
from models.pretrained import model_file

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Run folder, .keras file, SavedModel or .tflite file.", required=True)
flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
flags.DEFINE_string("dataset", None, "'digits', a TFDS name, or a folder of images; default: the run's.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: the run's.")
flags.DEFINE_string("split", None, "Split of the data set; default: its held-out one.")
flags.DEFINE_float("validation_fraction", None, "Held-out part of data without a split of its own.", 0.0, 1.0)
flags.DEFINE_bool("skip_bad_images", False, "Leave out images that cannot be decoded instead of stopping.")
flags.DEFINE_integer("batch_size", 64, "Images at a time; does not change the result.", lower_bound=1)
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")


def main(argv):
    if len(argv) > 1:
        raise UserError(f"expected flags only, received: {' '.join(argv[1:])}")
    path = model_file(FLAGS.model, FLAGS.weights)
    kind = model_kind(path)
    config = RunFolder(path).read_config() if kind == "run" else None
    dataset = open_run_dataset(config, FLAGS.dataset, FLAGS.data_dir, FLAGS.validation_fraction, FLAGS.skip_bad_images)
    split = FLAGS.split or dataset.evaluation_split
    dataset.check_split(split)

    from condconv_keras.data import evaluation_batches
    from condconv_keras.evaluation import evaluate

    predictor = open_predictor(path, registered_card)
    _check_classes(predictor.card.class_names, dataset)
    batches = evaluation_batches(dataset, split, predictor.card.preprocessing, FLAGS.batch_size, scaled=False)
    metrics = evaluate(predictor.predict, _with_progress(batches, dataset.splits[split]))
    results = {
        **metrics.to_dict(),
        "model": os.fspath(FLAGS.model),
        "kind": predictor.kind,
        "dataset": dataset.name,
        "split": split,
        "skipped_images": dataset.skipped.get(split, 0),
    }
    return cli.to_json(results) if FLAGS.json else cli.table(_rows(results))


def _check_classes(names, dataset):
    """Raises a `UserError` unless output `i` of the model and label `i` of the data set mean the same class."""
    if len(names) != len(dataset.class_names):
        raise UserError(
            f"the model has {len(names)} classes, the data set {dataset.name!r} has {len(dataset.class_names)}"
        )
    if names == tuple(map(str, range(len(names)))):
        return  # a model that does not know their names
    for i, (mine, theirs) in enumerate(zip(names, dataset.class_names, strict=True)):
        if mine != theirs:
            raise UserError(f"class {i} is {mine!r} for the model and {theirs!r} in the data set {dataset.name!r}")


def _with_progress(batches, examples):
    """Passes batches on, with a progress bar on a terminal."""
    from tqdm import tqdm

    with tqdm(total=examples, unit="img", disable=None) as bar:
        for images, labels in batches:
            yield images, labels
            bar.update(len(labels))


def _rows(results):
    return [
        ("model", f"{results['model']} ({results['kind']})"),
        ("data set", f"{results['dataset']}, {results['examples']} examples of {results['split']}"),
        ("top-1", f"{results['top_1']:.4f}"),
        ("top-5", f"{results['top_5']:.4f}"),
        ("loss", f"{results['loss']:.4f}"),
    ]


if __name__ == "__main__":
    cli.run(main)
