"""The predictions of a detector: boxes in pixels, drawings and COCO's results."""

import pathlib

import numpy as np

from condconv_keras.tasks.detection.coco import coco_results
from condconv_keras.tasks.detection.drawing import draw_boxes
from condconv_keras.tasks.predictions import Predictions
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_file, check_parents, check_writable, whole_file, write_text
from condconv_keras.utils.json_text import json_text
from condconv_keras.utils.lazy import LazyModule

Image = LazyModule("PIL.Image")


class BoxPredictions(Predictions):
    """A list of (path, [(class index, class name, score, (x, y, width, height)), ...]), best first.

    Boxes are in pixels of the image. Options: `min_score`, the least score of a box that is shown; `output_dir`, folder
    for copies of the images with their boxes; `coco_json`, file for all detections in COCO's results format.
    """

    options = ("min_score", "output_dir", "coco_json")
    packages = {"output_dir": ("PIL",)}  # noqa: RUF012

    def check(self, options, paths):
        if options["coco_json"] is not None:
            _check_coco_json(options["coco_json"], paths)
        if options["output_dir"] is not None:
            _check_output_dir(options["output_dir"], paths)

    def collect(self, card, answers, options):
        names, folder = card.class_names, options["output_dir"]
        ids = card.category_ids or range(1, 1 + len(names))
        predictions, results = [], []
        for path, image, found in answers:
            entries = coco_results(_image_id(path), image.shape[:2], found, ids)
            shown = int((found["scores"][: found["count"]] >= options["min_score"]).sum())
            boxes = zip(found["classes"][:shown].tolist(), entries, strict=False)
            predictions.append((path, [(c, names[c], e["score"], tuple(e["bbox"])) for c, e in boxes]))
            results += entries
            if folder is not None:
                kept = {name: found[name][:shown] for name in ("boxes", "classes", "scores")}
                _draw(_drawing(folder, path), image, kept, names)
        # Where no image could be read, an earlier file stays.
        if options["coco_json"] is not None and predictions:
            write_text(options["coco_json"], json_text(results, indent=None) + "\n")
        return predictions

    def to_json(self, predictions):
        return [
            {
                "image": str(path),
                "boxes": [{"index": i, "name": name, "score": p, "bbox": list(box)} for i, name, p, box in boxes],
            }
            for path, boxes in predictions
        ]

    def to_csv(self, predictions):
        yield ["image", "index", "class", "score", "x", "y", "width", "height"]
        for path, boxes in predictions:
            for i, name, p, box in boxes:
                yield [path, i, name, f"{p:.6f}", *(f"{v:.2f}" for v in box)]

    def to_rows(self, predictions):
        return [(path, "  ".join(map(_box_text, boxes)) or "-") for path, boxes in predictions]


def _box_text(found):
    _, name, score, box = found
    return f"{name} {score:.3f} ({', '.join(f'{v:.0f}' for v in box)})"


def _check_coco_json(file, paths):
    """Raises a `UserError` for a file that cannot be written, or where two images would have one id in it."""
    if not file.endswith(".json"):
        raise UserError(f"`coco_json` takes a file that ends in .json, received: {file!r}")
    check_file(file, "coco_json")
    named = {}
    for path in paths:
        image_id = _image_id(path)
        if image_id in named:
            raise UserError(
                f"`coco_json` has one entry for the id {image_id!r}: of {str(path)!r} or {str(named[image_id])!r}"
            )
        named[image_id] = path


def _check_output_dir(folder, paths):
    """Raises a `UserError` where two drawings would have one name, or something has it already."""
    check_parents(folder, "output_dir")
    check_writable(folder, "output_dir")
    drawings = {}
    for path in paths:
        drawing = _drawing(folder, path)
        if drawing.exists():
            raise UserError(f"`output_dir` has {drawing.name!r} already; give another folder")
        if drawing in drawings:
            raise UserError(
                f"`output_dir` has room for one {drawing.name!r}: of {str(path)!r} or {drawings[drawing]!r}"
            )
        drawings[drawing] = str(path)


def _image_id(path):
    """The number that a file is named by, as COCO's are, else its name."""
    return int(path.stem) if path.stem.isdecimal() else path.name


def _drawing(folder, path):
    return pathlib.Path(folder) / f"{path.stem}.png"


def _draw(drawing, image, found, names):
    image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    with whole_file(drawing) as partial:
        Image.fromarray(draw_boxes(image, class_names=names, **found)).save(partial)
