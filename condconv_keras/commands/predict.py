"""Classifies images or detects objects in them: `python predict.py --model=runs/digits photo.jpg folder/`.

--model is a run folder, a `.keras` file, a SavedModel or a `.tflite` file; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Folders are searched for images.

A detector's boxes are printed in pixels of the image; --output_dir writes copies of the images with the boxes drawn,
--coco_json all detections in COCO's results format.
"""

import csv
import io
import json
import pathlib
import sys

import numpy as np
from absl import flags

from condconv_keras.commands import cli
from condconv_keras.data.input.decoding import read_image
from condconv_keras.data.sources.image_files import find_images
from condconv_keras.facts.model_card import CLASSIFICATION, DETECTION
from condconv_keras.pretrained import model_file
from condconv_keras.stored.predictor import model_kind, model_task, open_predictor
from condconv_keras.tasks.detection import coco_results, draw_boxes
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_parents, check_writable, whole_file, write_text
from condconv_keras.utils.lazy import LazyModule, require

Image = LazyModule("PIL.Image")


FLAGS = flags.FLAGS

_BATCH = 32
_TASK_FLAGS = {"top_k": CLASSIFICATION, "min_score": DETECTION, "output_dir": DETECTION, "coco_json": DETECTION}


def main(argv):
    if FLAGS.json and FLAGS.csv:
        raise UserError("--json and --csv exclude each other")
    if len(argv) == 1:
        raise UserError("expected image files or folders after the flags, received none")
    paths = find_images(argv[1:])
    path = model_file(FLAGS.model, FLAGS.weights)
    model_kind(path)
    task = model_task(path)
    _check_task_flags(task, paths)
    if FLAGS.output_dir is not None:
        require("PIL")
    predictor = open_predictor(path)
    errors = []
    predict, formats = _TASKS[task]
    predictions = predict(predictor, _answers(predictor, paths, errors))
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    write = formats["json" if FLAGS.json else "csv" if FLAGS.csv else "table"]
    return write(predictions) if predictions or FLAGS.json else None, 1 if errors else 0


def _check_task_flags(task, paths):
    for name, of_task in _TASK_FLAGS.items():
        if of_task != task and FLAGS[name].value != FLAGS[name].default:
            raise UserError(f"--{name} is not for a model for {task}")
    if FLAGS.coco_json is not None:
        if not FLAGS.coco_json.endswith(".json"):
            raise UserError(f"--coco_json takes a file that ends in .json, received: {FLAGS.coco_json!r}")
        check_parents(FLAGS.coco_json, "coco_json")
        check_writable(FLAGS.coco_json, "coco_json")
        _check_image_ids(paths)
    if FLAGS.output_dir is not None:
        check_parents(FLAGS.output_dir, "output_dir")
        check_writable(FLAGS.output_dir, "output_dir")
        _check_drawings(paths)


def _check_image_ids(paths):
    """Raises a `UserError` where two images would have one id in the JSON file."""
    named = {}
    for path in map(pathlib.Path, paths):
        image_id = _image_id(path)
        if image_id in named:
            raise UserError(
                f"--coco_json has one entry for the id {image_id!r}: of {str(path)!r} or {str(named[image_id])!r}"
            )
        named[image_id] = path


def _check_drawings(paths):
    """Raises a `UserError` where two drawings would have one name, or something has it already."""
    drawings = {}
    for path in paths:
        drawing = _drawing(path)
        if drawing.exists():
            raise UserError(f"--output_dir has {drawing.name!r} already; give another folder")
        if drawing in drawings:
            raise UserError(
                f"--output_dir has room for one {drawing.name!r}: of {str(path)!r} or {drawings[drawing]!r}"
            )
        drawings[drawing] = str(path)


def _drawing(path):
    return pathlib.Path(FLAGS.output_dir) / f"{pathlib.Path(path).stem}.png"


def _answers(predictor, paths, errors):
    """Yields (path, uint8 image, answer) of the files that are images; appends the `UserError`s of the others."""

    for start in range(0, len(paths), _BATCH):
        readable, images = [], []
        for path in paths[start : start + _BATCH]:
            try:
                images.append(read_image(path))
                readable.append(path)
            except UserError as error:
                errors.append(error)
        if not images:
            continue
        answers = predictor.predict(np.stack([predictor.card.preprocessing.evaluation_image(i) for i in images]))
        for i, (path, image) in enumerate(zip(readable, images, strict=True)):
            answer = {name: v[i] for name, v in answers.items()} if isinstance(answers, dict) else answers[i]
            yield path, image.numpy(), answer


def classify(predictor, answers):
    """Returns a list of (path, [(class index, class name, probability), ...]), most probable first."""
    return [(path, _top(predictor.card, probabilities)) for path, _, probabilities in answers]


def detect(predictor, answers):
    """Returns a list of (path, [(class index, class name, score, (x, y, width, height)), ...]), best first.

    Boxes are in pixels of the image. Writes the files that the flags ask for.
    """

    names = predictor.card.class_names
    ids = predictor.card.category_ids or range(1, 1 + len(names))
    predictions, results = [], []
    for path, image, found in answers:
        entries = coco_results(_image_id(path), image.shape[:2], found, ids)
        shown = int((found["scores"][: found["count"]] >= FLAGS.min_score).sum())
        boxes = zip(found["classes"][:shown].tolist(), entries, strict=False)
        predictions.append((path, [(c, names[c], e["score"], tuple(e["bbox"])) for c, e in boxes]))
        results += entries
        if FLAGS.output_dir is not None:
            _draw(path, image, {name: found[name][:shown] for name in ("boxes", "classes", "scores")}, names)
    if FLAGS.coco_json is not None:
        write_text(FLAGS.coco_json, json.dumps(results) + "\n")
    return predictions


def _image_id(path):
    """The number that a file is named by, as COCO's are, else its name."""
    return int(path.stem) if path.stem.isdecimal() else path.name


def _draw(path, image, found, names):
    image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    with whole_file(_drawing(path)) as partial:
        Image.fromarray(draw_boxes(image, class_names=names, **found)).save(partial)


def _top(card, probabilities):
    order = (-probabilities).argsort(kind="stable")[: FLAGS.top_k]
    return [(int(i), card.class_names[i], float(probabilities[i])) for i in order]


def _classes_as_json(predictions):
    return cli.to_json(
        {
            "predictions": [
                {"image": str(path), "classes": [{"index": i, "name": name, "probability": p} for i, name, p in top]}
                for path, top in predictions
            ]
        }
    )


def _classes_as_csv(predictions):
    return _csv(
        ["image", "rank", "index", "class", "probability"],
        (
            [path, rank, i, name, f"{p:.6f}"]
            for path, top in predictions
            for rank, (i, name, p) in enumerate(top, start=1)
        ),
    )


def _csv(header, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _classes_as_table(predictions):
    return cli.table([(path, "  ".join(f"{name} {p:.3f}" for _, name, p in top)) for path, top in predictions])


def _boxes_as_json(predictions):
    return cli.to_json(
        {
            "predictions": [
                {
                    "image": str(path),
                    "boxes": [{"index": i, "name": name, "score": p, "bbox": list(box)} for i, name, p, box in boxes],
                }
                for path, boxes in predictions
            ]
        }
    )


def _boxes_as_csv(predictions):
    return _csv(
        ["image", "index", "class", "score", "x", "y", "width", "height"],
        (
            [path, i, name, f"{p:.6f}", *(f"{v:.2f}" for v in box)]
            for path, boxes in predictions
            for i, name, p, box in boxes
        ),
    )


def _boxes_as_table(predictions):
    def text(boxes):
        return "  ".join(f"{name} {p:.3f} ({', '.join(f'{v:.0f}' for v in box)})" for _, name, p, box in boxes) or "-"

    return cli.table([(path, text(boxes)) for path, boxes in predictions])


_TASKS = {
    CLASSIFICATION: (classify, {"json": _classes_as_json, "csv": _classes_as_csv, "table": _classes_as_table}),
    DETECTION: (detect, {"json": _boxes_as_json, "csv": _boxes_as_csv, "table": _boxes_as_table}),
}


def _define_flags():
    flags.DEFINE_string("model", None, "Run folder, .keras file, SavedModel or .tflite file.", required=True)
    flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
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
