"""What a user hands over: of each kind a valid input, what the library reads of it, and what other readers do.

The other readers are PIL, json, csv, ElementTree and the file system; what is compared says what an accepted input must
mean. Pixels are compared as RGB.
"""

import dataclasses
import functools
import os
import pathlib
import random
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from condconv_keras.data import open_dataset, open_detection_dataset
from condconv_keras.data.input.decoding import EncodedImage, read_image
from condconv_keras.data.sources.image_checks import read_file
from condconv_keras.data.sources.image_files import find_images
from tests.data.detection_folders import coco_box, coco_image, write_coco, write_voc
from tests.fuzz.annotation_readers import coco_folder, voc_folder
from tests.fuzz.readers import folders_in, images_below, pixels_of, sides, split_of

CLASSES = ("cat", "dog")
_SIZE = (12, 16)  # height and width of images
# Of a run on a folder: what takes the least time.
DRY_RUN = ("train.py", "--dry_run", "--batch_size=1")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A kind of input, below a folder.

    Attributes:
        make: function of the folder and of a number that writes a valid one.
        read: function of the folder that returns what the library reads of it; it raises a `UserError`.
        independently: the same by other readers.
        command: function of the folder, of the folder with what else a user has, and of what was read, None where it
            was refused. It returns the arguments of `python` with which a user hands it over and that end as the
            reading did, or None if there are none.
    """

    make: Callable
    read: Callable
    independently: Callable
    command: Callable


def save_pixels(path, seed):
    """Writes an image of random pixels as PNG; the seed is a number or several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*_SIZE, 3), dtype=np.uint8)).save(path)


def _as_rgb(image):
    image = np.asarray(image)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


@functools.cache
def _decode():
    """What reads an image in the graphs of all data sets, made once: each would take a second."""
    spec = tf.TensorSpec([], tf.string)
    return tf.function(lambda path: EncodedImage(read_file(path), (None, None, 3)).whole(), input_signature=[spec])


def _examples(data, split):
    """Yields the path, the pixels and the label of the images of a split."""
    for path, (record, label) in zip(data.paths(split), data.records(split), strict=True):
        image = _decode()(record).numpy()
        assert all(side in (None, of) for side, of in zip(data.image_shape, image.shape, strict=True))
        yield path, image, label


# Images for predict.py.
def _make_images(folder, number):
    for i in range(1 + number % 2):
        save_pixels(folder / "photos" / f"{i}.png", 10 * number + i)


def _read_images(folder):
    paths = find_images([folder / "photos"]).images
    return {str(path): _as_rgb(read_image(path)) for path in paths}


def _see_images(folder):
    return {str(path): pixels_of(path) for path in images_below(folder / "photos")}


def _predict_images(folder, aside, read):
    if read is None and len(os.listdir(folder / "photos")) > 1:
        # The others are predicted.
        return None
    return "predict.py", f"--model={aside / 'model.keras'}", "--json", folder / "photos"


# Images by class.
def _make_classes(folder, number):
    splits = random.Random(number).choice(("", "train/val", "train/validation/test"))
    for split in splits.split("/"):
        for label, name in enumerate(CLASSES):
            for i in range(3):
                save_pixels(folder / "data" / split / name / f"{i}.png", [number, len(split), label, i])


def _read_classes(folder):
    data = open_dataset(str(folder / "data"))
    return {
        path: (split, data.class_names[int(label)], image)
        for split in data.splits
        for path, image, label in _examples(data, split)
    }


def _see_classes(folder):
    data = folder / "data"
    splits = {split_of(name): data / name for name in folders_in(data)}
    own = {split: path for split, path in splits.items() if split and folders_in(path)}
    classes = {path / name: (split, name) for split, path in own.items() for name in folders_in(path)}
    if not own:
        classes = {data / name: (None, name) for name in folders_in(data)}
    images = {path: found for place, found in classes.items() for path in images_below(place)}
    side = sides(data, list(images), [name for _, name in images.values()]) if not own else {}
    return {str(path): (side.get(path, split), name, pixels_of(path)) for path, (split, name) in images.items()}


def _train_on_classes(folder, aside, read):
    if read is not None and len({"train"} | {split for split, *_ in read.values()}) == 1:
        return None
    return (*DRY_RUN, "--model=mobilenet_v1", "--input_size=32", f"--dataset={folder / 'data'}")


# Boxes.
def _make_coco(folder, number):
    rng = random.Random(number)
    images, annotations = [], []
    for i in range(1, 4):
        save_pixels(folder / "data" / "train" / f"{i}.png", 10 * number + i)
        images.append(coco_image(i, f"{i}.png", height=_SIZE[0], width=_SIZE[1]))
        for _ in range(rng.randrange(1, 4)):
            x, y = rng.randrange(10), rng.randrange(8)
            annotations.append(coco_box(i, [x, y, rng.randrange(1, 6), rng.randrange(1, 4)], rng.choice((1, 2))))
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    write_coco(folder / "data" / "train" / "instances.json", images, annotations, categories)


def read_boxes(folder):
    """A dict of an image's path below the folder to its split, pixels and boxes: sorted names, edges in pixels."""
    data = open_detection_dataset(str(folder / "data"))
    found = {}
    for split in data.splits:
        for path, image, label in _examples(data, split):
            edges = label["boxes"].numpy() * np.tile(image.shape[:2], 2)
            names = [data.class_names[label] for label in label["classes"].numpy()]
            boxes = sorted((name, *np.round(of, 2).tolist()) for name, of in zip(names, edges, strict=True))
            edges = np.array([of for _, *of in boxes], float).reshape(-1, 4)
            found[str(pathlib.Path(path).relative_to(folder / "data"))] = (
                split,
                image,
                ([name for name, *_ in boxes], edges),
            )
    return found


def _see_coco(folder):
    return coco_folder(folder / "data")


def _make_voc(folder, number):
    rng = random.Random(number)
    for i in range(1, 4):
        path = folder / "data" / f"{i}.xml"
        save_pixels(path.with_suffix(".png"), 10 * number + i)
        objects = []
        for _ in range(rng.randrange(1, 4)):
            x, y = rng.randrange(10), rng.randrange(8)
            objects.append((rng.choice(CLASSES), x, y, x + rng.randrange(1, 6), y + rng.randrange(1, 4), 0))
        write_voc(path, objects, _SIZE)
        path.write_text(path.read_text().replace("><", ">\n<"))


def _see_voc(folder):
    return voc_folder(folder / "data")


def _train_on_boxes(folder, aside, read):
    # What is accepted takes a minute.
    return None if read else (*DRY_RUN, "--model=ssd300_mobilenet_v1", f"--dataset={folder / 'data'}")


DATA_SUBJECTS = {
    "images": Subject(_make_images, _read_images, _see_images, _predict_images),
    "classes": Subject(_make_classes, _read_classes, _see_classes, _train_on_classes),
    "coco": Subject(_make_coco, read_boxes, _see_coco, _train_on_boxes),
    "voc": Subject(_make_voc, read_boxes, _see_voc, _train_on_boxes),
}
