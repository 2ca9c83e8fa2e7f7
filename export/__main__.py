"""Exports a classifier: `python -m export --model=runs/digits --output_dir=exported`.

Writes `saved_model/` (any batch size), `model.tflite` (batch of one), `labels.txt` and `model.json` to --output_dir,
and compares both files with the Keras model on real images. If one differs, nothing is written. With
--weights=imagenet, --model is the name of a registered model, whose published weights are downloaded once.
"""

import pathlib
import sys

from absl import flags

from condconv_keras import cli
from condconv_keras.errors import UserError, unknown_name
from condconv_keras.files import check_parents, whole_folder
from condconv_keras.model_card import FILE_NAME
from condconv_keras.predictors import load_classifier, model_kind
from condconv_keras.training.config import open_run_dataset
from condconv_keras.training.run_folder import RunFolder
from models.cards import registered_card
from models.pretrained import model_file

FORMATS = {"savedmodel": "saved_model", "tflite": "model.tflite"}

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Run folder or .keras file.", required=True)
flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
flags.DEFINE_string("output_dir", None, "Folder to write; must not exist or be empty.", required=True)
flags.DEFINE_list("formats", list(FORMATS), f"Formats to write, of {', '.join(FORMATS)}.")
flags.DEFINE_string("dataset", None, "Data whose held-out images check the files; default: the run's, else two photos.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TFDS data sets; default: the run's.")
flags.DEFINE_float("validation_fraction", None, "Held-out part of data without a split of its own.", 0.0, 1.0)
flags.DEFINE_bool("skip_bad_images", False, "Leave out images that cannot be decoded instead of stopping.")
flags.DEFINE_bool("json", False, "Print the results as one JSON object.")


def main(argv):
    if len(argv) > 1:
        raise UserError(f"expected flags only, received: {' '.join(argv[1:])}")
    output = _checked_output()
    source = model_file(FLAGS.model, FLAGS.weights)
    kind = model_kind(source)
    if kind not in ("run", "keras"):
        raise UserError(f"--model must be a run folder or a .keras file, {FLAGS.model!r} is a {kind} export")
    run = RunFolder(source) if kind == "run" else None
    dataset = _open_dataset(run)
    model, card = load_classifier(source if run is None else run.model, registered_card)

    from export.check import check, check_images

    images = check_images(dataset, card.preprocessing)
    results = {"model": str(FLAGS.model), "output_dir": str(output), "files": []}
    with whole_folder(output) as folder:
        for format_name in FLAGS.formats:
            path = folder / FORMATS[format_name]
            print(f"writing {FORMATS[format_name]}", file=sys.stderr)
            _write(format_name, path, folder, model, card)
            comparison = check(path, model, card, images)
            if not comparison.passed:
                raise UserError(f"the exported file differs from the Keras model, nothing is written: {comparison}")
            results["files"].append(
                {
                    "file": str(output / path.name),
                    "bytes": _size(path),
                    "images": comparison.images,
                    "max_difference": comparison.max_difference,
                    "same_class": comparison.same_class,
                }
            )
    return cli.to_json(results) if FLAGS.json else _summary(results)


def _checked_output():
    """The folder to write; raises a `UserError` if it or the formats cannot be."""
    for name in FLAGS.formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    if not FLAGS.formats:
        raise UserError(f"--formats must name at least one of {', '.join(FORMATS)}")
    output = pathlib.Path(FLAGS.output_dir)
    check_parents(output, "--output_dir")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"--output_dir {str(output)!r} exists and is not an empty folder; give another one")
    return output


def _open_dataset(run):
    """The data set whose images check the export, or None; `run` is the model's `RunFolder` or None."""
    config = None if run is None else run.read_config()
    if config is None and FLAGS.dataset is None:
        return None
    return open_run_dataset(config, FLAGS.dataset, FLAGS.data_dir, FLAGS.validation_fraction, FLAGS.skip_bad_images)


def _write(format_name, path, folder, model, card):
    """Writes one format, and the classes and the preprocessing where its readers look for them."""
    if format_name == "savedmodel":
        from export.saved_model import write_saved_model

        write_saved_model(model, card, path)
        _write_card(card, path / "assets.extra")
    else:
        from export.tflite import tflite_bytes

        path.write_bytes(tflite_bytes(model, card))
    _write_card(card, folder)


def _write_card(card, folder):
    folder.mkdir(exist_ok=True)
    (folder / "labels.txt").write_text(card.labels, encoding="utf-8")
    (folder / FILE_NAME).write_text(card.to_json(), encoding="utf-8")


def _size(path):
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def _summary(results):
    rows = [
        (
            result["file"],
            f"{result['bytes'] / 1e6:.2f} MB, {result['same_class']} of {result['images']} images as Keras, "
            f"largest difference {result['max_difference']:.1e}",
        )
        for result in results["files"]
    ]
    return cli.table(rows)


if __name__ == "__main__":
    cli.run(main)
