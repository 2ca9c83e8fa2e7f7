"""Classifies images or detects objects in them: `python predict.py --model=runs/digits photo.jpg folder/`.

--model is a run folder, a `.keras` file, a SavedModel or a `.tflite` file; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Folders are searched for images.

A detector's boxes are printed in pixels of the image, turned as its EXIF orientation says where the model was trained
so; --output_dir writes copies of the images with the boxes drawn, --coco_json all detections in COCO's results format.
"""

from absl import flags

from condconv_keras.commands import cli
from condconv_keras.commands.model_flags import applied_orientation, define_orientation
from condconv_keras.data.input.decoding import read_image
from condconv_keras.data.sources.image_files import find_images, warn_of_ignored
from condconv_keras.stored import StoredModel
from condconv_keras.tasks.reports import csv_text
from condconv_keras.tasks.table import all_tasks, get_task
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.lazy import require

FLAGS = flags.FLAGS

_BATCH = 32


def main(argv):
    if FLAGS.json and FLAGS.csv:
        raise UserError("--json and --csv exclude each other")
    if len(argv) == 1:
        raise UserError("expected image files or folders after the flags, received none")
    found = find_images(argv[1:])
    stored = StoredModel.open(FLAGS.model, FLAGS.weights)
    predictions = get_task(stored.task).predictions
    options = _options(stored.task)
    predictions.check(options, found.images)
    require(*(package for name, used in predictions.packages.items() if options[name] is not None for package in used))
    apply_orientation = applied_orientation(FLAGS, stored)
    predictor, errors = stored.predictor(), []
    warn_of_ignored("the folders", found.ignored)
    answers = _answers(predictor, found.images, apply_orientation, errors)
    collected = predictions.collect(predictor.card, answers, options)
    for error in errors:
        cli.print_error(str(error))
    return _text(predictions, collected), 1 if errors else 0


def _options(task_name):
    """The values of the flags that are a task's options; raises a `UserError` for a given one of another task."""
    of_task = get_task(task_name).predictions.options
    for name in (name for task in all_tasks() for name in task.predictions.options):
        if name not in of_task and FLAGS[name].value != FLAGS[name].default:
            raise UserError(f"--{name} is not for a model for {task_name}")
    return {name: FLAGS[name].value for name in of_task}


def _answers(predictor, paths, apply_orientation, errors):
    """Yields (path, uint8 image, answer) of the files that are images; appends the `UserError`s of the others."""
    for start in range(0, len(paths), _BATCH):
        readable, images = [], []
        for path in paths[start : start + _BATCH]:
            try:
                images.append(read_image(path, apply_orientation))
                readable.append(path)
            except UserError as error:
                errors.append(error)
        if not images:
            continue
        answers = predictor.predict(predictor.card.preprocessing.evaluation_images(images))
        for i, (path, image) in enumerate(zip(readable, images, strict=True)):
            answer = {name: v[i] for name, v in answers.items()} if isinstance(answers, dict) else answers[i]
            yield path, image.numpy(), answer


def _text(predictions, collected):
    """The predictions in the format of the flags, or None where there is nothing to print."""
    if FLAGS.json:
        return cli.to_json({"predictions": predictions.to_json(collected)})
    if not collected:
        return None
    if FLAGS.csv:
        return csv_text(predictions.to_csv(collected)).rstrip("\n")
    return cli.table(predictions.to_rows(collected))


def _define_flags():
    flags.DEFINE_string("model", None, "Run folder, .keras file, SavedModel or .tflite file.", required=True)
    flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
    define_orientation()
    flags.DEFINE_integer("top_k", 5, "Of a classifier: classes to print for each image.", lower_bound=1)
    flags.DEFINE_float("min_score", 0.5, "Of a detector: the least score of a box that is printed or drawn.", 0.0, 1.0)
    flags.DEFINE_string("output_dir", None, "Of a detector: folder for copies of the images with their boxes, as PNG.")
    flags.DEFINE_string("coco_json", None, "Of a detector: file for all detections in COCO's results format.")
    flags.DEFINE_bool("json", False, "Print the predictions as one JSON object.")
    flags.DEFINE_bool("csv", False, "Print the predictions as CSV.")


def run():
    """Runs the command."""
    _define_flags()
    cli.run(main)


if __name__ == "__main__":
    run()
