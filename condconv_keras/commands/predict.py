"""Classifies images or detects objects in them: `python predict.py --model=runs/digits photo.jpg folder/`.

--model is a run folder, a `.keras` file, a SavedModel or a `.tflite` file; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Folders are searched for images; quoted patterns
('photos/**/*.jpg'), addresses of http and https, and `-` for an image on standard input work, too. The command names
a file that is no image on standard error and answers the others: the exit code is 1 then, and 2 where none is left.

A detector's boxes are printed in pixels of the image, turned as its EXIF orientation says where the model was trained
so; --output_dir writes copies of the images with the boxes drawn, --coco_json all detections in COCO's results format.
"""

import itertools

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.foreign_flags import define_foreign, open_to_run
from condconv_keras.commands.image_arguments import image_arguments
from condconv_keras.commands.model_flags import applied_orientation, define_orientation
from condconv_keras.data.sources.image_files import warn_of_ignored
from condconv_keras.tasks.reports import csv_text
from condconv_keras.tasks.table import all_tasks, get_task
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_file, write_text
from condconv_keras.utils.lazy import require
from condconv_keras.utils.progress import progress

FLAGS = flags.FLAGS

_BATCH = 32


def main(argv):
    if FLAGS.json and FLAGS.csv:
        raise UserError("--json and --csv exclude each other")
    if len(argv) == 1:
        raise UserError("expected image files or folders after the flags, received none")
    if FLAGS.output is not None:
        _check_output(FLAGS.output)
    images, ignored = image_arguments(argv[1:])
    stored = open_to_run(FLAGS, FLAGS.weights)
    predictions = get_task(stored.task).predictions
    options = _options(stored.task)
    predictions.check(options, images)
    require(*(package for name, used in predictions.packages.items() if options[name] is not None for package in used))
    apply_orientation = applied_orientation(FLAGS, stored)
    predictor, errors = stored.predictor(), []
    warn_of_ignored("the folders", ignored)
    answers = _answers(predictor, images, apply_orientation, errors)
    collected = predictions.collect(predictor.card, answers, options)
    for error in errors:
        cli.print_error(str(error))
    # Some images may be answered though others are not; an input that is refused as a whole is another case.
    code = (1 if len(errors) < len(images) else UserError.EXIT_CODE) if errors else 0
    if FLAGS.output is None:
        return _text(predictions, collected, "json" if FLAGS.json else "csv" if FLAGS.csv else None), code
    if code != UserError.EXIT_CODE:  # else an earlier file stays
        write_text(FLAGS.output, _text(predictions, collected, FLAGS.output.rpartition(".")[2]) + "\n")
    return None, code


def _check_output(path):
    """Raises a `UserError` for a file that cannot be written, or whose ending does not say how."""
    if FLAGS.json or FLAGS.csv:
        raise UserError("--output has the format of its ending: --json and --csv are for what is printed")
    if not path.endswith((".csv", ".json")):
        raise UserError(f"--output takes a file that ends in .csv or .json, received: {path!r}")
    check_file(path, "output")


def _options(task_name):
    """The values of the flags that are a task's options; raises a `UserError` for a given one of another task."""
    of_task = get_task(task_name).predictions.options
    for name in (name for task in all_tasks() for name in task.predictions.options):
        if name not in of_task and FLAGS[name].value != FLAGS[name].default:
            raise UserError(f"--{name} is not for a model for {task_name}")
    return {name: FLAGS[name].value for name in of_task}


def _answers(predictor, arguments, apply_orientation, errors):
    """Yields (`ImageArgument`, uint8 image, answer) of what are images; appends the `UserError`s of the others."""
    shown = progress(arguments, desc="Predicting", unit="image") if len(arguments) > _BATCH else arguments
    for batch in _batches(shown, _BATCH):
        readable, images = [], []
        for argument in batch:
            try:
                images.append(argument.read(apply_orientation))
                readable.append(argument)
            except UserError as error:
                errors.append(error)
        if not images:
            continue
        answers = predictor.predict(predictor.card.preprocessing.evaluation_images(images))
        for i, (argument, image) in enumerate(zip(readable, images, strict=True)):
            answer = {name: v[i] for name, v in answers.items()} if isinstance(answers, dict) else answers[i]
            yield argument, image.numpy(), answer


def _batches(items, size):
    """Yields lists of `size` of the items, a last one of fewer."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def _text(predictions, collected, text_format):
    """The predictions as `"json"`, `"csv"` or, by None, for a person, who gets None where there is nothing to print."""
    if text_format == "json":
        return cli.to_json({"predictions": predictions.to_json(collected)})
    if not collected and not FLAGS.output:
        return None
    if text_format == "csv":
        return csv_text(predictions.to_csv(collected)).rstrip("\n")
    return cli.table(predictions.to_rows(collected))


def _define_flags():
    flags.DEFINE_string("model", None, "Run folder, .keras file, SavedModel or .tflite file.", required=True)
    flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
    define_orientation()
    flags.DEFINE_integer("top_k", 5, "Number of classes to print for each image, for a classifier.", lower_bound=1)
    flags.DEFINE_float("min_score", 0.5, "Least score of a box that is printed or drawn, for a detector.", 0.0, 1.0)
    flags.DEFINE_string("output_dir", None, "Folder for copies of the images with their boxes, as PNG, for a detector.")
    flags.DEFINE_string("coco_json", None, "File for all detections in COCO's results format, for a detector.")
    flags.DEFINE_string("output", None, "File to write in place of printing, .csv or .json.")
    flags.DEFINE_bool("json", False, "Print the predictions as one JSON object.")
    flags.DEFINE_bool("csv", False, "Print the predictions as CSV.")
    define_foreign()


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
