"""Classifies images: `python predict.py --model=runs/digits photo.jpg folder/`.

--model is a run folder, a `.keras` file, a SavedModel or a `.tflite` file; with --weights=imagenet it is the name of a
registered model, whose published weights are downloaded once. Folders are searched for images.
"""

import csv
import io
import sys

from absl import flags

from condconv_keras import cli
from condconv_keras.data.image_files import find_images
from condconv_keras.errors import UserError
from condconv_keras.predictors import model_kind, open_predictor
from models.cards import registered_card
from models.pretrained import model_file

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, "Run folder, .keras file, SavedModel or .tflite file.", required=True)
flags.DEFINE_string("weights", None, "'imagenet' for the published weights of a registered model.")
flags.DEFINE_integer("top_k", 5, "Classes to print for each image.", lower_bound=1)
flags.DEFINE_bool("json", False, "Print the predictions as one JSON object.")
flags.DEFINE_bool("csv", False, "Print the predictions as CSV.")

_BATCH = 32


def main(argv):
    if FLAGS.json and FLAGS.csv:
        raise UserError("--json and --csv exclude each other")
    if len(argv) == 1:
        raise UserError("expected image files or folders after the flags, received none")
    paths = find_images(argv[1:])
    path = model_file(FLAGS.model, FLAGS.weights)
    model_kind(path)
    predictor = open_predictor(path, registered_card)
    predictions, errors = classify(predictor, paths)
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    write = _as_json if FLAGS.json else _as_csv if FLAGS.csv else _as_table
    return write(predictions) if predictions or FLAGS.json else None, 1 if errors else 0


def classify(predictor, paths):
    """Classifies image files.

    Returns:
        A list of (path, [(class index, class name, probability), ...]), most probable first, and a list of the
        `UserError`s of the files that are no image.
    """
    import numpy as np

    from condconv_keras.data.decoding import read_image

    predictions, errors = [], []
    for start in range(0, len(paths), _BATCH):
        readable, images = [], []
        for path in paths[start : start + _BATCH]:
            try:
                images.append(predictor.card.preprocessing.evaluation_image(read_image(path)))
                readable.append(path)
            except UserError as error:
                errors.append(error)
        if images:
            probabilities = predictor.predict(np.stack(images))
            predictions += [(path, _top(predictor.card, p)) for path, p in zip(readable, probabilities, strict=True)]
    return predictions, errors


def _top(card, probabilities):
    order = (-probabilities).argsort(kind="stable")[: FLAGS.top_k]
    return [(int(i), card.class_names[i], float(probabilities[i])) for i in order]


def _as_json(predictions):
    return cli.to_json(
        {
            "predictions": [
                {"image": str(path), "classes": [{"index": i, "name": name, "probability": p} for i, name, p in top]}
                for path, top in predictions
            ]
        }
    )


def _as_csv(predictions):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "rank", "index", "class", "probability"])
    for path, top in predictions:
        writer.writerows([path, rank, i, name, f"{p:.6f}"] for rank, (i, name, p) in enumerate(top, start=1))
    return text.getvalue().rstrip("\n")


def _as_table(predictions):
    return cli.table([(path, "  ".join(f"{name} {p:.3f}" for _, name, p in top)) for path, top in predictions])


if __name__ == "__main__":
    cli.run(main)
