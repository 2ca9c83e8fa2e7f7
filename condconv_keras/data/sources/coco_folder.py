"""A folder of images with annotations in COCO's instances format.

Layouts, in which `SPLIT` is `train`, `validation`, `val`, `test`, another spelling of them as of
`condconv_keras.data.sources.split_folders`, or another name:

- `annotations/instances_SPLIT.json`, of COCO itself: `SPLIT` may end in a year (`instances_train2017.json`), which the
  split's name leaves out. `SPLIT.json` does where there is none of these; where `instances_default.json`, of CVAT, is
  alone, all images are `train`. Each image is looked for in `images/SPLIT/`, `SPLIT/`, `images/` and the folder itself.
- `SPLIT/instances.json` with the images beside it or in `SPLIT/images/`; Roboflow calls it `_annotations.coco.json`.
- `instances.json` (or as Roboflow calls it) with the images beside it or in `images/`: all of them are `train`. Where
  it is not there, `result.json` of Label Studio, or `labels.json` of FiftyOne with the images in `data/`.

An image is looked for by the name that the file has, without the folders of another system before it, and then as
`condconv_keras.data.sources.image_lookup` says. A width or height that is missing, null, 0 or negative is unknown.
"""

import collections
import json
import math
import os
import re

import numpy as np

from condconv_keras.data.dataset import EVALUATION_SPLITS, TRAIN_SPLIT
from condconv_keras.data.sources.annotated_image import AnnotatedFolder, AnnotatedImage
from condconv_keras.data.sources.clean_boxes import Boxes
from condconv_keras.data.sources.image_files import sub_folders
from condconv_keras.data.sources.image_lookup import ImageLookup, path_of
from condconv_keras.data.sources.split_folders import split_folders, split_name
from condconv_keras.facts.class_names import told_apart
from condconv_keras.utils.errors import UserError, one_line
from condconv_keras.utils.text_files import is_unicode

# What a file of annotations is called that lies beside its images: by us, and by Roboflow.
FILE_NAMES = ("instances.json", "_annotations.coco.json")
# By Label Studio and FiftyOne, with the folder that they put the images into: other files may have these names, too.
_WITH_FOLDER = {"result.json": "images", "labels.json": "data"}
_WHOLE = "default"  # what CVAT calls annotations without splits
_ABSOLUTE = re.compile(r"[\\/]|[A-Za-z]:")  # the beginning of a path of Linux or Windows
_MAX_SIDE = 2**31  # of an image, in pixels; a number of JSON may have more digits than a float can hold
NO_IMAGE = "of an image that is not listed"


def read_folder(root):
    """Reads the annotations of a folder.

    An annotation of a category that the file does not list has the class -1; one without `area` the area NaN.

    Args:
        root: `pathlib.Path` of the folder.

    Returns:
        An `AnnotatedFolder`, its classes in the order of the category ids, those of one name with their ids behind it;
        None if the folder has no such file.

    Raises:
        UserError: a file is not in COCO's format or has categories that the one for training lacks, or the files are
            neither for training nor for evaluation.
    """
    files = _find_files(root)
    if not files:
        return None
    if TRAIN_SPLIT not in files and not any(split in files for split in EVALUATION_SPLITS):
        raise UserError(
            f"expected annotations of {TRAIN_SPLIT}, {', '.join(EVALUATION_SPLITS)} in {str(root)!r}, "
            f"received: {', '.join(files)}"
        )
    contents = {split: _read_json(path) for split, (path, _) in files.items()}
    training = files[TRAIN_SPLIT][0] if TRAIN_SPLIT in files else None
    categories = _common_categories({files[split][0]: content for split, content in contents.items()}, training)
    if not all(map(is_unicode, categories.values())):
        raise UserError(f"expected names of categories as UTF-8 has them in {str(root)!r}, received: {categories}")
    splits, skipped_boxes = {}, {}
    for split, (path, image_folders) in files.items():
        splits[split], skipped_boxes[split] = _images(path, contents[split], image_folders, list(categories))
    read = frozenset(str(path) for path, _ in files.values())
    # Two categories of one name stay two, wherever classes are called by their names.
    class_names = told_apart(categories.values(), categories)
    return AnnotatedFolder(class_names, tuple(categories), splits, skipped_boxes, read)


def has_annotations(root):
    """Whether a folder has such files, whatever is in them."""
    return bool(_find_files(root))


def _find_files(root):
    """Returns a dict of split name to the path of its annotations and the folders where its images may lie."""
    splits = split_folders(root)
    files = _files_of_coco(root, splits)
    files |= {split: file for split, file in _files_in_splits(splits).items() if split not in files}
    files = files or _files_in(root, TRAIN_SPLIT)
    return {TRAIN_SPLIT: files[_WHOLE]} if [*files] == [_WHOLE] else files


def _files_of_coco(root, splits):
    """Those in the folder `annotations`, as `_find_files`; `splits` are the folder's `split_folders`."""
    folders = [root / name for name in sub_folders(root) if name.casefold() == "annotations"]
    in_images = split_folders(root / "images") if (root / "images").is_dir() else {}
    files = {}
    paths = sorted(path for folder in folders for path in folder.glob("instances_*.json"))
    plain = sorted(path for folder in folders for path in folder.glob("*.json") if split_name(path.stem))
    for path in paths or plain:
        name = path.stem.removeprefix("instances_")
        split = split_name(name) or re.sub(r"(?<=.)\d{4}$", "", name)
        places = [root / "images" / name, root / name, *in_images.get(split, ()), *splits.get(split, ())]
        _add(files, split, path, [*places, root / "images", root])
    return files


def _files_in_splits(splits):
    """Those in the folders of splits, as `_find_files`."""
    files = {}
    for split, folders in splits.items():
        for folder in folders:
            for path, places in _files_in(folder, split).values():
                _add(files, split, path, places)
    return files


def _files_in(folder, split):
    """The file in a folder with images beside it or in a folder, as the only one of a split, or none."""
    files = {}
    for path in (folder / name for name in FILE_NAMES):
        if path.is_file():
            _add(files, split, path, [folder, folder / "images"])
    if files:
        return files
    for name, images in _WITH_FOLDER.items():
        if (folder / name).is_file() and (folder / images).is_dir():
            _add(files, split, folder / name, [folder / images, folder])
    return files


def _add(files, split, path, places):
    """Adds the annotations of a split; raises a `UserError` if it has some."""
    if split in files:
        other = files[split][0]
        raise UserError(f"expected one file of {split} annotations, received: {str(other)!r} and {str(path)!r}")
    files[split] = path, list(dict.fromkeys(places))


def _read_json(path):
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"expected a JSON file, {str(path)!r} is none ({one_line(error)})") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        raise UserError(f"expected the lists {', '.join(keys)} of COCO's instances format in {str(path)!r}")
    return content


def _common_categories(contents, training):
    """Returns a dict of category id to name, in the order of the ids, of which each file has all or some.

    Args:
        contents: dict of the path of a file to its content.
        training: path of the file whose categories they are, or None for the one that has most.
    """
    received = {path: _categories(path, content) for path, content in contents.items()}
    first = training or max(received, key=lambda path: len(received[path]))
    for path, categories in received.items():
        others = [f"{name!r} ({key})" for key, name in categories.items() - received[first].items()]
        if others:
            raise UserError(
                f"the categories of {str(first)!r} and {str(path)!r} differ: only in the latter {', '.join(others[:5])}"
            )
    return received[first]


def _categories(path, content):
    entries = [_fields(path, "categories", entry, {"id": int, "name": str}) for entry in content["categories"]]
    categories = dict(sorted((entry["id"], entry["name"]) for entry in entries))
    if len(categories) < max(len(entries), 1):
        raise UserError(f"expected categories with different ids in {str(path)!r}, received: {len(entries)}")
    return categories


def _images(path, content, image_folders, category_ids):
    """Returns the list of `AnnotatedImage` of one file, and a dict of the reason why boxes are left out to a count."""
    images = [_fields(path, "images", entry, {"id": int, "file_name": str}) for entry in content["images"]]
    if not images:
        raise UserError(f"expected images in {str(path)!r}, it lists none")
    annotations = {}
    for image in images:
        if not 0 <= image["id"] < 2**63:
            raise UserError(f"expected image ids from 0 to 2**63 - 1 in {str(path)!r}, received: {image['id']}")
        if image["id"] in annotations:
            raise UserError(f"expected images with different ids in {str(path)!r}, {image['id']} is there twice")
        annotations[image["id"]] = []
    skipped = collections.Counter()
    required = {"image_id": int, "category_id": int, "bbox": list}
    for entry in content["annotations"]:
        annotation = _fields(path, "annotations", entry, required)
        if annotation["image_id"] in annotations:
            annotations[annotation["image_id"]].append(annotation)
        else:
            skipped[NO_IMAGE] += 1
    labels = {category_id: label for label, category_id in enumerate(category_ids)}
    lookup = ImageLookup()
    annotated = [
        AnnotatedImage(
            path=_find_image(image_folders, image, lookup),
            source=str(path),
            image_id=image["id"],
            size=_size(path, image),
            boxes=_boxes(path, annotations[image["id"]], labels),
        )
        for image in images
    ]
    return annotated, dict(skipped)


def _size(path, image):
    """The (height, width) that an image's entry states, or None."""
    size = [image.get(side) or 0 for side in ("height", "width")]
    if not all(isinstance(side, float) or (isinstance(side, int) and side < _MAX_SIDE) for side in size):
        raise UserError(f"expected height and width as numbers in {str(path)!r}, received: {one_line(image, 100)}")
    # Labelling tools write -1 or 0 for what they do not know.
    return tuple(size) if all(0 < side < math.inf for side in size) else None


def _fields(path, list_name, entry, required):
    """Returns an entry of one of the file's lists; raises a `UserError` if a field is missing or of another type."""
    for name, kind in required.items():
        value = _converted(entry.get(name), kind) if isinstance(entry, dict) else None
        if not isinstance(value, kind) or isinstance(entry[name], bool):  # Python takes true for an integer
            raise UserError(
                f"expected {name} ({kind.__name__}) in every entry of {list_name} in {str(path)!r}, "
                f"received: {one_line(entry, 100)}"
            )
        if value is not entry[name]:
            entry = {**entry, name: value}
    return entry


def _converted(value, kind):
    """An id as tables have it, 7.0, as an int, and a name that is a number as a string; else the value."""
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return str(value) if kind is str and isinstance(value, int) else value


def _find_image(folders, image, lookup):
    """Returns the path of the image that an entry of a file names, or of the file that was expected first.

    Args:
        folders: list of `pathlib.Path` where it may lie.
        image: the entry.
        lookup: `ImageLookup`. Two entries may not have one image: it would be one without the boxes of the other.
    """
    name, owner = path_of(image["file_name"]), f"{image['file_name']} (id {image['id']})"
    parts = [part for part in re.split(r"[\\/]", name) if part]
    # Some programs count the folder itself to the name.
    folders = [*folders, *(folder.parent for folder in folders if folder.name == parts[0])] if parts else folders
    for path in (folder / name for folder in folders):
        if os.path.isfile(path):
            return lookup.owned(str(path), owner)
    # The folders of another system are left out one after the other.
    starts = range(len(parts)) if _ABSOLUTE.match(name) else range(min(len(parts), 1))
    for *inside, last in (parts[start:] for start in starts):
        found = lookup.find_named([folder.joinpath(*inside) for folder in folders], owner, last)
        if found is not None:
            return found
    return str(folders[0] / name)


def _number(value):
    """A number of JSON, NaN for null; raises a TypeError, ValueError or OverflowError for what is none."""
    return math.nan if value is None else float(value)


def _boxes(path, annotations, labels):
    try:
        corners = [[_number(value) for value in annotation["bbox"]] for annotation in annotations]
        corners = np.array(corners, np.float64).reshape(len(annotations), 4)
        area = np.array([_number(annotation.get("area")) for annotation in annotations], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"expected bbox as four numbers and area as one in {str(path)!r}, received: {one_line(annotations, 200)}"
        ) from error
    crowds = [annotation.get("iscrowd") or 0 for annotation in annotations]
    if not all(crowd in (0, 1) for crowd in crowds):
        raise UserError(f"expected iscrowd as 0 or 1 in {str(path)!r}, received: {one_line(annotations, 200)}")
    x, y, width, height = corners.T
    return Boxes(
        boxes=np.stack([y, x, y + height, x + width], axis=1),
        classes=np.array([labels.get(annotation["category_id"], -1) for annotation in annotations], np.int32),
        is_crowd=np.array(crowds, bool),
        area=area,
    )
