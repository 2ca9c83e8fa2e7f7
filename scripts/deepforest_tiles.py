"""Cuts DeepForest's annotated aerial photographs into a COCO folder: `python -m scripts.deepforest_tiles --source=DIR`.

    pip download --no-deps deepforest==2.1.0
    unzip deepforest-2.1.0-py3-none-any.whl 'deepforest/data/*'
    python -m scripts.deepforest_tiles --source=deepforest/data --output_dir=data/trees
    python train.py --dataset=data/trees --model=condconv_ssd300_mobilenet_v1 --model_dir=runs/trees

The package carries four photographs of forests with 951 boxes around the crowns of trees, as Pascal VOC XML (Weinstein
et al., "DeepForest", Methods in Ecology and Evolution 2020). One is for training, the other three for validation. There
is one class: the living and the dead trees of one of the photographs are trees in the others.
"""

import dataclasses
import pathlib

import numpy as np
from absl import flags

from condconv_keras.commands import cli
from condconv_keras.data.sources.image_files import EXTENSIONS
from condconv_keras.data.sources.image_lookup import ImageLookup
from condconv_keras.data.sources.voc_folder import read_annotation
from condconv_keras.utils.errors import UserError
from condconv_keras.utils.files import check_parents, whole_folder
from condconv_keras.utils.json_text import json_text

TILE = 300  # pixels
MIN_LEFT = 0.25  # of a box's area inside a tile; a box that is cut over four tiles stays in one of them at least
TRAIN_PHOTOGRAPH = "2019_YELL_2_528000_4978000_image_crop2"  # has most of the boxes
CATEGORY = {"id": 1, "name": "tree"}

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Tile:
    """A part of a photograph.

    Attributes:
        name: of its file.
        pixels: uint8 `[300, 300, 3]`, black beyond the photograph's border.
        boxes: float64 `[n, 4]`, (ymin, xmin, ymax, xmax) in pixels of the tile.
    """

    name: str
    pixels: np.ndarray
    boxes: np.ndarray


def main(argv):
    cli.expect_flags_only(argv)
    source, output = (pathlib.Path(path).expanduser() for path in (FLAGS.source, FLAGS.output_dir))
    check_parents(output, "output_dir")
    if output.exists():
        raise UserError(f"--output_dir {str(output)!r} exists already; remove it or give another folder")
    splits = find_photographs(source)
    rows = []
    with whole_folder(output) as folder:
        for split, annotations in splits.items():
            cut = {path: cut_photograph(path) for path in annotations}
            rows += [(path.stem, _numbers(split, *numbers)) for path, numbers in cut.items()]
            write_split(folder, split, [tile for tiles, _ in cut.values() for tile in tiles])
    return cli.table([*rows, ("wrote", output)])


def find_photographs(source):
    """Returns a dict of `"train"` and `"validation"` to the XML files of their photographs.

    Raises:
        UserError: if the training photograph's or all others are missing.
    """
    files = sorted(source.glob("*.xml"))
    splits = {
        "train": [path for path in files if path.stem == TRAIN_PHOTOGRAPH],
        "validation": [path for path in files if path.stem != TRAIN_PHOTOGRAPH],
    }
    if not all(splits.values()):
        raise UserError(
            f"expected {TRAIN_PHOTOGRAPH}.xml and at least one more XML file in --source {str(source)!r}, "
            f"received: {', '.join(path.name for path in files) or 'none'}"
        )
    return splits


def cut_photograph(annotation_path):
    """Cuts a photograph into tiles that cover each pixel once; the last ones of a row or column are filled up.

    Args:
        annotation_path: of its XML file; the photograph lies beside it under the same name.

    Returns:
        The list of `Tile`, row by row, and the number of boxes before the cut.

    Raises:
        UserError: if the photograph is missing.
    """
    from PIL import Image

    boxes = read_annotation(annotation_path).boxes
    path = ImageLookup().find([annotation_path.parent], str(annotation_path), annotation_path.stem)
    if path is None:
        raise UserError(f"expected an image ({', '.join(EXTENSIONS)}) beside {str(annotation_path)!r}")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    tiles = [
        Tile(f"{annotation_path.stem}_{top}_{left}.png", _filled(pixels, top, left), cut_boxes(boxes, top, left))
        for top in range(0, pixels.shape[0], TILE)
        for left in range(0, pixels.shape[1], TILE)
    ]
    return tiles, len(boxes)


def cut_boxes(boxes, top, left):
    """Returns the boxes `[n, 4]` of a photograph in the pixels of a tile, without those that have little in it."""
    corner = np.array([top, left, top, left])
    inside = np.clip(boxes - corner, 0, TILE)
    return inside[_area(inside) >= np.maximum(MIN_LEFT * _area(boxes), 1)]


def write_split(folder, split, tiles):
    """Writes `images/SPLIT/*.png` and `annotations/instances_SPLIT.json`."""
    from PIL import Image

    images, annotations = [], []
    (folder / "images" / split).mkdir(parents=True)
    for image_id, tile in enumerate(tiles, start=1):
        Image.fromarray(tile.pixels).save(folder / "images" / split / tile.name)
        images.append({"id": image_id, "file_name": tile.name, "height": TILE, "width": TILE})
        for ymin, xmin, ymax, xmax in tile.boxes.tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY["id"],
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                    "area": (xmax - xmin) * (ymax - ymin),
                    "iscrowd": 0,
                }
            )
    content = {"images": images, "annotations": annotations, "categories": [CATEGORY]}
    path = folder / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json_text(content, indent=None), encoding="utf-8")


def _filled(pixels, top, left):
    part = pixels[top : top + TILE, left : left + TILE]
    return np.pad(part, [(0, TILE - part.shape[0]), (0, TILE - part.shape[1]), (0, 0)])


def _area(boxes):
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def _numbers(split, tiles, boxes):
    return f"{split}: {boxes} boxes, {len(tiles)} tiles with {sum(len(tile.boxes) for tile in tiles)} boxes"


if __name__ == "__main__":
    flags.DEFINE_string(
        "source", None, "Folder of the photographs and their XML, `data` in the package.", required=True
    )
    flags.DEFINE_string("output_dir", None, "New folder, the --dataset of train.py.", required=True)
    cli.run(main)
