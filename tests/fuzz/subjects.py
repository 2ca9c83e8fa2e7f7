"""What a user hands over: of each kind a valid input, what the library reads of it, and what other readers do.

The other readers are PIL, json, csv, ElementTree and the file system; what is compared says what an accepted input must
mean. Pixels are compared as RGB.
"""

import csv
import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
import random
import shlex
import tempfile
import zipfile
from collections.abc import Callable
from xml.etree import ElementTree

import keras
import numpy as np
from absl import flags
from PIL import Image, ImageOps

from condconv_keras.commands import train
from condconv_keras.commands.train_flags import define_flags
from condconv_keras.data import open_dataset, open_detection_dataset
from condconv_keras.data.input.decoding import read_image
from condconv_keras.data.sources.image_files import find_images
from condconv_keras.experiments.table import COLUMNS, read_table
from condconv_keras.facts.model_card import ModelCard
from condconv_keras.facts.preprocessing import Preprocessing
from condconv_keras.models.saving import load_keras_file, save_model
from condconv_keras.utils.errors import UserError
from tests.data.detection_folders import coco_box, coco_image, write_coco, write_voc
from tests.fuzz.mutators import CARD, FLAGS

CLASSES = ("cat", "dog")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A kind of input, below a folder.

    Attributes:
        make: writes a valid one.
        read: what the library reads of it; raises a `UserError`.
        independently: the same by other readers.
        command: arguments of `python` with which a user hands it over.
    """

    make: Callable
    read: Callable
    independently: Callable
    command: Callable | None = None


def _pixels(seed, height=12, width=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_pixels(seed)).save(path)


def _as_rgb(image):
    image = np.asarray(image)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _by_pil(path):
    """What a person sees in the first frame of a file, uint8 RGB."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _digest(pixels):
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


# Images for predict.py.
def _make_images(folder, seed):
    for i in range(3):
        _save(folder / "photos" / f"{i}.png", 10 * seed + i)


def _images_below(folder):
    found = []
    for directory, folders, names in os.walk(folder, followlinks=True):
        seen = os.path.realpath(directory)
        folders[:] = [f for f in folders if not f.startswith(".") and not _leads_back(directory, f, seen)]
        found += [pathlib.Path(directory) / name for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in ENDINGS and path.is_file())


ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def _leads_back(directory, name, seen):
    return f"{seen}{os.sep}".startswith(f"{os.path.realpath(os.path.join(directory, name))}{os.sep}")


def _read_images(folder):
    return sorted(_digest(_as_rgb(read_image(path))) for path in find_images([folder / "photos"]))


def _see_images(folder):
    return sorted(_digest(_by_pil(path)) for path in _images_below(folder / "photos"))


# Images by class.
def _make_classes(folder, seed):
    random_layout = random.Random(seed).choice(("", "train", "train/val"))
    for split in random_layout.split("/"):
        for label, name in enumerate(CLASSES):
            for i in range(4):
                _save(folder / "data" / split / name / f"{i}.png", 1000 * seed + 100 * len(split) + 10 * label + i)


def _read_classes(folder):
    data = open_dataset(str(folder / "data"))
    found = [
        (data.class_names[int(label)], _digest(image.numpy()))
        for split in data.splits
        for image, label in data.examples(split)
    ]
    return sorted(found)


def _see_classes(folder):
    data = folder / "data"
    roots = [data / split for split in ("train", "val") if (data / split).is_dir()] or [data]
    return sorted(
        (path.relative_to(root).parts[0], _digest(_by_pil(path))) for root in roots for path in _images_below(root)
    )


# Boxes.
def _make_coco(folder, seed):
    rng = random.Random(seed)
    images, annotations = [], []
    for i in range(1, 5):
        _save(folder / "data" / "train" / f"{i}.png", 10 * seed + i)
        images.append(coco_image(i, f"{i}.png", height=12, width=16))
        for _ in range(rng.randrange(1, 4)):
            x, y = rng.randrange(10), rng.randrange(8)
            annotations.append(coco_box(i, [x, y, rng.randrange(1, 6), rng.randrange(1, 4)], rng.choice((1, 2))))
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    write_coco(folder / "data" / "train" / "instances.json", images, annotations, categories)


def _read_boxes(folder):
    data = open_detection_dataset(str(folder / "data"))
    found = []
    for split in data.splits:
        for image, label in data.examples(split):
            height, width = image.shape[:2]
            boxes = np.round(label["boxes"].numpy() * (height, width, height, width), 2)
            names = [data.class_names[c] for c in label["classes"].numpy()]
            found.append((_digest(image.numpy()), sorted(zip(names, boxes.tolist(), strict=True))))
    return sorted(found)


def _see_coco(folder):
    path = next((folder / "data").rglob("instances.json"))
    content = json.loads(path.read_text("utf-8-sig"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = []
    for image in content["images"]:
        of_image = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        boxes = [
            (names.get(a["category_id"]), y, x, y + h, x + w)
            for a in of_image
            for x, y, w, h in [map(float, a["bbox"])]
        ]
        found.append(_seen_boxes(_image_of(path.parent, image["file_name"]), boxes))
    return sorted(found)


def _image_of(folder, name):
    """The image that an annotation means: one of its name, whatever the ending."""
    path = folder / name
    if path.is_file():
        return path
    return next(other for other in _images_below(folder) if other.stem == path.stem)


def _seen_boxes(path, boxes):
    pixels = _by_pil(path)
    height, width = pixels.shape[:2]
    seen = []
    for name, *box in boxes:
        if name is None or not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
            continue
        clipped = np.clip(box, 0, (height, width, height, width))
        if clipped[2] > clipped[0] and clipped[3] > clipped[1]:
            seen.append((name, np.round(clipped, 2).tolist()))
    return _digest(pixels), sorted(seen)


def _make_voc(folder, seed):
    rng = random.Random(seed)
    for i in range(1, 5):
        _save(folder / "data" / f"{i}.png", 10 * seed + i)
        objects = []
        for _ in range(rng.randrange(1, 4)):
            x, y = rng.randrange(10), rng.randrange(8)
            objects.append((rng.choice(CLASSES), x, y, x + rng.randrange(1, 6), y + rng.randrange(1, 4), 0))
        write_voc(folder / "data" / f"{i}.xml", objects, (12, 16))


def _see_voc(folder):
    found = []
    for path in sorted((folder / "data").glob("*.xml")):
        objects = ElementTree.parse(path).getroot().findall("object")
        edges = ("ymin", "xmin", "ymax", "xmax")
        boxes = [(o.findtext("name").strip(), *(_number(o.findtext(f"bndbox/{e}")) for e in edges)) for o in objects]
        found.append(_seen_boxes(_image_of(path.parent, f"{path.stem}.png"), boxes))
    return sorted(found)


def _number(text):
    try:
        return float(text)
    except ValueError:
        return float("nan")


# Tables of runs.
def _make_table(folder, seed):
    rng = random.Random(seed)
    rows = [
        (rng.choice(("mobilenet_v1", "condconv_mobilenet_v1")), "0.25", "", str(i), f"--learning_rate=0.{i + 1}")
        for i in range(4)
    ]
    with open(folder / "runs.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _read_rows(folder):
    return [
        (r.setting.model, r.setting.width_multiplier, r.setting.num_experts, r.seed, shlex.split(r.setting.flags))
        for r in read_table(folder / "runs.csv")
    ]


def _see_rows(folder):
    text = (folder / "runs.csv").read_text("utf-8-sig")
    delimiter = ";" if ";" in text.splitlines()[0] else ","
    rows = [row for row in csv.DictReader(io.StringIO(text), delimiter=delimiter) if any(row.values())]
    cells = [{name: (row[name] or "").strip() for name in COLUMNS} for row in rows]
    return [(*(row[name] for name in COLUMNS[:4]), shlex.split(row["flags"])) for row in cells]


# Command lines of train.py.
def _make_flags(folder, seed):
    rng = random.Random(seed)
    values = {
        "model": rng.choice(("mobilenet_v1", "condconv_mobilenet_v1")),
        "batch_size": rng.choice((8, 32, 64)),
        "learning_rate": rng.choice((0.1, 0.02)),
        "epochs": rng.choice((2, 10)),
        "seed": rng.randrange(100),
        "label_smoothing": rng.choice((0, 0.1)),
    }
    (folder / FLAGS).write_text("\n".join(f"--{name}={value}" for name, value in values.items()) + "\n")


def _words(folder):
    return (folder / FLAGS).read_text("utf-8", "surrogateescape").splitlines()


def _read_flags(folder):
    values = flags.FlagValues()
    define_flags(values)
    try:
        rest = values(["train.py", *_words(folder)])
        if len(rest) > 1:
            raise UserError(f"expected flags only, received: {rest[1:]}")
        config = train.config_from_flags(values)[0]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from error
    recipe = config.recipe
    given = {
        "model": config.model,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "epochs": recipe.epochs,
        "seed": config.seed,
        "label_smoothing": recipe.label_smoothing,
    }
    return {name: value for name, value in given.items() if values[name].present}


def _see_flags(folder):
    words, given = iter(word for word in _words(folder) if word), {}
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        given[name] = value if equals else next(words)
    return {name: value if name == "model" else float(value) for name, value in given.items()}


# Models with a card.
@functools.cache
def _valid_archive():
    """The bytes of a small `.keras` file with a card, and the digests of its weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(2, name="classifier")(keras.layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, outputs)
    card = ModelCard("mobilenet_v1", CLASSES, Preprocessing(input_size=(8, 8), channels=3, mean=127.5, std=127.5))
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, card, pathlib.Path(folder) / "model.keras")
        content = (pathlib.Path(folder) / "model.keras").read_bytes()
    return content, [_digest(np.asarray(weight)) for weight in model.weights]


def _make_archive(folder, seed):
    (folder / "model.keras").write_bytes(_valid_archive()[0])


def _read_archive(folder):
    model, card = load_keras_file(folder / "model.keras")
    weights = [_digest(np.asarray(weight)) for weight in model.weights]
    return weights, None if card is None else (card.model, list(card.class_names), card.preprocessing.to_dict())


def _see_archive(folder):
    with zipfile.ZipFile(folder / "model.keras") as archive:
        card = json.loads(archive.read(CARD)) if CARD in archive.namelist() else None
    fields = None if card is None else (card["model"], list(map(str, card["class_names"])), card["preprocessing"])
    return _valid_archive()[1], fields


SUBJECTS = {
    "images": Subject(_make_images, _read_images, _see_images),
    "classes": Subject(_make_classes, _read_classes, _see_classes),
    "coco": Subject(_make_coco, _read_boxes, _see_coco),
    "voc": Subject(_make_voc, _read_boxes, _see_voc),
    "table": Subject(_make_table, _read_rows, _see_rows),
    "flags": Subject(_make_flags, _read_flags, _see_flags),
    "archive": Subject(_make_archive, _read_archive, _see_archive),
}
